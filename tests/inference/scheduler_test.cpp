// Who goes first in the engine's batch, and that it changes nothing in what is said.

#include "support.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>

namespace ambit::inference {

namespace {

struct Wish {
  std::string name;
  int priority = 0;
  std::int32_t due_s = Urgency::never_s;
};

agents::TurnRequest request_for(const Wish& wish, const std::string& text, std::int64_t tokens) {
  agents::TurnRequest request = ask(text, tokens);
  request.priority = wish.priority;
  request.due_s = wish.due_s;
  return request;
}

EngineOptions few(std::size_t batch, std::size_t step) {
  EngineOptions options;
  options.batch_max = batch;
  options.step_tokens_max = step;
  options.kv_bytes = 64U << 20U;
  return options;
}

}  // namespace

TEST_CASE("of those who wait for the batch the earliest deadline of a class goes first",
          "[scheduler]") {
  const auto file = synthetic({});
  const auto decoder = decoder_for(file, few(1, 32));
  const std::vector<Wish> wishes = {{"never"},         {"in 20", 0, 20},
                                    {"in 10", 0, 10},  {"in 10 too", 0, 10},
                                    {"urgent", 5, 90}, {"idle", -5, 1}};
  std::map<std::uint64_t, std::string> names;
  for (const Wish& wish : wishes) {
    const auto id = decoder->submit(request_for(wish, wish.name, 12));
    REQUIRE(id);
    names[*id] = wish.name;
  }
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  std::vector<std::string> order;
  for (const auto& [id, turn] : progress.ended) {
    REQUIRE(turn);
    order.push_back(names.at(id));
    // What is said is what would have been said alone.
    const auto alone = decoder_for(file, few(1, 32))->complete(ask(names.at(id), 12));
    REQUIRE(alone);
    CHECK(turn->message.content == alone->message.content);
  }
  CHECK(order ==
        std::vector<std::string>{"urgent", "in 10", "in 10 too", "in 20", "never", "idle"});
}

TEST_CASE("a prompt that is due goes before a long one that was there first", "[scheduler]") {
  const auto file = synthetic({});
  const auto decoder = decoder_for(file, few(2, 16));
  const std::string text(800, 'w');
  const auto slow = decoder->submit(request_for({"slow"}, text, 1));
  REQUIRE(slow);
  Decoder::Progress progress;
  for (int i = 0; i < 3; ++i) decoder->step(progress);
  REQUIRE(progress.ended.empty());
  const auto due = decoder->submit(request_for({"due", 0, 5}, "soon", 1));
  REQUIRE(due);
  const std::uint64_t before = decoder->stats().scheduler.steps;
  while (progress.ended.empty()) decoder->step(progress);
  CHECK(progress.ended[0].first == *due);
  CHECK(decoder->stats().scheduler.steps - before <= 8);
  while (!decoder->idle()) decoder->step(progress);
  REQUIRE(progress.ended.size() == 2);
  const auto alone = decoder_for(file, few(1, 64))->complete(ask(text, 1));
  REQUIRE(alone);
  CHECK(progress.ended[1].second->message.content == alone->message.content);
}

TEST_CASE("a prompt is computed even if more urgent ones never end", "[scheduler]") {
  const auto decoder = decoder_for(synthetic({}), few(3, 16));
  const auto patient = decoder->submit(request_for({"patient"}, std::string(80, 'p'), 1));
  REQUIRE(patient);
  Decoder::Progress progress;
  int made = 0;
  bool is_there = false;
  for (int steps = 0; steps < 2000 && !is_there; ++steps) {
    while (decoder->stats().scheduler.active + decoder->stats().scheduler.waiting < 3) {
      const std::string text = std::to_string(made++) + std::string(300, 'u');
      REQUIRE(decoder->submit(request_for({"urgent", 1, 1}, text, 1)));
    }
    decoder->step(progress);
    for (const auto& [id, turn] : progress.ended) is_there = is_there || id == *patient;
  }
  CHECK(is_there);
  CHECK(made > 10);
}

TEST_CASE("whoever waits is admitted at last, however many more urgent ones come", "[scheduler]") {
  const auto file = synthetic({});
  const auto decoder = decoder_for(file, few(1, 32));
  const auto urgent = [&] { REQUIRE(decoder->submit(request_for({"urgent", 5}, "now", 1))); };
  urgent();
  const auto patient = decoder->submit(request_for({"patient", -5}, "later", 1));
  REQUIRE(patient);
  Decoder::Progress progress;
  const auto is_done = [&] {
    return std::any_of(progress.ended.begin(), progress.ended.end(),
                       [&](const Decoder::Ended& one) { return one.first == *patient; });
  };
  while (!is_done() && progress.ended.size() < 100) {
    urgent();
    decoder->step(progress);
  }
  CHECK(is_done());
  CHECK(progress.ended.size() >= 30);  // it did not go first, either
}

}  // namespace ambit::inference
