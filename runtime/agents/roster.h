#pragma once

// Roster: the sessions that live in this process, whoever runs them. It is how one finds a session,
// stops it, or has it pause before its next step; orders also hold for what begins later, until
// they are lifted. All on the loop's thread: a stop is obeyed within one turn of the loop.

#include "agents/budget.h"
#include "agents/session.h"
#include "async/interrupt.h"
#include "async/waiters.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace ambit::agents {

// Which sessions are meant: those that match everything that is said; nothing said: all.
struct Selector {
  std::string run;
  std::string agent;
  std::string session;
  friend bool operator==(const Selector&, const Selector&) = default;
};

// Who asked for a session from outside of this fleet.
struct Outside {
  std::string person;                // for whom; empty: its agent's owner
  std::vector<std::string> through;  // the agents, the first one first
};

class Roster {
 public:
  struct Entry {
    const std::string& run;
    const AgentSpec& agent;
    const SessionState& state;
    Ledger& ledger;
    std::uint64_t seed = 0;
    Instant since{};
    Entry* parent = nullptr;  // the session that delegated to this one
    int depth = 0;            // with the agents elsewhere that asked
    Shared<Outside> outside{};
    int children = 0;     // that live
    bool paused = false;  // goes on no further than its next step
    bool stopping = false;
    std::string why{};  // it is stopped
    Interrupt interrupt{};
    std::unique_ptr<Waiters> resumed{};  // of a session that waits because it is paused
  };
  // Lists the entry for as long as it lives; without a roster nowhere.
  class Listing {
   public:
    Listing(Roster* roster, Entry& entry);
    ~Listing();
    Listing(const Listing&) = delete;
    Listing& operator=(const Listing&) = delete;

   private:
    Roster* roster_;
    Entry& entry_;
  };

  Roster() = default;
  Roster(const Roster&) = delete;
  Roster& operator=(const Roster&) = delete;

  // Give the number of sessions that live now and were meant.
  std::size_t stop(const Selector& which, const std::string& why);
  std::size_t pause(const Selector& which);
  // Lifts every order that means nothing beyond `which`; what was stopped stays so.
  std::size_t resume(const Selector& which);

  // May a session of that run and agent begin? The reason why not, or empty.
  [[nodiscard]] std::string refuses(const std::string& run, const std::string& agent,
                                    const std::string& session) const;
  [[nodiscard]] Entry* find(const std::string& session) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  // In the order of their names.
  void for_each(const std::function<void(const Entry&)>& visit) const;

  // Sessions of an earlier try that delegated ones go on from: filled by whoever restores a run.
  std::map<std::string, SessionState> restored;

 private:
  struct Order {
    Selector which;
    std::string why;  // of a stop; empty: a pause
    friend bool operator==(const Order&, const Order&) = default;
  };
  [[nodiscard]] static bool means(const Selector& which, const Entry& entry);
  static void stop(Entry& entry, const std::string& why);

  std::unordered_multimap<std::string, Entry*> entries_;  // by session
  std::vector<Order> orders_;
};

}  // namespace ambit::agents
