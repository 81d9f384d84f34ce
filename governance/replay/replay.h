#pragma once

// Replay: a recorded run executed again from its record: every turn is decoded again from the same
// messages, every decision decided again from the same action, while tools are not called: what
// they gave comes from the record. The first difference is named; none means that the record tells
// what this model under these policies does.

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
  std::uint64_t limited = 0;            // decisions by a budget, which is not decided again
  std::vector<Difference> differences;  // in the order of the record
};

// What the run ran with; all is borrowed and outlives the replay.
struct Setting {
  const agents::AgentSpec& agent;
  const agents::ModelSpec& model_spec;
  agents::Model* model = nullptr;  // not used without decoding
  agents::Guard& guard;
  std::shared_ptr<const std::vector<agents::ToolSpec>> tools;
};

class Replay {
 public:
  Replay(Setting setting, Options options) : setting_(std::move(setting)), options_(options) {}

  // Errors: not_found (no such run, or a payload was erased), invalid (the record does not fit
  // together), and those of the model.
  Task<Result<Report>> run(agents::Journal& journal, std::string run);

 private:
  using Events = std::vector<agents::StoredEvent>;

  Result<void> read(agents::Journal& journal, const std::string& run);
  Task<void> admitted(const Events& events);
  Task<Result<void>> session(const Events& events);
  Task<Result<void>> turn(const agents::SessionState& state, const agents::StoredEvent& stored);
  Result<void> decision(const agents::SessionState& state, const Events& events, std::size_t at);
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
  Report report_;
  Result<void> failure_;
  std::unique_ptr<Semaphore> places_;
  Scope scope_;
};

}  // namespace ambit::replay
