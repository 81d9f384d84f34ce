#include "inference/dialect.h"

#include "inference/gbnf.h"
#include "inference/json_schema.h"
#include "inference/json_text.h"
#include "inference/pattern_language.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view call_begin = "<tool_call>";
constexpr std::string_view call_end = "</tool_call>";
constexpr std::uint32_t calls_max = 16;  // in one turn

ExpressionId comma(Automaton& a) {
  return a.sequence(a.text(","), a.optional(a.text(" ")));
}
ExpressionId colon(Automaton& a) {
  return a.sequence(a.text(":"), a.optional(a.text(" ")));
}

// {"name": "...", "arguments": {...}} of one of the tools.
ExpressionId call_object(Automaton& a, const std::vector<agents::ToolSpec>& tools,
                         std::string_view arguments_key) {
  std::vector<ExpressionId> calls;
  for (const agents::ToolSpec& tool : tools) {
    const Json schema = parse_json(tool.input_schema);
    const auto compiled = schema.is_discarded() ? Err(Code::invalid, "") : json_language(a, schema);
    const ExpressionId arguments =
        compiled && schema.is_object() ? *compiled : any_json_object(a, SchemaLimits{}.free_depth);
    const std::string name = Json(tool.name).dump(-1, ' ', false, Json::error_handler_t::replace);
    calls.push_back(a.sequence({a.text("{\"name\""), colon(a), a.text(name), comma(a),
                                a.text("\"" + std::string(arguments_key) + "\""), colon(a),
                                arguments, a.text("}")}));
  }
  return a.either(std::move(calls));
}

ExpressionId any_text(Automaton& a) {
  return a.repeat(a.bytes(ByteSet().set()), 0, Automaton::unbounded);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The text without white space at its end.
std::string_view without_end(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

std::optional<agents::ToolCall> read_call(std::string_view text) {
  const Json call = parse_json(trimmed(text));
  if (!call.is_object() || !call.contains("name") || !call["name"].is_string()) return std::nullopt;
  agents::ToolCall read;
  read.name = call["name"].get<std::string>();
  Json arguments = Json::object();
  for (const char* key : {"arguments", "parameters"}) {
    if (!call.contains(key)) continue;
    arguments = call[key];
    break;
  }
  if (arguments.is_string()) {  // some models quote the object
    const Json inner = parse_json(arguments.get_ref<const std::string&>());
    if (inner.is_object()) arguments = inner;
  }
  if (!arguments.is_object()) return std::nullopt;
  read.arguments = arguments.dump(-1, ' ', false, Json::error_handler_t::replace);
  return read;
}

SpokenTurn read_hermes(std::string_view text) {
  SpokenTurn turn;
  const std::string_view whole = text;
  bool first = true;
  for (;;) {
    const std::size_t begin = text.find(call_begin);
    if (begin == std::string_view::npos) break;
    if (first) turn.content = without_end(text.substr(0, begin));
    first = false;
    text.remove_prefix(begin + call_begin.size());
    const std::size_t end = text.find(call_end);
    const auto call = read_call(text.substr(0, end));
    if (!call) return {std::string(whole), {}};
    turn.calls.push_back(*call);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + call_end.size());
  }
  if (first) turn.content = whole;
  return turn;
}

}  // namespace

bool is_free(const TurnShape& shape) {
  return (shape.tools == nullptr || shape.tools->empty()) && shape.output_schema.empty() &&
         shape.output_pattern.empty() && shape.output_grammar.empty();
}

namespace {

// What a text answer may be; nothing: anything.
Result<std::optional<ExpressionId>> answer_language(Automaton& a, const TurnShape& shape) {
  const auto bounds = (shape.output_schema.empty() ? 0 : 1) +
                      (shape.output_pattern.empty() ? 0 : 1) +
                      (shape.output_grammar.empty() ? 0 : 1);
  if (bounds == 0) return std::nullopt;
  if (bounds > 1)
    return Err(Code::invalid, "an answer has a schema, a pattern or a grammar, not several");
  const auto made = [&]() -> Result<ExpressionId> {
    if (!shape.output_pattern.empty())
      return pattern_language(a, shape.output_pattern, Match::whole, Spelling::plain);
    if (!shape.output_grammar.empty()) return gbnf_language(a, shape.output_grammar);
    const Json schema = parse_json(shape.output_schema);
    if (schema.is_discarded()) return Err(Code::invalid, "it is not JSON");
    return json_language(a, schema);
  }();
  const char* what = !shape.output_pattern.empty()   ? "output pattern"
                     : !shape.output_grammar.empty() ? "output grammar"
                                                     : "output schema";
  if (!made) return Err(Error(made.error()).context(what));
  return *made;
}

}  // namespace

Result<ExpressionId> turn_language(Automaton& a, Dialect dialect, const TurnShape& shape) {
  static const std::vector<agents::ToolSpec> no_tools;
  const auto& tools = shape.tools == nullptr ? no_tools : *shape.tools;
  const bool required = shape.choice == agents::ToolChoice::required;
  const bool offers = !tools.empty() && shape.choice != agents::ToolChoice::none;
  if (required && tools.empty())
    return Err(Code::invalid, "a tool call is required and no tool is offered");
  const std::optional<ExpressionId> answer = TRY(answer_language(a, shape));
  if (dialect == Dialect::llama) {
    const ExpressionId call = offers ? call_object(a, tools, "parameters") : Automaton::never;
    if (required) return call;
    if (answer) return a.either({*answer, call});
    const ExpressionId text =
        a.optional(a.sequence(a.bytes(ByteSet().set().reset('{')), any_text(a)));
    return a.either({text, call});
  }
  ExpressionId calls = Automaton::never;
  if (offers) {
    const ExpressionId call = a.sequence(
        {a.text("\n"), call_object(a, tools, "arguments"), a.text("\n"), a.text(call_end)});
    const ExpressionId next = a.sequence({a.text("\n"), a.text(call_begin), call});
    calls = a.sequence(call, a.repeat(next, 0, calls_max - 1));
  }
  if (answer)
    return a.either({required ? Automaton::never : *answer, a.sequence(a.text(call_begin), calls)});
  return a.until(call_begin, calls, !required);
}

SpokenTurn read_turn(Dialect dialect, std::string_view text) {
  if (dialect == Dialect::hermes) return read_hermes(text);
  if (trimmed(text).starts_with('{')) {
    if (const auto call = read_call(text)) return {"", {*call}};
  }
  return {std::string(text), {}};
}

std::size_t sure_content(Dialect dialect, std::string_view text) {
  if (dialect == Dialect::llama) {
    const std::string_view said = trimmed(text);
    return said.empty() || said.front() == '{' ? 0 : text.size();
  }
  const std::size_t begin = text.find(call_begin);
  if (begin != std::string_view::npos) return without_end(text.substr(0, begin)).size();
  return without_end(text.substr(0, text.size() - begun(text, call_begin))).size();
}

std::size_t begun(std::string_view text, std::string_view mark) {
  for (std::size_t size = std::min(text.size(), mark.size() - 1); size > 0; --size)
    if (text.ends_with(mark.substr(0, size))) return size;
  return 0;
}

}  // namespace ambit::inference
