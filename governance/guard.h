#pragma once

// PolicyGuard: the gate before every effect of an agent. It turns an Action into a Cedar request,
// lets the policies decide, and turns the answer into a Decision with its reason. POLICY.md is the
// manual: which entities and attributes a policy sees, and when an advice makes a verdict an
// escalation.

#include "agents/ports.h"
#include "async/result.h"
#include "cedar/explain.h"
#include "cedar/policy_set.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::governance {

struct PolicySource {
  std::string name;  // of the file, for messages
  std::string text;
};

struct AgentFacts {
  std::int64_t autonomy_level = 1;  // 1 (a person does it) to 5 (nobody watches)
};

struct GuardOptions {
  std::string fleet;
  std::map<std::string, AgentFacts> agents;  // by name; one that is not here has the defaults
  std::size_t argument_bytes_max = 1U << 20;
  std::size_t argument_depth_max = 64;
};

class PolicyGuard final : public agents::Guard {
 public:
  // Errors: a text that does not parse (FILE:LINE:COLUMN), two policies of one @id, no policy at
  // all.
  static Result<std::unique_ptr<PolicyGuard>> create(const std::vector<PolicySource>& sources,
                                                     GuardOptions options);

  agents::Decision decide(const agents::Action& action) override;

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
  PolicyGuard(cedar::PolicySet set, std::string hash, GuardOptions options);

  cedar::PolicySet set_;
  std::string hash_;
  GuardOptions options_;
};

// What the policies get to see of an action: public for tests and for explanations.
struct CedarCall {
  cedar::Request request;
  cedar::Entities entities;
};
Result<CedarCall> to_cedar(const agents::Action& action, const GuardOptions& options);

}  // namespace ambit::governance
