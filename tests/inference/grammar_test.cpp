#include "inference/grammar.h"

#include "inference/dialect.h"
#include "inference/gbnf.h"
#include "inference/json_schema.h"
#include "inference/pattern_language.h"
#include "support.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

bool accepts(Automaton& automaton, ExpressionId language, const std::string& text) {
  for (const char c : text) language = automaton.step(language, static_cast<unsigned char>(c));
  return automaton.may_end(language);
}

struct SchemaCase {
  const char* schema;
  std::vector<const char*> accepted;
  std::vector<const char*> refused;
};

// Any text that the grammar allows, drawn token by token with no model at all.
std::string random_walk(Grammar& grammar, const Tokenizer& tokenizer, ExpressionId state,
                        std::uint64_t seed) {
  std::string text;
  std::vector<TokenId> past = {0};
  std::vector<float> logits(tokenizer.size());
  agents::Sampling how;
  how.temperature = 1.0;
  how.seed = seed;
  for (int i = 0; i < 4000; ++i) {
    // Quotes and brackets grow likelier, so that walks end.
    for (std::size_t t = 0; t < logits.size(); ++t) {
      const std::string_view bytes = tokenizer.bytes(static_cast<TokenId>(t));
      const bool closes = bytes.empty() || bytes.find_first_of("\"]},") != std::string_view::npos;
      logits[t] = closes ? static_cast<float>(i) / 40.0F : 0.0F;
    }
    const TokenMask& mask = grammar.mask(state);
    const TokenId token = Sampler().sample(logits, &mask, past, how);
    if (token < 0) return text + " <stuck>";
    if (tokenizer.ends_turn(token)) return text;
    past.push_back(token);
    text += tokenizer.bytes(token);
    state = grammar.advance(state, token);
    if (state == Automaton::nothing) return text;
  }
  return text + " <endless>";
}

std::vector<agents::ToolSpec> two_tools() {
  agents::ToolSpec grep;
  grep.name = "grep";
  grep.input_schema =
      R"({"type": "object", "properties": {"pattern": {"type": "string"}, "limit": {"type": "integer"}}, "required": ["pattern"]})";
  agents::ToolSpec close;
  close.name = "close";
  close.input_schema =
      R"({"type": "object", "properties": {"state": {"enum": ["open", "done"]}}, "required": ["state"]})";
  return {grep, close};
}

}  // namespace

TEST_CASE("an automaton accepts its language and nothing else", "[grammar]") {
  Automaton a;
  ByteSet digits;
  for (unsigned c = '0'; c <= '9'; ++c) digits.set(c);
  const ExpressionId number = a.repeat(a.bytes(digits), 1, 3);
  CHECK(accepts(a, number, "1"));
  CHECK(accepts(a, number, "123"));
  CHECK_FALSE(accepts(a, number, ""));
  CHECK_FALSE(accepts(a, number, "1234"));
  CHECK_FALSE(accepts(a, number, "12x"));
  const ExpressionId word =
      a.either({a.text("cat"), a.text("car"), a.sequence(a.text("c"), number)});
  CHECK(accepts(a, word, "car"));
  CHECK(accepts(a, word, "c42"));
  CHECK_FALSE(accepts(a, word, "ca"));
  CHECK(a.text("abc") == a.sequence(a.text("a"), a.text("bc")));
  CHECK(a.either({a.text("x"), Automaton::never}) == a.text("x"));
  CHECK(a.sequence(a.text("x"), Automaton::never) == Automaton::never);
  CHECK(accepts(a, a.repeat(a.optional(a.text("a")), 3, 5), ""));
}

TEST_CASE("free text runs until its tag, however the tag overlaps itself", "[grammar]") {
  Automaton a;
  const ExpressionId language = a.until("aab", a.text("!"), true);
  CHECK(accepts(a, language, ""));
  CHECK(accepts(a, language, "xaaaaa"));
  CHECK(accepts(a, language, "aaaab!"));
  CHECK_FALSE(accepts(a, language, "aaaab"));
  CHECK_FALSE(accepts(a, language, "aab!x"));
  CHECK_FALSE(accepts(a, a.until("aab", a.text("!"), false), "xyz"));
  CHECK_FALSE(accepts(a, a.until("aab", Automaton::never, true), "aab"));
}

