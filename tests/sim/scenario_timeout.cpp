// Timeouts, races and joins, nested at random: each result must be the one that the arithmetic of
// the delays says, at exactly the instant that it says. The wall clock jumps meanwhile; nothing may
// notice.

#include "async/race.h"
#include "async/scope.h"
#include "scenario.h"

#include <algorithm>
#include <vector>

namespace ambit::sim {
namespace {

// What a task should do, known before it runs.
struct Expected {
  Duration after{};
  bool times_out = false;
};

Task<Result<int>> sleeper(Duration time) {
  co_await delay(time);
  co_return 1;
}

struct Planned {
  Task<Result<int>> task;
  Expected expected;
};

// A tree of timeouts round a delay. All durations differ enough that no two deadlines meet by
// chance.
Planned plan(Random& random, int depth) {
  if (depth == 0) {
    const Duration time = std::chrono::nanoseconds(random.between(1, 4'000'000'000));
    return {sleeper(time), {time, false}};
  }
  Planned inner = plan(random, depth - 1);
  const Duration limit = std::chrono::nanoseconds(random.between(1, 4'000'000'000));
  if (limit == inner.expected.after) return inner;
  Planned outer{with_timeout(limit, std::move(inner.task)), inner.expected};
  if (limit < inner.expected.after) outer.expected = {limit, true};
  return outer;
}

Task<void> check_one(Random random, Result<void>& verdict) {
  Planned planned = plan(random, static_cast<int>(random.below(6)));
  const Instant started = Loop::current().now();
  auto outcome = co_await std::move(planned.task);
  const Duration took = Loop::current().now() - started;
  const bool timed_out = !outcome && outcome.error().code == Code::timeout;
  if (took != planned.expected.after)
    verdict = Err(Code::internal, "a deadline was missed or early");
  if (timed_out != planned.expected.times_out)
    verdict = Err(Code::internal, "the wrong side of a race won");
}

Task<void> check_join(Random random, Result<void>& verdict) {
  std::vector<Task<Result<int>>> tasks;
  Duration longest{};
  const auto count = random.below(20);
  for (std::uint64_t n = 0; n < count; ++n) {
    const Duration time = std::chrono::microseconds(random.between(0, 1000));
    longest = std::max(longest, time);
    tasks.push_back(sleeper(time));
  }
  const Instant started = Loop::current().now();
  auto results = co_await join(std::move(tasks));
  if (results.size() != count || Loop::current().now() - started != longest) {
    verdict = Err(Code::internal, "a join ended too early or too late");
  }
}

}  // namespace

Task<Result<void>> timeout_scenario(SimWorld& world) {
  Result<void> verdict;
  Scope scope;
  for (int n = 0; n < 30; ++n) {
    scope.spawn(check_one(world.random().fork(), verdict));
    scope.spawn(check_join(world.random().fork(), verdict));
    co_await delay(std::chrono::microseconds(world.random().between(0, 500'000)));
    world.clock().jump(std::chrono::seconds(world.random().between(-100'000, 100'000)));
  }
  co_await scope.join();
  co_return verdict;
}

}  // namespace ambit::sim
