// What is computed of the next turn while a call runs.

#include "support.h"

#include <catch2/catch.hpp>

#include <map>

namespace ambit::inference {

namespace {

struct AheadRun {
  std::map<std::size_t, std::vector<float>> logits;  // of the second turn, by position
  agents::Message message;
  agents::Usage usage;
  std::uint64_t computed = 0;  // tokens of its prompt
};

agents::TurnRequest calling(std::size_t calls) {
  agents::ToolSpec tool;
  tool.name = "look";
  tool.input_schema =
      R"({"type": "object", "properties": {"at": {"enum": ["tea", "sea", "lea"]}}, "required": ["at"]})";
  agents::TurnRequest request = ask("Have a look at " + std::string(90, 't'), 24, "s");
  request.tools = std::make_shared<const std::vector<agents::ToolSpec>>(1, tool);
  agents::Message said{agents::Role::assistant, "I shall look. ", {}, "", ""};
  for (std::size_t i = 0; i < calls; ++i)
    said.tool_calls.push_back(
        {"call_1_" + std::to_string(i + 1), "look",
         R"({"at":"sea and more of the same, to make the call a long one"})"});
  request.messages.push_back(std::move(said));
  return request;
}

agents::Message result_of(const agents::TurnRequest& request, std::size_t call) {
  const agents::ToolCall& made = request.messages[1].tool_calls[call];
  return {agents::Role::tool, "the water is calm\n", {}, made.id, made.name};
}

// The turn after the calls. `steps`: how many are made in the shadow of each call; none: nothing is
// computed ahead.
AheadRun second_turn(const std::shared_ptr<const ModelFile>& file, std::size_t calls,
                     std::optional<std::size_t> steps) {
  EngineOptions options;
  options.step_tokens_max = 32;
  options.batch_max = 4;
  const auto decoder = decoder_for(file, options);
  agents::TurnRequest request = calling(calls);
  Decoder::Progress progress;
  for (std::size_t call = 0; call < calls; ++call) {
    if (steps) decoder->foresee(request);
    for (std::size_t i = 0; steps && i < *steps && !decoder->idle(); ++i) decoder->step(progress);
    request.messages.push_back(result_of(request, call));
  }
  REQUIRE(progress.ended.empty());
  const std::uint64_t before = decoder->stats().scheduler.prompt_tokens;
  AheadRun run;
  decoder->scheduler().set_observer(
      [&](std::uint64_t, std::size_t position, std::span<const float> logits) {
        run.logits[position].assign(logits.begin(), logits.end());
      });
  const auto turn = decoder->complete(request);
  REQUIRE(turn);
  run.message = turn->message;
  run.usage = turn->usage;
  run.computed = decoder->stats().scheduler.prompt_tokens - before;
  CHECK(decoder->idle());
  return run;
}

}  // namespace

TEST_CASE("while a call runs, all of the next prompt but its result is computed", "[ahead]") {
  const auto file = synthetic({});
  REQUIRE(file != nullptr);
  const AheadRun plain = second_turn(file, 1, std::nullopt);
  const AheadRun ahead = second_turn(file, 1, 1000);
  CHECK(ahead.message == plain.message);
  CHECK(ahead.logits == plain.logits);
  CHECK(ahead.usage.input_tokens == plain.usage.input_tokens);
  CHECK(plain.computed > 200);
  // The result, what the template writes after it, and the token before it.
  const auto result = static_cast<std::uint64_t>(
      file->tokenizer().encode("the water is calm\n<|im_end|>\n<|im_start|>assistant\n").size());
  CHECK(ahead.computed <= result + 2);
}

TEST_CASE("what was computed ahead is paid for by the turn that needs it", "[ahead]") {
  const auto file = synthetic({});
  const AheadRun plain = second_turn(file, 1, std::nullopt);
  for (const std::size_t steps : {0U, 1U, 3U, 1000U})
    CHECK(second_turn(file, 1, steps).usage.cached_tokens == plain.usage.cached_tokens);
  CHECK(second_turn(file, 3, 1000).usage.cached_tokens ==
        second_turn(file, 3, std::nullopt).usage.cached_tokens);
}

TEST_CASE("a turn that comes before its prompt is computed ahead has the same bits", "[ahead]") {
  const auto file = synthetic({});
  const AheadRun plain = second_turn(file, 2, std::nullopt);
  for (const std::size_t steps : {0U, 1U, 2U, 3U, 5U, 1000U}) {
    const AheadRun ahead = second_turn(file, 2, steps);
    INFO(steps << " steps");
    CHECK(ahead.message == plain.message);
    CHECK(ahead.logits == plain.logits);
    CHECK(ahead.computed <= plain.computed);
  }
}

TEST_CASE("of several calls, the results of the first are computed while the next one runs",
          "[ahead]") {
  const auto file = synthetic({});
  const AheadRun one = second_turn(file, 1, 1000);
  const AheadRun three = second_turn(file, 3, 1000);
  CHECK(three.computed <= one.computed + 4);
}

TEST_CASE("nothing is computed ahead for a session that is gone, or for no call", "[ahead]") {
  const auto file = synthetic({});
  const auto decoder = decoder_for(file);
  decoder->foresee(calling(1));
  CHECK_FALSE(decoder->idle());
  decoder->observe("s", agents::SessionEvent::gone);
  CHECK(decoder->idle());
  CHECK(decoder->stats().kv.pages_used == 0);
  decoder->foresee(ask("no call", 8, "s"));
  CHECK(decoder->idle());
  agents::TurnRequest answered = calling(1);
  answered.messages.push_back(result_of(answered, 0));
  decoder->foresee(answered);
  CHECK(decoder->idle());
  decoder->foresee(calling(1));
  decoder->foresee(calling(2));  // takes the place of the one before
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  CHECK(progress.ended.empty());
}

TEST_CASE("what is computed ahead gives way to what somebody waits for", "[ahead]") {
  const auto file = synthetic({});
  EngineOptions options;
  options.step_tokens_max = 16;
  options.batch_max = 4;
  const auto decoder = decoder_for(file, options);
  decoder->foresee(calling(2));
  Decoder::Progress progress;
  decoder->step(progress);
  const std::uint64_t steps_before = decoder->stats().scheduler.steps;
  const auto turn = decoder->complete(ask("in a hurry", 1, "other"));
  REQUIRE(turn);
  const auto prompt = static_cast<std::uint64_t>(turn->usage.input_tokens);
  CHECK(decoder->stats().scheduler.steps - steps_before <= prompt / 16 + 2);
  CHECK_FALSE(decoder->idle());
}

}  // namespace ambit::inference
