#include "inference/engine.h"

#include "async/race.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "support.h"
#include "waiting_poller.h"

#include <catch2/catch.hpp>

namespace ambit::inference {

namespace {

struct House {
  WaitingPoller poller;
  Loop loop{poller};
  std::unique_ptr<Engine> engine;
  explicit House(EngineOptions options = {}, const SynthShape& shape = {}) {
    auto started = Engine::start(synthetic(shape), std::move(options), loop);
    REQUIRE(started);
    engine = std::move(*started);
  }
};

Task<void> generate_into(Engine& engine, agents::TurnRequest request,
                         std::vector<Result<agents::Turn>>& turns) {
  Result<agents::Turn> turn = co_await engine.generate(std::move(request));
  turns.push_back(std::move(turn));
}

}  // namespace

TEST_CASE("many turns run side by side and say what they would say alone", "[engine]") {
  House house;
  std::vector<Result<agents::Turn>> turns;
  Scope scope;
  for (int i = 0; i < 8; ++i)
    scope.spawn(generate_into(*house.engine, ask("tell " + std::to_string(i % 4), 12), turns));
  REQUIRE(house.loop.run_until([&] { return turns.size() == 8; }));
  std::map<std::string, int> texts;
  for (const auto& turn : turns) {
    REQUIRE(turn);
    CHECK(turn->message.role == agents::Role::assistant);
    CHECK(turn->usage.input_tokens > 0);
    CHECK(turn->usage.output_tokens <= 12);
    ++texts[turn->message.content];
  }
  for (const auto& [text, count] : texts) CHECK(count % 2 == 0);
  CHECK(house.engine->stats().scheduler.steps > 0);
  CHECK_THAT(house.engine->identity(),
             Catch::Matches("ambit_synthetic[.0-9]*@sha256:[0-9a-f]{64}"));
}

TEST_CASE("a turn that must call a tool calls it with valid arguments", "[engine]") {
  House house;
  agents::ToolSpec tool;
  tool.name = "open_ticket";
  tool.input_schema =
      R"({"type": "object", "properties": {"severity": {"enum": ["low", "high"]}, "owner": {"type": "string", "maxLength": 8}}, "required": ["severity", "owner"]})";
  agents::TurnRequest request = ask("help", 200);
  request.tools = std::make_shared<const std::vector<agents::ToolSpec>>(1, tool);
  request.output_schema = R"({"const": 1})";
  request.tool_choice = agents::ToolChoice::required;
  request.messages.push_back({agents::Role::assistant, "", {{"call_1", "x", "{}"}}, "", ""});
  std::vector<Result<agents::Turn>> turns;
  Scope scope;
  scope.spawn(generate_into(*house.engine, request, turns));
  REQUIRE(house.loop.run_until([&] { return !turns.empty(); }));
  REQUIRE(turns[0]);
  CHECK(turns[0]->finish == agents::FinishReason::tool_calls);
  REQUIRE_FALSE(turns[0]->message.tool_calls.empty());
  const agents::ToolCall& call = turns[0]->message.tool_calls[0];
  CHECK(call.name == "open_ticket");
  CHECK(call.id == "call_2");
  CHECK(call.arguments.starts_with("{\"severity\":\""));
  CHECK(turns[0]->usage.forced_tokens > 0);
}

TEST_CASE("the pieces of a streamed turn are its content, whole characters at a time", "[engine]") {
  House house;
  std::vector<Result<agents::Turn>> turns;
  std::vector<std::string> pieces;
  agents::TurnRequest request = ask("stream", 40);
  request.on_text = [&](const std::string& piece) { pieces.push_back(piece); };
  Scope scope;
  scope.spawn(generate_into(*house.engine, request, turns));
  REQUIRE(house.loop.run_until([&] { return !turns.empty(); }));
  REQUIRE(turns[0]);
  std::string joined;
  for (const std::string& piece : pieces) joined += piece;
  CHECK(joined == turns[0]->message.content);
  CHECK(pieces.size() > 3);
  // Cut at a text that ends it: nothing of what was cut is told.
  const std::string stop = joined.substr(joined.size() / 2, 2);
  const std::string expected = joined.substr(0, joined.find(stop));
  request.stop = {stop};
  pieces.clear();
  turns.clear();
  scope.spawn(generate_into(*house.engine, request, turns));
  REQUIRE(house.loop.run_until([&] { return !turns.empty(); }));
  joined.clear();
  for (const std::string& piece : pieces) joined += piece;
  CHECK(joined == expected);
  CHECK(turns[0].value().message.content == expected);
}

TEST_CASE("a streamed turn that is cancelled tells nothing more", "[engine]") {
  House house;
  std::vector<Result<agents::Turn>> turns;
  int told = 0;
  {
    Scope scope;
    agents::TurnRequest request = ask("stream", 1500);
    request.on_text = [&](const std::string&) { ++told; };
    scope.spawn(generate_into(*house.engine, request, turns));
    REQUIRE(house.loop.run_until([&] { return told > 0; }));
  }
  const int before = told;
  Scope scope;
  scope.spawn(generate_into(*house.engine, ask("after", 3), turns));
  REQUIRE(house.loop.run_until([&] { return !turns.empty(); }));
  CHECK(told == before);
}

TEST_CASE("what may be a call is told only when it is certain not to be one", "[engine]") {
  CHECK(sure_content(Dialect::hermes, "Let me look.\n<tool") == 12);
  CHECK(sure_content(Dialect::hermes, "Let me look.\n<tool_call>{") == 12);
  CHECK(sure_content(Dialect::hermes, "1 < 2") == 5);
  CHECK(sure_content(Dialect::hermes, "1 <") == 1);
  CHECK(sure_content(Dialect::llama, " {\"name\"") == 0);
  CHECK(sure_content(Dialect::llama, "Yes {") == 5);
  CHECK(begun("abcab", "abd") == 2);
  CHECK(begun("xyz", "abd") == 0);
}

TEST_CASE("a text is gone on with as it stands", "[engine]") {
  const auto file = synthetic({});
  const auto decoder = decoder_for(file);
  agents::TurnRequest request;
  request.text = "once upon";
  request.tokens_max = 4;
  const auto turn = decoder->complete(request);
  REQUIRE(turn);
  CHECK(turn->usage.input_tokens ==
        static_cast<std::int64_t>(file->tokenizer().encode_whole("once upon").size()));
  request.messages = ask("no").messages;
  CHECK(decoder->submit(request).error().message ==
        "a text to go on with and a conversation exclude each other");
}

TEST_CASE("an embedding is the same bits alone, in pieces, beside others and after a turn",
          "[engine][invariance]") {
  const auto file = synthetic({});
  const std::string text =
      "The registry lists every owner of a service, and who stands in at night.";
  const auto embed = [&](EngineOptions options, int beside, bool warm) {
    const auto decoder = decoder_for(file, std::move(options));
    if (warm)
      (void)decoder->complete([&] {
        agents::TurnRequest request;
        request.text = text;
        request.tokens_max = 3;
        return request;
      }());
    for (int i = 0; i < beside; ++i)
      REQUIRE(decoder->submit(ask("beside " + std::to_string(i), 5)));
    const auto id = decoder->submit(agents::EmbeddingRequest{text, 0});
    REQUIRE(id);
    Decoder::Progress progress;
    while (!decoder->idle()) decoder->step(progress);
    REQUIRE(progress.embedded.size() == 1);
    REQUIRE(progress.embedded[0].first == *id);
    return progress.embedded[0].second.value();
  };
  EngineOptions pieces;
  pieces.step_tokens_max = 5;
  pieces.batch_max = 4;
  const agents::Embedding alone = embed({}, 0, false);
  REQUIRE(alone.values.size() == file->model().config.width);
  double squares = 0;
  for (const float value : alone.values) squares += double{value} * double{value};
  CHECK(squares == Approx(1));
  CHECK(alone.tokens > 10);
  CHECK(embed(pieces, 0, false).values == alone.values);
  CHECK(embed({}, 5, false).values == alone.values);
  CHECK(embed({}, 0, true).values == alone.values);
  CHECK(embed(pieces, 3, true).values == alone.values);
}

TEST_CASE("an embedding comes back through the engine, and an empty text is refused", "[engine]") {
  House house;
  std::vector<Result<agents::Embedding>> made;
  const auto embed = [&](std::string text) -> Task<void> {
    agents::EmbeddingRequest request{std::move(text), 0};
    Result<agents::Embedding> embedding = co_await house.engine->embed(std::move(request));
    made.push_back(std::move(embedding));
  };
  Scope scope;
  scope.spawn(embed("a text"));
  scope.spawn(embed(""));
  REQUIRE(house.loop.run_until([&] { return made.size() == 2; }));
  const bool first_failed = !made[0];
  CHECK(made[first_failed ? 1 : 0].value().values.size() == 64);
  CHECK(made[first_failed ? 0 : 1].error().code == Code::invalid);
}

TEST_CASE("a turn without a deadline is not overtaken by every later one that has one",
          "[engine]") {
  EngineOptions options;
  options.batch_max = 1;
  House house(options);
  std::vector<std::string> ended;
  const auto told = [&](std::string name, agents::TurnRequest request) -> Task<void> {
    const auto turn = co_await house.engine->generate(std::move(request));
    if (turn) ended.push_back(std::move(name));
  };
  const auto due = [](std::int32_t due_s) {
    agents::TurnRequest request = ask("due", 2);
    request.due_s = due_s;
    return request;
  };
  constexpr std::int32_t patience = std::chrono::seconds(Waiters::patience).count();
  Scope scope;
  agents::TurnRequest first = ask("long", 1200);
  first.priority = 1;  // all others wait for it
  scope.spawn(told("long", std::move(first)));
  scope.spawn(told("never", ask("never", 2)));
  scope.spawn(told("late", due(1000 * patience)));
  scope.spawn(told("soon", due(patience - 1)));
  REQUIRE(house.loop.run_until([&] { return ended.size() == 4; }));
  CHECK(ended == std::vector<std::string>{"long", "soon", "never", "late"});
}

TEST_CASE("cancelling the task frees what its request used", "[engine]") {
  EngineOptions options;
  options.batch_max = 2;
  House house(options);
  std::vector<Result<agents::Turn>> turns;
  {
    Scope scope;
    for (int i = 0; i < 6; ++i)
      scope.spawn(generate_into(*house.engine, ask("long " + std::to_string(i), 1800), turns));
    scope.spawn(generate_into(*house.engine, ask("short", 1), turns));
    std::vector<Result<agents::Turn>> first;
    scope.spawn(generate_into(
        *house.engine,
        [] {
          auto r = ask("urgent", 1);
          r.priority = 9;
          return r;
        }(),
        first));
    REQUIRE(house.loop.run_until([&] { return !first.empty() || !turns.empty(); }));
  }
  std::vector<Result<agents::Turn>> after;
  Scope scope;
  scope.spawn(generate_into(*house.engine, ask("after", 3), after));
  REQUIRE(house.loop.run_until([&] { return !after.empty(); }));
  CHECK(after[0]);
  CHECK(house.engine->stats().scheduler.active == 0);
  CHECK(house.engine->stats().scheduler.waiting == 0);
  CHECK(house.engine->stats().kv.pages_pinned == 0);
}

TEST_CASE("requests that can never work get an error that says why", "[engine]") {
  EngineOptions options;
  options.kv_bytes = Forward::page_bytes(synthetic({})->model().config, KvType::f16) * 4;
  const auto decoder = decoder_for(synthetic({}), options);
  agents::TurnRequest empty;
  CHECK(decoder->submit(empty).error().code == Code::invalid);
  CHECK(decoder->submit(ask("x", 0)).error().code == Code::invalid);
  const auto big = decoder->submit(ask("x", 1000));
  CHECK(big.error().code == Code::exhausted);
  CHECK_THAT(big.error().message, Catch::Contains("KV cache is too small"));
  const auto full = decoder->submit(ask(std::string(5000, 'q'), 10));
  CHECK(full.error().code == Code::exhausted);
  CHECK_THAT(full.error().message, Catch::Contains("context is full"));
  agents::TurnRequest schema = ask("x", 10);
  schema.output_schema = "{";
  CHECK(decoder->submit(schema).error().code == Code::invalid);
  CHECK(decoder->idle());
}

TEST_CASE("an answer can be held to a schema", "[engine]") {
  const auto decoder = decoder_for(synthetic({}));
  agents::TurnRequest request = ask("rate it", 40);
  request.output_schema =
      R"({"type": "object", "properties": {"score": {"enum": [1, 2, 3]}}, "required": ["score"]})";
  const auto turn = decoder->complete(request);
  REQUIRE(turn);
  CHECK(turn->finish == agents::FinishReason::stop);
  CHECK_THAT(turn->message.content, Catch::Matches(R"(\{"score": ?[123]\})"));
}

TEST_CASE("a turn ends before the first text that it must not say", "[engine]") {
  const auto decoder = decoder_for(synthetic({}));
  agents::TurnRequest request = ask("tell me a lot", 80);
  request.output_schema =
      R"({"type":"array","items":{"enum":["a cup of tea","a sea of tea"]},"minItems":3,"maxItems":3})";
  const auto whole = decoder->complete(request);
  REQUIRE(whole);
  REQUIRE_THAT(whole->message.content, Catch::Contains(" of tea"));
  request.stop = {"never said by anybody", " of t", "tea\", "};
  const auto cut = decoder->complete(request);
  REQUIRE(cut);
  CHECK(cut->message.content ==
        whole->message.content.substr(0, whole->message.content.find(" of t")));
  CHECK(cut->finish == agents::FinishReason::stop);
  CHECK(cut->usage.output_tokens < whole->usage.output_tokens);
  request.stop.assign(65, "x");
  CHECK(decoder->submit(request).error().code == Code::invalid);
}

TEST_CASE("logprobs tell each token and what else was likely", "[engine]") {
  const auto decoder = decoder_for(synthetic({}));
  agents::TurnRequest request = ask("how sure are you", 12);
  request.logprobs = 3;
  const auto turn = decoder->complete(request);
  REQUIRE(turn);
  REQUIRE(turn->logprobs.size() == static_cast<std::size_t>(turn->usage.output_tokens));
  for (const auto& token : turn->logprobs) {
    REQUIRE(token.likeliest.size() == 3);
    CHECK(token.logprob == token.likeliest[0].second);  // greedy: it is the likeliest
    CHECK(token.text == token.likeliest[0].first);
    CHECK(token.logprob < 0);
    CHECK(token.likeliest[1].second >= token.likeliest[2].second);
  }
  request.logprobs = -1;
  CHECK(decoder->complete(request)->logprobs.empty());
  request.logprobs = 1000;
  CHECK(decoder->submit(request).error().code == Code::invalid);
}

TEST_CASE("a session's pages are found again, and are free when it is gone", "[engine]") {
  const auto decoder = decoder_for(synthetic({}));
  agents::TurnRequest request = ask(std::string(300, 'x') + " and then some", 8, "s1");
  const auto first = decoder->complete(request);
  REQUIRE(first);
  CHECK(first->usage.cached_tokens == 0);
  request.messages.push_back(first->message);
  request.messages.push_back({agents::Role::user, "more", {}, "", ""});
  const auto second = decoder->complete(request);
  REQUIRE(second);
  CHECK(second->usage.cached_tokens >= first->usage.input_tokens - 32);
  CHECK(decoder->stats().kv.pages_used > 0);
  decoder->observe("s1", agents::SessionEvent::gone);
  CHECK(decoder->stats().kv.pages_used == 0);
}

TEST_CASE("another session goes on with the pages of one that has ended", "[engine]") {
  const auto decoder = decoder_for(synthetic({}));
  agents::TurnRequest request = ask(std::string(300, 'x') + " and then some", 8, "s1");
  const auto first = decoder->complete(request);
  REQUIRE(first);
  decoder->observe("s1", agents::SessionEvent::ended);
  CHECK(decoder->stats().kv.sessions == 0);
  request.session = "s2";
  request.messages.push_back(first->message);
  request.messages.push_back({agents::Role::user, "more", {}, "", ""});
  const auto second = decoder->complete(request);
  REQUIRE(second);
  CHECK(second->usage.cached_tokens >= first->usage.input_tokens - 1);
}

TEST_CASE("stopping the engine answers who still waits", "[engine]") {
  House house;
  std::vector<Result<agents::Turn>> turns;
  Scope scope;
  scope.spawn(generate_into(*house.engine, ask("long", 1900), turns));
  house.loop.post_from_thread([&] { house.engine.reset(); });
  REQUIRE(house.loop.run_until([&] { return !turns.empty(); }));
  REQUIRE_FALSE(turns[0]);
  CHECK(turns[0].error().code == Code::closed);
}

TEST_CASE("options that make no sense are refused", "[engine]") {
  const auto file = synthetic({});
  EngineOptions options;
  options.threads = 0;
  CHECK_FALSE(Decoder::make(file, options));
  options = {};
  options.kv_bytes = 10;
  CHECK_THAT(Decoder::make(file, options).error().message, Catch::Contains("fewer than 2 pages"));
  options = {};
  options.instruction_set = "abacus";
  CHECK_THAT(Decoder::make(file, options).error().message, Catch::Contains("abacus"));
}

}  // namespace ambit::inference
