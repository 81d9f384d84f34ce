#include "governance/guard.h"

#include "agents/memory.h"
#include "cedar/est.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace ambit::governance {
namespace {

using agents::Action;
using agents::ActionKind;
using agents::Decision;
using agents::Verdict;
using cedar::Policy;
using nlohmann::json;

std::string names_of(const std::vector<const Policy*>& policies) {
  std::string names = policies.size() == 1 ? "policy " : "policies ";
  for (std::size_t i = 0; i < policies.size(); ++i) {
    if (i > 0) names += ", ";
    names += policies[i]->id;
  }
  return names;
}

int rank(Verdict verdict) {
  return verdict == Verdict::deny ? 0 : verdict == Verdict::escalate ? 1 : 2;
}

std::string nothing_permits(const Action& action, const cedar::Answer& answer) {
  std::string reason = "no policy permits the agent " + action.agent + " this " +
                       std::string(to_string(action.kind)) + " of " + action.tool;
  if (!answer.errors.empty()) {
    reason += " (policy " + answer.errors.front().policy->id +
              " failed: " + answer.errors.front().message + ")";
  }
  return reason;
}

// What the whole decision rests on.
template <class Reading>
std::vector<const Policy*> determining(const Reading& reading) {
  std::vector<const Policy*> all = reading.denies;
  all.insert(all.end(), reading.asks.begin(), reading.asks.end());
  if (!all.empty()) return all;
  all = reading.permits;
  all.insert(all.end(), reading.obliges.begin(), reading.obliges.end());
  return all;
}

}  // namespace

PolicyGuard::PolicyGuard(Compiled compiled, AutonomyLevels levels, GuardOptions options)
    : set_(std::move(compiled.set)),
      rules_(std::move(compiled.rules)),
      hash_(std::move(compiled.hash)),
      watched_(compiled.watched),
      levels_(std::move(levels)),
      options_(std::move(options)) {}

Result<PolicyGuard::Compiled> PolicyGuard::compile(const std::vector<PolicySource>& sources) {
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
  std::vector<Annotations> rules;
  bool watched = false;
  for (const Policy& policy : all) {
    rules.push_back(TRY(annotations_of(policy)));
    watched = watched || rules.back().watches;
  }
  std::string hash = log::to_hex(log::bytes_of(log::sha256(texts)));
  cedar::PolicySet set = TRY(cedar::PolicySet::create(std::move(all)));
  return Compiled{std::move(set), std::move(rules), std::move(hash), watched};
}

Result<std::unique_ptr<PolicyGuard>> PolicyGuard::create(const std::vector<PolicySource>& sources,
                                                         GuardOptions options) {
  std::map<std::string, std::int64_t> levels;
  for (const auto& [name, facts] : options.agents) levels[name] = facts.autonomy_level;
  Compiled compiled = TRY(compile(sources));
  AutonomyLevels begin = TRY(AutonomyLevels::create(std::move(levels)));
  return std::unique_ptr<PolicyGuard>(
      new PolicyGuard(std::move(compiled), std::move(begin), std::move(options)));
}

agents::Notice PolicyGuard::notice_of(const Compiled& compiled) const {
  return {"policy.loaded", json({{"before", hash_},
                                 {"policies", compiled.set.policies().size()},
                                 {"policySet", compiled.hash}})
                               .dump()};
}

Result<agents::Notice> PolicyGuard::announce(const std::vector<PolicySource>& sources) const {
  return notice_of(TRY(compile(sources)));
}

Result<agents::Notice> PolicyGuard::reload(const std::vector<PolicySource>& sources) {
  Compiled compiled = TRY(compile(sources));
  agents::Notice notice = notice_of(compiled);
  set_ = std::move(compiled.set);
  rules_ = std::move(compiled.rules);
  hash_ = std::move(compiled.hash);
  watched_ = compiled.watched;
  return notice;
}

const Annotations& PolicyGuard::rule(const Policy* policy) const {
  return rules_[static_cast<std::size_t>(policy - set_.policies().data())];
}

PolicyGuard::Reading PolicyGuard::read(const cedar::Answer& answer, bool with_watching) const {
  Reading reading;
  for (const Policy* policy : answer.permits) {
    if (with_watching || !rule(policy).watches) reading.permits.push_back(policy);
  }
  for (const Policy* policy : answer.forbids) {
    const Annotations& known = rule(policy);
    if (known.watches && !with_watching) continue;
    auto& list = known.advice == Advice::none       ? reading.denies
                 : known.advice == Advice::escalate ? reading.asks
                                                    : reading.obliges;
    list.push_back(policy);
  }
  if (reading.permits.empty() || !reading.denies.empty()) return reading;
  const bool all_ask =
      std::all_of(reading.permits.begin(), reading.permits.end(),
                  [this](const Policy* one) { return rule(one).advice == Advice::escalate; });
  reading.verdict = all_ask || !reading.asks.empty() ? Verdict::escalate : Verdict::allow;
  return reading;
}

