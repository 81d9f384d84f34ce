#pragma once

// What an expiry leaves to the next one, so that its cost follows what is new and what has come of
// age, not the whole log: in a file of its own beside the log. A hint alone: where it is absent,
// damaged or of another log, the next expiry reads the log from its beginning and decides the same.

#include "log/sha256.h"
#include "log/store.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ambit::log {

struct LeafView;

// Which runs a restart may have to go on with, and when that was so: from run.started or
// run.resumed to run.ended, and while a task is in a state that is not its last. Other runs never
// are.
class RunsInFlight {
 public:
  // All leaves, in order.
  void follow(const LeafView& leaf);
  // When the log had `size` records.
  [[nodiscard]] bool contains(std::string_view run, std::uint64_t size) const;

  struct InFlight {
    std::string run;
    bool is_running = false;
    bool has_task = false;
  };
  // After the last leaf, by name. Only those tell of what follows.
  [[nodiscard]] std::vector<InFlight> all() const;
  void add(InFlight run);

 private:
  struct Flight {
    bool is_running = false;
    bool has_task = false;
    std::vector<std::uint64_t> changes;  // indexes: in flight from the first to the second, ...
  };
  std::unordered_map<std::string, Flight> runs_;
};

// Over the payloads that holds on subjects have kept: who takes one of them out changes it.
struct HeldPayloads {
  std::uint64_t count = 0;
  Hash hash{};
  void add(std::uint64_t index, unsigned place);
  friend bool operator==(const HeldPayloads&, const HeldPayloads&) = default;
};

// A payload that is there.
struct PayloadRow {
  std::uint64_t index = 0;
  unsigned place = 0;
  std::uint64_t subject = 0;
  std::string_view run;
  std::int64_t unix_ns = 0;
  std::uint64_t bytes = 0;
};

// Records from `begin` to before `end`.
struct Stretch {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  friend bool operator==(const Stretch&, const Stretch&) = default;
};

// A clock may have been set back by more than this: then a new stretch begins. In a stretch nobody
// is older than who came before him by more.
inline constexpr std::int64_t step_back_ns = std::int64_t{3600} * 1'000'000'000;

struct ExpiryState {
  using HeldBy = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  // record of a hold, subject

  std::uint64_t size = 0;  // of the log then
  Hash last{};             // of its last leaf
  // What was too young. The last one has no end yet.
  std::vector<Stretch> young{{0, UINT64_MAX}};
  std::int64_t newest_ns = 0;  // time of the youngest record of the last one
  std::vector<Stretch> kept;   // before these: old enough, and held or in flight
  RunsInFlight runs;
  HeldBy held_by;
  HeldPayloads held;
  // The last record that has a payload of a subject; by number. Of those that have one or had.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> owners;
  std::uint64_t rows = 0;  // of the log that were read with it; for who measures

  // As the last expiry has left it, or as at the beginning.
  static ExpiryState read(const std::string& folder, const Snapshot& snapshot);
  Result<void> write(const std::string& folder) const;
  // Takes note of the records that came since.
  Result<void> follow(const Snapshot& snapshot);
  // From now on these holds count. Payloads that others held before are looked for.
  Result<void> hold(HeldBy by, const Snapshot& snapshot);
  // Those of `subjects` (rising) that own no payload any more. After a walk.
  Result<std::vector<std::uint64_t>> without_payload(std::vector<std::uint64_t> subjects,
                                                     const Snapshot& snapshot);

 private:
  friend class DueWalk;
  Result<void> rows_from(const Snapshot& snapshot, std::uint64_t begin, std::uint64_t end,
                         const std::function<bool(const LeafView&)>& leaf,
                         const std::function<void(const PayloadRow&)>& payload);
  void see(const LeafView& leaf);
  void see(const PayloadRow& row);
};

// Visits the payloads that are there and as old as `newest_ns` or older, a part at a time, and
// notes what stays of them.
class DueWalk {
 public:
  // `state` is borrowed. What comes into the log meanwhile is not visited.
  DueWalk(ExpiryState& state, std::int64_t newest_ns);
  [[nodiscard]] bool is_over() const { return at_ == work_.size(); }
  // `visit` says whether a payload goes. Pauses behind the record with which `most` have gone.
  using Visit = std::function<bool(const PayloadRow&)>;
  Result<void> go_on(const Snapshot& snapshot, std::size_t most, const Visit& visit);
  // What stays is what the next walk begins with.
  void finish();

 private:
  struct Work {
    Stretch where;
    bool is_kept = false;
    bool is_last = false;
    std::optional<std::uint64_t> young{};  // the first
    std::vector<Stretch> stay{};           // of those that were visited: what did not go
  };
  bool look_at(Work& work, const LeafView& leaf);
  void look_at(Work& work, const PayloadRow& row, const Visit& visit);

  ExpiryState& state_;
  std::int64_t newest_ns_;
  std::vector<Work> work_;
  std::size_t at_ = 0;
  std::uint64_t next_ = 0;  // record
  std::size_t gone_ = 0;
  std::size_t most_ = 0;
  bool is_paused_ = false;
};

}  // namespace ambit::log
