#include "cedar/explain.h"

#include "cedar/write.h"

#include <algorithm>

namespace ambit::cedar {
namespace {

constexpr std::size_t clauses_max = 32;  // of one policy
constexpr std::size_t text_max = 200;    // of one value or clause

std::string cut(std::string text) {
  if (text.size() <= text_max) return text;
  std::size_t end = text_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  return text.substr(0, end) + "...";
}

class Explainer {
 public:
  Explainer(const Request& request, const Entities& entities)
      : request_(request), entities_(entities) {}

  // Adds the clauses of `at` that keep it from being `wanted`.
  void find(const Expression& at, bool wanted, std::vector<Clause>& clauses) const {
    if (clauses.size() >= clauses_max) return;
    const auto value = evaluate(at, request_, entities_);
    const bool* found = value ? value->as<bool>() : nullptr;
    if (found != nullptr && *found == wanted) return;
    const bool connective = at.op == Operator::all || at.op == Operator::any;
    if (at.op == Operator::negation) return find(at.operands[0], !wanted, clauses);
    if (connective) return find_in(at, wanted, clauses);
    if (at.op == Operator::conditional) {
      const auto test = evaluate(at.operands[0], request_, entities_);
      const bool* taken = test ? test->as<bool>() : nullptr;
      if (taken == nullptr) return find(at.operands[0], wanted, clauses);
      return find(at.operands[*taken ? 1 : 2], wanted, clauses);
    }
    clauses.push_back(leaf(at, value, found));
  }

  Clause scope(const Scope& scope, std::string_view variable, const Value& value) const {
    Clause clause;
    clause.text = cut(std::string(variable) + to_text(scope, variable));
    clause.values.emplace_back(variable, cut(to_text(value)));
    const auto above = entities_.ancestors(*value.as<EntityUid>());
    if (scope.kind != ScopeKind::in && scope.kind != ScopeKind::is_in) return clause;
    std::string parents;
    for (const EntityUid& uid : above) parents += (parents.empty() ? "" : ", ") + to_text(uid);
    clause.values.emplace_back("above it", parents.empty() ? "nothing" : cut(parents));
    return clause;
  }

 private:
  // Evaluation stops at the first operand that decides; so does the explanation.
  void find_in(const Expression& at, bool wanted, std::vector<Clause>& clauses) const {
    const bool decisive = at.op == Operator::any;
    for (const Expression& operand : at.operands) {
      const auto value = evaluate(operand, request_, entities_);
      const bool* found = value ? value->as<bool>() : nullptr;
      if (found == nullptr || *found == decisive) {
        if (found != nullptr && wanted == decisive) return;
        return find(operand, wanted, clauses);
      }
      if (wanted == decisive) find(operand, wanted, clauses);
      if (clauses.size() >= clauses_max) return;
    }
    // All operands are alike and none decides: each of them could.
  }

  Clause leaf(const Expression& at, const Result<Value>& value, const bool* found) const {
    Clause clause;
    clause.text = cut(to_text(at));
    clause.where = at.where;
    clause.found = found != nullptr && *found;
    if (!value) clause.error = value.error().message;
    if (value && found == nullptr) {
      clause.error = "expected a bool, found the " + std::string(type_name(*value));
    }
    if (at.operands.empty() || (at.op == Operator::attribute && value)) {
      add_value(at, clause);
    } else {
      for (const Expression& operand : at.operands) add_value(operand, clause);
    }
    return clause;
  }

  void add_value(const Expression& at, Clause& clause) const {
    if (at.op == Operator::literal) return;
    if (at.op == Operator::set || at.op == Operator::record) {
      const bool constant =
          std::all_of(at.operands.begin(), at.operands.end(),
                      [](const auto& one) { return one.op == Operator::literal; });
      if (constant) return;
    }
    const auto value = evaluate(at, request_, entities_);
    if (!value && at.op == Operator::attribute) return add_value(at.operands[0], clause);
    clause.values.emplace_back(cut(to_text(at)),
                               cut(value ? to_text(*value) : value.error().message));
  }

  const Request& request_;
  const Entities& entities_;
};

}  // namespace

std::string_view to_string(Explanation::Outcome outcome) {
  switch (outcome) {
    case Explanation::Outcome::applies:
      return "applies";
    case Explanation::Outcome::scope:
      return "scope";
    case Explanation::Outcome::condition:
      return "condition";
    case Explanation::Outcome::failed:
      return "failed";
  }
  return "failed";
}

Explanation explain(const Policy& policy, const Request& request, const Entities& entities) {
  Explanation made;
  made.policy = &policy;
  const Explainer explainer(request, entities);
  const auto part = [&](const Scope& scope, std::string_view name, const Value& value) {
    Policy only;
    (name == "principal" ? only.principal : name == "action" ? only.action : only.resource) = scope;
    const auto matches = evaluate(only, request, entities);
    if (!matches || !*matches) made.clauses.push_back(explainer.scope(scope, name, value));
  };
  part(policy.principal, "principal", request.principal);
  part(policy.action, "action", request.action);
  part(policy.resource, "resource", request.resource);
  if (!made.clauses.empty()) return made;
  for (const Condition& condition : policy.conditions) {
    const auto value = evaluate(condition.body, request, entities);
    const bool* found = value ? value->as<bool>() : nullptr;
    if (found != nullptr && *found == condition.when) continue;
    made.outcome =
        found == nullptr ? Explanation::Outcome::failed : Explanation::Outcome::condition;
    explainer.find(condition.body, condition.when, made.clauses);
    return made;
  }
  made.outcome = Explanation::Outcome::applies;
  for (const Condition& condition : policy.conditions) {
    explainer.find(condition.body, !condition.when, made.clauses);
  }
  return made;
}

std::vector<Explanation> explain(const PolicySet& set, const Request& request,
                                 const Entities& entities) {
  std::vector<Explanation> all;
  for (const Policy& policy : set.policies()) {
    if (!policy.is_template()) all.push_back(explain(policy, request, entities));
  }
  return all;
}

std::string to_text(const Clause& clause) {
  std::string text;
  if (clause.where.line != 0) {
    text = "line " + std::to_string(clause.where.line) + ", column " +
           std::to_string(clause.where.column) + ": ";
  }
  text += "`" + clause.text + "` ";
  if (!clause.error.empty()) return text + "failed: " + clause.error;
  text += clause.found ? "is true" : "is false";
  for (const auto& [name, value] : clause.values) {
    if (name != clause.text) text += "; " + name + " is " + value;
  }
  return text;
}

}  // namespace ambit::cedar
