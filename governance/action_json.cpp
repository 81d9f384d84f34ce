#include "governance/action_json.h"

#include "log/canonical_json.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <array>
#include <optional>

namespace ambit::governance {
namespace {

using agents::Action;
using agents::ActionKind;
using nlohmann::json;

constexpr std::array<ActionKind, 7> kind_names = {
    ActionKind::model_call,   ActionKind::tool_call, ActionKind::delegation, ActionKind::message,
    ActionKind::memory_write, ActionKind::spawn,     ActionKind::egress};

std::optional<ActionKind> kind_of(const std::string& name) {
  for (const ActionKind kind : kind_names) {
    if (name == to_string(kind)) return kind;
  }
  return std::nullopt;
}

struct TextMember {
  const char* name;
  std::string Action::* member;
};
constexpr std::array<TextMember, 7> text_keys = {{{"id", &Action::id},
                                                  {"agent", &Action::agent},
                                                  {"session", &Action::session},
                                                  {"run", &Action::run},
                                                  {"onBehalfOf", &Action::on_behalf_of},
                                                  {"tool", &Action::tool},
                                                  {"toolDigest", &Action::tool_digest}}};

struct FlagMember {
  const char* name;
  bool Action::* member;
};
constexpr std::array<FlagMember, 3> flag_keys = {{{"readOnly", &Action::read_only},
                                                  {"destructive", &Action::destructive},
                                                  {"tainted", &Action::tainted}}};

struct BudgetMember {
  const char* name;
  std::int64_t agents::Budget::* member;
};
constexpr std::array<BudgetMember, 4> budget_keys = {{{"turns", &agents::Budget::turns},
                                                      {"toolCalls", &agents::Budget::tool_calls},
                                                      {"tokens", &agents::Budget::tokens},
                                                      {"wallMs", &agents::Budget::wall_ms}}};

Result<void> read_budget(const json& value, agents::Budget& budget) {
  if (!value.is_object()) return Err(Code::invalid, "\"budgetLeft\" must be an object");
  for (const auto& [name, amount] : value.items()) {
    bool known = false;
    for (const BudgetMember& member : budget_keys) {
      if (name != member.name) continue;
      known = amount.is_number_integer();
      if (known) budget.*member.member = amount.get<std::int64_t>();
    }
    if (!known) {
      return Err(Code::invalid,
                 "\"budgetLeft\" has turns, toolCalls, tokens and wallMs, whole numbers; found " +
                     json(name).dump());
    }
  }
  return {};
}

Result<void> read_member(const std::string& name, const json& value, Action& action) {
  for (const TextMember& member : text_keys) {
    if (name != member.name) continue;
    if (!value.is_string()) return Err(Code::invalid, "\"" + name + "\" must be a string");
    action.*member.member = value.get<std::string>();
    return {};
  }
  for (const FlagMember& member : flag_keys) {
    if (name != member.name) continue;
    if (!value.is_boolean()) return Err(Code::invalid, "\"" + name + "\" must be true or false");
    action.*member.member = value.get<bool>();
    return {};
  }
  if (name == "kind") {
    const auto kind = value.is_string() ? kind_of(value.get<std::string>()) : std::nullopt;
    if (!kind) {
      return Err(Code::invalid,
                 "\"kind\" is one of tool_call, model_call, delegation, message, memory_write, "
                 "spawn, egress");
    }
    action.kind = *kind;
    return {};
  }
  if (name == "arguments") {
    if (!value.is_object()) return Err(Code::invalid, "\"arguments\" must be an object");
    action.arguments = value.dump(-1, ' ', false, json::error_handler_t::replace);
    return {};
  }
  if (name == "budgetLeft") return read_budget(value, action.left);
  return Err(Code::invalid, "an action has no member " + json(name).dump() +
                                "; it has agent, kind, tool, arguments, id, session, run, "
                                "onBehalfOf, toolDigest, readOnly, destructive, tainted and "
                                "budgetLeft");
}

}  // namespace

Result<Action> action_from_json(const json& value) {
  if (!value.is_object()) return Err(Code::invalid, "an action is an object");
  Action action;
  action.left = {-1, -1, -1, -1};
  for (const auto& [name, part] : value.items()) TRY(read_member(name, part, action));
  return action;
}

json to_json(const Action& action) {
  json out = {{"kind", to_string(action.kind)}};
  for (const TextMember& member : text_keys) {
    if (!(action.*member.member).empty()) out[member.name] = action.*member.member;
  }
  for (const FlagMember& member : flag_keys) out[member.name] = action.*member.member;
  json arguments = json::parse(action.arguments, nullptr, false);
  out["arguments"] = arguments.is_object() ? std::move(arguments) : json::object();
  for (const BudgetMember& member : budget_keys) {
    const std::int64_t amount = action.left.*member.member;
    if (amount >= 0) out["budgetLeft"][member.name] = amount;
  }
  return out;
}

Result<std::string> canonical_text(const json& value) {
  std::string text;
  try {
    text = value.dump();
  } catch (const json::exception&) {
    return Err(Code::invalid, "a text in it is not UTF-8");
  }
  return log::canonical_json(text);
}

Result<std::string> action_hash(const Action& action) {
  // The arguments as text: canonical JSON would refuse numbers beyond 2^53, and two texts of one
  // value must have one hash only where they are canonical.
  const std::string_view said = action.arguments;
  auto arguments = log::canonical_json(said.empty() ? std::string_view("{}") : said);
  if (!arguments) return Err(std::move(arguments).error().context("arguments"));
  json out = {{"kind", to_string(action.kind)}, {"arguments", *arguments}};
  for (const TextMember& member : text_keys) out[member.name] = action.*member.member;
  return log::to_hex(log::sha256(TRY(canonical_text(out))));
}

}  // namespace ambit::governance
