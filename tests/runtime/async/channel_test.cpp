#include "async/channel.h"

#include "async/race.h"
#include "async/scope.h"
#include "fake_poller.h"

#include <catch2/catch.hpp>

#include <vector>

namespace ambit {
namespace {

Task<void> produce(Channel<int>& channel, int from, int to) {
  for (int n = from; n < to; ++n) {
    auto sent = co_await channel.send(n);
    if (!sent) co_return;
  }
  channel.close();
}
Task<void> consume(Channel<int>& channel, std::vector<int>& got) {
  while (true) {
    auto item = co_await channel.receive();
    if (!item) co_return;
    got.push_back(*item);
  }
}

}  // namespace

TEST_CASE("a channel keeps order and never holds more than its capacity", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Channel<int> channel(3);
  std::vector<int> got;
  Scope scope;
  scope.spawn(produce(channel, 0, 100));
  loop.run_until([] { return false; });
  CHECK(channel.size() == 3);
  scope.spawn(consume(channel, got));
  loop.run_until([&] { return scope.size() == 0; });
  REQUIRE(got.size() == 100);
  for (int n = 0; n < 100; ++n) CHECK(got[static_cast<std::size_t>(n)] == n);
}

TEST_CASE("a cancelled receiver loses nothing", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Channel<int> channel(1);
  std::vector<int> got;
  {
    Scope first;
    std::vector<int> never;
    first.spawn(consume(channel, never));
    loop.run_until([] { return false; });
    CHECK(channel.try_send(5));  // wakes the receiver, which dies before it runs
  }
  Scope second;
  second.spawn(consume(channel, got));
  loop.run_until([] { return false; });
  CHECK(got == std::vector<int>{5});
}

TEST_CASE("closing a channel ends senders and lets receivers drain it", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Channel<int> channel(2);
  CHECK(channel.try_send(1));
  CHECK(channel.try_send(2));
  CHECK_FALSE(channel.try_send(3));
  channel.close();
  CHECK_FALSE(channel.try_send(4));
  std::vector<int> got;
  Scope scope;
  scope.spawn(consume(channel, got));
  loop.run_until([&] { return scope.size() == 0; });
  CHECK(got == std::vector<int>{1, 2});
}

TEST_CASE("a semaphore lets at most n in", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Semaphore semaphore(2);
  int inside = 0;
  int most = 0;
  Scope scope;
  for (int n = 0; n < 7; ++n) {
    scope.spawn([](Semaphore& s, int& now, int& top) -> Task<void> {
      const auto permit = co_await s.acquire();
      top = std::max(top, ++now);
      co_await delay(std::chrono::milliseconds(1));
      --now;
    }(semaphore, inside, most));
  }
  loop.run_until([&] { return scope.size() == 0; });
  CHECK(most == 2);
  CHECK(semaphore.in_use() == 0);
}

TEST_CASE("a place that became free goes to the one who waited longest", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Channel<int> channel(1);
  CHECK(channel.try_send(0));
  Scope scope;
  scope.spawn([](Channel<int>& to) -> Task<void> { co_await to.send(1); }(channel));
  loop.run_until([] { return false; });
  CHECK(channel.try_receive() == 0);  // wakes the waiting sender, which has not run yet
  CHECK_FALSE(channel.try_send(2));   // so a newcomer must not take its place
  loop.run_until([&] { return scope.size() == 0; });
  CHECK(channel.try_receive() == 1);
}

TEST_CASE("a sender cancelled after it was woken passes its place on", "[async]") {
  FakePoller poller;
  Loop loop(poller);
  Channel<int> channel(1);
  CHECK(channel.try_send(0));
  const auto send = [](Channel<int>& to, int n) -> Task<void> { co_await to.send(n); };
  Scope second;
  {
    Scope first;
    first.spawn(send(channel, 1));
    loop.run_until([] { return false; });
    second.spawn(send(channel, 2));
    loop.run_until([] { return false; });
    CHECK(channel.try_receive() == 0);
  }
  loop.run_until([&] { return second.size() == 0; });
  CHECK(channel.try_receive() == 2);
  CHECK(channel.try_send(3));
}

}  // namespace ambit
