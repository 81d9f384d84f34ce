#pragma once

// The port Journal, implemented by governance/log: what has happened, appended before it takes
// effect.

#include "async/result.h"
#include "async/task.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::agents {

inline constexpr std::string_view snapshot_type = "session.snapshot";

struct Payload {
  std::string name;   // "prompt", "arguments", "result"
  std::string bytes;  // kept beside the log; the leaf holds a salted commitment
  friend bool operator==(const Payload&, const Payload&) = default;
};

// One event. Types: run.started, session.started, turn.completed, action.decided, action.outcome,
// approval.requested, approval.answered, session.snapshot, session.ended, run.ended, ... `body`
// holds what the type documents, as JSON text.
struct Event {
  std::string type;
  std::string run;
  std::string session;
  std::string agent;
  std::string body = "{}";  // JSON object, at most 48 KiB
  std::vector<Payload> payloads;
  // Whose data the payloads are; they are encrypted under that person's key. Empty: the run's.
  std::string subject{};
  friend bool operator==(const Event&, const Event&) = default;
};

struct StoredEvent {
  std::uint64_t index = 0;  // leaf index in the log
  std::int64_t unix_ns = 0;
  Event event;
};

class Journal {
 public:
  virtual ~Journal() = default;
  // Durable when it returns (group commit). A failure means: not recorded, so nothing may happen.
  virtual Task<Result<std::uint64_t>> append(Event event) = 0;
  // Takes what has happened and nothing waits for: it is durable no later than anything that is
  // appended after it. Should it not be written after all, nothing more of its session is.
  virtual Result<void> post(Event event) = 0;
  // Calls `visit` for the events of one run in order, until it returns false.
  virtual Result<void> read(const std::string& run,
                            const std::function<bool(const StoredEvent&)>& visit) = 0;
  // The same, but each session begins at its newest snapshot: all that a restart goes on with, and
  // not what it has no use for.
  virtual Result<void> recover(const std::string& run,
                               const std::function<bool(const StoredEvent&)>& visit);
};

// From which event on a restart reads each session of a run. Sees all of the run's events first.
class RecoveryStarts {
 public:
  void see(std::uint64_t index, std::string_view type, std::string_view session);
  [[nodiscard]] bool needs(std::uint64_t index, std::string_view session) const;

 private:
  std::map<std::string, std::uint64_t, std::less<>> newest_;  // snapshot, by session
};

}  // namespace ambit::agents