TEST_CASE("schemas accept what they allow and refuse the rest", "[grammar]") {
  const std::vector<SchemaCase> cases = {
      {R"({"type": "string"})",
       {R"("")", R"("a b")", R"("\n\u00e9\\")", "\"\xC3\xA9\"", R"("\ud83e\udd99")"},
       {"", "x", R"("a)", R"("\x")", "\"\n\"", R"("\ud800")", R"("\udd99")", "\"\xFF\"",
        "\"\xED\xA0\x80\""}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("abc")", R"("\n\n")", "\"\xC3\xA9\xC3\xA9\xC3\xA9\""},
       {R"("a")", R"("abcd")"}},
      {R"({"type": "integer"})",
       {"0", "-7", "123456789012345678"},
       {"", "01", "-", "1.0", "+1", "1e3", "1234567890123456789"}},
      {R"({"type": "number"})",
       {"0", "-7.25", "1e9", "1.5E-3"},
       {".5", "1.", "1e", "1e999", "NaN"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"True", "1", ""}},
      {R"({"type": "null"})", {"null"}, {"none"}},
      {R"({"type": ["string", "null"]})", {"\"x\"", "null"}, {"1"}},
      {R"({"enum": ["a b", 3, null, {"k": [1, 2]}]})",
       {"\"a b\"", "3", "null", R"({"k": [1, 2]})", R"({"k":[1,2]})"},
       {"\"a\"", "4", R"({"k": [1]})"}},
      {R"({"const": "only"})", {"\"only\""}, {"\"other\""}},
      {R"({"type": "array", "items": {"type": "integer"}})",
       {"[]", "[1]", "[1, 2,3]"},
       {"[", "[1 ,2]", "[1,]", "[\"a\"]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2})",
       {"[1]", "[1, 2]"},
       {"[]", "[1, 2, 3]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}})",
       {"[1, 2]", "[1, 2, 3, 3]"},
       {"[]", "[1]", "[1, 3]", "[1, 2, 4]"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "null"}}, "required": ["b"]})",
       {R"({"b": "x"})", R"({"a": 1, "b": "x"})", R"({"a":1,"b":"","c":null})",
        R"({"b": "x", "c": null})"},
       {"{}", R"({"a": 1})", R"({"b": "x", "a": 1})", R"({"b": "x",})", R"({"b": "x", "d": 1})",
        R"({ "b": "x"})"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}})",
       {"{}", R"({"a": 1})"},
       {R"({,"a": 1})"}},
      {R"({"type": "object", "properties": {}})", {"{}"}, {R"({"a": 1})"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"x": 1, "y": 2})"},
       {R"({"x": "1"})"}},
      {R"({"type": "object"})", {"{}", R"({"x": [1, {"y": null}]})"}, {"[]"}},
      {R"({"required": ["a"]})", {R"({"a": [1]})"}, {"{}"}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}]})",
       {"5", R"({"k": 1})"},
       {"{}", "\"5\""}},
      {R"({"$defs": {"n": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/n"}}, "required": ["v"]}}, "$ref": "#/$defs/n"})",
       {R"({"v": 1})", R"({"v": 1, "next": {"v": 2, "next": {"v": 3}}})"},
       {R"({"next": {"v": 1}})"}},
      {"true", {"1", "[]", R"({"a": "b"})"}, {"x"}},
      {R"({"type": "object", "properties": {"a\"b": {"type": "null"}}})",
       {R"({"a\"b": null})"},
       {R"({"a"b": null})"}},
  };
  for (const SchemaCase& each : cases) {
    INFO(each.schema);
    Automaton automaton;
    const auto language = json_language(automaton, Json::parse(each.schema));
    REQUIRE(language);
    for (const char* text : each.accepted) {
      INFO(text);
      CHECK(accepts(automaton, *language, text));
      CHECK_FALSE(Json::parse(text, nullptr, false).is_discarded());
    }
    for (const char* text : each.refused) {
      INFO(text);
      CHECK_FALSE(accepts(automaton, *language, text));
    }
  }
}

