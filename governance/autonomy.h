#pragma once

// AutonomyLevels: how much an agent may do unwatched, 1 (a person does it) to 5 (nobody watches).
// A level falls by itself: when a policy says so, when an agent runs into refusals again and again,
// when a jail has to kill its call. It rises by a certificate alone: an approval of at least two
// people, as they signed it, that can be checked by anybody who has their keys.

#include "agents/ports.h"
#include "async/result.h"
#include "governance/approvals.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

inline constexpr std::int64_t autonomy_least = 1;
inline constexpr std::int64_t autonomy_most = 5;

// The action that people approve: a write of the level into the governance's memory.
agents::Action autonomy_action(const std::string& agent, std::int64_t level,
                               const std::string& requester, const std::string& id);

// The request and the signed answers to it, as JSON, for the record and for raise().
std::string autonomy_certificate(const ApprovalRequest& request,
                                 const std::vector<std::string>& answers);

class AutonomyLevels {
 public:
  AutonomyLevels() = default;
  // Levels to begin with. Errors: one that is not 1 to 5.
  static Result<AutonomyLevels> create(std::map<std::string, std::int64_t> levels);

  [[nodiscard]] std::int64_t of(const std::string& agent) const;
  // Nothing comes back where it is that low already.
  std::optional<agents::Notice> lower(const std::string& agent, std::int64_t to,
                                      const std::string& why);
  // Checks the certificate with the approvers' keys and raises the level; each counts once. Errors
  // (denied): signatures, fewer than two people, a level that is no raise, one that was used.
  Result<agents::Notice> raise(std::string_view certificate,
                               const std::vector<log::VerifierKey>& approvers);

  // Those of `other`, and its certificates as used.
  void take(const AutonomyLevels& other);

  // {"levels": {...}, "certificates": [...]}: for the state folder.
  [[nodiscard]] std::string to_json() const;
  static Result<AutonomyLevels> from_json(std::string_view text);

 private:
  std::map<std::string, std::int64_t> levels_;
  std::set<std::string> certificates_;  // ids of approvals that were used
};

}  // namespace ambit::governance
