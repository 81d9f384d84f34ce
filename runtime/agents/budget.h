#pragma once

// Ledger: what a session, and above it a run, may still spend. Reserve before an action, settle
// after it: calls that run side by side cannot overrun a limit together, since each holds its
// reservation. Pure: the time is told.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "async/loop.h"
#include "async/result.h"

#include <cstdint>
#include <string>

namespace ambit::agents {

struct Cost {
  std::int64_t turns = 0;
  std::int64_t tool_calls = 0;
  std::int64_t tokens = 0;
  std::int64_t money_micros = 0;
  std::int64_t descendants = 0;
  friend bool operator==(const Cost&, const Cost&) = default;
};

class Ledger {
 public:
  // `owner` names the ledger in errors: "session INC-7". A negative limit is no limit. `parent`
  // (may be null) must outlive this ledger.
  Ledger(std::string owner, Limits limits, Instant started, Ledger* parent);

  // All of `cost`, here and in every parent, or nothing and Code::exhausted naming the limit.
  Result<void> reserve(const Cost& cost, Instant now);
  // Replaces a reservation by what was really spent. More than was reserved is booked all the same.
  void settle(const Cost& reserved, const Cost& spent);
  // Books what was spent before a crash, here alone: the parent books all of its children at once.
  void restore(const Cost& spent);
  // Time that does not count: a person was waited for. Of this ledger alone.
  void forgive(Duration waited) { started_ += waited; }
  // What could be reserved now: the least of this ledger and its parents; -1 = without limit.
  [[nodiscard]] Budget left(Instant now) const;
  [[nodiscard]] const Cost& spent() const { return spent_; }

 private:
  [[nodiscard]] Result<void> check(const Cost& cost, Instant now) const;

  std::string owner_;
  Limits limits_;
  Instant started_;
  Ledger* parent_;
  Cost spent_;
  Cost reserved_;
};

}  // namespace ambit::agents