TEST_CASE("patterns, formats and bounds are kept by every text", "[grammar]") {
  const std::vector<SchemaCase> cases = {
      {R"({"type": "string", "pattern": "^[a-z]{2,3}-\\d+$"})",
       {R"("ab-1")", R"("abc-0042")"},
       {R"("a-1")", R"("ab-")", R"("ab-1 ")", R"("\u0061b-1")"}},
      {R"({"type": "string", "pattern": "b\"c"})", {R"("ab\"c\nd")", R"("b\"c")"}, {R"("bc")"}},
      {R"({"type": "string", "pattern": "^a|b$"})", {R"("ax")", R"("xb")"}, {R"("xa")", R"("bx")"}},
      {R"({"type": "string", "pattern": "^é+$"})", {"\"é\"", "\"éé\""}, {"\"e\"", "\"\xC3\""}},
      {R"({"type": "string", "pattern": "^[ab]*$", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("bbb")"},
       {R"("a")", R"("abab")", R"("ac")"}},
      {R"({"type": "string", "format": "date"})",
       {R"("2026-02-28")", R"("2026-12-31")"},
       {R"("2026-02-30")", R"("2026-13-01")", R"("26-01-01")"}},
      {R"({"type": "string", "format": "date-time"})",
       {R"("2026-11-21T10:00:00Z")", R"("2026-11-21T10:00:00.5+02:00")"},
       {R"("2026-11-21 10:00:00Z")", R"("2026-11-21T25:00:00Z")"}},
      {R"({"type": "string", "format": "ipv4"})", {R"("10.0.255.1")"}, {R"("10.0.256.1")"}},
      {R"({"type": "string", "format": "uuid"})",
       {R"("01a1fdba-aaed-79e0-8601-2f864e2e47fa")"},
       {R"("01a1fdba")"}},
      {R"({"type": "integer", "minimum": 7, "maximum": 1203})",
       {"7", "10", "999", "1203"},
       {"6", "1204", "07", "-8", "7.0"}},
      {R"({"type": "integer", "minimum": -12, "exclusiveMaximum": 3})",
       {"-12", "-9", "0", "2"},
       {"-13", "3", "-0"}},
      {R"({"type": "integer", "minimum": 0, "maximum": 20, "multipleOf": 5})",
       {"0", "5", "20"},
       {"3", "25"}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "1", "0.5", "0.123456789", "1.0"},
       {"1.1", "-0.1", "1.00001", "1e9", "2"}},
      {R"({"type": "number", "exclusiveMinimum": -0.5, "maximum": 0.25})",
       {"-0.49", "0", "0.25", "0.2499999", "-0.1"},
       {"-0.5", "-0.51", "0.26", "1"}},
  };
  for (const SchemaCase& each : cases) {
    Automaton automaton;
    INFO(each.schema);
    const auto language = json_language(automaton, Json::parse(each.schema));
    REQUIRE(language);
    for (const char* text : each.accepted) {
      INFO(text);
      CHECK(accepts(automaton, *language, text));
    }
    for (const char* text : each.refused) {
      INFO(text);
      CHECK_FALSE(accepts(automaton, *language, text));
    }
  }
}

TEST_CASE("schemas hold together, refer to themselves and name their keys", "[grammar]") {
  const std::vector<SchemaCase> cases = {
      {R"({"allOf": [{"type": "string"}, {"minLength": 1}]})", {R"("x")"}, {R"("")", "1"}},
      {R"({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                     {"properties": {"b": {"type": "null"}}}]})",
       {R"({"a":1})", R"({"a":1,"b":null})"},
       {R"({})", R"({"b":null})", R"({"a":"x"})"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
           "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})",
       {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"},
       {"{}"}},
      {R"({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"},
           "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"]}},
           "$ref": "#/$defs/tree"})",
       {R"({"v":1})",
        R"({"v":1,"kids":[{"v":2,"kids":[{"v":3,"kids":[{"v":4,"kids":[{"v":5,"kids":[]}]}]}]}]})"},
       {R"({"v":1,"kids":[{"kids":[]}]})", R"({"v":1,"kids":[{"v":2}})"}},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", {"null"}, {"1"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}},
           "additionalProperties": {"type": "boolean"}})",
       {R"({"a":1})", R"({"a":1,"b":true,"c":false})", R"({"x":true})", "{}"},
       {R"({"a":true})", R"({"b":1})", R"({"b":true,"a":1})", R"({"\u0061":true})"}},
      {R"({"type": "object", "patternProperties": {"^n_": {"type": "integer"}},
           "additionalProperties": false})",
       {"{}", R"({"n_a":1})", R"({"n_a":1, "n_b":2})"},
       {R"({"m_a":1})", R"({"n_a":"x"})"}},
      {R"({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"},
           "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2})",
       {R"({"a":1})", R"({"a":1,"b":2})"},
       {"{}", R"({"A":1})", R"({"a":1,"b":2,"c":3})"}},
      {R"({"type": "string", "enum": ["a", 3]})", {R"("a")"}, {"3"}},
  };
  for (const SchemaCase& each : cases) {
    Automaton automaton;
    INFO(each.schema);
    const auto language = json_language(automaton, Json::parse(each.schema));
    REQUIRE(language);
    for (const char* text : each.accepted) {
      INFO(text);
      CHECK(accepts(automaton, *language, text));
    }
    for (const char* text : each.refused) {
      INFO(text);
      CHECK_FALSE(accepts(automaton, *language, text));
    }
  }
}

