#pragma once

// The walk of one session, action by action: propose -> decide -> reserve -> record -> do -> record
// the outcome -> settle. Nothing happens before its decision is durable in the journal. The loop
// holds no state of its own: it looks at the SessionState, does the one thing that comes next, and
// appends the event that changes the state; so a session that was cut off goes on where its record
// ends.

#include "agents/budget.h"
#include "agents/fleet.h"
#include "agents/gate.h"
#include "agents/ports.h"
#include "agents/roster.h"
#include "agents/route.h"
#include "agents/session.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::agents {

class Overheard;

// The tools that one agent is offered, and where each is to be had. Toolboxes outlive it.
struct Catalogue {
  std::shared_ptr<const std::vector<ToolSpec>> specs;
  std::vector<Toolbox*> boxes;  // boxes[i] has specs[i]
  // Withheld: not as a person has approved it. Name and reason.
  std::vector<std::pair<std::string, std::string>> quarantined{};
};

// What the toolboxes offer of the agent's tools. Code::not_found: the agent names one that nobody
// has.
Task<Result<Catalogue>> list_tools(const AgentSpec& agent, std::vector<Toolbox*> toolboxes,
                                   ToolCheck check = nullptr);
// tool.quarantined, one a tool that is withheld.
std::vector<Event> quarantine_events(const Catalogue& catalogue, const std::string& run,
                                     const std::string& agent);

// Who gives way while a session waits for people, and lets it come back.
class Parking {
 public:
  virtual ~Parking() = default;
  virtual void leave() = 0;
  virtual Task<void> come_back() = 0;
};

// Who hears a session's words while they are decoded. Both return at once.
class Listener {
 public:
  virtual ~Listener() = default;
  // A turn begins: what was heard before was not the answer, or will be said again.
  virtual void begins() = 0;
  virtual void hears(const std::string& piece) = 0;
};

class TurnLoop {
 public:
  // Everything is borrowed and outlives the loop's task.
  TurnLoop(const std::string& run, const AgentSpec& agent, const ModelSpec& model_spec,
           Model& model, const Catalogue& catalogue, Ports& ports, Ledger& ledger,
           std::uint64_t seed)
      : run_(run),
        agent_(agent),
        model_spec_(model_spec),
        model_(model),
        catalogue_(catalogue),
        ports_(ports),
        ledger_(ledger),
        gate_(ports, ledger),
        seed_(seed) {}

  // Before the session starts or goes on; each may be left out. `parent` delegated to it, `subject`
  // is whose data it works on.
  void descend_from(Roster::Entry* parent) { parent_ = parent; }
  void work_on(std::string subject) { subject_ = std::move(subject); }
  void park_with(Parking* parking) { parking_ = parking; }
  void tell(Listener* listener) { listener_ = listener; }
  // Somebody outside of this fleet asked: for `person`, through these agents, the first one first.
  void ask_for(std::string person, std::vector<std::string> through) {
    outside_ = Outside{std::move(person), std::move(through)};
  }
  // Another session may go on with what is said in this one.
  void has_sequel() { end_event_ = SessionEvent::ended; }
  // Absent: all turns are the model's that it was made with.
  void route_by(Routes routes) { routes_ = std::move(routes); }

  // Records that the session `id` has begun; `state` is empty before.
  Task<Result<void>> start(SessionState& state, const std::string& id, SessionStarted started);
  // Goes on until the session has ended or is stopped by way of the roster. An error: the journal
  // failed, nothing more may happen.
  Task<Result<void>> run(SessionState& state);
  Task<Result<void>> end(SessionState& state, SessionEnd end, std::string answer,
                         std::string error);

