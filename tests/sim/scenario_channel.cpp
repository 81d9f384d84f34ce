// Producers, relays and consumers on two channels, any of which may be cancelled at any moment;
// some work runs on threads. No item is seen twice, each producer's items keep their order, no
// channel ever holds more than its capacity, and every item that was accepted is received, still
// there, or went with its holder.

#include "async/channel.h"
#include "async/scope.h"
#include "scenario.h"

#include <map>
#include <memory>
#include <vector>

namespace ambit::sim {
namespace {

// Counts the items that exist, so that a lost one shows.
struct Counted {
  explicit Counted(int& living) : count(living) { ++count; }
  ~Counted() { --count; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  int& count;
};

struct Item {
  std::int64_t producer = 0;
  std::int64_t number = 0;
  std::shared_ptr<Counted> counted;
};

struct State {
  explicit State(Random& random)
      : first(static_cast<std::size_t>(random.between(1, 5))),
        second(static_cast<std::size_t>(random.between(1, 5))),
        permits(static_cast<std::size_t>(random.between(1, 3))) {}
  int living = 0;
  Channel<Item> first;
  Channel<Item> second;
  Semaphore permits;
  int working = 0;
  std::map<std::int64_t, std::int64_t> last_seen;
  Result<void> verdict;
};

void check_bounds(State& state) {
  if (state.first.size() > state.first.capacity() ||
      state.second.size() > state.second.capacity()) {
    state.verdict = Err(Code::internal, "a channel holds more than its capacity");
  }
}

Task<void> pause(Random& random) {
  if (random.chance(0.5)) co_await delay(std::chrono::microseconds(random.between(0, 3)));
}

Task<void> produce(State& state, std::int64_t id, Random random) {
  for (std::int64_t n = 0; n < 40; ++n) {
    co_await pause(random);
    Item item{id, n, std::make_shared<Counted>(state.living)};
    auto sent = co_await state.first.send(std::move(item));
    check_bounds(state);
    if (!sent) co_return;
  }
}

// One relay only, so that order can be told at the end.
Task<void> relay(SimWorld& world, State& state) {
  while (true) {
    auto item = co_await state.first.receive();
    if (!item) break;
    auto permit = co_await state.permits.acquire();
    ++state.working;
    if (static_cast<std::size_t>(state.working) > state.permits.in_use()) {
      state.verdict = Err(Code::internal, "somebody works without a permit");
    }
    co_await world.workers().run([] {});
    --state.working;
    auto sent = co_await state.second.send(std::move(*item));
    check_bounds(state);
    if (!sent) break;
  }
  state.second.close();
}

Task<void> consume(State& state, Random random) {
  while (true) {
    auto item = co_await state.second.receive();
    if (!item) co_return;
    const auto at = state.last_seen.find(item->producer);
    if (at != state.last_seen.end() && at->second >= item->number) {
      state.verdict = Err(Code::internal, "an item came twice or out of order");
    }
    state.last_seen[item->producer] = item->number;
    co_await pause(random);
  }
}

// Starts consumers and ends them again; one stays to the end.
Task<void> unsteady_consumers(State& state, Random random) {
  for (int round = 0; round < 10; ++round) {
    Scope some;
    some.spawn(consume(state, random.fork()));
    some.spawn(consume(state, random.fork()));
    co_await delay(std::chrono::microseconds(random.between(0, 2000)));
  }
  co_await consume(state, random.fork());
}

}  // namespace

Task<Result<void>> channel_scenario(SimWorld& world) {
  Random& random = world.random();
  auto state = std::make_unique<State>(random);
  const bool cancelled = random.chance(0.5);
  {
    Scope producers;
    Scope rest;
    rest.spawn(relay(world, *state));
    rest.spawn(unsteady_consumers(*state, random.fork()));
    const auto count = random.between(1, 5);
    for (std::int64_t id = 0; id < count; ++id) producers.spawn(produce(*state, id, random.fork()));
    if (cancelled) {
      co_await delay(std::chrono::microseconds(random.between(0, 20'000)));
      if (random.chance(0.5)) producers.cancel();
      if (random.chance(0.5)) rest.cancel();
      if (rest.size() == 0) producers.cancel();  // nobody would ever take what they send
    }
    co_await producers.join();
    state->first.close();
    co_await rest.join();
  }
  const auto left = static_cast<int>(state->first.size() + state->second.size());
  if (state->living != left) co_return Err(Code::internal, "an item is nowhere, yet alive");
  if (!cancelled && left != 0) co_return Err(Code::internal, "an item was never received");
  if (state->permits.in_use() != 0) co_return Err(Code::internal, "a permit was not given back");
  co_return state->verdict;
}

}  // namespace ambit::sim
