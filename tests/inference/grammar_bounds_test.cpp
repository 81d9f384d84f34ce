// Grammars that would take for ever, or all memory, or the whole stack.

#include "inference/gbnf.h"
#include "inference/grammar.h"
#include "inference/json_schema.h"
#include "inference/json_text.h"
#include "support.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ambit::inference {

namespace {

using Catch::Contains;

// What is in all of some languages whose states multiply with each other.
std::string hostile_schema(int patterns) {
  std::string all;
  for (int i = 0; i < patterns; ++i)
    all += std::string(i == 0 ? "" : ",") + R"({"type":"string","pattern":"^(a|b)*a(a|b){)" +
           std::to_string(10 + i) + R"(}c"})";
  return R"({"allOf":[)" + all + "]}";
}

std::string chain_of_rules(int count, bool turned) {
  std::string grammar = "root ::= r0\n";
  const std::string last = "r" + std::to_string(count) + " ::= \"a\"\n";
  if (turned) grammar += last;
  for (int i = 0; i < count; ++i) {
    const int rule = turned ? count - 1 - i : i;
    grammar += "r" + std::to_string(rule) + " ::= r" + std::to_string(rule + 1) + " \"x\"\n";
  }
  return turned ? grammar : grammar + last;
}

agents::TurnRequest bound_by(const std::string& schema) {
  agents::TurnRequest request = ask("say", 24);
  request.output_schema = schema;
  return request;
}

}  // namespace

TEST_CASE("rules that begin with rules are followed, or refused where they go too deep",
          "[grammar]") {
  const bool turned = GENERATE(false, true);
  Automaton automaton;
  const auto some = gbnf_language(automaton, chain_of_rules(20, turned));
  REQUIRE(some);
  CHECK(automaton.step(*some, 'a') != Automaton::never);
  CHECK(automaton.step(*some, 'x') == Automaton::never);
  const auto deep = gbnf_language(automaton, chain_of_rules(40, turned));
  REQUIRE(!deep);
  CHECK(deep.error().code == Code::exhausted);
  CHECK_THAT(deep.error().message, Contains("begins with rules that begin with rules"));
  const auto many = gbnf_language(automaton, chain_of_rules(15'000, turned));
  REQUIRE(!many);
  CHECK_THAT(many.error().message, Contains("more than 2000 rules"));
}

TEST_CASE("a grammar as deep as is allowed is followed to its bottom", "[grammar]") {
  std::string grammar = "root ::= r0\n";
  for (int i = 0; i < 28; ++i) {
    std::string body = "r" + std::to_string(i + 1);
    for (int depth = 0; depth < 19; ++depth) body = "(" + body + " \"x\" | \"y\")+";
    grammar += "r" + std::to_string(i) + " ::= " + body + "\n";
  }
  Automaton automaton;
  const auto language = gbnf_language(automaton, grammar + "r28 ::= \"a\"\n");
  REQUIRE(language);
  CHECK(automaton.step(*language, 'a') != Automaton::never);
  CHECK(!automaton.is_overrun());
}

TEST_CASE("parts that may be left out can be any number", "[grammar]") {
  std::string grammar = "root ::=";
  for (int i = 0; i < 20'000; ++i) grammar += " \"" + std::to_string(i) + ".\"?";
  Automaton automaton;
  const auto language = gbnf_language(automaton, grammar + " \"end\"");
  REQUIRE(language);
  ExpressionId state = *language;
  for (const char c : std::string("17.19999.end")) {
    REQUIRE(state != Automaton::never);
    state = automaton.step(state, static_cast<unsigned char>(c));
  }
  CHECK(automaton.may_end(state));
  CHECK(!automaton.is_overrun());
}

TEST_CASE("expressions nested without end cost the automaton, not the stack", "[grammar]") {
  Automaton automaton;
  const ExpressionId a = automaton.text("a");
  ExpressionId nested = a;
  for (int i = 0; i < 5000; ++i)
    nested = automaton.sequence(automaton.repeat(nested, 1, 2), automaton.text("b"));
  CHECK(automaton.step(nested, 'a') == Automaton::never);
  CHECK(automaton.is_overrun());
  CHECK(automaton.is_full());
}

TEST_CASE("a mask that could not be finished is not kept", "[grammar]") {
  const auto file = synthetic({});
  Grammar grammar(file->tokenizer());
  const auto state = json_language(grammar.automaton(), parse_json(hostile_schema(2)));
  REQUIRE(state);
  Grammar other(file->tokenizer());
  const auto same = json_language(other.automaton(), parse_json(hostile_schema(2)));
  REQUIRE(same);
  const TokenMask whole = other.mask(*same);
  for (const std::int64_t work : {0, 1, 10, 30}) {
    grammar.automaton().allow(work);
    (void)grammar.mask(*state);
    CHECK(grammar.automaton().is_overrun());
  }
  grammar.automaton().allow(1'000'000);
  const TokenMask again = grammar.mask(*state);
  CHECK(!grammar.automaton().is_overrun());
  for (std::size_t token = 0; token < file->tokenizer().size(); ++token)
    REQUIRE(again.allows(static_cast<TokenId>(token)) == whole.allows(static_cast<TokenId>(token)));
}

TEST_CASE("an answer that takes too much work ends in an error, and others do not notice",
          "[grammar]") {
  const auto file = synthetic({});
  const auto decoder = decoder_for(file);
  const auto alone = decoder->complete(bound_by(R"({"enum":["yes","no"]})"));
  REQUIRE(alone);
  const auto hostile = decoder->submit(bound_by(hostile_schema(3)));
  const auto harmless = decoder->submit(bound_by(R"({"enum":["yes","no"]})"));
  REQUIRE(harmless);
  Decoder::Progress progress;
  while (!decoder->idle()) decoder->step(progress);
  int failed = hostile ? 0 : 1;
  for (const auto& [id, turn] : progress.ended) {
    if (id == *harmless) {
      REQUIRE(turn);
      CHECK(turn->message.content == alone->message.content);
    } else if (!turn) {
      ++failed;
      CHECK(turn.error().code == Code::exhausted);
    }
  }
  CHECK(failed == 1);
}

}  // namespace ambit::inference
