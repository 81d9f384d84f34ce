// What the guard can say of an action before its arguments are known.

#include "cedar/explain.h"
#include "governance/guard.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace ambit::governance {
namespace {

using cedar::Expression;
using cedar::Operator;

// Fields of the context that do not depend on what is said in the call.
constexpr std::array<std::string_view, 4> standing = {"chain", "depth", "onBehalfOf", "session"};

// Whether another call by the same agent for the same person could make it another value.
bool depends_on_call(const Expression& expression) {
  if (expression.op == Operator::context) return true;
  const bool looks_in = (expression.op == Operator::attribute || expression.op == Operator::has) &&
                        !expression.operands.empty() &&
                        expression.operands[0].op == Operator::context;
  if (looks_in) {
    return std::find(standing.begin(), standing.end(), expression.names.at(0)) == standing.end();
  }
  return std::any_of(expression.operands.begin(), expression.operands.end(), depends_on_call);
}

bool depends_on_call(const cedar::Policy& policy) {
  return std::any_of(policy.conditions.begin(), policy.conditions.end(),
                     [](const cedar::Condition& one) { return depends_on_call(one.body); });
}

}  // namespace

bool PolicyGuard::may_allow(const agents::Action& action) const {
  if (options_.evaluate_only) return true;
  const auto call = to_cedar(action, options_, &levels_);
  if (!call) return false;
  bool permitted = false;
  for (const cedar::Explanation& one : cedar::explain(set_, call->request, call->entities)) {
    using Outcome = cedar::Explanation::Outcome;
    const Annotations& known = rule(one.policy);
    if (known.watches || one.outcome == Outcome::scope) continue;
    const bool is_open = depends_on_call(*one.policy);
    if (one.policy->effect == cedar::Effect::forbid) {
      const bool applies = !is_open && one.outcome == Outcome::applies;
      if (applies && known.advice != Advice::oblige) return false;
    } else if (known.advice != Advice::escalate) {
      permitted = permitted || is_open || one.outcome == Outcome::applies;
    }
  }
  return permitted;
}

}  // namespace ambit::governance
