#pragma once

// Limits: what policies cannot say because it has a memory. Amounts (calls, tokens, money, rows,
// bytes) per tool, agent, session, run, fleet and span of time; how many at once; calls that repeat
// themselves; tools that keep failing. Reserve before an action, settle after it: actions that run
// side by side cannot overrun a limit together, since each holds what it may need. Pure: the time
// is told.

#include "agents/ports.h"
#include "async/result.h"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ambit::governance {

enum class Measure : std::uint8_t { calls, tokens, money_micros, steps, rows, bytes, amount };
constexpr std::size_t measures = 7;
std::string_view to_string(Measure measure);

struct Amounts {
  std::array<std::int64_t, measures> of{};
  std::int64_t& operator[](Measure measure) { return of[static_cast<std::size_t>(measure)]; }
  std::int64_t operator[](Measure measure) const { return of[static_cast<std::size_t>(measure)]; }
  friend bool operator==(const Amounts&, const Amounts&) = default;
};

// Over what a limit counts together.
enum class Reach : std::uint8_t { session, agent, tool, run, principal, fleet };

struct LimitRule {
  std::string name;  // for people: "refunds a day"
  Reach reach = Reach::run;
  Measure measure = Measure::calls;
  std::int64_t most = 0;
  std::int64_t window_ms = 0;      // 0: for as long as the reach lives
  std::int64_t at_once_most = -1;  // actions under way; -1: any number
  std::string tool;                // only this tool, this agent; empty: all
  std::string agent;
};

struct LimitOptions {
  std::vector<LimitRule> rules;
  // The same call (agent, tool, arguments) so often in a row in one session; 0: any number.
  std::int64_t same_calls_max = 0;
  // A cycle of up to 8 calls that comes back so often in a row; 0: any number.
  std::int64_t same_cycles_max = 0;
  // A tool that fails so often in a row is left alone for the cool-down; then one call may try.
  std::int64_t failures_max = 0;
  std::int64_t cool_down_ms = 30'000;
  std::size_t counters_max = 100'000;
};

using ReservationId = std::uint64_t;

class Limits {
 public:
  // Errors: a rule without a bound, or with a negative one.
  static Result<Limits> create(LimitOptions options);

  // All of it, in every rule, or nothing. Errors: exhausted (which limit, how much is left),
  // denied (it repeats itself), unavailable (the tool's breaker is open; for how long).
  Result<ReservationId> reserve(const agents::Action& action, const Amounts& most,
                                std::int64_t now_ms);
  // Replaces the reservation by what was spent; more than was reserved is booked all the same.
  // Unknown ids (settled already) change nothing and give false.
  bool settle(ReservationId id, const Amounts& spent, bool failed, std::int64_t now_ms);
  // Nothing was done: gives all of it back, and forgets the call.
  bool cancel(ReservationId id);
  // Frees what is kept of a session that has ended, or of a run.
  void forget_session(const std::string& session);
  void forget_run(const std::string& run);

  // What the rule has left for this action now.
  [[nodiscard]] std::int64_t left(std::size_t rule, const agents::Action& action,
                                  std::int64_t now_ms) const;
  // limit.breaker_opened, limit.breaker_closed, limit.repeated: what has happened since the last
  // call, for the journal.
  std::vector<agents::Notice> take_notices() { return std::exchange(notices_, {}); }
  [[nodiscard]] bool breaker_open(const std::string& tool, std::int64_t now_ms) const;

 private:
  struct Counter {
    std::int64_t spent = 0;     // of a rule without a window
    std::int64_t reserved = 0;  // by actions under way
    std::int64_t at_once = 0;
    std::deque<std::pair<std::int64_t, std::int64_t>> slices;  // start of slice, amount
  };
  using Key = std::pair<std::size_t, std::string>;  // rule, what it counts over
  struct Held {
    std::vector<Key> keys;
    Amounts most;
    std::string session;
    std::string tool;
    std::string call;  // its digest
    bool probe = false;
  };
  struct Breaker {
    std::int64_t failures = 0;
    std::int64_t open_until_ms = 0;
    bool probing = false;
  };

  explicit Limits(LimitOptions options) : options_(std::move(options)) {}
  [[nodiscard]] bool applies(const LimitRule& rule, const agents::Action& action) const;
  [[nodiscard]] static std::string key_of(const LimitRule& rule, const agents::Action& action);
  [[nodiscard]] std::int64_t used(const LimitRule& rule, const Counter& counter,
                                  std::int64_t now_ms) const;
  Result<void> check_rules(const agents::Action& action, const Amounts& most, std::int64_t now_ms,
                           std::vector<Key>& keys) const;
  Result<void> check_repeats(const agents::Action& action, const std::string& call) const;
  Result<bool> check_breaker(const std::string& tool, std::int64_t now_ms) const;
  Result<void> make_room(std::size_t more, std::int64_t now_ms);
  void release(const Held& held);
  void book(const Key& key, std::int64_t amount, std::int64_t now_ms);

  LimitOptions options_;
  std::map<Key, Counter> counters_;
  std::map<std::string, std::deque<std::string>> recent_;  // by session: digests of its last calls
  std::map<std::string, Breaker> breakers_;
  std::map<ReservationId, Held> held_;
  void note(const std::string& type, const std::string& tool, const std::string& why);

  ReservationId next_ = 1;
  std::vector<agents::Notice> notices_;
};

}  // namespace ambit::governance
