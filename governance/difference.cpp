#include "governance/difference.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

namespace ambit::governance {
namespace {

using agents::Action;
using agents::ActionKind;
using agents::Decision;
using agents::Verdict;
using cedar::Expression;
using cedar::Operator;
using cedar::Policy;
using nlohmann::json;

// A place in a request that policies look at: "context.arguments.path", "principal.autonomyLevel".
using Path = std::vector<std::string>;
using Values = std::map<Path, std::set<json>>;

int severity(Verdict verdict) {
  return verdict == Verdict::deny ? 0 : verdict == Verdict::escalate ? 1 : 2;
}

std::optional<Path> path_of(const Expression& at) {
  switch (at.op) {
    case Operator::principal:
      return Path{"principal"};
    case Operator::resource:
      return Path{"resource"};
    case Operator::context:
      return Path{"context"};
    case Operator::attribute: {
      auto owner = path_of(at.operands[0]);
      if (owner) owner->push_back(at.names[0]);
      return owner;
    }
    default:
      return std::nullopt;
  }
}

// The plain values of a literal: a string, a number, a decimal.
void add_literals(const Expression& at, std::set<json>& out) {
  if (at.op == Operator::literal) {
    if (const auto* text = at.value.as<std::string>()) out.insert(*text);
    if (const auto* truth = at.value.as<bool>()) out.insert(*truth);
    if (const auto* number = at.value.as<std::int64_t>()) {
      for (const std::int64_t near : {-1, 0, 1}) {
        std::int64_t sum = 0;
        if (!__builtin_add_overflow(*number, near, &sum)) out.insert(sum);
      }
    }
  }
  if (at.op == Operator::call && at.function == cedar::Function::decimal && !at.operands.empty() &&
      at.operands[0].value.as<std::string>() != nullptr) {
    const auto exact = cedar::parse_decimal(*at.operands[0].value.as<std::string>());
    for (const double near : {-0.5, 0.0, 0.5}) {
      if (exact) out.insert(static_cast<double>(exact->ten_thousandths) / 10'000 + near);
    }
  }
  for (const Expression& operand : at.operands) add_literals(operand, out);
}

// A text that the pattern takes, with `filling` for each star.
std::string fill(const cedar::Pattern& pattern, const std::string& filling) {
  std::string text;
  for (std::size_t i = 0; i < pattern.pieces.size(); ++i) {
    text += (i > 0 ? filling : "") + pattern.pieces[i];
  }
  return text;
}

class Collector {
 public:
  void add(const Expression& at) {
    if (at.op == Operator::like) patterns(at);
    if (at.op == Operator::has) {
      auto owner = path_of(at.operands[0]);
      for (const std::string& name : at.names) {
        if (!owner) break;
        owner->push_back(name);
        values_[*owner];
      }
    }
    compared(at);
    for (const Expression& operand : at.operands) add(operand);
  }

  // With the patterns of one place put into each other, so that both can hold.
  Values finish() {
    for (const auto& [path, patterns] : patterns_) {
      for (const cedar::Pattern* outer : patterns) {
        for (const cedar::Pattern* inner : patterns) {
          values_[path].insert(fill(*outer, "x" + fill(*inner, "x") + "x"));
        }
      }
    }
    return std::move(values_);
  }

 private:
  void patterns(const Expression& at) {
    const auto path = path_of(at.operands[0]);
    if (!path) return;
    values_[*path].insert(fill(at.pattern, "x"));
    values_[*path].insert(fill(at.pattern, ""));
    patterns_[*path].push_back(&at.pattern);
  }

  // Every place in the expression gets every value that stands in it.
  void compared(const Expression& at) {
    const bool boolean = at.op == Operator::all || at.op == Operator::any ||
                         at.op == Operator::negation || at.op == Operator::conditional;
    std::set<json> literals;
    if (!boolean) add_literals(at, literals);
    for (const Expression& operand : at.operands) {
      const auto path = path_of(operand);
      if (!path || path->size() < 2) continue;
      auto& values = values_[*path];
      if (boolean) {
        values.insert({json(true), json(false)});
      } else if (at.op == Operator::contains || at.op == Operator::contains_all ||
                 at.op == Operator::contains_any || at.op == Operator::is_empty) {
        values.insert(json::array());
        for (const json& literal : literals) values.insert(json::array({literal}));
        values.insert(literals.begin(), literals.end());
      } else if (at.op != Operator::attribute) {
        values.insert(literals.begin(), literals.end());
      }
    }
    // `when { context.tainted }`: the place is the whole condition.
    if (at.op == Operator::attribute && path_of(at)) {
      values_[*path_of(at)].insert({json(true), json(false)});
    }
  }

  Values values_;
  std::map<Path, std::vector<const cedar::Pattern*>> patterns_;
};

void set_argument(json& arguments, const Path& path, const json& value) {
  json* at = &arguments;
  for (std::size_t i = 2; i + 1 < path.size(); ++i) {
    json& inner = (*at)[path[i]];
    if (!inner.is_object()) inner = json::object();
    at = &inner;
  }
  (*at)[path.back()] = value;
}

std::int64_t* budget_of(Action& action, const std::string& name) {
  if (name == "turns") return &action.left.turns;
  if (name == "toolCalls") return &action.left.tool_calls;
  if (name == "tokens") return &action.left.tokens;
  if (name == "wallMs") return &action.left.wall_ms;
  return nullptr;
}

agents::ArgumentOrigin& origin_of(Action& action, json& arguments, const std::string& name) {
  if (!arguments.contains(name)) arguments[name] = "something";
  for (agents::ArgumentOrigin& origin : action.origins) {
    if (origin.argument == name) return origin;
  }
  action.origins.push_back({name, agents::Trust::user, false, {}});
  return action.origins.back();
}

// {"context", "unvouched"}: ["recipient"], and {"context", "provenance", "recipient", "trust"}.
void put_origin(Action& action, json& arguments, const Path& path, const json& value) {
  using agents::Trust;
  if (path.size() == 2 && value.is_array()) {
    for (const json& name : value) {
      if (!name.is_string()) continue;
      auto& origin = origin_of(action, arguments, name.get<std::string>());
      const bool untrusted = path[1] == "untrusted";
      origin.trust = std::max(origin.trust, untrusted ? Trust::untrusted : Trust::unknown);
    }
  } else if (path.size() == 4 && path[3] == "trust" && value.is_string()) {
    auto& origin = origin_of(action, arguments, path[2]);
    origin.trust = Trust::unknown;
    for (const Trust trust : {Trust::user, Trust::trusted, Trust::untrusted}) {
      if (value == std::string(to_string(trust))) origin.trust = trust;
    }
  } else if (path.size() == 4 && path[3] == "weak" && value.is_boolean()) {
    origin_of(action, arguments, path[2]).weak = value.get<bool>();
  }
}

// What nothing is said of comes from the user, so that both sides of a condition on it are asked.
void vouch_for_the_rest(Action& action, json& arguments) {
  std::vector<std::string> names;
  for (const auto& [name, value] : arguments.items()) names.push_back(name);
  for (const std::string& name : names) (void)origin_of(action, arguments, name);
}

// Puts a value where the policies would find it; what an action cannot say is left as it is.
void put(Action& action, json& arguments, const Path& path, const json& value) {
  const std::string& name = path[1];
  if (path[0] == "context" && name == "arguments") {
    if (path.size() > 2) set_argument(arguments, path, value);
  } else if (path[0] == "context" && name == "budgetLeft" && path.size() == 3) {
    std::int64_t* amount = budget_of(action, path[2]);
    if (amount != nullptr && value.is_number_integer()) *amount = value.get<std::int64_t>();
  } else if (path[0] == "context" &&
             (name == "unvouched" || name == "untrusted" || name == "provenance")) {
    put_origin(action, arguments, path, value);
  } else if (name == "autonomyLevel" && value.is_number_integer() && value >= 1 && value <= 5) {
    action.autonomy_level = value.get<std::int64_t>();
  } else if (name == "tainted" && value.is_boolean()) {
    action.tainted = value.get<bool>();
  } else if (name == "readOnly" && value.is_boolean()) {
    action.read_only = value.get<bool>();
  } else if (name == "destructive" && value.is_boolean()) {
    action.destructive = value.get<bool>();
  } else if (value.is_string()) {
    if (name == "onBehalfOf") action.on_behalf_of = value.get<std::string>();
    if (name == "session") action.session = value.get<std::string>();
    if (name == "digest") action.tool_digest = value.get<std::string>();
  }
}

class Comparison {
 public:
  Comparison(PolicyGuard& before, PolicyGuard& after, const DifferenceOptions& options)
      : before_(before), after_(after), options_(options) {}

  DifferenceReport run() {
    names();
    for (const auto& [kind, target] : targets_) {
      for (const std::string& agent : agents_) {
        Action action;
        action.kind = kind;
        action.agent = agent;
        action.tool = target;
        action.left = {-1, -1, -1, -1};
        ask_all(action);
      }
    }
    return std::move(report_);
  }

 private:
  template <class Each>
  void each_policy(Each each) {
    for (const Policy& policy : before_.policies()) each(policy);
    for (const Policy& policy : after_.policies()) each(policy);
  }

  void name(const cedar::EntityUid& uid) {
    if (uid.type == "Agent") agents_.insert(uid.id);
    if (uid.type == "Agent") {
      for (const ActionKind kind :
           {ActionKind::delegation, ActionKind::message, ActionKind::spawn}) {
        targets_.insert({kind, uid.id});
      }
    }
    if (uid.type == "Tool") targets_.insert({ActionKind::tool_call, uid.id});
    if (uid.type == "Toolbox") {
      targets_.insert({ActionKind::tool_call, "mcp__" + uid.id + "__any_other"});
    }
    if (uid.type == "Model") targets_.insert({ActionKind::model_call, uid.id});
    if (uid.type == "Memory") targets_.insert({ActionKind::memory_write, uid.id});
    if (uid.type == "Host") targets_.insert({ActionKind::egress, uid.id});
  }

  void names_in(const Expression& at) {
    if (at.op == Operator::literal && at.value.as<cedar::EntityUid>() != nullptr) {
      name(*at.value.as<cedar::EntityUid>());
    }
    for (const Expression& operand : at.operands) names_in(operand);
  }

  // Everything that is named, and one of each kind that is not.
  void names() {
    agents_.insert("any other agent");
    for (const ActionKind kind :
         {ActionKind::model_call, ActionKind::tool_call, ActionKind::delegation,
          ActionKind::message, ActionKind::memory_write, ActionKind::spawn, ActionKind::egress}) {
      targets_.insert({kind, "any other"});
    }
    each_policy([this](const Policy& policy) {
      for (const auto* scope : {&policy.principal, &policy.resource}) {
        for (const cedar::EntityUid& uid : scope->entities) name(uid);
      }
      for (const auto& condition : policy.conditions) names_in(condition.body);
    });
  }

  // The values that matter for this agent and target: those of policies whose scope takes them.
  Values values_for(const Action& action) {
    Collector collector;
    for (PolicyGuard* guard : {&before_, &after_}) {
      const auto explained = guard->explain(action);
      for (const auto& one : explained.policies) {
        if (one.outcome == cedar::Explanation::Outcome::scope) continue;
        for (const auto& condition : one.policy->conditions) collector.add(condition.body);
      }
    }
    Values values = collector.finish();
    for (auto at = values.begin(); at != values.end();) {
      const Path& path = at->first;
      const bool arguments = path.size() > 2 && path[0] == "context" && path[1] == "arguments";
      if (path.size() < 2 || (!arguments && at->second.empty())) {
        at = values.erase(at);
        continue;
      }
      const bool text = std::any_of(at->second.begin(), at->second.end(),
                                    [](const json& value) { return value.is_string(); });
      if (text || at->second.empty()) at->second.insert("something else");
      at->second.insert(json());  // absent, or as it is
      ++at;
    }
    return values;
  }

  void ask_all(const Action& action) {
    const Values values = values_for(action);
    std::uint64_t combinations = 1;
    for (const auto& [path, some] : values) {
      if (combinations <= options_.per_target_max) combinations *= some.size();
    }
    const bool all = combinations <= options_.per_target_max;
    report_.exhaustive = report_.exhaustive && all;
    std::mt19937_64 lot(1);
    for (std::uint64_t i = 0; i < std::min(combinations, options_.per_target_max); ++i) {
      Action asked = action;
      json arguments = json::object();
      std::uint64_t rest = i;
      for (const auto& [path, some] : values) {
        const std::uint64_t choice = (all ? rest : lot()) % some.size();
        rest /= some.size();
        const json& value = *std::next(some.begin(), static_cast<std::ptrdiff_t>(choice));
        if (!value.is_null()) put(asked, arguments, path, value);
      }
      vouch_for_the_rest(asked, arguments);
      asked.arguments = arguments.dump(-1, ' ', false, json::error_handler_t::replace);
      ask(asked);
    }
  }

  void ask(const Action& action) {
    ++report_.actions;
    Difference one{action, before_.decide(action), after_.decide(action)};
    if (one.before.verdict == one.after.verdict) return;
    auto& list = one.wider() ? report_.wider : report_.narrower;
    if (list.size() >= options_.examples_max) return;
    const bool fresh = seen_
                           .insert({one.before.verdict, one.after.verdict, action.agent,
                                    action.tool, one.before.policies, one.after.policies})
                           .second;
    if (fresh) list.push_back(std::move(one));
  }

  PolicyGuard& before_;
  PolicyGuard& after_;
  const DifferenceOptions& options_;
  std::set<std::string> agents_;
  std::set<std::pair<ActionKind, std::string>> targets_;
  std::set<std::tuple<Verdict, Verdict, std::string, std::string, std::vector<std::string>,
                      std::vector<std::string>>>
      seen_;
  DifferenceReport report_;
};

}  // namespace

bool Difference::wider() const {
  return severity(after.verdict) > severity(before.verdict);
}

DifferenceReport compare(PolicyGuard& before, PolicyGuard& after,
                         const DifferenceOptions& options) {
  return Comparison(before, after, options).run();
}

}  // namespace ambit::governance
