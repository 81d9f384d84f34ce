#pragma once

// Expiry: payloads that have been kept for as long as retention.set says are removed, so that the
// disk does not grow with the age of the log; leaves, hashes and proofs stay. A record
// (payloads.expired) comes first and says up to where, by which record of retention, and what was
// held, so that verification tells what has expired from what somebody has taken out. What is held
// stays, and what a restart may have to go on with.

#include "log/expiry_state.h"
#include "log/retention.h"
#include "log/store.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::log {

inline constexpr std::string_view expired_type = "payloads.expired";

// What may go when a log has `size` records.
struct ExpiryRule {
  std::uint64_t size = 0;
  std::int64_t newest_ns = 0;  // what was recorded later stays
  Retention retention;

  [[nodiscard]] bool may_go(std::string_view run, std::int64_t unix_ns,
                            const RunsInFlight& runs) const;
  [[nodiscard]] bool holds_run(std::string_view run) const;  // or everything
  [[nodiscard]] bool holds_subject(std::uint64_t subject) const;
  [[nodiscard]] bool holds_subjects() const;
};

struct ExpiryPlan {
  ExpiryRule rule;
  ExpiryState state;
  std::uint64_t before = 0;    // what goes is of records before this one; 0: nothing does
  std::uint64_t payloads = 0;  // that go, and their bytes as stored
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;  // old enough, and they stay
  std::uint64_t in_flight = 0;
};
// `state`: of the last expiry, or none. Errors: invalid (nothing was said about how long payloads
// are kept).
Result<ExpiryPlan> plan_expiry(const Snapshot& snapshot, const Retention& retention,
                               std::int64_t unix_ns, ExpiryState state = {});
// Takes note of the records that came since: what is said of a plan is said of a moment.
Result<void> go_on(ExpiryPlan& plan, const Snapshot& snapshot);
agents::Event expired_event(const ExpiryPlan& plan, const std::string& by);

// Payloads of records from there on have not expired: what readers go by; whether each that is
// missing may be is for verification to say.
std::uint64_t expired_before(const Snapshot& snapshot);

// What the records of a log say has expired.
class Expiries {
 public:
  // What cannot be read is left out: then what it would explain is damage.
  static Expiries read(const Snapshot& snapshot);
  // Whether that record's payloads may be gone.
  [[nodiscard]] bool explain(std::uint64_t index, std::string_view run, std::int64_t unix_ns) const;
  // Each payload that is there, in order; then whether those are all that the newest record held.
  void follow(std::uint64_t index, unsigned place, std::uint64_t subject);
  [[nodiscard]] bool has_all_held() const;
  [[nodiscard]] std::uint64_t newest() const;  // its index

 private:
  struct Said {
    std::uint64_t before = 0;
    ExpiryRule rule;
    HeldPayloads held;
  };
  std::vector<Said> all_;
  RunsInFlight runs_;
  HeldPayloads found_;
};

}  // namespace ambit::log
