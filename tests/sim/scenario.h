#pragma once

// A scenario: a coroutine that lives through something in a SimWorld and says what is wrong, if
// anything. To add one: write scenario_<name>.cpp with its function, declare it here, and name it
// in scenarios(). run_scenario() also checks what holds for all: it ends, and leaves no process,
// stream or work behind.

#include "async/task.h"
#include "sim_world.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ambit::sim {

struct Scenario {
  std::string name;
  // An Error: the invariant that did not hold.
  Task<Result<void>> (*body)(SimWorld& world);
  // Where all scenarios are run, this one is for one seed in so many.
  std::uint64_t one_seed_in = 1;
};

Task<Result<void>> echo_scenario(SimWorld& world);
Task<Result<void>> process_scenario(SimWorld& world);
Task<Result<void>> channel_scenario(SimWorld& world);
Task<Result<void>> timeout_scenario(SimWorld& world);
Task<Result<void>> fleet_scenario(SimWorld& world);
Task<Result<void>> bounds_scenario(SimWorld& world);
Task<Result<void>> day_scenario(SimWorld& world);

std::vector<Scenario> scenarios();

struct RunReport {
  std::string failure;  // empty: all invariants held
  std::uint64_t digest = 0;
};
RunReport run_scenario(const Scenario& scenario, std::uint64_t seed);

}  // namespace ambit::sim
