#pragma once

// What policies would have made of recorded history: the decisions that a candidate set decides
// otherwise, and the least grants that would have allowed what was denied for want of a permit.
// Pure: the records come from the caller.

#include "agents/ports.h"
#include "async/result.h"
#include "governance/guard.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ambit::governance {

struct PastDecision {
  std::uint64_t index = 0;  // of its record
  agents::Action action;
  agents::Decision decision;
};

// Whether it was a limit that denied, and no policy.
bool is_by_limit(const agents::Decision& decision);

// The grants, as Cedar, each for one agent and one tool (or model, agent, ...), with conditions
// that hold for what was recorded: values that were few are named, texts that begin alike keep
// their beginning, numbers their range; untainted stays untainted.
class Lessons {
 public:
  // `guard` decides now; what it allows, escalates or forbids by a policy is no lesson.
  explicit Lessons(PolicyGuard& guard) : guard_(guard) {}

  // False: too many different agents and tools; this one is left out.
  bool add(const PastDecision& past);
  [[nodiscard]] std::string cedar() const;

  [[nodiscard]] std::size_t denials() const { return denials_; }
  [[nodiscard]] std::size_t grants() const { return groups_.size(); }
  // Denials by policies, which no grant lifts: how many, by the policies.
  [[nodiscard]] const std::map<std::string, std::size_t>& forbidden() const { return forbidden_; }

 private:
  struct Group {
    std::vector<PastDecision> denials;
    std::size_t more = 0;  // beyond what is kept, taken as unlike all others
  };
  using Key = std::pair<std::string, std::pair<agents::ActionKind, std::string>>;

  PolicyGuard& guard_;
  std::map<Key, Group> groups_;
  std::size_t denials_ = 0;
  std::map<std::string, std::size_t> forbidden_;
};

}  // namespace ambit::governance