TEST_CASE("a grammar file's rules are followed, also when they refer to themselves", "[grammar]") {
  Automaton automaton;
  const auto language = gbnf_language(automaton, R"g(
# sums of numbers in brackets
root ::= sum
sum  ::= term ( " + " term )*   # left to right
term ::= number | "(" sum ")"
       | "é" [^0-9\n]{1,2}
number ::= [1-9] [0-9]* | "0"
)g");
  REQUIRE(language);
  for (const char* text : {"0", "12 + 3", "((1 + (2)) + 0)", "éab + 1", "é\xC3\xA9"}) {
    INFO(text);
    CHECK(accepts(automaton, *language, text));
  }
  for (const char* text : {"", "01", "1 +", "(1", "é1", "éabc", "é"}) {
    INFO(text);
    CHECK_FALSE(accepts(automaton, *language, text));
  }
  const auto error = [](const char* grammar) {
    Automaton a;
    const auto made = gbnf_language(a, grammar);
    return made ? std::string() : made.error().message;
  };
  CHECK(error("") == "there is no rule named root");
  CHECK(error("root ::= a\n\nb ::= \"x\"") == "line 1: the rule a is not defined");
  CHECK(error("root ::= a\na ::= b? a \"x\"\nb ::= \"y\"") ==
        "line 1: the rule a begins with itself");
  CHECK(error("root ::= \"x\" root") == "no text fits the grammar");
  CHECK(error("root ::= \"x") == "line 1: a text is not closed");
  CHECK(error("root ::= [b-a]") == "line 1: a range in a class is the wrong way round");
  CHECK(error("root ::= (\"a\"") == "line 1: a group is not closed");
  CHECK(error("root = \"a\"") == "line 1: \"::=\" must follow the rule's name root");
  CHECK(error("root ::= \"a\"\nroot ::= \"b\"") == "line 2: the rule root is there twice");
}

TEST_CASE("an answer is bounded by a schema, a pattern or a grammar, by one of them", "[grammar]") {
  Automaton automaton;
  TurnShape shape;
  shape.output_pattern = "yes|no";
  auto language = turn_language(automaton, Dialect::hermes, shape);
  REQUIRE(language);
  CHECK(accepts(automaton, *language, "yes"));
  CHECK_FALSE(accepts(automaton, *language, "yes!"));
  shape.output_pattern = "a(?=b)";
  CHECK_THAT(turn_language(automaton, Dialect::hermes, shape).error().message,
             Catch::Contains("output pattern") && Catch::Contains("lookahead"));
  shape.output_grammar = "root ::= \"x\"";
  CHECK_THAT(turn_language(automaton, Dialect::hermes, shape).error().message,
             Catch::Contains("not several"));
  shape.output_pattern = {};
  language = turn_language(automaton, Dialect::llama, shape);
  REQUIRE(language);
  CHECK(accepts(automaton, *language, "x"));
}

TEST_CASE("what two languages share, and what one has alone, has no dead ends", "[grammar]") {
  Automaton a;
  const auto pattern = [&](const char* expression) {
    return *pattern_language(a, expression, Match::whole, Spelling::plain);
  };
  const ExpressionId both = a.both(pattern("[ab]*c"), pattern("a*[bc]+"));
  CHECK(accepts(a, both, "aabc"));
  CHECK(accepts(a, both, "c"));
  CHECK_FALSE(accepts(a, both, "ba"));
  CHECK(a.step(a.step(both, 'b'), 'a') == Automaton::never);  // no text of both begins so
  CHECK(a.both(pattern("a+"), pattern("b+")) == Automaton::never);
  const ExpressionId except = a.except(pattern("[a-z]+"), a.either({a.text("no"), a.text("n")}));
  CHECK(accepts(a, except, "yes"));
  CHECK(accepts(a, except, "non"));
  CHECK_FALSE(accepts(a, except, "no"));
  CHECK_FALSE(accepts(a, except, "n"));
}

