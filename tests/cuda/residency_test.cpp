// Who is on a device: models that are numbers alone, in orders drawn from seeds, and on threads.

#include "inference/cuda/residency.h"

#include "inference/sampler.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <thread>

namespace ambit::inference::cuda {

namespace {

// A device that is a number, and a clock that is moved by hand.
struct Ground {
  std::size_t capacity = 0;
  std::atomic<std::size_t> used = 0;
  std::atomic<std::size_t> host_left = std::size_t{1} << 30U;
  std::atomic<std::int64_t> now_us = 1;
  std::atomic<int> faults = 0;
  std::shared_ptr<Residency> residency;

  explicit Ground(std::size_t bytes)
      : capacity(bytes - bytes / 32),
        residency(std::make_shared<Residency>([this] { return now_us.load(); })) {}
  void take(std::size_t bytes) {
    if ((used += bytes) > capacity) ++faults;
  }
};

class NumberArena final : public Arena {
 public:
  explicit NumberArena(Ground& ground) : ground_(ground) {}
  ~NumberArena() override {
    if (is_here) ground_.used -= bytes;
  }
  [[nodiscard]] std::size_t growth(std::size_t more) const override { return more; }
  std::byte* add(std::size_t more) override {
    ground_.take(more);
    bytes += more;
    return &byte_;
  }
  Result<void> keep_copy() override {
    if (!is_here && !has_copy) ++ground_.faults;
    if (has_copy) return {};
    if (ground_.host_left < bytes) return Err(Code::exhausted, "no more of the host");
    ground_.host_left -= bytes;
    has_copy = true;
    return {};
  }
  void leave() override {
    if (!is_here || !has_copy || in_step) ++ground_.faults;
    is_here = false;
    ground_.used -= bytes;
  }
  Result<void> come() override {
    if (is_here || !has_copy) ++ground_.faults;
    ground_.now_us += static_cast<std::int64_t>(bytes);  // a byte a microsecond
    if (fails > 0) {
      --fails;
      return Err(fails_with, "told to fail");
    }
    ground_.take(bytes);
    is_here = true;
    return {};
  }

  std::size_t bytes = 0;
  std::atomic<bool> is_here = true;
  std::atomic<bool> has_copy = false;
  std::atomic<bool> in_step = false;
  std::atomic<int> fails = 0;
  Code fails_with = Code::unavailable;

 private:
  Ground& ground_;
  std::byte byte_{};
};

struct Number {
  Ground& ground;
  NumberArena arena;
  std::unique_ptr<Residency::Place> place;
  Result<bool> settled = false;
  std::size_t booked = 0;

