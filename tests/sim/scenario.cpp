#include "scenario.h"

#include <exception>

namespace ambit::sim {
namespace {

// Beyond these a run counts as one that never ends.
constexpr std::uint64_t deliveries_max = 3'000'000;
constexpr Duration time_max = std::chrono::hours(24 * 30);

struct Done final : Event {
  bool fired = false;
  void fire() override { fired = true; }
};

std::string run_body(const Scenario& scenario, SimWorld& world) {
  Task<Result<void>> task = scenario.body(world);
  Done done;
  task.start(&done);
  const auto over = [&] {
    return world.poller().delivered() > deliveries_max || world.poller().now() > time_max;
  };
  const bool stopped = world.loop().run_until([&] { return done.fired || over(); });
  if (!stopped) return "it waits for something that can never happen";
  if (!done.fired) return "it does not come to an end";
  const Result<void> outcome = task.take();
  return outcome ? "" : outcome.error().message;
}

// What a scenario has left behind may take until the last thing under way has arrived.
std::string leftovers(SimWorld& world) {
  world.loop().run_until([&] { return world.poller().delivered() > deliveries_max; });
  if (world.processes().live() != 0)
    return std::to_string(world.processes().live()) + " processes are left";
  if (world.network().open_ends() != 0)
    return std::to_string(world.network().open_ends()) + " streams are left";
  if (world.workers().live() != 0)
    return std::to_string(world.workers().live()) + " pieces of work are left";
  return "";
}

}  // namespace

std::vector<Scenario> scenarios() {
  return {{"echo", echo_scenario},       {"process", process_scenario},
          {"channel", channel_scenario}, {"timeout", timeout_scenario},
          {"fleet", fleet_scenario},     {"bounds", bounds_scenario},
          {"day", day_scenario, 1000}};
}

RunReport run_scenario(const Scenario& scenario, std::uint64_t seed) {
  SimWorld world(seed);
  RunReport report;
  try {
    report.failure = run_body(scenario, world);
    if (report.failure.empty()) report.failure = leftovers(world);
  } catch (const std::exception& thrown) {
    report.failure = std::string("an exception escaped: ") + thrown.what();
  }
  report.digest = world.trace().digest();
  return report;
}

}  // namespace ambit::sim
