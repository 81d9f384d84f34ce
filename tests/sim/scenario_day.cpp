// A day of 24 simulated hours in one world: every few minutes a fleet with its crashes, a server,
// its programs or its deadlines, one after the other. What must hold beside what each of them
// demands: when one has ended, nothing of it is left in the world, and the memory in use after a
// day is that after the first hours.

#include "scenario.h"

#include <algorithm>
#include <malloc.h>

namespace ambit::sim {
namespace {

constexpr Duration day = std::chrono::hours(24);
constexpr Duration warm_up = std::chrono::hours(6);
constexpr std::size_t growth_max = 256 << 10;
constexpr int kinds = 5;

// Bytes that are allocated; 0 where a sanitizer allocates.
std::size_t bytes_in_use() {
  return mallinfo2().uordblks;
}

Task<Result<void>> one_of_a_day(SimWorld& world, std::int64_t kind) {
  switch (kind) {
    case 0:
      return echo_scenario(world);
    case 1:
      return process_scenario(world);
    case 2:
      return timeout_scenario(world);
    case 3:
      return fleet_scenario(world);
    default:
      return bounds_scenario(world);
  }
}

std::string left_in(SimWorld& world) {
  if (world.processes().live() != 0) return "processes";
  if (world.network().open_ends() != 0) return "streams";
  return world.workers().live() != 0 ? "work" : "";
}

}  // namespace

Task<Result<void>> day_scenario(SimWorld& world) {
  Random random = world.random().fork();
  const Instant morning = Loop::current().now();
  std::size_t most_when_warm = 0;
  std::size_t least_at_the_end = 0;
  for (int done = 0; Loop::current().now() - morning < day; ++done) {
    const auto kind = random.between(0, kinds - 1);
    auto lived = co_await one_of_a_day(world, kind);
    if (!lived) {
      co_return Err(
          std::move(lived).error().context("number " + std::to_string(done) + " of a day"));
    }
    // What is under way arrives.
    co_await delay(std::chrono::minutes(random.between(2, 8)));
    const std::string left = left_in(world);
    if (!left.empty()) {
      co_return Err(Code::internal, left + " of number " + std::to_string(done) + " are left");
    }
    const std::size_t bytes = bytes_in_use();
    const Duration at = Loop::current().now() - morning;
    if (at < warm_up) most_when_warm = std::max(most_when_warm, bytes);
    if (at > day - warm_up) {
      least_at_the_end = least_at_the_end == 0 ? bytes : std::min(least_at_the_end, bytes);
    }
  }
  if (least_at_the_end > most_when_warm + growth_max) {
    co_return Err(Code::internal, "memory grew from " + std::to_string(most_when_warm) + " to " +
                                      std::to_string(least_at_the_end) + " bytes in a day");
  }
  co_return Result<void>();
}

}  // namespace ambit::sim