  Number(Ground& on, std::size_t for_good, std::size_t weights, bool parks = true)
      : ground(on),
        arena(on),
        place(Residency::join(on.residency, on.capacity + on.capacity / 31, parks)) {
    settled = load(for_good, weights);
    if (!settled) leave();
  }
  ~Number() { leave(); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  Result<bool> load(std::size_t for_good, std::size_t weights) {
    TRY(place->book(for_good));
    ground.take(for_good);
    booked = for_good;
    TRY(place->book_weights(weights));
    arena.add(weights);
    return place->settle(&arena);
  }
  void leave() {
    if (place == nullptr) return;
    place->close();
    ground.used -= std::exchange(booked, 0);
    if (arena.is_here) ground.used -= std::exchange(arena.bytes, 0);
    place.reset();
  }
  // A step, if it may: one microsecond and what is asked for.
  bool step(int priority = 0, std::int64_t takes_us = 1) {
    const auto entered = place->enter(priority);
    REQUIRE(entered);
    if (!*entered) return false;
    arena.in_step = true;
    if (!arena.is_here) ++ground.faults;
    ground.now_us += takes_us;
    arena.in_step = false;
    if (place->must_yield()) place->rest(true);
    return true;
  }
  // A step after which it has nothing more to do.
  bool use() {
    const bool ran = step();
    place->rest(false);
    return ran;
  }
};

std::size_t draw(std::uint64_t seed, std::uint64_t& drawn, std::size_t below) {
  const double u = uniform(seed, ++drawn, 3);
  return std::min(static_cast<std::size_t>(u * static_cast<double>(below)), below - 1);
}

}  // namespace

TEST_CASE("models that fit together stay, and have no copy in host memory", "[residency]") {
  Ground ground(1000);
  Number a(ground, 100, 300);
  Number b(ground, 100, 300);
  CHECK_FALSE(a.settled.value());
  CHECK_FALSE(b.settled.value());
  for (int i = 0; i < 20; ++i) {
    CHECK(a.step());
    CHECK(b.step());
  }
  CHECK_FALSE(a.arena.has_copy);
  CHECK_FALSE(a.place->stats().is_shared);
  CHECK(a.place->stats().swaps + b.place->stats().swaps == 0);
  CHECK(ground.faults == 0);
}

TEST_CASE("a model that can never fit is refused when it is loaded, and takes nothing with it",
          "[residency]") {
  Ground ground(1000);  // of which 969 are for models
  {
    Number alone(ground, 500, 470);
    REQUIRE_FALSE(alone.settled);
    CHECK(alone.settled.error().code == Code::exhausted);
    CHECK_THAT(alone.settled.error().message, Catch::Contains("of the 969 that models can have"));
  }
  Number a(ground, 100, 500);
  {
    Number large(ground, 100, 770);
    CHECK_FALSE(large.settled);
  }
  {
    Number greedy(ground, 370, 10);  // there would be no room for the first one's weights
    CHECK_FALSE(greedy.settled);
  }
  {
    Number stays(ground, 100, 270, false);  // the same, with weights that never leave
    CHECK_FALSE(stays.settled);
  }
  Number b(ground, 100, 500);
  REQUIRE(b.settled);
  CHECK(*b.settled);  // and that is said once
  Number c(ground, 100, 600);
  REQUIRE(c.settled);
  CHECK_FALSE(*c.settled);
  for (Number* each : {&a, &b, &c, &a}) CHECK(each->use());
  CHECK(ground.faults == 0);
}

TEST_CASE("whoever was used longest ago makes room, and no more than is needed", "[residency]") {
  Ground ground(1300);  // 1260
  Number small(ground, 0, 100);
  Number other(ground, 0, 200);
  Number large(ground, 0, 700);
  Number last(ground, 0, 800);  // needs 540: the oldest two would not do
  REQUIRE(last.settled);
  CHECK(small.arena.is_here);
  CHECK(other.arena.is_here);
  CHECK_FALSE(large.arena.is_here);
  CHECK(large.use());  // the same again
  CHECK_FALSE(last.arena.is_here);
  CHECK(small.arena.is_here);
  CHECK(other.arena.is_here);
  Number more(ground, 0, 400);  // needs 140: of the two that would do alone the older one
  CHECK_FALSE(other.arena.is_here);
  CHECK(large.arena.is_here);
  CHECK(small.use());
  large.place->expect();
  CHECK(other.use());  // needs 140: not `large`, which is expected
  CHECK(large.arena.is_here);
  CHECK_FALSE(more.arena.is_here);
  CHECK(ground.faults == 0);
}

TEST_CASE("models that all have something to do take turns in bounded slices", "[residency]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::uint64_t drawn = 0;
    const std::size_t count = 2 + draw(seed, drawn, 4);
    Ground ground(10'000);
    std::vector<std::unique_ptr<Number>> numbers;
    std::size_t largest = 0;
    for (std::size_t i = 0; i < count; ++i) {
      numbers.push_back(
          std::make_unique<Number>(ground, draw(seed, drawn, 300), 500 + draw(seed, drawn, 7000)));
      REQUIRE(numbers.back()->settled);
      largest = std::max(largest, numbers.back()->arena.bytes);
    }
    const bool busy = seed % 2 == 0;  // always; else with pauses
    std::vector<std::size_t> left(count, busy ? 1 : 0);
    std::vector<std::int64_t> wants_since(count, 0);
    std::vector<std::int64_t> steps(count, 0);
    const std::int64_t begun_us = ground.now_us;
    std::int64_t longest_us = 0;
    for (int round = 0; round < 6000; ++round) {
      const std::size_t i = draw(seed, drawn, count);
      if (left[i] == 0) {
        if (draw(seed, drawn, 20) > 0) continue;
        left[i] = 1 + draw(seed, drawn, 60);
      }
      if (wants_since[i] == 0) wants_since[i] = ground.now_us;
      const auto takes_us = static_cast<std::int64_t>(1 + draw(seed, drawn, 2000));
      if (!numbers[i]->step(static_cast<int>(seed % 3 == 0 ? i : 0), takes_us)) continue;
      longest_us = std::max(longest_us, ground.now_us - wants_since[i]);
      wants_since[i] = 0;
      ++steps[i];
      if (!busy && --left[i] == 0) numbers[i]->place->rest(false);
    }
    INFO("seed " << seed << " of " << count);
    CHECK(ground.faults == 0);
    // Everybody gets on. In the time that one waits each of the others has a slice, and those that
    // are more urgent two; a round goes to somebody who waits for nothing now and then.
    const auto slice_us = static_cast<std::int64_t>(largest) * (Residency::slice_of_swap + 1);
    for (std::size_t i = 0; i < count; ++i) CHECK(steps[i] > 0);
    CHECK(longest_us < 3 * static_cast<std::int64_t>(count) * (slice_us + 100'000));
    if (!busy) continue;
    std::uint64_t swaps = 0;
    for (const auto& number : numbers) {
      const Residency::Stats stats = number->place->stats();
      swaps += stats.swaps;
      // A tenth of the time at most, but for the last slice, which has not ended.
      CHECK(stats.swap_us <= (ground.now_us - begun_us) / (Residency::slice_of_swap + 1) +
                                 static_cast<std::int64_t>(number->arena.bytes));
    }
    if (numbers[0]->place->stats().is_shared) CHECK(swaps > 0);
  }
}

TEST_CASE("who is more urgent comes first, and who is less urgent waits a slice", "[residency]") {
  Ground ground(1000);
  Number first(ground, 0, 600);
  Number urgent(ground, 0, 600);
  Number patient(ground, 0, 600);
  const std::int64_t slice_us = 600 * Residency::slice_of_swap;
  REQUIRE(first.step(5));
  ground.now_us += 100 * slice_us;
  REQUIRE(first.step(5));
  CHECK_FALSE(patient.step(1));
  REQUIRE(first.step(5));
  ground.now_us += slice_us / 2;
  REQUIRE(first.step(5));  // it had its slice long ago, but nobody waited who was as urgent
  CHECK_FALSE(urgent.step(7));
  REQUIRE(first.step(5));  // and goes now
  CHECK_FALSE(first.step(5));
  CHECK_FALSE(patient.step(1));
  REQUIRE(urgent.step(7));
  CHECK(urgent.place->stats().swaps == 1);
  CHECK(first.place->stats().yields == 1);
  // More urgent or not: within its slice nobody is sent away.
  CHECK_FALSE(first.step(9));
  REQUIRE(urgent.step(7));
  CHECK_FALSE(first.step(9));
  ground.now_us += slice_us;
  REQUIRE(urgent.step(7));
  REQUIRE(first.step(9));
  ground.now_us += slice_us;
  CHECK_FALSE(urgent.step(9));
  REQUIRE(first.step(9));
  // Two have come before the patient one: it is its turn.
  CHECK_FALSE(urgent.step(9));
  CHECK(patient.step(1));
  CHECK(ground.faults == 0);
}

TEST_CASE("a copy that fails is its model's alone", "[residency]") {
  Ground ground(1000);
  Number a(ground, 0, 600);
  Number b(ground, 0, 600);
  REQUIRE(b.use());
  a.arena.fails = 1;
  const auto failed = a.place->enter(0);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "told to fail");
  CHECK(b.use());  // which had made room
  CHECK(a.use());
  // A device whose memory others have taken: whoever is at rest makes room for that, too.
  Number small(ground, 0, 100);
  CHECK(a.arena.is_here);
  CHECK(small.use());
  CHECK(b.use());
  CHECK(small.arena.is_here);
  a.arena.fails = 1;
  a.arena.fails_with = Code::exhausted;
  CHECK(a.step());
  CHECK_FALSE(small.arena.is_here);
  CHECK_FALSE(b.arena.is_here);
  // The host has no room for another copy: what is being loaded is refused, and is gone.
  ground.host_left = 0;
  a.place->rest(false);
  {
    Number late(ground, 0, 500);
    REQUIRE_FALSE(late.settled);
    CHECK(late.settled.error().message == "no more of the host");
  }
  CHECK(a.use());
  CHECK(b.step());
  CHECK(ground.faults == 0);
}

TEST_CASE("a model can go while it is parked, and while others wait for it", "[residency]") {
  Ground ground(1000);
  Number a(ground, 0, 600);
  {
    Number parked(ground, 50, 600);
    REQUIRE(a.use());
    CHECK_FALSE(parked.arena.is_here);
  }
  CHECK_FALSE(a.place->stats().is_shared);
  auto b = std::make_unique<Number>(ground, 0, 600);
  int woken = 0;
  a.place->set_wake([&] { ++woken; });
  REQUIRE(b->step());
  CHECK_FALSE(a.step());
  CHECK(woken == 0);
  b.reset();
  CHECK(woken == 1);
  CHECK(a.step());
  CHECK(ground.faults == 0);
}

TEST_CASE("engines on threads of their own take turns, and a late one is loaded beside them",
          "[residency]") {
  Ground ground(2000);
  const auto work = [&ground](std::size_t weights, int steps) {
    Number number(ground, 10, weights);
    if (!number.settled) return;
    std::atomic<int> woken = 0;
    number.place->set_wake([&] {
      ++woken;
      woken.notify_one();
    });
    for (int done = 0; done < steps;) {
      const int before = woken;
      const auto entered = number.place->enter(0);
      if (!entered) {
        ++ground.faults;
        return;
      }
      if (!*entered) {
        woken.wait(before);
        continue;
      }
      number.arena.in_step = true;
      if (!number.arena.is_here) ++ground.faults;
      ground.now_us += 500;
      std::this_thread::yield();
      number.arena.in_step = false;
      ++done;
      if (done % 7 == 0)
        number.place->rest(false);
      else if (number.place->must_yield())
        number.place->rest(true);
    }
    number.place->rest(false);
    number.place->set_wake(nullptr);
  };
  std::atomic<int> ended = 0;
  std::vector<std::thread> threads;
  for (const std::size_t weights : {900U, 700U, 1200U, 400U, 1000U})
    threads.emplace_back([&, weights] {
      work(weights, 300);
      ++ended;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(ended == 5);
  CHECK(ground.faults == 0);
  CHECK(ground.used == 0);
}

}  // namespace ambit::inference::cuda
