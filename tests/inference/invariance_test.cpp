#include "support.h"

#include <catch2/catch.hpp>

#include <map>
#include <tuple>

namespace ambit::inference {

namespace {

// Every logit that a run asked for, by the text of the session and the position.
using Seen = std::map<std::pair<std::string, std::size_t>, std::vector<float>>;

struct Outcome {
  Seen logits;
  std::map<std::string, std::string> texts;
  EngineStats stats;
};

std::vector<std::string> prompts() {
  const std::string shared =
      "You are one of many agents at a desk. The rules: read the report, search the logs, and open "
      "a ticket with the owner. ";
  std::vector<std::string> out;
  for (int i = 0; i < 7; ++i)
    out.push_back(shared + std::string(static_cast<std::size_t>(i * 13), 'e') + " report " +
                  std::to_string(i * i));
  return out;
}

agents::TurnRequest request_of(const std::string& prompt, std::size_t index) {
  agents::TurnRequest request = ask(prompt, 20, prompt);
  request.sampling.temperature = index % 2 == 0 ? 0.0 : 0.9;
  request.sampling.seed = index;
  if (index % 3 == 0) {
    agents::ToolSpec tool;
    tool.name = "look";
    tool.input_schema =
        R"({"type": "object", "properties": {"at": {"enum": ["tea", "sea", "lea"]}}, "required": ["at"]})";
    request.tools = std::make_shared<const std::vector<agents::ToolSpec>>(1, tool);
    request.tool_choice = agents::ToolChoice::required;
  }
  return request;
}

// Runs all prompts, `together` at a time; `rounds` > 1 asks again, when everything is cached.
Outcome run(const std::shared_ptr<const ModelFile>& file, EngineOptions options,
            std::size_t together, int rounds = 1) {
  Outcome outcome;
  const auto decoder = decoder_for(file, std::move(options));
  const auto all = prompts();
  for (int round = 0; round < rounds; ++round) {
    outcome.logits.clear();
    for (std::size_t start = 0; start < all.size(); start += together) {
      std::map<std::uint64_t, std::string> open;
      for (std::size_t i = start; i < std::min(start + together, all.size()); ++i)
        open[*decoder->submit(request_of(all[i], i))] = all[i];
      decoder->scheduler().set_observer(
          [&](std::uint64_t id, std::size_t position, std::span<const float> logits) {
            outcome.logits[{open.at(id), position}].assign(logits.begin(), logits.end());
          });
      Decoder::Progress progress;
      while (!decoder->idle()) decoder->step(progress);
      for (const auto& [id, turn] : progress.ended) {
        REQUIRE(turn);
        std::string text = turn->message.content;
        for (const auto& call : turn->message.tool_calls) text += "|" + call.name + call.arguments;
        outcome.texts[open.at(id)] = text;
      }
    }
  }
  outcome.stats = decoder->stats();
  return outcome;
}

EngineOptions options(std::size_t batch, std::size_t step, std::size_t threads = 1,
                      std::size_t kv_bytes = 64U << 20U) {
  EngineOptions made;
  made.batch_max = batch;
  made.step_tokens_max = step;
  made.threads = threads;
  made.kv_bytes = kv_bytes;
  return made;
}

}  // namespace

TEST_CASE("a session's logits and tokens are the same bits whoever shares the engine",
          "[invariance]") {
  SynthShape shape;
  shape.type = DType::f16;
  const auto file = synthetic(shape);
  const Outcome alone = run(file, options(1, 1), 1);
  REQUIRE(alone.logits.size() > 60);
  REQUIRE(alone.texts.size() == 7);
  const auto same = [&](const Outcome& other) {
    CHECK(other.texts == alone.texts);
    CHECK(other.logits == alone.logits);
  };
  SECTION("in a batch") {
    same(run(file, options(7, 64), 7));
  }
  SECTION("in a batch that is cut into tiny steps") {
    same(run(file, options(3, 5), 7));
  }
  SECTION("in one big step") {
    same(run(file, options(64, 4096), 7));
  }
  SECTION("with more threads") {
    same(run(file, options(7, 64, 2), 7));
  }
  SECTION("when all of it is cached") {
    const Outcome warm = run(file, options(7, 64), 7, 2);
    same(warm);
    CHECK(warm.stats.scheduler.cached_tokens > 500);
  }
  SECTION("when memory is short and pages are thrown out") {
    const std::size_t page = Forward::page_bytes(file->model().config, KvType::f16);
    const Outcome tight = run(file, options(7, 64, 1, page * 24), 7, 3);
    same(tight);
    CHECK(tight.stats.kv.evicted > 0);
  }
  SECTION("when memory is short and pages go to disk and come back") {
    const std::size_t page = Forward::page_bytes(file->model().config, KvType::f16);
    EngineOptions tight = options(7, 64, 1, page * 24);
    tight.kv_disk_folder = std::filesystem::temp_directory_path().string();
    tight.kv_disk_bytes = page * 1000;
    tight.kv_disk_pays = true;
    const Outcome moved = run(file, tight, 2, 3);
    same(moved);
    CHECK(moved.stats.kv.evicted == 0);
    CHECK(moved.stats.kv.disk.read > 0);
  }
}

TEST_CASE("drafts change no bit and no token, and save steps where a text repeats itself",
          "[invariance]") {
  SynthShape shape;
  shape.type = DType::q8_0;
  const auto file = synthetic(shape);
  const auto decode = [&](std::size_t draft_max, double temperature) {
    EngineOptions made = options(4, 64);
    made.draft_max = draft_max;
    const auto decoder = decoder_for(file, made);
    std::map<std::size_t, std::vector<float>> logits;
    decoder->scheduler().set_observer(
        [&](std::uint64_t, std::size_t position, std::span<const float> seen) {
          logits[position].assign(seen.begin(), seen.end());
        });
    // Held to a few sentences again and again: what comes next was said before.
    agents::TurnRequest request = ask("count the rows of tea", 160);
    request.sampling.temperature = temperature;
    request.output_schema =
        R"({"type":"array","items":{"enum":["the first cup of tea","the other cup of tea"]},"minItems":8,"maxItems":12})";
    const auto turn = decoder->complete(request);
    REQUIRE(turn);
    return std::tuple(turn->message.content, logits, decoder->stats().scheduler);
  };
  for (const double temperature : {0.0, 0.9}) {
    const auto [text, logits, plain] = decode(0, temperature);
    const auto [again, same, drafted] = decode(6, temperature);
    CHECK(again == text);
    CHECK(same == logits);
    CHECK(plain.drafted_tokens == 0);
    CHECK(drafted.output_tokens == plain.output_tokens);
    CHECK(drafted.steps <= plain.steps);
  }
}

TEST_CASE("a model that repeats itself is decoded in fewer steps", "[invariance]") {
  SynthShape shape;
  shape.layers = 1;
  const auto file = synthetic(shape);
  const auto steps = [&](std::size_t draft_max) {
    EngineOptions made = options(1, 64);
    made.draft_max = draft_max;
    const auto decoder = decoder_for(file, made);
    agents::TurnRequest request = ask("the tea the tea the tea", 400);
    request.sampling.logit_bias = {{256, -1000.0}, {257, -1000.0}, {258, -1000.0}};  // no end
    const auto turn = decoder->complete(request);
    REQUIRE(turn);
    return std::tuple(turn->message.content, decoder->stats().scheduler,
                      turn->usage.drafted_tokens);
  };
  const auto [text, plain, none] = steps(0);
  const auto [again, drafted, kept] = steps(6);
  CHECK(again == text);
  CHECK(none == 0);
  // Greedy decoding of so small a model runs into a circle.
  CHECK(drafted.accepted_tokens == static_cast<std::uint64_t>(kept));
  CHECK(drafted.steps < plain.steps);
  CHECK(drafted.accepted_tokens > 20);
}

TEST_CASE("sessions that begin alike compute the beginning once", "[invariance]") {
  const auto file = synthetic({});
  const Outcome together = run(file, options(7, 512), 7);
  const Outcome apart = run(file, options(1, 512), 1);
  CHECK(together.texts == apart.texts);
  CHECK(together.stats.scheduler.prompt_tokens <=
        apart.stats.scheduler.prompt_tokens + 7 * page_tokens);
  CHECK(together.stats.scheduler.cached_tokens > 200);
}

}  // namespace ambit::inference