 private:
  class SessionRecorder;
  struct Attempt;
  Task<Result<void>> record(SessionState& state, const std::string& session, Fact& fact);
  Result<void> note(SessionState& state, Fact& fact);
  Result<void> keep_snapshot(SessionState& state);
  Task<Result<std::uint64_t>> append(const Fact& fact, const Origin& origin, std::size_t& bytes);
  [[nodiscard]] Urgency urgency_of_session() const;
  Result<void> begin(const SessionState& state);
  Result<void> identify(const SessionState& state);
  void introduce(Roster::Entry& entry) const;
  void leave(const SessionState& state);
  Task<Result<void>> steps(SessionState& state);
  Task<void> pause();
  Task<Result<void>> step(SessionState& state);
  Task<Result<void>> model_turn(SessionState& state);
  Task<Result<void>> propose_turn(SessionState& state, Attempt& turn);
  Task<Result<void>> finish_turn(SessionState& state, Attempt& turn);
  Result<void> keep_turn(SessionState& state, Attempt& turn, Turn answer);
  Result<void> keep_summary(SessionState& state, Attempt& summary, std::size_t cut);
  [[nodiscard]] RouteChoice choose(const SessionState& state) const;
  void tell_models_of_end(const SessionState& state);
  [[nodiscard]] std::size_t compaction_cut(const SessionState& state) const;
  Task<Result<void>> compaction_turn(SessionState& state, std::size_t cut);
  Task<Result<void>> tool_call(SessionState& state);
  Task<Result<void>> propose_tool(SessionState& state, std::size_t tool, Gate::Passage& passage);
  Task<Result<void>> held_up(SessionState& state, const Gate::Passage& passage);
  Task<Result<void>> approved_call(SessionState& state, Action action, Asked asked,
                                   Decision decision, ToolCall call, Cost cost, bool resumed);
  Task<Result<void>> resolve_doubt(SessionState& state);
  [[nodiscard]] std::optional<Duration> wall_left() const;
  [[nodiscard]] Error time_is_up(Error error) const;
  void ask(TurnRequest request, Attempt& turn);
  Result<Turn> answer_of(Attempt& turn) const;
  Result<void> fail_turn(SessionState& state, Attempt& turn, const Error& error);
  std::string action_id(const SessionState& state, std::int64_t step) const;
  [[nodiscard]] TurnCompleted completed(const SessionState& state, const Attempt& of,
                                        Turn turn) const;
  Task<Outcome> perform(SessionState& state, std::size_t tool, const ToolCall& call,
                        bool is_heard = false);
  Task<Outcome> begin_call(const SessionState& state, std::size_t tool, ToolCall call,
                           bool is_heard, std::unique_ptr<Overheard>& heard);
  Outcome outcome_of(const SessionState& state, Task<Outcome>& called, Instant start) const;
  [[nodiscard]] bool asks_in_doubt(std::size_t tool) const;
  Task<Outcome> perform_in_doubt(SessionState& state, std::size_t tool, ToolCall call);
  Result<void> finish_call(SessionState& state, std::string action, ToolCall call, Outcome outcome);
  Task<Result<void>> conclude(SessionState& state);
  void hear(const SessionState& state, const Message& message) const;
  void hear_again(const SessionState& state) const;
  TurnRequest request_of(const SessionState& state, const ModelSpec& spec) const;
  void tell_to_listener(TurnRequest& request) const;
  static Cost cost_of_turn(const SessionState& state, const ModelSpec& spec);
  Action propose(const SessionState& state, ActionKind kind, std::string tool) const;
  Action propose_call(const SessionState& state, const ToolCall& call, std::size_t tool) const;
  [[nodiscard]] std::optional<Outcome> bad_arguments(std::size_t tool, const ToolCall& call) const;
  [[nodiscard]] bool handed_over(const SessionState& state) const;
  [[nodiscard]] std::size_t find_tool(const std::string& name) const;

  const std::string& run_;
  const AgentSpec& agent_;
  const ModelSpec& model_spec_;
  Model& model_;
  const Catalogue& catalogue_;
  Ports& ports_;
  Ledger& ledger_;
  Gate gate_;
  std::uint64_t seed_;
  std::size_t uncompacted_ = 0;  // with so many messages there was no summary to be had
  std::string subject_;
  SessionEvent end_event_ = SessionEvent::gone;
  std::string instance_;  // its key, by its thumbprint
  Routes routes_;
  Parking* parking_ = nullptr;
  Listener* listener_ = nullptr;
  Shared<Outside> outside_;
  Roster::Entry* parent_ = nullptr;
  Roster::Entry* entry_ = nullptr;  // while it runs
};

}  // namespace ambit::agents
