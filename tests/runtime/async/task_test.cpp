#include "async/task.h"

#include "async/interrupt.h"
#include "async/pending.h"
#include "async/race.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "fake_poller.h"

#include <catch2/catch.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace ambit {
namespace {

using std::chrono::milliseconds;

struct Trace {
  std::vector<std::string> lines;
};
struct Leaving {
  Trace& trace;
  std::string name;
  ~Leaving() { trace.lines.push_back("leave " + name); }
};

template <class T>
T run(Loop& loop, Task<T> task) {
  struct Done final : Event {
    bool fired = false;
    void fire() override { fired = true; }
  } done;
  task.start(&done);
  REQUIRE(loop.run_until([&] { return done.fired; }));
  return task.take();
}

Task<int> answer() {
  co_return 42;
}
Task<int> twice() {
  const int a = co_await answer();
  const int b = co_await answer();
  co_return a + b;
}
Task<Result<int>> half(int n) {
  co_await delay(milliseconds(1));
  if (n % 2 != 0) co_return Err(Code::invalid, "odd: " + std::to_string(n));
  co_return n / 2;
}
Task<Result<int>> quarter(int n) {
  const int h = co_await ok(half(n));
  const int q = co_await ok(half(h));
  co_return q;
}
Task<Result<int>> slow(Trace& trace, std::string name) {
  const Leaving leaving{trace, name};
  co_await delay(std::chrono::hours(1));
  co_return 1;
}
Task<Result<int>> outer(Trace& trace) {
  const Leaving leaving{trace, "outer"};
  const int value = co_await ok(slow(trace, "inner"));
  co_return value;
}
Task<int> throws() {
  co_await delay(milliseconds(1));
  throw std::runtime_error("out of luck");
}
Task<int> keeps(Trace& trace) {
  Task<int> task = twice();
  co_await task;
  trace.lines.push_back(task.finished() ? "finished" : "lost");
  co_return task.take();
}
Task<Result<int>> keeps_one_that_throws() {
  Task<int> task = throws();
  co_await task;
  co_return task.take();
}
Task<std::string> asks_within(std::optional<Duration> limit, Task<Result<int>> task) {
  const bool in_time = co_await within(limit, task);
  if (!in_time) co_return task.valid() ? "kept" : "cancelled";
  co_return std::to_string(task.take().value());
}
Task<std::string> asks_until(Interrupt& interrupt, Task<Result<int>> task) {
  const bool came_to_its_end = co_await interruptible(task, interrupt);
  if (!came_to_its_end) co_return task.valid() ? "kept" : "cancelled";
  co_return std::to_string(task.take().value());
}
Task<Result<int>> passes_exception_on() {
  const int n = co_await throws();
  co_return n;
}

}  // namespace

TEST_CASE("a task gives its value to the one who awaits it", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  CHECK(run(loop, twice()) == 84);
}

TEST_CASE("an error returns through ok()", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  CHECK(run(loop, quarter(8)).value() == 2);
  CHECK(run(loop, quarter(6)).error() == Error{Code::invalid, "odd: 3"});
  CHECK(run(loop, quarter(5)).error() == Error{Code::invalid, "odd: 5"});
}

TEST_CASE("an exception passes through co_await", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  CHECK_THROWS_WITH(run(loop, passes_exception_on()), "out of luck");
}

TEST_CASE("a timeout cancels the task it wraps, innermost frame first", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  const auto result = run(loop, with_timeout(milliseconds(50), outer(trace)));
  CHECK(result.error() == Error{Code::timeout, "no answer within 50 ms"});
  CHECK(trace.lines == std::vector<std::string>{"leave inner", "leave outer"});
  CHECK(loop.now() == milliseconds(50));
}

TEST_CASE("a task that its caller keeps holds its value, or what escaped it", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  CHECK(run(loop, keeps(trace)) == 84);
  CHECK(trace.lines == std::vector<std::string>{"finished"});
  CHECK_THROWS_WITH(run(loop, keeps_one_that_throws()), "out of luck");
}

TEST_CASE("within leaves a task its value, and cancels it when its time is up", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  CHECK(run(loop, asks_within(milliseconds(50), half(8))) == "4");
  CHECK(run(loop, asks_within(std::nullopt, half(8))) == "4");
  CHECK(loop.now() == milliseconds(2));
  CHECK(run(loop, asks_within(milliseconds(50), outer(trace))) == "cancelled");
  CHECK(trace.lines == std::vector<std::string>{"leave inner", "leave outer"});
  CHECK(loop.now() == milliseconds(52));
}

