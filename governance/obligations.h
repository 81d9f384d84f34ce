#pragma once

// Obligations: what a policy asks for besides its yes or no, written as annotations. @redact and
// @cap change the arguments before the action is done, @warn is said to the agent and to people,
// @autonomy lowers the agent's level, @approvers says how many people an escalation needs, and
// @mode("evaluate-only") lets a policy watch without deciding. POLICY.md has the grammar.

#include "async/result.h"
#include "cedar/policy.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::governance {

// What a forbid (or a permit) means where it applies.
enum class Advice : std::uint8_t {
  none,      // what Cedar says
  escalate,  // a person decides
  oblige,    // the action goes on, with the obligations
};

struct Cap {
  std::string path;  // "amount", "order.amount"
  std::int64_t most = 0;
};

struct Replacement {
  std::string path;  // empty: all arguments
  std::string json;
};

struct Obligations {
  std::vector<std::string> redact;  // paths into the arguments
  std::vector<Cap> caps;
  std::vector<Replacement> replacements;
  std::vector<std::string> warnings;
  std::optional<std::int64_t> autonomy;            // lower to this level
  std::optional<std::int64_t> approvers;           // people whom an escalation needs
  std::optional<std::vector<std::string>> people;  // who alone may be among them; absent: anybody
  std::optional<std::int64_t> deadline_ms;         // no answer by then is a no

  [[nodiscard]] bool changes_arguments() const {
    return !redact.empty() || !caps.empty() || !replacements.empty();
  }
};

struct Annotations {
  Advice advice = Advice::none;
  bool watches = false;  // it only says what it would have done
  std::string reason;
  Obligations obligations;
};

// Errors (invalid, FILE:LINE:COLUMN): an annotation of ours that is not understood. A mistake here
// would be a bound that is not kept, so nothing is skipped.
Result<Annotations> annotations_of(const cedar::Policy& policy);

// Adds what `more` asks for; of two levels or numbers the stricter one counts.
void add(Obligations& all, const Obligations& more);

// As a decision carries them: {"cap": "amount 100", "redact": "body, subject", ...}, sorted.
std::vector<std::pair<std::string, std::string>> to_pairs(const Obligations& obligations);

// What an escalation asks of people, out of a decision's obligations.
struct ApprovalTerms {
  std::int64_t needed = 1;
  std::vector<std::string> people{};  // of these alone; empty: of all who may
  std::int64_t deadline_ms = 0;       // 0: the fleet's
};
ApprovalTerms approval_terms(const std::vector<std::pair<std::string, std::string>>& obligations);

// The arguments (a JSON object) after them, as compact text. Errors (denied): a value to cap that
// is no number, so that nobody knows how much it is.
Result<std::string> apply_obligations(const Obligations& obligations, std::string_view arguments);

}  // namespace ambit::governance
