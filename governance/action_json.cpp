#include "governance/action_json.h"

#include "log/canonical_json.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <algorithm>
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

// Only where they are said: an action from before them has the same hash.
constexpr std::array<TextMember, 4> said_keys = {{{"requester", &Action::requester},
                                                  {"instance", &Action::instance},
                                                  {"reversibility", &Action::reversibility},
                                                  {"risk", &Action::risk}}};

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

constexpr std::array<agents::Trust, 4> trusts = {agents::Trust::user, agents::Trust::trusted,
                                                 agents::Trust::unknown, agents::Trust::untrusted};

Result<std::vector<std::string>> texts_of(const json& value, const char* name) {
  const bool texts =
      value.is_array() &&
      std::all_of(value.begin(), value.end(), [](const json& one) { return one.is_string(); });
  if (!texts) return Err(Code::invalid, std::string("\"") + name + "\" is a list of strings");
  return value.get<std::vector<std::string>>();
}

// {"recipient": "untrusted"}, or with more: {"recipient": {"trust", "weak", "sources"}}.
Result<void> read_origins(const json& value, Action& action) {
  const auto bad = [] {
    return Err(
        Code::invalid,
        "\"origins\" names arguments, each user, trusted, unknown or untrusted, or an object "
        "of trust, weak and sources");
  };
  if (!value.is_object()) return bad();
  for (const auto& [name, part] : value.items()) {
    agents::ArgumentOrigin origin;
    origin.argument = name;
    const json word = part.is_object() ? part.value("trust", json()) : part;
    const auto* at = std::find_if(trusts.begin(), trusts.end(), [&](agents::Trust one) {
      return word.is_string() && word == std::string(to_string(one));
    });
    if (at == trusts.end()) return bad();
    origin.trust = *at;
    if (part.is_object()) {
      const json weak = part.value("weak", json(false));
      if (!weak.is_boolean()) return bad();
      origin.weak = weak.get<bool>();
      origin.sources = TRY(texts_of(part.value("sources", json::array()), "sources"));
    }
    action.origins.push_back(std::move(origin));
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
  for (const TextMember& member : said_keys) {
    if (name != member.name) continue;
    if (!value.is_string()) return Err(Code::invalid, "\"" + name + "\" must be a string");
    action.*member.member = value.get<std::string>();
    return {};
  }
  if (name == "budgetLeft") return read_budget(value, action.left);
  if (name == "origins") return read_origins(value, action);
  if (name == "autonomyLevel") {
    const bool level = value.is_number_integer() && value >= 1 && value <= 5;
    if (!level) return Err(Code::invalid, "\"autonomyLevel\" is 1 to 5");
    action.autonomy_level = value.get<std::int64_t>();
    return {};
  }
  if (name == "chain") {
    action.chain = TRY(texts_of(value, "chain"));
    return {};
  }
  return Err(Code::invalid,
             "an action has no member " + json(name).dump() +
                 "; it has agent, kind, tool, arguments, id, session, run, "
                 "onBehalfOf, toolDigest, readOnly, destructive, tainted, "
                 "budgetLeft, autonomyLevel, requester, instance, reversibility, risk, origins "
                 "and chain");
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
  for (const TextMember& member : said_keys) {
    if (!(action.*member.member).empty()) out[member.name] = action.*member.member;
  }
  for (const FlagMember& member : flag_keys) out[member.name] = action.*member.member;
  json arguments = json::parse(action.arguments, nullptr, false);
  out["arguments"] = arguments.is_object() ? std::move(arguments) : json::object();
  for (const BudgetMember& member : budget_keys) {
    const std::int64_t amount = action.left.*member.member;
    if (amount >= 0) out["budgetLeft"][member.name] = amount;
  }
  for (const agents::ArgumentOrigin& origin : action.origins) {
    out["origins"][origin.argument] = {
        {"trust", to_string(origin.trust)}, {"weak", origin.weak}, {"sources", origin.sources}};
  }
  if (action.autonomy_level > 0) out["autonomyLevel"] = action.autonomy_level;
  if (!action.chain.empty()) out["chain"] = action.chain;
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

Result<std::string> action_text(const Action& action) {
  // The arguments as text: canonical JSON would refuse numbers beyond 2^53, and two texts of one
  // value must have one hash only where they are canonical.
  const std::string_view said = action.arguments;
  auto arguments = log::canonical_json(said.empty() ? std::string_view("{}") : said);
  if (!arguments) return Err(std::move(arguments).error().context("arguments"));
  json out = {{"kind", to_string(action.kind)}, {"arguments", *arguments}};
  for (const TextMember& member : text_keys) out[member.name] = action.*member.member;
  if (!action.requester.empty()) out["requester"] = action.requester;
  return canonical_text(out);
}

Result<std::string> action_hash(const Action& action) {
  return log::to_hex(log::sha256(TRY(action_text(action))));
}

}  // namespace ambit::governance
