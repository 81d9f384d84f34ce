#pragma once

// Why a set decided as it did: for each policy whether it applied, and which of its clauses stood
// in the way (or let it through), with the values that were found there.

#include "cedar/policy_set.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ambit::cedar {

// One clause: the innermost part of a scope or condition that was not as the policy needs it.
struct Clause {
  std::string text;    // `context.path like "logs/*"`
  Position where;      // 0: part of the scope
  bool found = false;  // what it was
  std::string error;   // why it could not be evaluated; empty: it could
  std::vector<std::pair<std::string, std::string>> values;  // `context.path`: `"/etc/shadow"`
};

struct Explanation {
  enum class Outcome : std::uint8_t { applies, scope, condition, failed };
  const Policy* policy = nullptr;
  Outcome outcome = Outcome::scope;  // scope, condition: where it stopped
  // Of a policy that applies: the clauses any of which would have to differ for it not to.
  std::vector<Clause> clauses;
};
std::string_view to_string(Explanation::Outcome outcome);

Explanation explain(const Policy& policy, const Request& request, const Entities& entities);
// Of every policy but templates, in order.
std::vector<Explanation> explain(const PolicySet& set, const Request& request,
                                 const Entities& entities);
// "line 4, column 12: `context.path like "logs/*"` is false; context.path is "/etc/shadow"".
std::string to_text(const Clause& clause);

}  // namespace ambit::cedar
