// What steps move: by row, by step, and that turns are told their part of it.

#include "inference/traffic.h"

#include "support.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <numeric>

namespace ambit::inference {

namespace {

// Pages that are only told apart.
std::byte* const some_pages[1] = {};
std::byte* const other_pages[1] = {};

std::vector<StepRow> rows_at(std::byte* const* pages, std::size_t first, std::size_t count) {
  std::vector<StepRow> rows;
  for (std::size_t i = 0; i < count; ++i) rows.push_back({1, first + i, pages});
  return rows;
}

double sum_of_bytes(std::span<const RowWork> rows) {
  return std::accumulate(rows.begin(), rows.end(), 0.0,
                         [](double sum, const RowWork& row) { return sum + row.bytes; });
}

}  // namespace

TEST_CASE("weights belong to all rows of a step alike, keys and values to who reads them",
          "[traffic]") {
  const auto file = synthetic({});
  const Model& model = file->model();
  const WeightBytes weights = weight_bytes(model);
  REQUIRE(weights.layers > 0);
  CHECK(weights.experts == 0);
  constexpr double kv = 100;
  TrafficCount count(model, weights, kv, 16);
  auto rows = rows_at(some_pages, 99, 1);
  rows[0].wants_logits = true;
  const auto prompt = rows_at(other_pages, 10, 4);
  rows.insert(rows.end(), prompt.begin(), prompt.end());
  count.add(rows);
  const auto layers = static_cast<double>(model.layers.size());
  REQUIRE(count.rows().size() == 5);
  CHECK(count.rows()[0].bytes ==
        Approx(weights.layers / 5 + weights.output + layers * kv * (100 + 1)));
  // Four rows of one prompt read its 14 positions together, and each writes its own.
  for (std::size_t i = 1; i < 5; ++i)
    CHECK(count.rows()[i].bytes == Approx(weights.layers / 5 + layers * kv * (14.0 / 4 + 1)));
  const Traffic& all = count.totals();
  CHECK(all.steps == 1);
  CHECK(all.rows == 5);
  CHECK(all.weight_bytes == weights.layers + weights.output);
  CHECK(all.kv_bytes == Approx(layers * kv * (100 + 14 + 5)));
  CHECK(all.kv_bytes_unshared == Approx(all.kv_bytes));
  CHECK(sum_of_bytes(count.rows()) == Approx(all.bytes()));
  // Where nobody wants logits, the output's weight stays where it is.
  count.add(prompt);
  CHECK(count.totals().weight_bytes == 2 * weights.layers + weights.output);
  CHECK(sum_of_bytes(count.rows()) == Approx(weights.layers + layers * kv * (14 + 4)));
}

TEST_CASE("operations are two for each weight and four for each position seen", "[traffic]") {
  SynthShape shape;
  const auto file = synthetic(shape);
  const Model& model = file->model();
  TrafficCount count(model, weight_bytes(model), 1, 4);
  auto rows = rows_at(some_pages, 6, 1);
  count.add(rows);
  const double without = count.rows()[0].operations;
  // One of q, k, v and the way back, three of the feed-forward block; in whole panels already.
  const double width = 64, heads = 64, keys = 32, hidden = 128;
  const double weights = width * (heads + 2 * keys) + heads * width + 3 * width * hidden;
  CHECK(without == Approx(2 * (2 * weights + 4 * heads * 7)));
  rows[0].wants_logits = true;
  count.add(rows);
  CHECK(count.rows()[0].operations - without == Approx(2 * 512 * width));
  CHECK(count.totals().operations == Approx(2 * without + 2 * 512 * width));
}

TEST_CASE("a layer with a window reads no further back", "[traffic]") {
  SynthShape shape;
  shape.architecture = "gemma3";
  shape.layers = 6;
  shape.window = 8;
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const Model& model = file->model();
  double windowed = 0;
  for (std::size_t i = 0; i < model.layers.size(); ++i)
    windowed += model.config.is_windowed(i) ? 1 : 0;
  REQUIRE(windowed == 5);
  TrafficCount count(model, weight_bytes(model), 1, 4);
  count.add(rows_at(some_pages, 49, 1));
  CHECK(count.totals().kv_bytes == Approx(50 + 5 * 8 + 6));
}

TEST_CASE("of a mixture, rows read as many experts as chance would have them find", "[traffic]") {
  SynthShape shape;
  shape.architecture = "qwen3moe";
  shape.experts = 8;
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const WeightBytes weights = weight_bytes(file->model());
  REQUIRE(weights.experts > 0);
  TrafficCount count(file->model(), weights, 0, 64);
  count.add(rows_at(some_pages, 0, 1));
  CHECK(count.totals().weight_bytes == Approx(weights.layers + weights.experts / 4));
  count.add(rows_at(some_pages, 0, 64));
  CHECK(count.totals().weight_bytes ==
        Approx(2 * weights.layers + weights.experts * (1.25 - std::pow(0.75, 64))));
}

TEST_CASE("the turns of a batch are told all that its steps have moved", "[traffic]") {
  EngineOptions options;
  options.kv_bytes = 16U << 20U;
  const auto decoder = decoder_for(synthetic({}), options);
  REQUIRE(decoder);
  REQUIRE(decoder->submit(ask("one", 20)));
  REQUIRE(decoder->submit(ask("another, which is longer: " + std::string(300, 'w'), 5)));
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  REQUIRE(progress.ended.size() == 2);
  double told = 0;
  for (const auto& [id, turn] : progress.ended) {
    REQUIRE(turn);
    CHECK(turn->usage.moved_bytes > 0);
    CHECK(turn->usage.energy_uj == 0);  // nobody measures
    told += static_cast<double>(turn->usage.moved_bytes);
  }
  const Traffic moved = decoder->stats().traffic;
  CHECK(moved.steps == decoder->stats().scheduler.steps);
  CHECK(told == Approx(moved.bytes()).margin(2));
  // Alone, each step's weights are its own: more is moved for the same answer.
  const auto alone = decoder_for(synthetic({}), options)->complete(ask("one", 20));
  REQUIRE(alone);
  for (const auto& [id, turn] : progress.ended)
    if (turn->message.content == alone->message.content)
      CHECK(turn->usage.moved_bytes < alone->usage.moved_bytes);
}

TEST_CASE("what was computed ahead is moved for the turn that needs it", "[traffic]") {
  EngineOptions options;
  options.kv_bytes = 16U << 20U;
  const auto file = synthetic({});
  const auto decoder = decoder_for(file, options);
  auto request = ask("look", 4, "s");
  request.messages.push_back({agents::Role::assistant, "", {{"call_1", "look", "{}"}}, "", ""});
  decoder->foresee(request, std::string(200, 'r'));
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  const double ahead = decoder->stats().traffic.bytes();
  REQUIRE(ahead > 0);
  request.messages.push_back({agents::Role::tool, std::string(220, 'r'), {}, "call_1", "look"});
  const auto turn = decoder->complete(request);
  REQUIRE(turn);
  CHECK(static_cast<double>(turn->usage.moved_bytes) ==
        Approx(decoder->stats().traffic.bytes()).margin(2));
}

}  // namespace ambit::inference
