// What the walk over the vocabulary's trie allows, beside each token tried by itself.

#include "inference/dialect.h"
#include "inference/grammar.h"
#include "inference/json_schema.h"
#include "inference/json_text.h"
#include "support.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <set>

namespace ambit::inference {

namespace {

class Luck {
 public:
  explicit Luck(std::uint64_t seed) : seed_(seed) {}
  std::size_t operator()(std::size_t below) {
    return static_cast<std::size_t>(uniform(seed_, ++drawn_, 0) * static_cast<double>(below)) %
           below;
  }

 private:
  std::uint64_t seed_;
  std::uint64_t drawn_ = 0;
};

// All bytes, and texts of everything that JSON tells apart: long runs, characters of several bytes
// and halves of them, escapes, quotes in the middle.
Tokenizer varied_tokenizer(std::size_t size) {
  const std::vector<std::string> parts = {
      "a",    "e",    "t",    "cat", "z",      "A",        "F",        "_",    "-",
      " ",    "  ",   "0",    "1",   "29",     ".",        ":",        "\"",   "\\",
      "\\n",  "\\\"", "\\u0", "{",   "}",      "[",        "]",        ",",    ", ",
      "\":",  "\n",   "\t",   "é",   "日",     "\xE6\x97", "\x97\xA5", "🦙",   "\xF0\x9F",
      "\x7F", "\xFF", "<",    "/",   "<tool_", "call>",    "true",     "null", "-0",
      "e5",   "ca",   "at\"", "@",   "http",   "T",        "Z"};
  std::set<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.insert(std::string(1, static_cast<char>(byte)));
  for (const std::size_t run : {3U, 8U, 30U, 40U, 90U}) texts.insert(std::string(run, ' '));
  Luck luck(7);
  while (texts.size() < size) {
    std::string text;
    for (std::size_t count = 1 + luck(5); count > 0; --count) text += parts[luck(parts.size())];
    texts.insert(text);
  }
  std::vector<std::string> spelled = {"<|im_end|>"};
  for (const std::string& text : texts) spelled.push_back(byte_level_spelling(text));
  std::vector<std::int64_t> kinds(spelled.size(), 1);
  kinds[0] = 3;
  GgufWriter writer;
  writer.set("tokenizer.ggml.model", std::string("gpt2"));
  writer.set("tokenizer.ggml.pre", std::string("llama-bpe"));
  writer.set("tokenizer.ggml.tokens", std::move(spelled));
  writer.set("tokenizer.ggml.token_type", std::move(kinds));
  writer.set("tokenizer.ggml.merges", std::vector<std::string>{});
  writer.set("tokenizer.ggml.eos_token_id", std::uint64_t{0});
  const std::string bytes = writer.bytes();
  return *Tokenizer::load(*Gguf::parse(std::as_bytes(std::span(bytes))));
}

// Walks as a model could, and compares on the way. The tokens of `naive` are tried one by one, the
// last first, with an automaton of its own, so that neither finds what the other has met.
void compare(const Tokenizer& tokenizer, Grammar& fast, ExpressionId fast_state, Grammar& naive,
             ExpressionId naive_state, Luck& luck) {
  constexpr std::size_t steps_max = 10;
  for (std::size_t step = 0; step < steps_max; ++step) {
    const TokenMask mask = fast.mask(fast_state);
    std::vector<TokenId> open;
    std::string wrong;
    for (auto token = static_cast<TokenId>(tokenizer.size()); token-- > 0;) {
      const bool is_text = !tokenizer.bytes(token).empty();
      const bool alive = (is_text || tokenizer.ends_turn(token)) &&
                         naive.advance(naive_state, token) != Automaton::never;
      if (alive != mask.allows(token)) wrong += std::string(tokenizer.bytes(token)) + "|";
      if (alive && !tokenizer.ends_turn(token)) open.push_back(token);
    }
    REQUIRE(wrong.empty());
    if (open.empty()) return;
    const TokenId chosen = open[luck(open.size())];
    fast_state = fast.advance(fast_state, chosen);
    naive_state = naive.advance(naive_state, chosen);
  }
}

}  // namespace

TEST_CASE("a mask is what the tokens say one by one", "[grammar]") {
  const Tokenizer tokenizer = varied_tokenizer(2000);
  const auto schemas = parse_json(*read_text(PROJECT_ROOT "/tests/data/inference/schemas.json"));
  REQUIRE(schemas.size() >= 30);
  Grammar shared(tokenizer);  // as an engine has it: one automaton for all
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    INFO(schemas[i].dump());
    Grammar naive(tokenizer);
    const ExpressionId a = *json_language(shared.automaton(), schemas[i]);
    const ExpressionId b = *json_language(naive.automaton(), schemas[i]);
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      Luck luck(100 * i + seed);
      compare(tokenizer, shared, a, naive, b, luck);
    }
  }
}

TEST_CASE("a mask of free text with calls, and of long bounds, is what the tokens say",
          "[grammar]") {
  const Tokenizer tokenizer = varied_tokenizer(2000);
  agents::ToolSpec tool;
  tool.name = "cat";
  tool.input_schema =
      R"({"type": "object", "properties": {"a": {"type": "string", "minLength": 2, "maxLength": 31}}})";
  const std::vector<agents::ToolSpec> tools = {tool};
  TurnShape calls{&tools, agents::ToolChoice::automatic};
  TurnShape bounded;
  bounded.output_pattern = "[a-zA-F ]{0,35}|<[^>]*>| *";
  TurnShape rules;
  rules.output_grammar = "root ::= \"[\" item* \"]\"\nitem ::= [^\\]\"]{1,9} | root";
  for (const TurnShape& shape : {calls, bounded, rules}) {
    Grammar fast(tokenizer);
    Grammar naive(tokenizer);
    const ExpressionId a = *turn_language(fast.automaton(), Dialect::hermes, shape);
    const ExpressionId b = *turn_language(naive.automaton(), Dialect::hermes, shape);
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      Luck luck(seed);
      compare(tokenizer, fast, a, naive, b, luck);
    }
  }
}

}  // namespace ambit::inference