// The @reason of the first policy that has one, else `verb` and the names.
std::string PolicyGuard::reason_of(const std::vector<const Policy*>& policies,
                                   const std::string& verb) const {
  for (const Policy* policy : policies) {
    const std::string& reason = rule(policy).reason;
    if (!reason.empty()) return reason;
  }
  return verb + names_of(policies);
}

std::string PolicyGuard::sentence(const Action& action, const cedar::Answer& answer,
                                  const Reading& reading) const {
  const std::string ask = "a person must approve: ";
  if (!reading.denies.empty()) return reason_of(reading.denies, "forbidden by ");
  if (reading.permits.empty()) return nothing_permits(action, answer);
  if (!reading.asks.empty()) return reason_of(reading.asks, ask);
  return reason_of(reading.permits, reading.verdict == Verdict::escalate ? ask : "permitted by ");
}

Decision PolicyGuard::judge(const Action& action, Obligations& asked) const {
  Decision decision;
  decision.policy_set = hash_;
  const auto call = to_cedar(action, options_, &levels_);
  if (!call) {
    decision.reason = call.error().message;
    return decision;
  }
  const cedar::Answer answer = set_.decide(call->request, call->entities);
  const Reading reading = read(answer, false);
  decision.verdict = reading.verdict;
  decision.reason = sentence(action, answer, reading);
  for (const Policy* policy : determining(reading)) decision.policies.push_back(policy->id);
  for (const auto& error : answer.errors) {
    decision.errors.push_back(error.policy->id + ": " + error.message);
  }
  for (const auto* list : {&reading.denies, &reading.asks, &reading.obliges, &reading.permits}) {
    for (const Policy* policy : *list) add(asked, rule(policy).obligations);
  }
  if (options_.evaluate_only && reading.verdict != Verdict::allow) {
    decision.would = to_string(reading.verdict);
    decision.would_reason = std::move(decision.reason);
    decision.verdict = Verdict::allow;
    decision.reason = "evaluate-only: nothing is enforced";
  } else if (watched_) {
    const Reading whole = read(answer, true);
    if (whole.verdict != reading.verdict) {
      decision.would = to_string(whole.verdict);
      decision.would_reason = sentence(action, answer, whole);
    }
  }
  return decision;
}

// Changed arguments are another action, so they are decided on again; the stricter verdict holds.
void PolicyGuard::oblige(const Action& action, const Obligations& asked, Decision& decision) const {
  Obligations in_force = asked;
  const bool denied = decision.verdict == Verdict::deny;
  if (denied) {
    in_force = Obligations{};
    in_force.autonomy = asked.autonomy;
  }
  if (decision.verdict != Verdict::escalate) {
    in_force.approvers.reset();
    in_force.people.reset();
    in_force.deadline_ms.reset();
  }
  decision.obligations = to_pairs(in_force);
  if (options_.evaluate_only || !in_force.changes_arguments()) return;
  auto changed = apply_obligations(in_force, action.arguments);
  if (!changed) {
    decision.verdict = Verdict::deny;
    decision.reason = changed.error().message;
    return;
  }
  if (*changed == action.arguments) return;
  Action second = action;
  second.arguments = *changed;
  Obligations ignored;
  Decision again = judge(second, ignored);
  decision.arguments = std::move(*changed);
  if (rank(again.verdict) >= rank(decision.verdict)) return;
  decision.verdict = again.verdict;
  decision.reason = "with its arguments changed: " + again.reason;
  decision.policies = std::move(again.policies);
  if (decision.verdict == Verdict::deny) decision.arguments.clear();
}

Decision PolicyGuard::decide(const Action& action) {
  Obligations asked;
  Decision decision = judge(action, asked);
  oblige(action, asked, decision);
  return decision;
}