TEST_CASE("schemas that mean nothing or go too far are refused", "[grammar]") {
  const auto error = [](const std::string& schema) {
    Automaton automaton;
    const auto language = json_language(automaton, Json::parse(schema));
    return language ? std::string() : language.error().message;
  };
  CHECK_THAT(error("3"), Catch::Contains("object or a boolean"));
  CHECK_THAT(error("false"), Catch::Contains("allows no value"));
  CHECK_THAT(error(R"({"type": "text"})"), Catch::Contains("not a type"));
  CHECK_THAT(error(R"({"enum": []})"), Catch::Contains("enum"));
  CHECK_THAT(error(R"({"$ref": "#/nowhere"})"), Catch::Contains("leads nowhere"));
  CHECK_THAT(error(R"({"$ref": "http://example.com"})"), Catch::Contains("outside"));
  CHECK_THAT(error(R"({"$ref": "#"})"), Catch::Contains("allows no value"));
  CHECK_THAT(error(R"({"type": "string", "minLength": 1e9})"), Catch::Contains("too big"));
  CHECK_THAT(error(R"({"type": "string", "minLength": "x"})"), Catch::Contains("whole number"));
  CHECK_THAT(error(R"({"allOf": 3})"), Catch::Contains("allOf"));
  CHECK_THAT(error(R"({"allOf": [{"type": "string"}, {"type": "null"}]})"),
             Catch::Contains("allows no value"));
  CHECK_THAT(error(R"({"type": "string", "pattern": "("})"), Catch::Contains("not closed"));
  CHECK_THAT(error(R"({"type": "string", "pattern": "^a$", "minLength": 2})"),
             Catch::Contains("allows no value"));
  CHECK_THAT(
      error(
          R"({"$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}, "required": ["next"]}}, "$ref": "#/$defs/a"})"),
      Catch::Contains("allows no value"));
  std::string deep = R"({"type": "integer"})";
  for (int i = 0; i < 60; ++i) deep = R"({"type": "array", "items": )" + deep + "}";
  CHECK_THAT(error(deep), Catch::Contains("nested too deeply"));
}

TEST_CASE("whatever is drawn under a schema parses and is valid", "[grammar]") {
  const auto file = synthetic({});
  const Tokenizer& tokenizer = file->tokenizer();
  const Json schema = Json::parse(R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 12}, "kind": {"enum": ["a", "bb"]}, "count": {"type": "integer"},
      "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3},
      "inner": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": ["boolean", "null"]}}, "required": ["x"]},
      "free": {}}, "required": ["name", "kind", "inner"]})");
  Grammar grammar(tokenizer);
  const ExpressionId language = *json_language(grammar.automaton(), schema);
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    const std::string text = random_walk(grammar, tokenizer, language, seed);
    INFO(text);
    const Json value = Json::parse(text, nullptr, false);
    REQUIRE(value.is_object());
    CHECK(value["name"].is_string());
    CHECK((value["kind"] == "a" || value["kind"] == "bb"));
    CHECK(value["inner"]["x"].is_number());
    if (value.contains("count")) CHECK(value["count"].is_number_integer());
    if (value.contains("tags")) CHECK(value["tags"].size() <= 3);
    for (const auto& [key, item] : value.items()) CHECK(schema["properties"].contains(key));
  }
  CHECK(grammar.stats().masks_found > grammar.stats().masks_made);
}

TEST_CASE("a mask allows exactly the tokens that the automaton survives", "[grammar]") {
  const auto file = synthetic({});
  const Tokenizer& tokenizer = file->tokenizer();
  Grammar grammar(tokenizer);
  ExpressionId state =
      *json_language(grammar.automaton(),
                     Json::parse(R"({"type": "array", "items": {"enum": ["tea", "eat", 10]}})"));
  for (const char c : std::string("[\"te")) {
    const TokenMask mask = grammar.mask(state);
    for (std::size_t i = 0; i < tokenizer.size(); ++i) {
      const auto token = static_cast<TokenId>(i);
      const bool alive = grammar.advance(state, token) != Automaton::never &&
                         (!tokenizer.bytes(token).empty() || tokenizer.ends_turn(token));
      CHECK(mask.allows(token) == alive);
    }
    state = grammar.automaton().step(state, static_cast<unsigned char>(c));
  }
  CHECK(grammar.mask(state).count() > 0);
}

