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

// The turn, with what was left of it to compute.
AheadRun completed(Decoder& decoder, const agents::TurnRequest& request) {
  const std::uint64_t before = decoder.stats().scheduler.prompt_tokens;
  AheadRun run;
  decoder.scheduler().set_observer(
      [&](std::uint64_t, std::size_t position, std::span<const float> logits) {
        run.logits[position].assign(logits.begin(), logits.end());
      });
  const auto turn = decoder.complete(request);
  REQUIRE(turn);
  run.message = turn->message;
  run.usage = turn->usage;
  run.computed = decoder.stats().scheduler.prompt_tokens - before;
  CHECK(decoder.idle());
  return run;
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
  return completed(*decoder, request);
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
  decoder->foresee(calling(2));  // goes on from the one before
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  CHECK(progress.ended.empty());
}

namespace {

std::string long_result() {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += "line " + std::to_string(i * 7919) + " of the log, the sea is calm\n";
  return text + "done";
}

// The turn after a call whose result was told in parts before it was `result`.
AheadRun told_turn(const std::shared_ptr<const ModelFile>& file,
                   const std::vector<std::string>& parts, std::size_t steps,
                   const std::string& result) {
  EngineOptions options;
  options.step_tokens_max = 32;
  options.batch_max = 4;
  const auto decoder = decoder_for(file, options);
  agents::TurnRequest request = calling(1);
  Decoder::Progress progress;
  for (const std::string& part : parts) {
    decoder->foresee(request, part);
    for (std::size_t i = 0; i < steps && !decoder->idle(); ++i) decoder->step(progress);
  }
  REQUIRE(progress.ended.empty());
  request.messages.push_back(result_of(request, 0));
  std::vector<agents::Message> messages = request.messages;
  messages.back().content = result;
  request.messages = std::move(messages);
  return completed(*decoder, request);
}

}  // namespace

TEST_CASE("what is told of a result is computed before it is whole, to the same bits", "[ahead]") {
  const auto file = synthetic({});
  const std::string result = long_result();
  const std::vector<std::string> parts = {"", result.substr(0, 500), result.substr(0, 1017),
                                          result.substr(0, result.size() - 40)};
  const AheadRun plain = told_turn(file, {}, 0, result);
  CHECK(plain.computed > 600);
  for (const std::size_t steps : {0U, 1U, 2U, 7U, 1000U}) {
    INFO(steps << " steps");
    const AheadRun told = told_turn(file, parts, steps, result);
    CHECK(told.message == plain.message);
    CHECK(told.logits == plain.logits);
    CHECK(told.usage.input_tokens == plain.usage.input_tokens);
    CHECK(told.usage.cached_tokens == plain.usage.cached_tokens);
    CHECK(told.computed <= plain.computed);
    // The last 40 bytes, a word before them, and what the template writes after it.
    if (steps == 1000) CHECK(told.computed < 100);
  }
}

TEST_CASE("a result that is another one than was told costs and says the same", "[ahead]") {
  const auto file = synthetic({});
  const std::string told = long_result();
  const std::string failed = "error: line 7 is no number";
  const AheadRun plain = told_turn(file, {}, 0, failed);
  const AheadRun without = told_turn(file, {""}, 1000, failed);
  for (const std::size_t steps : {1U, 5U, 1000U}) {
    const AheadRun other =
        told_turn(file, {"", told.substr(0, 600), told.substr(0, 1200)}, steps, failed);
    CHECK(other.message == plain.message);
    CHECK(other.logits == plain.logits);
    CHECK(other.usage.cached_tokens == plain.usage.cached_tokens);
  }
  CHECK(told_turn(file, {"", told}, 1000, failed).computed <= without.computed);
}

TEST_CASE("only tokens are computed that the rest of a result cannot change", "[ahead]") {
  const auto file = synthetic({});
  // The last word of each part, and white space at its end, are not certain.
  for (const std::string part :
       {"the water is cal", "the water is calm \n \n", "the water <|im_en"}) {
    const auto decoder = decoder_for(file);
    decoder->foresee(calling(1), part);
    Decoder::Progress progress;
    while (!decoder->idle()) decoder->step(progress);
    const auto more = told_turn(file, {part}, 1000, part + "ly and more");
    INFO(part);
    // All that was computed ahead is found.
    const std::uint64_t ahead = decoder->stats().scheduler.prompt_tokens;
    CHECK(more.computed + ahead <= static_cast<std::uint64_t>(more.usage.input_tokens) + 1);
  }
}

TEST_CASE("while a beginning is computed, the latest of what is told waits alone", "[ahead]") {
  const auto file = synthetic({});
  EngineOptions options;
  options.step_tokens_max = 16;
  options.batch_max = 4;
  const auto decoder = decoder_for(file, options);
  const std::string result = long_result();
  decoder->foresee(calling(1));
  Decoder::Progress progress;
  decoder->step(progress);
  for (std::size_t bytes = 512; bytes < result.size(); bytes += 64) {
    decoder->foresee(calling(1), result.substr(0, bytes));
    CHECK(decoder->stats().scheduler.active + decoder->stats().scheduler.waiting == 1);
  }
  while (!decoder->idle()) decoder->step(progress);
  CHECK(progress.ended.empty());
  CHECK(decoder->stats().scheduler.prompt_tokens > 600);
  decoder->foresee(calling(1), result);
  decoder->foresee(calling(1), result + " and more");
  decoder->observe("s", agents::SessionEvent::gone);
  CHECK(decoder->idle());
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
