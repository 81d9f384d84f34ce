#pragma once

// Replay: a recorded run executed again from its record: every turn is decoded again from the same
// messages, every decision decided again from the same action, while tools are not called: what
// they gave comes from the record. The first difference is named; none means that the record tells
// what these models under these policies do. A run of several agents, a workflow with its sessions
// and what they delegated, are replayed alike: each session by the agent whose it was.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "agents/session.h"
#include "async/channel.h"
#include "async/scope.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::replay {

struct Options {
  bool decode = true;  // false: decisions alone, as for a candidate policy
  std::size_t differences_max = 1;
  std::size_t concurrency = 64;  // sessions at once; changes no result
};

struct Difference {
  std::uint64_t index = 0;  // of the record that says something else
  std::string session;
  std::int64_t turn = 0;  // of the session, from 1
  std::string what;
};

struct Report {
  std::uint64_t sessions = 0;
  std::uint64_t turns = 0;
  std::uint64_t tokens = 0;
  std::uint64_t decisions = 0;
  std::uint64_t limited = 0;     // decisions by a budget, which is not decided again
  std::uint64_t elsewhere = 0;   // turns of models that are not of this machine: not decoded again
  std::uint64_t unreadable = 0;  // turns and decisions after what was redacted or erased
  std::vector<Difference> differences;  // in the order of the record
};

using Tools = std::shared_ptr<const std::vector<agents::ToolSpec>>;

// What the run ran with; all is borrowed and outlives the replay.
struct Setting {
  const agents::Fleet& fleet;
  std::map<std::string, agents::Model*> models;  // by name; not used without decoding
  agents::Guard& guard;
  std::map<std::string, Tools> tools;  // by agent, as they are offered now
};

class Replay {
 public:
  Replay(Setting setting, Options options) : setting_(std::move(setting)), options_(options) {}

  // Errors: not_found (no such run, or a payload was erased), invalid (the record does not fit
  // together), and those of the model.
  Task<Result<Report>> run(agents::Journal& journal, std::string run);

 private:
  using Events = std::vector<agents::StoredEvent>;

  // One session on its way.
  struct Walk {
    const agents::AgentSpec* agent = nullptr;
    Tools tools;
    std::uint64_t seed = 0;
    std::string output_schema;
    std::string asked;         // the model of the last decision to call one, as it was recorded
    std::size_t attempts = 0;  // such decisions since the last turn
    bool clouded = false;      // some of what was said is not in the record
    agents::SessionState state;
  };

  Result<void> read(agents::Journal& journal, const std::string& run);
  Task<void> admitted(const Events& events);
  Task<Result<void>> session(const Events& events);
  Task<Result<void>> turn(Walk& walk, const agents::StoredEvent& stored);
  Result<void> decision(Walk& walk, const Events& events, std::size_t at);
  Result<void> begin(Walk& walk, const agents::StoredEvent& first);
  [[nodiscard]] std::uint64_t seed_of(const std::string& session) const;
  [[nodiscard]] const agents::ModelSpec* route_of(const Walk& walk) const;
  void differs(const agents::SessionState& state, const agents::StoredEvent& stored,
               std::string what);
  [[nodiscard]] bool enough() const {
    return report_.differences.size() >= options_.differences_max;
  }

  Setting setting_;
  Options options_;
  std::uint64_t seed_ = 0;
  bool found_ = false;
  std::map<std::string, Events> sessions_;
  std::map<std::string, std::string> parents_;  // of sessions that were delegated to
  Report report_;
  Result<void> failure_;
  std::unique_ptr<Semaphore> places_;
  Scope scope_;
};

}  // namespace ambit::replay