TEST_CASE("a turn that offers tools is text, or text and calls of these tools", "[grammar]") {
  const auto tools = two_tools();
  Automaton a;
  const std::string call =
      "<tool_call>\n{\"name\": \"grep\", \"arguments\": {\"pattern\": \"x\"}}\n</tool_call>";
  const std::string other =
      "<tool_call>\n{\"name\":\"close\",\"arguments\":{\"state\":\"done\"}}\n</tool_call>";
  const auto language = [&](agents::ToolChoice choice, std::string_view schema = "") {
    return *turn_language(a, Dialect::hermes, {&tools, choice, schema});
  };
  const ExpressionId automatic = language(agents::ToolChoice::automatic);
  for (const std::string& text : {std::string("No tool fits."), std::string(),
                                  "Step 1: look.\n" + call, call, call + "\n" + other})
    CHECK(accepts(a, automatic, text));
  for (const std::string& text :
       {call + "tail", std::string("<tool_call>\n{}\n</tool_call>"), std::string("<tool_call>"),
        std::string("<tool_call>\n{\"name\": \"rm\", \"arguments\": {}}\n</tool_call>"),
        std::string("<tool_call>\n{\"name\": \"grep\", \"arguments\": {\"state\": "
                    "\"done\"}}\n</tool_call>")})
    CHECK_FALSE(accepts(a, automatic, text));
  CHECK_FALSE(accepts(a, language(agents::ToolChoice::required), "text"));
  CHECK(accepts(a, language(agents::ToolChoice::required), call));
  CHECK(accepts(a, language(agents::ToolChoice::none), "text"));
  CHECK_FALSE(accepts(a, language(agents::ToolChoice::none), call));
  const ExpressionId answer = language(agents::ToolChoice::automatic, R"({"type": "integer"})");
  CHECK(accepts(a, answer, "42"));
  CHECK(accepts(a, answer, call));
  CHECK_FALSE(accepts(a, answer, "text"));
  CHECK_FALSE(turn_language(a, Dialect::hermes, {nullptr, agents::ToolChoice::required, ""}));
  const ExpressionId llama =
      *turn_language(a, Dialect::llama, {&tools, agents::ToolChoice::automatic, ""});
  CHECK(accepts(a, llama,
                "{\"name\": \"grep\", \"parameters\": {\"pattern\": \"x\", \"limit\": 3}}"));
  CHECK(accepts(a, llama, "Hello {you}"));
  CHECK_FALSE(accepts(a, llama, "{\"name\": \"rm\", \"parameters\": {}}"));
}

TEST_CASE("calls are read back with their keys in the order said", "[dialect]") {
  const SpokenTurn turn = read_turn(
      Dialect::hermes,
      "Step 1.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": [true, "
      "\"\xC3\xA9\"]}}\n</tool_call>\n<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>");
  CHECK(turn.content == "Step 1.");
  REQUIRE(turn.calls.size() == 2);
  CHECK(turn.calls[0].name == "f");
  CHECK(turn.calls[0].arguments == "{\"z\":1,\"a\":[true,\"\xC3\xA9\"]}");
  CHECK(turn.calls[1].arguments == "{}");
  const SpokenTurn quoted =
      read_turn(Dialect::hermes, "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}");
  REQUIRE(quoted.calls.size() == 1);
  CHECK(quoted.calls[0].arguments == "{\"a\":1}");
  for (const char* broken : {"<tool_call>{\"name\": 3}</tool_call>",
                             "<tool_call>not json</tool_call>", "plain", "<tool_call>"}) {
    CHECK(read_turn(Dialect::hermes, broken).calls.empty());
    CHECK(read_turn(Dialect::hermes, broken).content == broken);
  }
  const SpokenTurn llama =
      read_turn(Dialect::llama, " {\"name\": \"f\", \"parameters\": {\"a\": 1}}");
  REQUIRE(llama.calls.size() == 1);
  CHECK(llama.calls[0].arguments == "{\"a\":1}");
  CHECK(read_turn(Dialect::llama, "{not a call}").content == "{not a call}");
}

}  // namespace ambit::inference
