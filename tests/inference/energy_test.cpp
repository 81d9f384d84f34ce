// Whose the machine's energy is, by counters that are made up.

#include "inference/energy.h"

#include "support.h"

#include <catch2/catch.hpp>

#include <list>

namespace ambit::inference {

namespace {

// An engine whose steps take as long, move as much and cost as much as the test says.
struct FakeEngine {
  FakeEngine(double& counter, std::int64_t& clock) : joules(counter), now_us(clock) {}
  // Each turn's work in one step.
  void step(std::int64_t took_us, double taken, std::initializer_list<double> work) {
    energy.begin_step(now_us);
    now_us += took_us;
    joules += taken;
    auto turn = turns.begin();
    for (const double each : work) energy.add(*turn++, each);
    energy.end_step(now_us);
  }
  void settle() {
    energy.settle(now_us, [this](const auto& give) {
      for (TurnEnergy& turn : turns) give(turn);
    });
  }
  double& joules;
  std::int64_t& now_us;
  EngineEnergy energy;
  std::list<TurnEnergy> turns{2};
};

}  // namespace

TEST_CASE("a window's joules follow what the turns did in it", "[energy]") {
  double joules = 500;
  std::int64_t now_us = 1'000'000;
  EnergyMeter meter([&] { return joules; });
  FakeEngine engine(joules, now_us);
  engine.energy.open(meter, 4, now_us);
  auto& one = engine.turns.front();
  auto& two = engine.turns.back();
  engine.step(1000, 1, {30, 10});
  engine.step(1000, 3, {30, 10});  // read once for both
  engine.settle();
  CHECK(one.joules == Approx(3));
  CHECK(two.joules == Approx(1));
  engine.step(1000, 6, {1, 2});
  engine.settle();
  CHECK(engine.energy.end_turn(one) == 5'000'000);
  CHECK(engine.energy.end_turn(two) == 5'000'000);
  CHECK(meter.totals() == EnergyMeter::Totals{10, 0});
}

TEST_CASE("what is counted while nothing runs belongs to no turn", "[energy]") {
  double joules = 1;
  std::int64_t now_us = 0;
  EnergyMeter meter([&] { return joules; });
  FakeEngine engine(joules, now_us);
  engine.energy.open(meter, 1, now_us);
  now_us += 2'000'000;
  joules += 20;  // 10 W at rest
  engine.step(100'000, 5, {1, 0});
  engine.settle();
  CHECK(engine.turns.front().joules == Approx(5));
  CHECK(meter.totals().idle_joules == Approx(20));
  // A pause that no reading sets apart costs what resting is known to cost.
  engine.step(50'000, 4, {1, 0});
  now_us += 5'000;
  joules += 0.05;
  engine.step(50'000, 4, {1, 0});
  engine.settle();
  CHECK(engine.turns.front().joules == Approx(13));
  CHECK(meter.totals().idle_joules == Approx(20.05));
  CHECK(meter.totals().joules == Approx(33.05));
}

TEST_CASE("work before a pause is not paid by who comes after it", "[energy]") {
  double joules = 1;
  std::int64_t now_us = 0;
  EnergyMeter meter([&] { return joules; });
  FakeEngine engine(joules, now_us);
  engine.energy.open(meter, 1, now_us);
  engine.step(20'000, 6, {1, 0});
  engine.settle();
  engine.step(20'000, 7, {1, 0});
  now_us += 1'000'000;  // no reading in between
  engine.step(20'000, 5, {1, 1});
  engine.settle();
  const double given = engine.turns.front().joules + engine.turns.back().joules;
  CHECK(given + meter.totals().idle_joules == Approx(18));
  CHECK(meter.totals().joules == Approx(18));
}

TEST_CASE("a turn that ends before the counter moves is given its part, and nothing twice",
          "[energy]") {
  double hidden = 100;  // what the device takes
  double shown = 100;   // what its counter says, every 100 ms
  std::int64_t now_us = 0;
  EnergyMeter meter;
  FakeEngine engine(hidden, now_us);
  engine.energy.open(meter, 1, now_us, [&] { return shown; });
  double told = 0;
  engine.turns.resize(1);
  // The first window has no price yet: a turn that ends in it is told nothing.
  engine.step(10'000, 2, {10});
  engine.settle();
  CHECK(engine.energy.end_turn(engine.turns.front()) == 0);
  for (int window = 0; window < 5; ++window) {
    engine.turns.emplace_back();
    engine.turns.pop_front();
    for (int step = 0; step < 9; ++step) engine.step(10'000, 2, {10});
    engine.settle();  // the counter has not moved
    const auto early = engine.energy.end_turn(engine.turns.front());
    // As dear as the window before, which had as much of everything.
    CHECK(early == (window == 0 ? 0 : 18'000'000));
    told += static_cast<double>(early) * 1e-6;
    engine.turns.emplace_back();
    engine.turns.pop_front();
    engine.step(10'000, 2, {10});
    shown = hidden;
    engine.settle();
    const double rest = engine.turns.front().joules;
    CHECK(rest == Approx(2));
    told += rest;
  }
  CHECK(meter.totals().joules == Approx(102));
  CHECK(told == Approx(102 - 20));  // the first two turns' part is nobody's
}

TEST_CASE("engines on the same processors share by how long their threads ran", "[energy]") {
  double joules = 10;
  std::int64_t now_us = 0;
  EnergyMeter meter([&] { return joules; });
  FakeEngine wide(joules, now_us);
  FakeEngine narrow(joules, now_us);
  wide.energy.open(meter, 3, now_us);
  narrow.energy.open(meter, 1, now_us);
  wide.step(10'000, 0, {1, 1});
  narrow.step(10'000, 8, {5, 0});
  wide.settle();
  narrow.settle();
  CHECK(wide.turns.front().joules == Approx(3));
  CHECK(wide.turns.back().joules == Approx(3));
  CHECK(narrow.turns.front().joules == Approx(2));
  CHECK(meter.totals() == EnergyMeter::Totals{8, 0});
}

TEST_CASE("a turn on a device has its part of the device and of the processors", "[energy]") {
  double package = 10;
  double device = 0;  // silent at first
  std::int64_t now_us = 0;
  EnergyMeters meters([&] { return package; });
  FakeEngine engine(package, now_us);
  engine.energy.open(meters.processors(), 1, now_us);
  engine.energy.open(meters.device("cuda:0"), 1, now_us, [&] { return device; });
  engine.step(1000, 4, {1, 3});
  engine.settle();
  CHECK(engine.turns.front().joules == Approx(1));
  device = 1000;  // its counter begins to speak: of what was before, it says nothing
  engine.step(1000, 4, {1, 3});
  engine.settle();
  CHECK(engine.turns.front().joules == Approx(2));
  device = 1100;
  engine.step(1000, 4, {1, 3});
  engine.settle();
  CHECK(engine.turns.front().joules == Approx(3 + 25));
  CHECK(engine.turns.back().joules == Approx(9 + 75));
  device = 1;  // begun anew
  engine.step(1000, 0, {1, 3});
  engine.settle();
  CHECK(engine.turns.back().joules == Approx(9 + 75));
  CHECK(meters.totals(now_us).at("cuda:0").joules == Approx(100));
  CHECK(meters.totals(now_us).at("processors").joules == Approx(12));
}

TEST_CASE("where no counter can be read, nothing is said", "[energy]") {
  double nothing = 0;
  std::int64_t now_us = 0;
  EnergyMeters meters;
  FakeEngine engine(nothing, now_us);
  CHECK_FALSE(engine.energy.is_due(1'000'000'000));
  engine.energy.open(meters.processors(), 1, now_us);
  engine.step(1000, 0, {1, 1});
  engine.settle();
  CHECK(engine.energy.end_turn(engine.turns.front()) == 0);
  CHECK(meters.totals(now_us).empty());
}

TEST_CASE("the turns of a batch are told what it took, by what they did in it", "[energy]") {
  // Each look at the clock is a millisecond later, and a millisecond takes a tenth of a joule.
  std::int64_t now_us = 0;
  EngineOptions options;
  options.kv_bytes = 16U << 20U;
  options.clock_us = [&] { return now_us += 1000; };
  options.energy =
      std::make_shared<EnergyMeters>([&] { return 1 + static_cast<double>(now_us) * 1e-4; });
  options.processor = "cpu: Some CPU";
  const auto decoder = decoder_for(synthetic({}), options);
  REQUIRE(decoder);
  const auto small = decoder->submit(ask("one", 4));
  const auto large = decoder->submit(ask("another " + std::string(600, 'w'), 40));
  REQUIRE((small && large));
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  REQUIRE(progress.ended.size() == 2);
  double told = 0;
  std::int64_t of_small = 0;
  std::int64_t of_large = 0;
  for (const auto& [id, turn] : progress.ended) {
    REQUIRE(turn);
    CHECK(turn->device == "cpu: Some CPU");
    CHECK(turn->usage.energy_uj > 0);
    told += static_cast<double>(turn->usage.energy_uj) * 1e-6;
    (id == *small ? of_small : of_large) = turn->usage.energy_uj;
  }
  CHECK(of_large > 2 * of_small);
  const auto totals = options.energy->processors().totals();
  CHECK(told + totals.idle_joules == Approx(totals.joules));
  CHECK(totals.idle_joules < told);
}

}  // namespace ambit::inference
