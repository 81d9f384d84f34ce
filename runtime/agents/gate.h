#pragma once

// Gate: the line that every effect takes, for the turn loop and for whoever lets clients from
// outside call an agent's tools: decide, ask people where the policies say so, reserve, record. It
// does nothing itself: what it lets through, the caller does, and settles.

#include "agents/budget.h"
#include "agents/fact.h"
#include "agents/ports.h"
#include "agents/roster.h"
#include "agents/route.h"
#include "agents/session.h"
#include "agents/snapshot.h"

#include <cstdint>
#include <functional>
#include <string>

namespace ambit::agents {

class Artifacts;

// Do the arguments (JSON text) fit the schema (JSON text)? The error names the path of the fault.
using ArgumentCheck =
    std::function<Result<void>(const std::string& schema, const std::string& arguments)>;
// Is the tool as a person has approved it? The error says what differs.
using ToolCheck = std::function<Result<void>(const ToolSpec& tool)>;

struct Ports {
  Guard& guard;
  Journal& journal;
  ArgumentCheck check_arguments;
  Approvals* approvals = nullptr;  // null: nobody can be asked, so an escalation is a refusal
  Quotas* quotas = nullptr;
  ToolCheck check_tool = nullptr;    // empty: tools are taken as they are listed
  Roster* roster = nullptr;          // null: nobody can find or stop the sessions
  Identities* identities = nullptr;  // null: agents have no keys
  ModelHealth* health = nullptr;     // null: nothing is known of how models do
  Artifacts* artifacts = nullptr;    // null: what is too large for a conversation is cut
  SnapshotLimits snapshots{};
};

// What the model reads instead of the result of a call that was denied or escalated.
Outcome refusal(Verdict verdict, const std::string& reason);

// What an action may spend, until it is settled. Whoever is cut off has spent all of it.
class Hold {
 public:
  Hold() = default;
  Hold(Ledger& ledger, const Cost& cost) : ledger_(&ledger), cost_(cost) {}
  Hold(Hold&& other) noexcept;
  Hold& operator=(Hold&& other) noexcept;
  ~Hold();

  // Reserves in the quotas too. On an error the ledger's part is given back.
  Result<void> add(Quotas& quotas, const Action& action);
  void settle(const Cost& spent, bool failed);
  // Nothing was done.
  void cancel();

 private:
  Ledger* ledger_ = nullptr;
  Cost cost_;
  Quotas* quotas_ = nullptr;
  std::uint64_t id_ = 0;
};

// Where the facts of one session go.
class Recorder {
 public:
  virtual ~Recorder() = default;
  // Uses the fact up, which outlives the task.
  virtual Task<Result<void>> record(Fact& fact) = 0;
  virtual std::string next_action() = 0;  // an id
  // Around a wait for people.
  virtual void parked() {}
  virtual Task<void> unparked() { co_return; }
};

class Gate {
 public:
  Gate(const Ports& ports, Ledger& ledger) : ports_(ports), ledger_(ledger) {}

  struct Passage {
    Shared<Action> action;  // with what the guard found out about it, and as it is to be done
    Shared<Decision> decision;
    bool in_budget = true;
    bool may_try_another = false;  // this model keeps failing and is left alone for now
    Hold hold;
  };
  // Decides, reserves what is allowed, and records; the decision is durable then. `refused`: why it
  // is denied whatever the policies say; empty otherwise.
  Task<Result<Passage>> pass(Recorder& recorder, Shared<Action> action, Cost cost, std::string call,
                             std::string refused = "");

  struct Clearance {
    enum class Kind { go, in_doubt, refused };
    Kind kind = Kind::refused;
    Outcome outcome;  // refused: what the agent hears; also that it is done already
    Action action;    // as it is to be done; people may have changed its arguments
    Hold hold;
  };
  // An action has ended, or was refused: what the guard has to say goes into the record.
  Result<void> conclude(const Action& action, const Decision& decision, const Outcome& outcome);

  // The rest of the way of an action that is escalated, from wherever it stands: asks, waits,
  // reserves, takes the approval. `resumed`: after a crash, so that it may have been done already.
  // An error: the record failed.
  Task<Result<Clearance>> clear(Recorder& recorder, Action action, Cost cost, std::string call,
                                Asked asked, Decision decision, bool resumed = false);

 private:
  ActionDecided decide(Shared<Action> action, const Cost& cost, std::string refused,
                       Passage& passage);
  Result<Hold> reserve(const Action& action, const Cost& cost);
  Task<Result<ApprovalAnswer>> wait(Recorder& recorder, const std::string& request);
  Result<void> tell(const Action& action, std::vector<Notice> notices);
  Task<Result<Decision>> supersede(Recorder& recorder, Action& action, Asked& asked,
                                   const std::string& call);

  const Ports& ports_;
  Ledger& ledger_;
};

}  // namespace ambit::agents
