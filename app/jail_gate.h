#pragma once

// What jails ask for at run time, as actions: the Guard decides, the Journal keeps, before anything
// happens. SessionBook stands before the Journal and remembers which agent a session is one of, so
// that a jail's question is asked in its agent's name.

#include "agents/aside.h"
#include "agents/ports.h"
#include "sandbox/gate.h"

#include <cstdint>
#include <map>
#include <string>

namespace ambit::app {

class SessionBook final : public agents::Journal {
 public:
  struct Entry {
    std::string run;
    std::string agent;
    std::string on_behalf_of;  // who answers for the agent
    std::string requester;     // who asked for the session
    std::string parent;        // the session that delegated to it
    bool tainted = false;
  };

  // The journal outlives the book.
  explicit SessionBook(agents::Journal& journal) : journal_(journal) {}
  Task<Result<std::uint64_t>> append(agents::Event event) override;
  Result<void> post(agents::Event event) override;
  Result<void> read(const std::string& run,
                    const std::function<bool(const agents::StoredEvent&)>& visit) override {
    return journal_.read(run, visit);
  }
  Result<void> recover(const std::string& run,
                       const std::function<bool(const agents::StoredEvent&)>& visit) override {
    return journal_.recover(run, visit);
  }
  // Empty for a session that nothing was recorded of.
  [[nodiscard]] Entry find(const std::string& session) const;
  [[nodiscard]] std::string agent_of(const std::string& session) const;

 private:
  void note(const agents::Event& event);

  agents::Journal& journal_;
  std::map<std::string, Entry> sessions_;
};

class JailGate final : public sandbox::Gate {
 public:
  // All outlive the gate. `run` is the one of calls that are of no session. Without approvals what
  // the policies escalate is refused; with them the jail's call waits, as long as it lives itself.
  JailGate(agents::Guard& guard, SessionBook& book, agents::Approvals* approvals, std::string run)
      : book_(book), aside_(guard, book, approvals), run_(std::move(run)) {}

  Task<Result<void>> may_request(sandbox::EgressAsk ask) override;
  Task<void> requested(sandbox::EgressAsk ask, sandbox::EgressResult result) override;
  Task<Result<void>> may_open(sandbox::OpenAsk ask) override;

 private:
  agents::Action propose(const std::string& agent, const std::string& session);
  Task<Result<void>> decide(agents::Action action, std::string family);

  SessionBook& book_;
  agents::Aside aside_;
  std::string run_;
  std::uint64_t asked_ = 0;
};

}  // namespace ambit::app