TEST_CASE("an interrupt cancels the task that waits under it, at once", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  Interrupt interrupt;
  CHECK(run(loop, asks_until(interrupt, half(8))) == "4");
  Scope scope;
  auto fires = [](Interrupt& late) -> Task<void> {
    co_await delay(milliseconds(10));
    late.fire();
  };
  scope.spawn(fires(interrupt));
  CHECK(run(loop, asks_until(interrupt, outer(trace))) == "cancelled");
  CHECK(trace.lines == std::vector<std::string>{"leave inner", "leave outer"});
  CHECK(loop.now() == milliseconds(11));
  CHECK(run(loop, asks_until(interrupt, outer(trace))) == "cancelled");
}

TEST_CASE("a task that is never awaited never runs", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  {
    Task<Result<int>> unused = slow(trace, "unused");
  }
  CHECK(trace.lines.empty());
}

TEST_CASE("join runs all tasks at once and keeps their order", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  std::vector<Task<Result<int>>> tasks;
  for (int n = 0; n < 10; ++n) tasks.push_back(half(2 * n));
  auto all = [](std::vector<Task<Result<int>>> given) -> Task<int> {
    auto results = co_await join(std::move(given));
    int sum = 0;
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (*results[i] == static_cast<int>(i)) sum += *results[i];
    }
    co_return sum;
  };
  CHECK(run(loop, all(std::move(tasks))) == 45);
  CHECK(loop.now() == milliseconds(1));
}

TEST_CASE("a scope cancels what still runs and reports what escapes", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  int escaped = 0;
  {
    Scope scope([&](std::exception_ptr) { ++escaped; });
    scope.spawn([](Trace& t) -> Task<void> { co_await slow(t, "background"); }(trace));
    scope.spawn([]() -> Task<void> { co_await throws(); }());
    loop.run_until([&] { return escaped > 0; });
    CHECK(scope.size() == 1);
  }
  CHECK(escaped == 1);
  CHECK(trace.lines == std::vector<std::string>{"leave background"});
}

TEST_CASE("a value from another thread resumes its task on the loop", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  auto [pending, resolver] = make_pending<int>();
  std::thread([&loop, own = resolver]() mutable {
    loop.post_from_thread([own]() mutable { own.resolve(7); });
  }).join();
  auto wait = [](Pending<int> p) -> Task<int> {
    const int n = co_await std::move(p);
    co_return n;
  };
  CHECK(run(loop, wait(std::move(pending))) == 7);
}

