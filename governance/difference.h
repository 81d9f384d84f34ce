#pragma once

// What a new policy set permits that an old one did not, and the other way round: both are asked
// about every action that can be made of the values that their policies name (agents, tools,
// arguments, flags, and for each comparison a value on either side of it).

#include "governance/guard.h"

#include <cstdint>
#include <vector>

namespace ambit::governance {

struct Difference {
  agents::Action action;
  agents::Decision before;
  agents::Decision after;
  // deny < escalate < allow.
  [[nodiscard]] bool wider() const;
};

struct DifferenceReport {
  std::vector<Difference> wider;     // the new set permits more; one for each pair of verdicts,
  std::vector<Difference> narrower;  // agent, tool and determining policies
  std::uint64_t actions = 0;         // asked about
  bool exhaustive = true;            // false: too many combinations, some were drawn by lot
};

struct DifferenceOptions {
  std::uint64_t per_target_max = 20'000;  // actions of one agent on one tool
  std::size_t examples_max = 100;
};

DifferenceReport compare(PolicyGuard& before, PolicyGuard& after,
                         const DifferenceOptions& options = {});

}  // namespace ambit::governance
