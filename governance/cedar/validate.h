#pragma once

// Checks policies against a schema before they decide anything: unknown types, actions and
// attributes, comparisons of unlike things, attributes that may be absent and are read without
// `has`; a policy that can never apply is a warning. Strict, as the language's own validator. A
// policy without an error cannot fail while it is evaluated, except by an overflow or an entity
// that is not there.

#include "cedar/policy.h"
#include "cedar/schema.h"

#include <string>
#include <vector>

namespace ambit::cedar {

struct Finding {
  const Policy* policy = nullptr;
  bool error = true;  // false: a warning, such as a policy that can never apply
  Position where;
  std::string message;
};

struct ValidateOptions {
  // A scope that no action of the schema takes: an error up to Cedar 4.9, a warning since.
  bool inapplicable_is_error = false;
};

// In the order of the policies. The pointers are into `policies`.
std::vector<Finding> validate(const std::vector<Policy>& policies, const Schema& schema,
                              const ValidateOptions& options = {});
bool has_error(const std::vector<Finding>& findings);
// "FILE:LINE:COLUMN: policy ID: message".
std::string to_text(const Finding& finding);

}  // namespace ambit::cedar
