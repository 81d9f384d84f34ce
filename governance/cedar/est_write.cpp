// The JSON form of policies, written.

#include "cedar/est.h"
#include "cedar/est_names.h"
#include "cedar/syntax.h"
#include "cedar/write.h"

#include <nlohmann/json.hpp>

namespace ambit::cedar {
namespace {

using nlohmann::json;

json scope_json(const Scope& scope, const char* variable) {
  const auto uid = [](const EntityUid& of) { return json{{"type", of.type}, {"id", of.id}}; };
  const auto target = [&](json& into) {
    if (scope.slot) {
      into["slot"] = std::string("?") + variable;
    } else {
      into["entity"] = uid(scope.entities.front());
    }
  };
  json out;
  switch (scope.kind) {
    case ScopeKind::any:
      return json{{"op", "All"}};
    case ScopeKind::equal:
      out["op"] = "==";
      target(out);
      return out;
    case ScopeKind::is:
      return json{{"op", "is"}, {"entity_type", scope.type}};
    case ScopeKind::is_in:
      out = json{{"op", "is"}, {"entity_type", scope.type}};
      out["in"] = json::object();
      target(out["in"]);
      return out;
    case ScopeKind::in:
      break;
  }
  out["op"] = "in";
  if (!scope.listed) {
    target(out);
    return out;
  }
  out["entities"] = json::array();
  for (const EntityUid& one : scope.entities) out["entities"].push_back(uid(one));
  return out;
}

json expression_json(const Expression& of);

json literal_json(const Value& value) {
  if (const auto* truth = value.as<bool>()) return *truth;
  if (const auto* number = value.as<std::int64_t>()) return *number;
  if (const auto* text = value.as<std::string>()) return *text;
  if (const auto* uid = value.as<EntityUid>()) {
    return json{{"__entity", {{"type", uid->type}, {"id", uid->id}}}};
  }
  if (const auto* set = value.as<Set>()) {
    json out = json::array();
    for (const Value& element : set->elements) out.push_back(literal_json(element));
    return out;
  }
  if (const auto* record = value.as<Record>()) {
    json out = json::object();
    for (const auto& [name, field] : record->fields) out[name] = literal_json(field);
    return out;
  }
  // fn("text"): the extension types as their own constructors write them.
  const std::string text = to_text(value);
  if (const auto* time = value.as<Datetime>()) {
    return json{
        {"__extn",
         {{"fn", "offset"},
          {"args",
           {{{"__extn", {{"fn", "datetime"}, {"arg", "1970-01-01"}}}},
            {{"__extn", {{"fn", "duration"}, {"arg", std::to_string(time->unix_ms) + "ms"}}}}}}}}};
  }
  const std::size_t open = text.find('(');
  return json{
      {"__extn",
       {{"fn", text.substr(0, open)}, {"arg", text.substr(open + 2, text.size() - open - 4)}}}};
}

json binary_json(const char* name, json left, json right) {
  return json{{name, {{"left", std::move(left)}, {"right", std::move(right)}}}};
}

// The JSON form knows two operands only: from the left, as the text is read.
json run_json(const char* name, const Expression& of) {
  json out = expression_json(of.operands[0]);
  for (std::size_t i = 1; i < of.operands.size(); ++i) {
    out = binary_json(name, std::move(out), expression_json(of.operands[i]));
  }
  return out;
}

// `x has a.b` is `x has a && x.a has b`.
json has_json(const Expression& of) {
  json owner = expression_json(of.operands[0]);
  json out;
  for (const std::string& name : of.names) {
    json one = {{"has", {{"left", owner}, {"attr", name}}}};
    out = out.is_null() ? std::move(one) : binary_json("&&", std::move(out), std::move(one));
    owner = json{{".", {{"left", std::move(owner)}, {"attr", name}}}};
  }
  return out;
}

json pattern_json(const Pattern& pattern) {
  json out = json::array();
  for (std::size_t i = 0; i < pattern.pieces.size(); ++i) {
    if (i > 0) out.push_back("Wildcard");
    if (!pattern.pieces[i].empty()) out.push_back({{"Literal", pattern.pieces[i]}});
  }
  return out;
}

json call_json(const Expression& of) {
  json arguments = json::array();
  for (const Expression& operand : of.operands) arguments.push_back(expression_json(operand));
  json out;
  out[std::string(callable_name(of.op, of.function))] = std::move(arguments);
  return out;
}

json expression_json(const Expression& of) {
  for (const BinaryName& entry : binary_names) {
    if (entry.op == of.op) return run_json(entry.name, of);
  }
  switch (of.op) {
    case Operator::literal:
      return json{{"Value", literal_json(of.value)}};
    case Operator::principal:
    case Operator::action:
    case Operator::resource:
    case Operator::context:
      return json{{"Var", to_text(of)}};
    case Operator::negation:
      return json{{"!", {{"arg", expression_json(of.operands[0])}}}};
    case Operator::minus:
      return json{{"neg", {{"arg", expression_json(of.operands[0])}}}};
    case Operator::is_empty:
      return json{{"isEmpty", {{"arg", expression_json(of.operands[0])}}}};
    case Operator::has:
      return has_json(of);
    case Operator::attribute:
      return json{{".", {{"left", expression_json(of.operands[0])}, {"attr", of.names[0]}}}};
    case Operator::like:
      return json{
          {"like",
           {{"left", expression_json(of.operands[0])}, {"pattern", pattern_json(of.pattern)}}}};
    case Operator::is: {
      json inner = {{"left", expression_json(of.operands[0])}, {"entity_type", of.names[0]}};
      if (of.operands.size() > 1) inner["in"] = expression_json(of.operands[1]);
      return json{{"is", std::move(inner)}};
    }
    case Operator::conditional:
      return json{{"if-then-else",
                   {{"if", expression_json(of.operands[0])},
                    {"then", expression_json(of.operands[1])},
                    {"else", expression_json(of.operands[2])}}}};
    case Operator::set: {
      json out = json::array();
      for (const Expression& element : of.operands) out.push_back(expression_json(element));
      return json{{"Set", std::move(out)}};
    }
    case Operator::record: {
      json out = json::object();
      for (std::size_t i = 0; i < of.operands.size(); ++i) {
        out[of.names[i]] = expression_json(of.operands[i]);
      }
      return json{{"Record", std::move(out)}};
    }
    default:
      return call_json(of);
  }
}

json policy_json(const Policy& policy) {
  json out = {{"effect", policy.effect == Effect::permit ? "permit" : "forbid"},
              {"principal", scope_json(policy.principal, "principal")},
              {"action", scope_json(policy.action, "action")},
              {"resource", scope_json(policy.resource, "resource")},
              {"conditions", json::array()}};
  for (const Condition& one : policy.conditions) {
    out["conditions"].push_back(
        {{"kind", one.when ? "when" : "unless"}, {"body", expression_json(one.body)}});
  }
  if (!policy.annotations.empty()) {
    out["annotations"] = json::object();
    for (const auto& [name, value] : policy.annotations) out["annotations"][name] = value;
  }
  return out;
}

}  // namespace

std::string to_json(const Policy& policy) {
  return policy_json(policy).dump();
}

std::string to_json(const std::vector<Policy>& policies) {
  json out = {{"staticPolicies", json::object()},
              {"templates", json::object()},
              {"templateLinks", json::array()}};
  for (const Policy& policy : policies) {
    out[policy.is_template() ? "templates" : "staticPolicies"][policy.id] = policy_json(policy);
  }
  return out.dump();
}

}  // namespace ambit::cedar
