#include "agents/script_model.h"

#include "agents/document.h"
#include "agents/fleet_reader.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::int64_t latency_max_ms = 3'600'000;

std::int64_t words_in(std::string_view text) {
  std::int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\n' || c == '\t';
    if (!blank && !inside) ++words;
    inside = !blank;
  }
  return words;
}

// Evenly between the two, by the session and its turn alone.
Duration latency_of(std::int64_t least_ms, std::int64_t most_ms, std::uint64_t seed,
                    std::int64_t turn) {
  std::uint64_t mixed = (seed + static_cast<std::uint64_t>(turn)) * 0x9E3779B97F4A7C15ULL;
  mixed = (mixed ^ (mixed >> 31U)) * 0xBF58476D1CE4E5B9ULL;
  const std::uint64_t spread = static_cast<std::uint64_t>(most_ms - least_ms) + 1;
  return std::chrono::milliseconds(least_ms + static_cast<std::int64_t>((mixed >> 16U) % spread));
}

std::string replaced(std::string text, std::string_view name, const std::string& value) {
  const std::size_t at = text.find(name);
  if (at != std::string::npos) text.replace(at, name.size(), value);
  return text;
}

}  // namespace

Result<std::unique_ptr<ScriptModel>> ScriptModel::parse(std::string name, const std::string& text) {
  const Node root = TRY(parse_document(text));
  if (root.kind != Node::Kind::array) {
    return Err(Code::invalid, "a script is a JSON array of rules");
  }
  std::vector<Problem> problems;
  std::vector<Rule> rules;
  for (std::size_t i = 0; i < root.items.size(); ++i) {
    Reader reader(problems, root.items[i], "[" + std::to_string(i) + "]");
    Rule rule;
    rule.system = reader.text("system");
    rule.when = reader.text("when");
    rule.turn = reader.integer("turn", 0, 0, 1'000'000);
    rule.say = reader.text("say");
    rule.fail = reader.text("fail");
    if (const Node* latency = reader.get("latencyMs", Node::Kind::array)) {
      const auto& bounds = latency->items;
      const bool is_sound = bounds.size() == 2 && bounds[0].kind == Node::Kind::integer &&
                            bounds[1].kind == Node::Kind::integer && bounds[0].integer >= 0 &&
                            bounds[0].integer <= bounds[1].integer &&
                            bounds[1].integer <= latency_max_ms;
      if (is_sound) {
        rule.latency_least_ms = bounds[0].integer;
        rule.latency_most_ms = bounds[1].integer;
      } else {
        reader.report(*latency, reader.at("latencyMs"),
                      "must be two whole numbers up to 3600000, the least first");
      }
    }
    for (const char* key : {"call", "calls"}) {
      const Node* node = reader.get(key);
      if (node == nullptr) continue;
      const bool many = node->kind == Node::Kind::array;
      for (std::size_t k = 0; k < (many ? node->items.size() : 1); ++k) {
        Reader call(problems, many ? node->items[k] : *node, reader.at(key));
        call.require("name");
        ToolCall made{"", call.text("name"), "{}"};
        if (const Node* arguments = call.get("arguments", Node::Kind::object)) {
          made.arguments = arguments->to_json();
        }
        call.done();
        rule.calls.push_back(std::move(made));
      }
    }
    reader.done();
    rules.push_back(std::move(rule));
  }
  if (!problems.empty()) {
    return Err(Code::invalid, "line " + std::to_string(problems[0].line) + ": " + problems[0].path +
                                  ": " + problems[0].message);
  }
  return std::unique_ptr<ScriptModel>(new ScriptModel(std::move(name), std::move(rules)));
}

Task<Result<Turn>> ScriptModel::generate(TurnRequest request) {
  const auto& messages = request.messages;
  std::int64_t turn = 1;
  std::int64_t input = 0;
  for (const Message& message : messages) {
    turn += message.role == Role::assistant ? 1 : 0;
    input += words_in(message.content);
  }
  const std::string last = messages.empty() ? "" : messages.back().content;
  const bool has_system = !messages.empty() && messages.front().role == Role::system;
  const std::string system = has_system ? messages.front().content : "";
  const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& one) {
    return (one.turn == 0 || one.turn == turn) && last.find(one.when) != std::string::npos &&
           system.find(one.system) != std::string::npos;
  });
  if (rule == rules_.end()) {
    co_return Err(Code::invalid, "the script has no rule for turn " + std::to_string(turn) +
                                     " after " + json_quoted(last.substr(0, 200)));
  }
  if (rule->latency_most_ms > 0) {
    co_await delay(
        latency_of(rule->latency_least_ms, rule->latency_most_ms, request.sampling.seed, turn));
  }
  if (!rule->fail.empty()) co_return Err(Code::unavailable, rule->fail);
  Turn said;
  said.message.role = Role::assistant;
  said.message.content = replaced(rule->say, "${last}", last);
  said.message.tool_calls = rule->calls;
  said.finish = rule->calls.empty() ? FinishReason::stop : FinishReason::tool_calls;
  if (request.on_text) request.on_text(said.message.content);
  said.usage.input_tokens = input;
  said.usage.output_tokens = std::max<std::int64_t>(1, words_in(said.message.content));
  co_return said;
}

}  // namespace ambit::agents
