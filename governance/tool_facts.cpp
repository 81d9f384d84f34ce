// What the operator says of tools, out of JSON: {"TOOL": {"trusted", "trustedFields",
// "reversibility", "risk", "effect"}}.

#include "governance/guard.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace ambit::governance {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 4> reversibilities = {"none", "reversible", "compensable",
                                                             "irreversible"};
constexpr std::array<std::string_view, 3> risks = {"low", "medium", "high"};
constexpr std::array<std::string_view, 5> effects = {"tool_call", "message", "memory_write",
                                                     "spawn", "egress"};

template <std::size_t N>
Result<std::string> word_of(const json& value, const std::array<std::string_view, N>& all) {
  const auto* at = std::find_if(all.begin(), all.end(), [&](std::string_view one) {
    return value.is_string() && value.get_ref<const std::string&>() == one;
  });
  if (at != all.end()) return std::string(*at);
  std::string names;
  for (const std::string_view one : all) names += (names.empty() ? "" : ", ") + std::string(one);
  return Err(Code::invalid, "it is one of " + names);
}

Result<void> read_member(const std::string& name, const json& value, ToolFacts& facts) {
  if (name == "trusted") {
    if (!value.is_boolean()) return Err(Code::invalid, "it is true or false");
    facts.trusted = value.get<bool>();
  } else if (name == "trustedFields") {
    const bool texts = value.is_array() && std::all_of(value.begin(), value.end(),
                                                       [](auto& one) { return one.is_string(); });
    if (!texts) return Err(Code::invalid, "it is a list of strings");
    facts.trusted_fields = value.get<std::vector<std::string>>();
  } else if (name == "reversibility") {
    facts.reversibility = TRY(word_of(value, reversibilities));
  } else if (name == "risk") {
    facts.risk = TRY(word_of(value, risks));
  } else if (name == "effect") {
    facts.effect = effect_named(TRY(word_of(value, effects)));
  } else {
    return Err(Code::invalid,
               "a tool has trusted, trustedFields, reversibility, risk and effect, and nothing "
               "else");
  }
  return {};
}

}  // namespace

agents::ActionKind effect_named(std::string_view name) {
  using agents::ActionKind;
  for (const ActionKind kind :
       {ActionKind::message, ActionKind::memory_write, ActionKind::spawn, ActionKind::egress}) {
    if (name == to_string(kind)) return kind;
  }
  return ActionKind::tool_call;
}

Result<std::map<std::string, ToolFacts>> tool_facts_from_json(std::string_view text) {
  const json all = json::parse(text, nullptr, false);
  if (!all.is_object()) return Err(Code::invalid, "the facts of tools are a JSON object");
  std::map<std::string, ToolFacts> tools;
  for (const auto& [tool, members] : all.items()) {
    if (!members.is_object()) return Err(Code::invalid, "/" + tool + ": it is no object");
    ToolFacts& facts = tools[tool];
    for (const auto& [name, value] : members.items()) {
      auto read = read_member(name, value, facts);
      if (!read) return Err(std::move(read).error().context("/" + tool + "/" + name));
    }
  }
  return tools;
}

}  // namespace ambit::governance
