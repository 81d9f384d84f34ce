#include "cedar/validate.h"

#include "cedar/type_check.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace ambit::cedar {
namespace {

class Validator {
 public:
  Validator(const Policy& policy, const Schema& schema, const ValidateOptions& options,
            std::vector<Finding>& findings)
      : policy_(policy), schema_(schema), options_(options), findings_(findings) {}

  void run() {
    scope_names(policy_.principal);
    scope_names(policy_.resource);
    for (const EntityUid& uid : policy_.action.entities) name(uid, policy_.where);
    for (const Condition& condition : policy_.conditions) names(condition.body);
    if (!applicable()) {
      report(policy_.where, "no action of the schema takes such a principal and resource",
             options_.inapplicable_is_error);
    }
    environments();
  }

 private:
  void report(Position where, const std::string& message, bool error = true) {
    if (!seen_.insert({where.line, where.column, message}).second) return;
    findings_.push_back(Finding{&policy_, error, where, message});
  }

  // Whether the schema knows the entity, wherever the policy names it.
  void name(const EntityUid& uid, Position where) {
    if (schema_.action(uid) != nullptr) return;
    const EntityType* type = schema_.entity_type(uid.type);
    if (type == nullptr) {
      report(where, "the schema knows no " + to_text(uid));
      return;
    }
    const auto& choices = type->choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), uid.id) == choices.end()) {
      report(where, to_text(uid) + " is none of the entities that the schema lists");
    }
  }

  void type_name(const std::string& type, Position where) {
    if (schema_.entity_type(type) != nullptr || schema_.is_action_type(type)) return;
    report(where, "the schema knows no entity type " + type);
  }

  void scope_names(const Scope& scope) {
    if (!scope.type.empty()) type_name(scope.type, policy_.where);
    for (const EntityUid& uid : scope.entities) name(uid, policy_.where);
  }

  void names_in(const Value& value, Position where) {
    if (const auto* uid = value.as<EntityUid>()) name(*uid, where);
    if (const auto* set = value.as<Set>()) {
      for (const Value& element : set->elements) names_in(element, where);
    }
    if (const auto* record = value.as<Record>()) {
      for (const auto& [key, field] : record->fields) names_in(field, where);
    }
  }

  void names(const Expression& at) {
    if (at.op == Operator::literal) names_in(at.value, at.where);
    if (at.op == Operator::is) type_name(at.names[0], at.where);
    for (const Expression& operand : at.operands) names(operand);
  }

  // Whether an entity of the type can satisfy the scope.
  [[nodiscard]] bool can_match(const Scope& scope, const std::string& type) const {
    switch (scope.kind) {
      case ScopeKind::any:
        return true;
      case ScopeKind::equal:
        return scope.slot || type == scope.entities.front().type;
      case ScopeKind::in:
        return scope.slot || schema_.can_be_in(type, scope.entities.front().type);
      case ScopeKind::is:
        return type == scope.type;
      case ScopeKind::is_in:
        return type == scope.type &&
               (scope.slot || schema_.can_be_in(type, scope.entities.front().type));
    }
    return false;
  }

  [[nodiscard]] bool action_matches(const EntityUid& action) const {
    const auto& wanted = policy_.action;
    if (wanted.kind == ScopeKind::any) return true;
    return std::any_of(wanted.entities.begin(), wanted.entities.end(), [&](const EntityUid& uid) {
      return wanted.kind == ScopeKind::equal ? action == uid : schema_.is_in(action, uid);
    });
  }

  [[nodiscard]] bool applicable() const {
    const auto some = [this](const Scope& scope, const std::vector<std::string>& types) {
      return std::any_of(types.begin(), types.end(),
                         [&](const std::string& type) { return can_match(scope, type); });
    };
    return std::any_of(schema_.actions().begin(), schema_.actions().end(), [&](const auto& one) {
      return action_matches(one.first) && some(policy_.principal, one.second.principals) &&
             some(policy_.resource, one.second.resources);
    });
  }

  void environments() {
    bool can_apply = false;
    for (const auto& [uid, action] : schema_.actions()) {
      for (const std::string& principal : action.principals) {
        for (const std::string& resource : action.resources) {
          can_apply = environment({principal, uid, resource, &action}) || can_apply;
        }
      }
    }
    if (!can_apply)
      report(policy_.where, "the policy can never apply: it takes no request of the schema", false);
  }

  // False: the policy can never apply here.
  bool environment(const Environment& here) {
    if (!can_match(policy_.principal, here.principal)) return false;
    if (policy_.action.listed && policy_.action.entities.empty()) {
      report(policy_.where, "the type of an empty set is not known: `action in []` takes nothing");
    }
    if (!action_matches(here.action) || !can_match(policy_.resource, here.resource)) return false;
    TypeCheck check(schema_, here,
                    [this](Position where, const std::string& message) { report(where, message); });
    TypeCheck::Known known;
    for (const Condition& condition : policy_.conditions) {
      const auto found = check.check_truth(condition.body, known);
      if (!found) continue;
      const auto kind = found->type.kind;
      if (kind == (condition.when ? Type::Kind::always_false : Type::Kind::always_true)) {
        return false;
      }
      if (condition.when) known.insert(found->shown.begin(), found->shown.end());
    }
    return true;
  }

  const Policy& policy_;
  const Schema& schema_;
  const ValidateOptions& options_;
  std::vector<Finding>& findings_;
  std::set<std::tuple<std::uint32_t, std::uint32_t, std::string>> seen_;
};

}  // namespace

std::vector<Finding> validate(const std::vector<Policy>& policies, const Schema& schema,
                              const ValidateOptions& options) {
  std::vector<Finding> findings;
  for (const Policy& policy : policies) Validator(policy, schema, options, findings).run();
  return findings;
}

bool has_error(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.error; });
}

std::string to_text(const Finding& finding) {
  std::string text = finding.policy->source;
  if (finding.where.line != 0) {
    text += ":" + std::to_string(finding.where.line) + ":" + std::to_string(finding.where.column);
  }
  return text + ": policy " + finding.policy->id + ": " + finding.message;
}

}  // namespace ambit::cedar