TEST_CASE("a task's next step runs before what else is ready, and yet nobody starves", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  Scope scope;
  auto calls = [](Trace& to, std::string name, int count) -> Task<void> {
    for (int i = 0; i < count; ++i) {
      co_await answer();
    }
    to.lines.push_back(name);
  };
  scope.spawn(calls(trace, "short", 10));
  scope.spawn(calls(trace, "other", 1));
  scope.spawn(calls(trace, "endless", 100'000));
  scope.spawn(calls(trace, "late", 10));
  loop.run_until([&] { return scope.size() == 0; });
  CHECK(trace.lines == std::vector<std::string>{"short", "other", "late", "endless"});
}

TEST_CASE("the more urgent class goes first, and hands itself on to what it calls", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  std::vector<LatencyClass> order;
  Waiters waiters;
  auto inner = [](std::vector<LatencyClass>& to, Waiters& in) -> Task<void> {
    co_await in.wait();
    to.push_back(Loop::current().latency());
  };
  auto outer = [](LatencyClass latency, std::vector<LatencyClass>& to, Waiters& in,
                  Task<void> (*call)(std::vector<LatencyClass>&, Waiters&)) -> Task<void> {
    co_await become(latency);
    co_await call(to, in);
    to.push_back(Loop::current().latency());
  };
  Scope scope;
  for (const LatencyClass latency :
       {LatencyClass::batch, LatencyClass::normal, LatencyClass::interactive}) {
    scope.spawn(outer(latency, order, waiters, inner));
  }
  loop.run();
  waiters.wake_all();
  loop.run();
  const std::vector<LatencyClass> wanted = {LatencyClass::interactive, LatencyClass::interactive,
                                            LatencyClass::normal,      LatencyClass::normal,
                                            LatencyClass::batch,       LatencyClass::batch};
  CHECK(order == wanted);
}

TEST_CASE("within a class the earliest deadline goes first, and nobody waits for ever", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  std::vector<std::string> order;
  Waiters waiters;
  const auto waits = [](std::string name, Urgency urgency, Waiters& in,
                        std::vector<std::string>& to) -> Task<void> {
    co_await become(urgency);
    co_await in.wait();
    to.push_back(std::move(name));
  };
  const auto sleep = [&loop](std::chrono::seconds time) {
    bool over = false;
    Scope sleeping;
    sleeping.spawn([](std::chrono::seconds pause, bool& flag) -> Task<void> {
      co_await delay(pause);
      flag = true;
    }(time, over));
    loop.run_until([&] { return over; });
  };
  const auto due_in = [&loop](int seconds, LatencyClass latency = LatencyClass::normal) {
    const auto now = std::chrono::floor<std::chrono::seconds>(loop.now()).count();
    return Urgency{latency, static_cast<std::int32_t>(now + seconds)};
  };
  Scope scope;
  const auto join = [&](const std::string& name, Urgency urgency) {
    scope.spawn(waits(name, urgency, waiters, order));
    loop.run();
  };
  join("never", {});
  join("in 20", due_in(20));
  join("in 10", due_in(10));
  join("in 10 too", due_in(10));
  join("overdue", due_in(-100));
  join("urgent", due_in(25, LatencyClass::interactive));
  // Who comes so much later overtakes nobody, however soon it is due.
  sleep(Waiters::patience + std::chrono::seconds(1));
  join("later", due_in(-1000));
  while (waiters.wake_one()) loop.run();
  CHECK(order == std::vector<std::string>{"urgent", "overdue", "in 10", "in 10 too", "in 20",
                                          "never", "later"});
  // A deadline is handed on to what is called, and stays where the class changes.
  Urgency seen;
  using Look = Task<void> (*)(Urgency& into);
  const Look look = [](Urgency& into) -> Task<void> {
    into = Loop::current().urgency();
    co_return;
  };
  scope.spawn([](Urgency of, Urgency& to, Look call) -> Task<void> {
    co_await become(of);
    co_await become(LatencyClass::batch);
    co_await call(to);
  }(Urgency{LatencyClass::interactive, 7}, seen, look));
  loop.run();
  CHECK(seen == Urgency{LatencyClass::batch, 7});
}

TEST_CASE("a class that never rests does not starve the others", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  bool heard = false;
  std::int64_t steps = 0;
  auto busy = [](const bool& until, std::int64_t& count) -> Task<void> {
    co_await become(LatencyClass::interactive);
    while (!until) {
      co_await answer();
      ++count;
    }
  };
  auto patient = [](bool& said) -> Task<void> {
    co_await become(LatencyClass::batch);
    const int value = co_await answer();
    said = value == 42;
  };
  Scope scope;
  scope.spawn(busy(heard, steps));
  scope.spawn(patient(heard));
  loop.run_until([&] { return scope.size() == 0; });
  CHECK(heard);
  CHECK(steps < 200);
}

TEST_CASE("timers of one instant fire in the order in which they were set", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Trace trace;
  Scope scope;
  for (int n = 0; n < 5; ++n) {
    scope.spawn([](Trace& t, int i) -> Task<void> {
      co_await delay(milliseconds(5));
      t.lines.push_back(std::to_string(i));
    }(trace, n));
  }
  loop.run_until([&] { return scope.size() == 0; });
  CHECK(trace.lines == std::vector<std::string>{"0", "1", "2", "3", "4"});
}

TEST_CASE("a loop that has what it ran for does not wait for the outside", "[async]") {
  struct SilentPoller final : Poller {
    int waits = 0;
    Instant now() override { return {}; }
    void poll() override {}
    bool wait(std::optional<Duration> /*timeout*/) override { return ++waits < 10; }
    void wake() override {}
  } poller;
  Loop loop(poller);
  CHECK(run(loop, answer()) == 42);
  CHECK(poller.waits == 0);
}

TEST_CASE("a resolver knows when nobody waits any more, whatever its copies", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  auto made = make_pending<int>();
  auto copy = made.second;
  CHECK(copy.wanted());
  {
    const Pending<int> gone = std::move(made.first);
  }
  CHECK_FALSE(copy.wanted());
  copy.resolve(1);
  CHECK_FALSE(made.second.wanted());
}

}  // namespace ambit
