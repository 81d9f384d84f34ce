#include "governance/guard.h"

#include "cedar/est.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace ambit::governance {
namespace {

using agents::Action;
using agents::ActionKind;
using agents::Decision;
using agents::Verdict;
using cedar::Answer;
using cedar::Entity;
using cedar::Policy;
using cedar::Record;
using cedar::Value;
using nlohmann::json;

// A number with a fraction: a decimal where four digits after the point hold it exactly, else its
// text.
Value fraction_value(double number) {
  std::array<char, 400> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
  std::string text(buffer.data(), end.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  const auto decimal = cedar::parse_decimal(text);
  if (decimal) return Value(*decimal);
  return Value(json(number).dump());
}

// Null has no counterpart and is left out. Nothing in the arguments can become an entity: they are
// said by the model.
std::optional<Value> argument_value(const json& value) {
  switch (value.type()) {
    case json::value_t::boolean:
      return Value(value.get<bool>());
    case json::value_t::string:
      return Value(value.get<std::string>());
    case json::value_t::number_integer:
      return Value(value.get<std::int64_t>());
    case json::value_t::number_unsigned:
      if (value.get<std::uint64_t>() > INT64_MAX) return Value(value.dump());
      return Value(value.get<std::int64_t>());
    case json::value_t::number_float:
      return fraction_value(value.get<double>());
    case json::value_t::array: {
      std::vector<Value> elements;
      for (const json& element : value) {
        auto made = argument_value(element);
        if (made) elements.push_back(std::move(*made));
      }
      return Value(cedar::make_set(std::move(elements)));
    }
    case json::value_t::object: {
      Record record;
      for (const auto& [name, field] : value.items()) {
        auto made = argument_value(field);
        if (made) record.set(name, std::move(*made));
      }
      return Value(std::move(record));
    }
    default:
      return std::nullopt;
  }
}

std::size_t nesting(std::string_view text) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '[' || c == '{')) {
      deepest = std::max(deepest, ++depth);
    } else if (!in_string && (c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

Result<Value> arguments_value(const Action& action, const GuardOptions& options) {
  if (action.arguments.empty()) return Value(Record{});
  if (action.arguments.size() > options.argument_bytes_max) {
    return Err(Code::invalid, "the arguments have " + std::to_string(action.arguments.size()) +
                                  " bytes, more than " +
                                  std::to_string(options.argument_bytes_max));
  }
  if (nesting(action.arguments) > options.argument_depth_max) {
    return Err(Code::invalid, "the arguments are nested deeper than " +
                                  std::to_string(options.argument_depth_max) + " levels");
  }
  const json parsed = json::parse(action.arguments, nullptr, false);
  if (!parsed.is_object()) return Err(Code::invalid, "the arguments are not a JSON object");
  return *argument_value(parsed);
}

std::string_view resource_type(ActionKind kind) {
  switch (kind) {
    case ActionKind::model_call:
      return "Model";
    case ActionKind::tool_call:
      return "Tool";
    case ActionKind::delegation:
    case ActionKind::message:
    case ActionKind::spawn:
      return "Agent";
    case ActionKind::memory_write:
      return "Memory";
    case ActionKind::egress:
      return "Host";
  }
  return "Tool";
}

// Of "mcp__registry__lookup" the "registry"; empty for other tools.
std::string server_of(const std::string& tool) {
  constexpr std::string_view prefix = "mcp__";
  if (!tool.starts_with(prefix)) return {};
  const std::size_t end = tool.find("__", prefix.size());
  return end == std::string::npos ? std::string() : tool.substr(prefix.size(), end - prefix.size());
}

Entity principal_entity(const Action& action, const GuardOptions& options) {
  Entity agent;
  agent.uid = {"Agent", action.agent};
  const auto facts = options.agents.find(action.agent);
  const AgentFacts known = facts == options.agents.end() ? AgentFacts{} : facts->second;
  agent.attributes.set("name", Value(action.agent));
  agent.attributes.set("autonomyLevel", Value(known.autonomy_level));
  agent.attributes.set("onBehalfOf", Value(action.on_behalf_of));
  agent.parents.push_back({"Fleet", options.fleet});
  return agent;
}

Entity resource_entity(const Action& action) {
  Entity resource;
  resource.uid = {std::string(resource_type(action.kind)), action.tool};
  resource.attributes.set("name", Value(action.tool));
  if (action.kind != ActionKind::tool_call) return resource;
  resource.attributes.set("readOnly", Value(action.read_only));
  resource.attributes.set("destructive", Value(action.destructive));
  if (!action.tool_digest.empty()) resource.attributes.set("digest", Value(action.tool_digest));
  const std::string server = server_of(action.tool);
  if (server.empty()) return resource;
  resource.attributes.set("server", Value(server));
  resource.parents.push_back({"Toolbox", server});
  return resource;
}

// What may still be spent. A budget without limit (-1) has no field, so that no policy takes it for
// spent.
Value budget_value(const agents::Budget& left) {
  Record record;
  const auto add = [&record](const char* name, std::int64_t amount) {
    if (amount >= 0) record.set(name, Value(amount));
  };
  add("turns", left.turns);
  add("toolCalls", left.tool_calls);
  add("tokens", left.tokens);
  add("wallMs", left.wall_ms);
  return Value(std::move(record));
}

bool advises_escalation(const Policy* policy) {
  const std::string* advice = policy->annotation("advice");
  return advice != nullptr && *advice == "escalate";
}

std::string names_of(const std::vector<const Policy*>& policies) {
  std::string names = policies.size() == 1 ? "policy " : "policies ";
  for (std::size_t i = 0; i < policies.size(); ++i) {
    if (i > 0) names += ", ";
    names += policies[i]->id;
  }
  return names;
}

// The @reason of the first policy that has one, else `verb` and the names.
std::string reason_of(const std::vector<const Policy*>& policies, const std::string& verb) {
  for (const Policy* policy : policies) {
    const std::string* reason = policy->annotation("reason");
    if (reason != nullptr && !reason->empty()) return *reason;
  }
  return verb + names_of(policies);
}

Verdict verdict_of(const Answer& answer) {
  const auto& forbids = answer.forbids;
  const auto& permits = answer.permits;
  if (permits.empty()) return Verdict::deny;
  if (!std::all_of(forbids.begin(), forbids.end(), advises_escalation)) return Verdict::deny;
  if (!forbids.empty()) return Verdict::escalate;
  return std::all_of(permits.begin(), permits.end(), advises_escalation) ? Verdict::escalate
                                                                         : Verdict::allow;
}

std::string nothing_permits(const Action& action, const Answer& answer) {
  std::string reason = "no policy permits the agent " + action.agent + " this " +
                       std::string(to_string(action.kind)) + " of " + action.tool;
  if (!answer.errors.empty()) {
    reason += " (policy " + answer.errors.front().policy->id +
              " failed: " + answer.errors.front().message + ")";
  }
  return reason;
}

std::string sentence(const Action& action, const Answer& answer, Verdict verdict) {
  if (!answer.forbids.empty()) {
    std::vector<const Policy*> plain;
    for (const Policy* policy : answer.forbids) {
      if (!advises_escalation(policy)) plain.push_back(policy);
    }
    if (!plain.empty()) return reason_of(plain, "forbidden by ");
    if (verdict == Verdict::escalate) return reason_of(answer.forbids, "a person must approve: ");
    return nothing_permits(action, answer);
  }
  if (answer.permits.empty()) return nothing_permits(action, answer);
  return reason_of(answer.permits,
                   verdict == Verdict::escalate ? "a person must approve: " : "permitted by ");
}

}  // namespace

Result<CedarCall> to_cedar(const Action& action, const GuardOptions& options) {
  CedarCall call;
  Entity principal = principal_entity(action, options);
  Entity resource = resource_entity(action);
  Entity effect;
  effect.uid = {"Action", std::string(to_string(action.kind))};
  effect.parents.push_back({"Action", "effect"});
  Record context;
  context.set("arguments", TRY(arguments_value(action, options)));
  context.set("tainted", Value(action.tainted));
  context.set("budgetLeft", budget_value(action.left));
  context.set("onBehalfOf", Value(action.on_behalf_of));
  context.set("session", Value(action.session));
  call.request = cedar::Request::make(principal.uid, effect.uid, resource.uid, std::move(context));
  std::vector<Entity> entities;
  // An agent that acts on itself is one entity, not two.
  const bool same = principal.uid == resource.uid;
  entities.push_back(std::move(principal));
  entities.push_back(std::move(effect));
  if (!same) entities.push_back(std::move(resource));
  call.entities = TRY(cedar::Entities::create(std::move(entities)));
  return call;
}

PolicyGuard::PolicyGuard(cedar::PolicySet set, std::string hash, GuardOptions options)
    : set_(std::move(set)), hash_(std::move(hash)), options_(std::move(options)) {}

Result<std::unique_ptr<PolicyGuard>> PolicyGuard::create(const std::vector<PolicySource>& sources,
                                                         GuardOptions options) {
  std::vector<Policy> all;
  std::string texts;
  for (const PolicySource& source : sources) {
    const bool by_json = source.name.ends_with(".cedar.json");
    auto read = by_json ? cedar::parse_policies_json(source.text, source.name)
                        : cedar::parse_policies(source.text, source.name);
    if (!read) return Err(std::move(read).error());
    for (Policy& policy : *read) {
      if (policy.is_template()) {
        return Err(Code::invalid,
                   policy.source + ":" + std::to_string(policy.where.line) + ":" +
                       std::to_string(policy.where.column) +
                       ": a template (?principal, ?resource) decides nothing here; write the "
                       "entity");
      }
      const std::string* id = policy.annotation("id");
      if (id != nullptr && !id->empty()) {
        policy.id = *id;
      } else if (!by_json) {
        policy.id = "policy" + std::to_string(all.size());
      }
      texts += policy.text + "\n";
      all.push_back(std::move(policy));
    }
  }
  if (all.empty()) {
    return Err(Code::invalid,
               "there is no policy, so everything would be denied; write at least one permit");
  }
  cedar::PolicySet set = TRY(cedar::PolicySet::create(std::move(all)));
  std::string hash = log::to_hex(log::bytes_of(log::sha256(texts)));
  return std::unique_ptr<PolicyGuard>(
      new PolicyGuard(std::move(set), std::move(hash), std::move(options)));
}

Decision PolicyGuard::decide(const Action& action) {
  Decision decision;
  decision.policy_set = hash_;
  const auto call = to_cedar(action, options_);
  if (!call) {
    decision.reason = call.error().message;
    return decision;
  }
  const Answer answer = set_.decide(call->request, call->entities);
  decision.verdict = verdict_of(answer);
  decision.reason = sentence(action, answer, decision.verdict);
  for (const Policy* policy : answer.determining()) decision.policies.push_back(policy->id);
  for (const auto& error : answer.errors) {
    decision.errors.push_back(error.policy->id + ": " + error.message);
  }
  return decision;
}

PolicyGuard::Explained PolicyGuard::explain(const Action& action) {
  Explained explained;
  explained.decision = decide(action);
  const auto call = to_cedar(action, options_);
  if (!call) return explained;
  explained.policies = cedar::explain(set_, call->request, call->entities);
  // What applies, then what was close: a condition, a failure, the scope.
  const auto rank = [](const cedar::Explanation& one) {
    using Outcome = cedar::Explanation::Outcome;
    if (one.outcome == Outcome::applies) return std::size_t{0};
    return one.outcome == Outcome::scope ? 1 + one.clauses.size() : std::size_t{1};
  };
  // The policies lie in one array, so their addresses are their order.
  std::sort(explained.policies.begin(), explained.policies.end(),
            [&](const auto& a, const auto& b) {
              return rank(a) != rank(b) ? rank(a) < rank(b) : a.policy < b.policy;
            });
  return explained;
}

}  // namespace ambit::governance
