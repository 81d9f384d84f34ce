#pragma once

// The walk of one session, action by action: propose -> decide -> reserve -> record -> do -> record
// the outcome -> settle. Nothing happens before its decision is durable in the journal. The loop
// holds no state of its own: it looks at the SessionState, does the one thing that comes next, and
// appends the event that changes the state; so a session that was cut off goes on where its record
// ends.

#include "agents/budget.h"
#include "agents/fleet.h"
#include "agents/ports.h"
#include "agents/session.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ambit::agents {

// Do the arguments (JSON text) fit the schema (JSON text)? The error names the path of the fault.
using ArgumentCheck =
    std::function<Result<void>(const std::string& schema, const std::string& arguments)>;

// What the model reads instead of the result of a call that was denied or escalated.
Outcome refusal(Verdict verdict, const std::string& reason);

// The tools that one agent is offered, and where each is to be had. Toolboxes outlive it.
struct Catalogue {
  std::shared_ptr<const std::vector<ToolSpec>> specs;
  std::vector<Toolbox*> boxes;  // boxes[i] has specs[i]
};

// What the toolboxes offer of the agent's tools. Code::not_found: the agent names one that nobody
// has.
Task<Result<Catalogue>> list_tools(const AgentSpec& agent, std::vector<Toolbox*> toolboxes);

struct Ports {
  Guard& guard;
  Journal& journal;
  ArgumentCheck check_arguments;
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
        seed_(seed) {}

  // Records that the session `id` has begun; `state` is empty before.
  Task<Result<void>> start(SessionState& state, const std::string& id, SessionStarted started);
  // Goes on until the session has ended. An error: the journal failed, nothing more may happen.
  Task<Result<void>> run(SessionState& state);
  Task<Result<void>> end(SessionState& state, SessionEnd end, std::string answer,
                         std::string error);

 private:
  Task<Result<void>> record(SessionState& state, const std::string& session, Fact fact);
  Task<Result<void>> model_turn(SessionState& state);
  Task<Result<void>> tool_call(SessionState& state);
  Task<Result<void>> resolve_doubt(SessionState& state);
  template <class T>
  Task<Result<T>> in_wall_time(Task<Result<T>> task);
  Task<Outcome> perform(SessionState& state, std::size_t tool, ToolCall call);
  Task<Result<void>> finish_call(SessionState& state, std::string action, ToolCall call,
                                 Outcome outcome);
  Action propose(const SessionState& state, ActionKind kind, std::string tool) const;
  bool reserve(Decision& decision, const Cost& cost);
  [[nodiscard]] std::size_t find_tool(const std::string& name) const;

  const std::string& run_;
  const AgentSpec& agent_;
  const ModelSpec& model_spec_;
  Model& model_;
  const Catalogue& catalogue_;
  Ports& ports_;
  Ledger& ledger_;
  std::uint64_t seed_;
};

}  // namespace ambit::agents
