#pragma once

// PolicyGuard: the gate before every effect of an agent. It turns an Action into a Cedar request,
// lets the policies decide, and turns the answer into a Decision with its reason. POLICY.md is the
// manual: which entities and attributes a policy sees, and when an advice makes a verdict an
// escalation.

#include "agents/ports.h"
#include "async/result.h"
#include "cedar/explain.h"
#include "cedar/policy_set.h"
#include "governance/autonomy.h"
#include "governance/cedar_call.h"
#include "governance/obligations.h"
#include "governance/provenance.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ambit::governance {

struct PolicySource {
  std::string name;  // of the file, for messages
  std::string text;
};

class PolicyGuard final : public agents::Guard {
 public:
  // Errors: a text that does not parse (FILE:LINE:COLUMN), two policies of one @id, no policy at
  // all.
  static Result<std::unique_ptr<PolicyGuard>> create(const std::vector<PolicySource>& sources,
                                                     GuardOptions options);

  agents::Decision decide(const agents::Action& action) override;
  void missed(const std::string& session) override;
  void heard(const std::string& session, agents::Speaker speaker, const std::string& name,
             const std::string& text) override;
  void trace(agents::Action& action) const override;
  std::vector<agents::Notice> done(const agents::Action& action, const agents::Decision& decision,
                                   const agents::Outcome& outcome) override;
  void forget(const std::string& session) override;

  // Other policies from the next decision on; every decision names its set. What comes back belongs
  // into the journal, and announce() gives it before anything has changed. After an error the old
  // policies stay.
  Result<agents::Notice> reload(const std::vector<PolicySource>& sources);
  [[nodiscard]] Result<agents::Notice> announce(const std::vector<PolicySource>& sources) const;

  [[nodiscard]] AutonomyLevels& autonomy() { return levels_; }
  // Levels that were kept, or raised, since: those of agents that they do not name stay.
  void take_levels(const AutonomyLevels& levels) { levels_.take(levels); }

  // Whether such an action could be let through without a person, whatever its arguments were: for
  // lists of what somebody may do. Policies that look at the arguments stand in nobody's way here;
  // decide() has the last word.
  [[nodiscard]] bool may_allow(const agents::Action& action) const;

  // The decision with what each policy did for it. An action that is denied before any policy is
  // asked has no explanations.
  struct Explained {
    agents::Decision decision;
    std::vector<cedar::Explanation> policies;  // into this guard; those that apply first
  };
  [[nodiscard]] Explained explain(const agents::Action& action);

  [[nodiscard]] const std::vector<cedar::Policy>& policies() const { return set_.policies(); }
  [[nodiscard]] std::size_t policy_count() const { return set_.policies().size(); }
  // SHA-256 hex over the texts of all policies, in order: the same in every Decision.
  [[nodiscard]] const std::string& policy_set() const { return hash_; }

 private:
  // Policies as they decide.
  struct Compiled {
    cedar::PolicySet set;
    std::vector<Annotations> rules;  // one a policy
    std::string hash;
    bool watched = false;  // some only watch
  };
  // What the policies that apply say together.
  struct Reading {
    agents::Verdict verdict = agents::Verdict::deny;
    std::vector<const cedar::Policy*> permits;
    std::vector<const cedar::Policy*> denies;   // forbids without advice
    std::vector<const cedar::Policy*> asks;     // forbids that advise escalation
    std::vector<const cedar::Policy*> obliges;  // forbids that ask for their obligations alone
  };

  PolicyGuard(Compiled compiled, AutonomyLevels levels, GuardOptions options);
  static Result<Compiled> compile(const std::vector<PolicySource>& sources);
  [[nodiscard]] agents::Notice notice_of(const Compiled& compiled) const;
  [[nodiscard]] const Annotations& rule(const cedar::Policy* policy) const;
  [[nodiscard]] Reading read(const cedar::Answer& answer, bool with_watching) const;
  [[nodiscard]] std::string reason_of(const std::vector<const cedar::Policy*>& policies,
                                      const std::string& verb) const;
  [[nodiscard]] std::string sentence(const agents::Action& action, const cedar::Answer& answer,
                                     const Reading& reading) const;
  agents::Decision judge(const agents::Action& action, Obligations& asked) const;
  void hear(const std::string& session, const SourceLabel& label, std::string_view text);
  void recall(const std::string& session, const SourceLabel& label, const std::string& text);
  void oblige(const agents::Action& action, const Obligations& asked,
              agents::Decision& decision) const;

  cedar::PolicySet set_;
  std::vector<Annotations> rules_;
  std::string hash_;
  bool watched_ = false;
  AutonomyLevels levels_;
  std::map<std::string, std::int64_t> refusals_;       // of an agent, in a row
  std::unordered_map<std::string, Provenance> heard_;  // by session
  std::size_t heard_bytes_ = 0;
  GuardOptions options_;
};

}  // namespace ambit::governance
