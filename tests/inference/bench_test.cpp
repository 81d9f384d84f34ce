// What the bench says of bytes, energy and money; not of speed.

#include "inference/bench.h"

#include "inference/traffic.h"
#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference {

namespace {

BenchOptions quick() {
  BenchOptions options;
  options.prompt_tokens = 48;
  options.decode_tokens = 8;
  options.batches = {1, 4};
  options.repeats = 2;
  options.pin_threads = false;
  return options;
}

}  // namespace

TEST_CASE("the bench counts what the engine counts", "[bench]") {
  const auto file = synthetic({});
  const auto report = bench(*file, quick());
  REQUIRE(report);
  REQUIRE(report->figures.size() == 3);
  const WeightBytes weights = weight_bytes(file->model());
  const BenchFigure& prefill = report->figures[0];
  const BenchFigure& alone = report->figures[1];
  const BenchFigure& four = report->figures[2];
  constexpr double kv = 2 * 2 * 2 * 16 * 2;  // layers, keys and values, heads of 16 halves
  CHECK(prefill.bytes_per_token * 48 == Approx(weights.layers + weights.output + kv * (48 + 48)));
  // Of eight tokens the first reads one position, the last eight; each writes one.
  CHECK(alone.bytes_per_token == Approx(weights.layers + weights.output + kv * (4.5 + 1)));
  CHECK(four.bytes_per_token == Approx((weights.layers + weights.output) / 4 + kv * (4.5 + 1)));
  for (const BenchFigure& figure : report->figures) {
    CHECK(figure.gigabytes_per_s == Approx(figure.bytes_per_token * figure.tokens_per_s * 1e-9));
    CHECK(figure.operations_per_s > 0);
    CHECK(figure.joules_per_token == 0);  // nobody counts
  }
}

TEST_CASE("what the counters say belongs to all tokens that ran", "[bench]") {
  double joules = 7;
  BenchOptions options = quick();
  options.batches = {1};
  options.counted_seconds = 0;
  options.processor_joules = [&] { return joules += 12; };  // between two looks at it
  const auto report = bench(*synthetic({}), options);
  REQUIRE(report);
  REQUIRE(report->figures.size() == 2);
  CHECK(report->figures[0].joules_per_token == Approx(12.0 / (2 * 48)));
  CHECK(report->figures[1].joules_per_token == Approx(12.0 / (2 * 8)));
}

TEST_CASE("tokens have a cost where there is a price for what they take", "[bench]") {
  BenchFigure figure;
  figure.tokens_per_s = 1000;
  figure.joules_per_token = 0.36;
  CHECK_FALSE(cost_per_million(figure, {}));
  // 0.36 MJ are a tenth of a kWh; a million tokens take 1000 seconds.
  CHECK(*cost_per_million(figure, {0.3, std::nullopt}) == Approx(0.03));
  CHECK(*cost_per_million(figure, {std::nullopt, 3.6}) == Approx(1));
  CHECK(*cost_per_million(figure, {0.3, 3.6}) == Approx(1.03));
  figure.joules_per_token = 0;
  CHECK_FALSE(cost_per_million(figure, {0.3, 3.6}));
  CHECK(*cost_per_million(figure, {std::nullopt, 3.6}) == Approx(1));
}

}  // namespace ambit::inference
