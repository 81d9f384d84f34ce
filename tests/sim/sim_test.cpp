#include "async/channel.h"
#include "async/race.h"
#include "async/scope.h"
#include "run_task.h"
#include "scenario.h"
#include "sim_world.h"

#include <catch2/catch.hpp>

#include <set>

namespace ambit::sim {
namespace {

Task<Result<void>> waits_for_nothing(SimWorld& /*world*/) {
  Semaphore semaphore(1);
  const auto permit = co_await semaphore.acquire();
  const auto second = co_await semaphore.acquire();
  co_return Result<void>();
}

Task<Result<void>> never_ends(SimWorld& /*world*/) {
  while (true) co_await delay(std::chrono::hours(24));
}

// Something with an effect on all that follows, of which the seed knows nothing.
int outside_chance = 0;
Task<Result<void>> reads_past_the_world(SimWorld& world) {
  co_await world.workers().run([] {});
  co_await delay(std::chrono::microseconds(++outside_chance));
  co_await world.workers().run([] {});
  co_return Result<void>();
}

}  // namespace

TEST_CASE("a run that waits for what can never happen is reported", "[sim]") {
  CHECK(run_scenario({"x", waits_for_nothing}, 1).failure ==
        "it waits for something that can never happen");
}

TEST_CASE("a run without end is reported", "[sim]") {
  CHECK(run_scenario({"x", never_ends}, 1).failure == "it does not come to an end");
}

TEST_CASE("a run that reads past its world leaves another trace the second time", "[sim]") {
  const Scenario scenario{"x", reads_past_the_world};
  CHECK(run_scenario(scenario, 1).digest != run_scenario(scenario, 1).digest);
}

TEST_CASE("the same seed leaves the same trace, another seed another", "[sim]") {
  for (const Scenario& scenario : scenarios()) {
    INFO(scenario.name);
    std::set<std::uint64_t> digests;
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      const RunReport first = run_scenario(scenario, seed);
      CHECK(first.failure.empty());
      CHECK(run_scenario(scenario, seed).digest == first.digest);
      digests.insert(first.digest);
    }
    CHECK(digests.size() == 2);
  }
}

TEST_CASE("simulated time costs nothing and deadlines are met to the nanosecond", "[sim]") {
  SimWorld world(1);
  run_task(world.loop(), delay_task(std::chrono::hours(1000)));
  CHECK(world.loop().now() == std::chrono::hours(1000));
  const std::int64_t before = world.world().clock.unix_ns();
  world.clock().jump(std::chrono::seconds(-5));
  CHECK(world.world().clock.unix_ns() == before - 5'000'000'000);
}

TEST_CASE("a simulated write waits when the window is full and nobody reads", "[sim]") {
  Faults faults;
  faults.window_max = 100;
  SimWorld world(1, faults);
  auto [ours, theirs] = world.network().pair();
  bool written = false;
  Scope scope;
  scope.spawn([](io::Stream& to, bool& done) -> Task<void> {
    co_await to.write(std::string(1000, 'x'));
    done = true;
  }(*ours, written));
  world.loop().run();
  CHECK_FALSE(written);
  std::size_t read = 0;
  while (read < 1000) read += run_task(world.loop(), theirs->read(1000)).value().size();
  world.loop().run();
  CHECK(written);
}

TEST_CASE("with certain faults everything fails as it should", "[sim]") {
  Faults faults;
  faults.refuse = 1;
  faults.reset = 1;
  faults.spawn_failure = 1;
  SimWorld world(1, faults);
  world.processes().register_program("/bin/x", [](SimProcessIo&) -> Task<int> { co_return 0; });
  CHECK(world.processes().spawn({{"/bin/x"}, {}, "", {}}).error().code == Code::exhausted);
  const auto listener = world.network().listen("h:1").value();
  CHECK(run_task(world.loop(), world.network().connect("h:1")).error().code == Code::unavailable);
  auto [ours, theirs] = world.network().pair();
  REQUIRE(run_task(world.loop(), ours->write("x")).has_value());
  CHECK(run_task(world.loop(), theirs->read(1)).error().code == Code::closed);
}

}  // namespace ambit::sim
