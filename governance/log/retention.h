#pragma once

// Retention: how long what stands beside the records must be kept, and what must not be erased at
// all. Both are records themselves (retention.set, hold.placed, hold.released, in the run
// "retention"), so what counts is folded from the log, and whoever erases is held to it.

#include "log/reader.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ambit::log {

inline constexpr std::string_view retention_run = "retention";
inline constexpr std::string_view retention_type = "retention.set";
inline constexpr std::string_view hold_type = "hold.placed";
inline constexpr std::string_view release_type = "hold.released";
// Six months: less is not taken for a log of which it was said that its fleets are of high risk.
inline constexpr std::int64_t high_risk_days = 183;
inline constexpr std::int64_t retention_days_max = 36'500;
inline constexpr std::int64_t retention_day_ns = std::int64_t{86'400} * 1'000'000'000;

struct Hold {
  std::uint64_t index = 0;               // of its record
  std::optional<std::uint64_t> subject;  // its number; none: see run
  std::string run;                       // what happened in this run; empty, too: everything
  std::string by;
  std::string reason;
};

struct Retention {
  std::int64_t days = 0;  // since a payload was recorded; 0: nothing was said
  bool is_high_risk = false;
  bool expires = false;     // what is older is removed, by whoever keeps the log open
  std::uint64_t index = 0;  // of the record that says so
  std::vector<Hold> holds;  // that were not released
};

Result<Retention> read_retention(const LogReader& reader);
// What a record of the run "retention" changes; all of them, in order.
void follow_retention(Retention& now, const Leaf& leaf);

// The events that say such things, checked against what counts now. Errors: invalid, denied (below
// the floor), not_found (no such hold).
struct Keeping {
  std::int64_t days = 0;
  bool is_high_risk = false;
  bool expires = false;
};
Result<agents::Event> retention_event(const Retention& now, const Keeping& wanted,
                                      const std::string& by, const std::string& reason);
agents::Event hold_event(const Hold& hold);
Result<agents::Event> release_event(const Retention& now, std::uint64_t hold, const std::string& by,
                                    const std::string& reason);

// Whether the payloads of a subject may be made unreadable now. Error (denied): a hold, or a
// payload that is younger than the floor.
Result<void> may_erase(const Retention& retention, const Snapshot& snapshot, std::uint64_t subject,
                       std::int64_t unix_ns);

}  // namespace ambit::log
