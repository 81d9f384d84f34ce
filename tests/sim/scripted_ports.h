#pragma once

// The five ports of runtime/agents, simulated: a model that talks from a seed, tools that are slow,
// fail or crash, a guard with a rule for everything, a journal that may fail or lose what it had
// not acknowledged. They watch each other: a tool that runs without a durable permit, or twice, is
// reported as a violation.

#include "agents/ports.h"
#include "agents/session.h"
#include "agents/snapshot.h"
#include "sim_world.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ambit::sim {

// A stable hash, so that scripted parts can decide by what they are asked, not by when.
std::uint64_t hash_of(std::uint64_t seed, std::string_view text);

// Stores events in memory after a delay, in their order. Of what is on its way when crash() is
// called, so many of the first as chance will have it arrive.
class SimJournal final : public agents::Journal {
 public:
  SimJournal(SimPoller& poller, Random random, double failure)
      : poller_(poller), random_(random), failure_(failure) {}
  Task<Result<std::uint64_t>> append(agents::Event event) override;
  Result<void> post(agents::Event event) override;
  Result<void> read(const std::string& run,
                    const std::function<bool(const agents::StoredEvent&)>& visit) override;

  void crash();
  [[nodiscard]] bool has_failed() const { return has_failed_; }
  [[nodiscard]] const std::vector<agents::StoredEvent>& events() const { return events_; }
  // Calls, as (session, call id), that are durably allowed; and those whose outcome is durable.
  [[nodiscard]] bool is_allowed(const std::string& session, const std::string& call) const {
    return allowed_.contains({session, call});
  }
  [[nodiscard]] bool is_done(const std::string& session, const std::string& call) const {
    return done_.contains({session, call});
  }

 private:
  struct Landing {
    agents::Event event;
    bool is_posted;
    std::uint64_t epoch;
    Resolver<Result<std::uint64_t>> done;
  };
  void send(Landing landing);
  void land(Landing landing);
  void store(agents::Event event);

  SimPoller& poller_;
  Random random_;
  double failure_;
  bool has_failed_ = false;
  std::uint64_t epoch_ = 0;
  Instant last_landing_{};
  std::uint64_t on_the_way_ = 0;
  std::uint64_t survivors_ = 0;                           // of what was on its way when it crashed
  std::set<std::pair<std::string, std::string>> broken_;  // run, session
  std::vector<agents::StoredEvent> events_;
  std::set<std::pair<std::string, std::string>> allowed_;
  std::map<std::string, std::string> calls_;  // by action
  std::set<std::pair<std::string, std::string>> done_;
};

// So low that sessions of a simulation have snapshots, and lose what snapshots leave out.
agents::SnapshotLimits low_limits(Random& random);
// What a restart would go on with must be what was folded from the first event on.
Result<void> check_recovery(SimJournal& journal, const std::string& run,
                            const std::map<std::string, agents::SessionState>& folded);

// Says the same to the same conversation. Honest about tokens: one a byte of what is new.
class SimModel final : public agents::Model {
 public:
  SimModel(Random random, std::vector<std::string> tools, double failure)
      : random_(random), tools_(std::move(tools)), failure_(failure) {}
  Task<Result<agents::Turn>> generate(agents::TurnRequest request) override;
  [[nodiscard]] bool foresees() const override { return true; }
  void foresee(agents::TurnRequest request, std::string result) override;
  [[nodiscard]] std::string identity() const override { return "sim@seed"; }

  // What must never happen and did; empty: nothing.
  [[nodiscard]] const std::string& violation() const { return violation_; }

 private:
  agents::Message say(const agents::TurnRequest& request) const;
  void compare(const agents::TurnRequest& request);

  Random random_;
  std::vector<std::string> tools_;
  double failure_;
  // By session: the call whose result it was told, and how that begins.
  std::map<std::string, std::pair<std::string, std::string>> foreseen_;
  std::string violation_;
};

class SimGuard final : public agents::Guard {
 public:
  explicit SimGuard(std::uint64_t seed) : seed_(seed) {}
  agents::Decision decide(const agents::Action& action) override;

 private:
  std::uint64_t seed_;
};

class SimToolbox final : public agents::Toolbox {
 public:
  SimToolbox(const SimJournal& journal, Random random, std::vector<agents::ToolSpec> specs)
      : journal_(journal), random_(random), specs_(std::move(specs)) {}
  Task<Result<std::vector<agents::ToolSpec>>> list() override;
  Task<agents::Outcome> call(std::string session, agents::ToolCall call) override {
    return call_aloud(std::move(session), std::move(call), nullptr);
  }
  Task<agents::Outcome> call_aloud(std::string session, agents::ToolCall call,
                                   agents::OnOutput on_output) override;

  // What must never happen and did; empty: nothing.
  [[nodiscard]] const std::string& violation() const { return violation_; }
  [[nodiscard]] int running() const { return running_; }
  // How many different calls of a session have begun.
  [[nodiscard]] std::int64_t calls_of(const std::string& session) const;

 private:
  void watch(const std::string& session, const agents::ToolCall& call);
  agents::Outcome make_outcome();

  const SimJournal& journal_;
  Random random_;
  std::vector<agents::ToolSpec> specs_;
  std::map<std::pair<std::string, std::string>, int> begun_;
  std::string violation_;
  int running_ = 0;
};

}  // namespace ambit::sim