void PolicyGuard::heard(const std::string& session, agents::Speaker speaker,
                        const std::string& name, const std::string& text) {
  SourceLabel label;
  if (speaker == agents::Speaker::user) {
    label = {"user", agents::Trust::user};
  } else if (speaker == agents::Speaker::instructions) {
    label = {"instructions", agents::Trust::trusted};
  } else if (speaker == agents::Speaker::agent) {
    label = {"agent:" + name, agents::Trust::untrusted};
  } else {
    label = {"tool:" + name, agents::Trust::untrusted};
    if (const ToolFacts* facts = find_facts(options_, name)) {
      if (facts->trusted) label.trust = agents::Trust::trusted;
      label.trusted_fields = facts->trusted_fields;
      if (facts->remembers && !facts->trusted) return recall(session, label, text);
    }
  }
  hear(session, label, text);
}

void PolicyGuard::hear(const std::string& session, const SourceLabel& label,
                       std::string_view text) {
  const auto at = heard_.try_emplace(session).first;
  const std::size_t before = at->second.bytes();
  // Beyond the bound it is told of a text that it cannot keep, so that it fails closed.
  const bool room = heard_bytes_ + text.size() <= options_.heard_bytes_max;
  if (room) {
    at->second.add(label, text);
  } else {
    at->second.miss();
  }
  heard_bytes_ += at->second.bytes() - before;
}

void PolicyGuard::missed(const std::string& session) {
  heard_.try_emplace(session).first->second.miss();
}

// A kept value is as good as what it was when it was kept; all else in the result, the names of
// keys too, is what nobody vouches for.
void PolicyGuard::recall(const std::string& session, const SourceLabel& label,
                         const std::string& text) {
  const auto values = agents::read_remembered(text);
  if (!values || values->empty()) return hear(session, label, text);
  for (const agents::Remembered& value : *values) {
    SourceLabel kept{value.sources.empty() ? label.name : value.sources.front(), value.trust};
    for (std::size_t i = 1; i < value.sources.size(); ++i) kept.through.push_back(value.sources[i]);
    hear(session, kept, value.value);
    hear(session, label, value.key);
  }
}

void PolicyGuard::trace(Action& action) const {
  // Who acts for another acts at most at the other's level.
  action.autonomy_level = levels_.of(action.agent);
  for (const std::string& by : action.chain) {
    action.autonomy_level = std::min(action.autonomy_level, levels_.of(by));
  }
  if (action.kind == ActionKind::tool_call) {
    const ToolFacts& facts = facts_of(options_, action.tool);
    action.reversibility = reversibility_of(action, facts);
    action.risk = facts.risk;
    action.kind = facts.effect;
  }
  const auto at = heard_.find(action.session);
  if (at == heard_.end() || action.arguments.empty()) return;
  if (action.arguments.size() > options_.argument_bytes_max) return;
  if (nesting(action.arguments) > options_.argument_depth_max) return;
  action.origins = at->second.trace(action.arguments);
}

std::vector<agents::Notice> PolicyGuard::done(const Action& action, const Decision& decision,
                                              const agents::Outcome& outcome) {
  std::vector<agents::Notice> notices;
  const auto lower = [&](std::int64_t to, const std::string& why) {
    auto notice = levels_.lower(action.agent, to, why);
    if (notice) notices.push_back(std::move(*notice));
  };
  for (const auto& [name, value] : decision.obligations) {
    std::int64_t to = autonomy_least;
    if (name != "autonomy" || options_.evaluate_only) continue;
    std::from_chars(value.data(), value.data() + value.size(), to);
    lower(to, "policy: " + decision.reason);
  }
  using agents::OutcomeKind;
  if (outcome.kind == OutcomeKind::policy_violation) {
    lower(levels_.of(action.agent) - 1, "the jail of " + action.tool + " had to end its call");
  }
  const bool refused =
      outcome.kind == OutcomeKind::denied || outcome.kind == OutcomeKind::escalated;
  std::int64_t& refusals = refusals_[action.agent];
  refusals = refused ? refusals + 1 : 0;
  if (options_.refusals_max > 0 && refusals >= options_.refusals_max) {
    lower(levels_.of(action.agent) - 1,
          std::to_string(refusals) + " actions in a row were refused");
    refusals = 0;
  }
  if (!notices.empty() && options_.keep_levels) options_.keep_levels(levels_.to_json());
  return notices;
}

void PolicyGuard::forget(const std::string& session) {
  const auto at = heard_.find(session);
  if (at == heard_.end()) return;
  heard_bytes_ -= at->second.bytes();
  heard_.erase(at);
}

PolicyGuard::Explained PolicyGuard::explain(const Action& action) {
  Explained explained;
  explained.decision = decide(action);
  const auto call = to_cedar(action, options_, &levels_);
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
