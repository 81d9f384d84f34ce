#pragma once

// PolicySet: policies compiled once, and the decision over them. Default deny; one forbid outweighs
// every permit; a policy whose evaluation fails counts as not satisfied and is reported. The
// policies lie in an index over their scopes, so that a decision looks only at those that can apply
// and its cost stays flat in their number. Immutable: any number of threads may decide at once.

#include "cedar/entities.h"
#include "cedar/policy.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::cedar {

// The four variables. `principal`, `action` and `resource` hold an EntityUid, `context` a Record.
struct Request {
  Value principal;
  Value action;
  Value resource;
  Value context;
  static Request make(EntityUid principal, EntityUid action, EntityUid resource,
                      Record context = {}) {
    return Request{Value(std::move(principal)), Value(std::move(action)),
                   Value(std::move(resource)), Value(std::move(context))};
  }
};

struct PolicyError {
  const Policy* policy = nullptr;
  std::string message;  // "line 4, column 12: ..."
};

// The pointers are into the PolicySet that answered. All lists in the order of the policies.
struct Answer {
  std::vector<const Policy*> permits;  // satisfied
  std::vector<const Policy*> forbids;  // satisfied
  std::vector<PolicyError> errors;     // failed, so skipped
  [[nodiscard]] bool allowed() const { return forbids.empty() && !permits.empty(); }
  // Those that determined the decision.
  [[nodiscard]] const std::vector<const Policy*>& determining() const {
    return forbids.empty() ? permits : forbids;
  }
};

class PolicySet {
 public:
  // Templates are kept and decide nothing. Errors: two policies of one id.
  static Result<PolicySet> create(std::vector<Policy> policies);
  PolicySet(PolicySet&&) noexcept;
  PolicySet& operator=(PolicySet&&) noexcept;
  ~PolicySet();

  [[nodiscard]] Answer decide(const Request& request, const Entities& entities) const;
  [[nodiscard]] const std::vector<Policy>& policies() const { return policies_; }

 private:
  struct Index;
  explicit PolicySet(std::vector<Policy> policies);

  std::vector<Policy> policies_;
  std::unique_ptr<const Index> index_;
};

// Whether the policy is satisfied; an error if its evaluation fails. The whole truth about one
// policy, without the index.
Result<bool> evaluate(const Policy& policy, const Request& request, const Entities& entities);
// The value of an expression.
Result<Value> evaluate(const Expression& expression, const Request& request,
                       const Entities& entities);

}  // namespace ambit::cedar
