#pragma once

// FleetRun: one `ambit run`: every input becomes a session of the workflow's agent, or a flow of
// several sessions; at most `concurrency` live at once, all on one loop, their model turns in one
// batch. Also the way back after a crash: given the recorded events of a run, it goes on with what
// had not ended.

#include "agents/budget.h"
#include "agents/fleet.h"
#include "agents/fleet_inputs.h"
#include "agents/flow.h"
#include "agents/ports.h"
#include "agents/session.h"
#include "agents/turn_loop.h"
#include "async/channel.h"
#include "async/scope.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::agents {

struct RunOptions {
  std::string run;  // id
  std::string principal;
  std::uint64_t seed = 0;
  int repeat = 1;  // sessions per input; their ids get "#2", "#3", ...
  // What the run is of (fleet file, policies), kept with its first record.
  std::vector<Payload> sources{};
};

struct RunProgress {
  std::int64_t sessions = 0;
  std::int64_t live = 0;
  std::int64_t ended = 0;
  std::int64_t turns = 0;
  std::int64_t tool_calls = 0;
  std::int64_t input_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cost_micros = 0;
  std::int64_t energy_uj = 0;
  std::int64_t moved_bytes = 0;
  std::int64_t waiting = 0;  // for people
  std::map<SessionEnd, std::int64_t> ends;
};

struct FleetSession {
  std::string id;
  const Input* input = nullptr;
  SessionState state;  // empty until it has started
};

// One input on its way through the workflow.
struct FleetFlow {
  std::string id;
  const Input* input = nullptr;
  FleetSession* only = nullptr;  // of a workflow of one session
  bool ended = false;
  Shared<FlowAnswer> answer;
};

// The agents that new sessions begin with, and their tools; a session that lives keeps its own.
struct Cast {
  const Fleet* fleet = nullptr;
  std::map<std::string, Catalogue> catalogues;  // by agent
  std::shared_ptr<const void> owner{};          // of what the two point into
};

class FleetRun {
 public:
  // `models` by name in the fleet file; all is borrowed and outlives the run.
  FleetRun(const Fleet& fleet, RunOptions options, std::map<std::string, Model*> models,
           std::vector<Toolbox*> toolboxes, Ports ports);

  // Folds the events of an earlier, interrupted try, and takes seed and repeat from it. Call before
  // run().
  Result<void> restore(Journal& journal);
  // From now on sessions begin with these agents. It has all that the workflow names.
  void adopt(std::shared_ptr<const Cast> cast) { cast_ = std::move(cast); }
  // Runs everything to its end. An error: the journal failed, or the tools could not be listed.
  Task<Result<void>> run(std::vector<Input> inputs);

  [[nodiscard]] RunProgress progress() const;
  [[nodiscard]] std::int64_t live() const { return live_; }
  // Sessions wait for people and nothing else goes on.
  [[nodiscard]] bool only_waits() const;
  [[nodiscard]] Roster& roster() { return *ports_.roster; }
  [[nodiscard]] const std::vector<std::unique_ptr<FleetFlow>>& flows() const { return flows_; }
  // In the order of the inputs, repeats last; of one input in the order of their names, once run()
  // has returned.
  [[nodiscard]] const std::vector<std::unique_ptr<FleetSession>>& sessions() const {
    return sessions_;
  }

 private:
  class Errand;
  struct Seat;
  struct Begun;
  Task<Result<void>> list_all();
  Event started_event() const;
  void add_flows();
  Task<void> admitted(FleetFlow& flow);
  Task<Result<FlowAnswer>> run_flow(FleetFlow& flow, Errand& errand);
  Task<Result<FlowAnswer>> run_graph(FleetFlow& flow, Errand& errand);
  void keep_answer(FleetFlow& flow, Result<FlowAnswer> result);
  Task<Result<FlowAnswer>> run_session(FleetSession& session, std::unique_ptr<FlowOrder> order,
                                       Errand& errand);
  Task<Result<Begun>> begin_session(FleetSession& session, std::unique_ptr<FlowOrder> order,
                                    Errand& errand);
  Task<Result<void>> go_on(FleetSession& session, Seat& seat);
  static FlowAnswer answer_of(const SessionState& state);
  Task<Result<std::string>> may_spawn(const std::string& session, const FlowOrder& order);
  FleetSession& add_session(const std::string& id, const Input* input);
  Task<Result<void>> record_end();
  void sort_sessions();

  const Fleet& fleet_;
  RunOptions options_;
  std::map<std::string, Model*> models_;
  std::vector<Toolbox*> toolboxes_;
  Roster own_roster_;  // where the ports have none
  Ports ports_;
  std::shared_ptr<const Cast> cast_;
  std::vector<Input> inputs_;
  std::vector<std::unique_ptr<FleetFlow>> flows_;
  std::vector<std::unique_ptr<FleetSession>> sessions_;
  std::unique_ptr<Ledger> ledger_;
  bool resumed_ = false;
  std::int64_t live_ = 0;
  std::int64_t parked_ = 0;
  Result<void> failure_;
  std::unique_ptr<Semaphore> places_;
  Scope scope_;
};

// The same bytes for the same decisions and words: no times, no run id. One JSON object.
std::string transcript(const SessionState& state);

// The tools of every agent that the workflow names.
Task<Result<std::map<std::string, Catalogue>>> cast_tools(const Fleet& fleet,
                                                          std::vector<Toolbox*> toolboxes,
                                                          ToolCheck check);

// What the sampler of one session is seeded with: a 64-bit mix of the run's seed and the session's
// id.
std::uint64_t session_seed(std::uint64_t seed, std::string_view session);

}  // namespace ambit::agents
