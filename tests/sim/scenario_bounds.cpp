// Agents that delegate to each other and ask people, in workflows of several sessions, with crashes
// at any instant, each followed by a restart from the journal. What must hold: nothing that is
// escalated runs before a durable yes, nothing that must not runs twice, every session of every
// depth ends once, and the journal alone gives back the state that the live run had.

#include "agents/fleet_run.h"
#include "agents/sub_agents.h"
#include "async/scope.h"
#include "scenario.h"
#include "scripted_ports.h"

#include <map>
#include <memory>

namespace ambit::sim {
namespace {

using agents::ApprovalAnswer;
using agents::ApprovalEnd;
using agents::FleetRun;
using agents::SessionEnd;
using agents::SessionState;

// People who answer by the question alone. What is asked and used outlives a crash.
class SimPeople final : public agents::Approvals {
 public:
  explicit SimPeople(Random random) : random_(random) {}

  Task<Result<agents::ApprovalTicket>> ask(agents::Action action,
                                           agents::Decision decision) override {
    std::string id = "ask-" + action.id;
    while (used_.contains(id)) id += "'";
    asked_.emplace(id, action);
    if (decision.reason.starts_with("in doubt")) doubted_.insert(id);
    co_await delay(std::chrono::microseconds(random_.between(1, 20'000)));
    co_return agents::ApprovalTicket{id, 0};
  }
  Task<Result<ApprovalAnswer>> answered(std::string id) override {
    co_await delay(std::chrono::microseconds(random_.between(1, 2'000'000)));
    ApprovalAnswer answer;
    answer.by = "eve";
    const auto roll = hash_of(7, id) % 8;
    const bool is_changed = id.ends_with("+");
    answer.end = is_changed || roll < 4 ? ApprovalEnd::approved
                 : roll == 4            ? ApprovalEnd::denied
                 : roll == 5            ? ApprovalEnd::expired
                                        : ApprovalEnd::modified;
    // Nobody here looks whether it was done, so nobody may say that it is done again.
    if (doubted_.contains(id)) answer.end = roll < 6 ? ApprovalEnd::done : ApprovalEnd::denied;
    if (answer.end == ApprovalEnd::modified) {
      answer.successor = id + "+";
      answer.arguments = R"({"n":1000})";
      agents::Action next = asked_.at(id);
      next.arguments = answer.arguments;
      asked_.emplace(answer.successor, std::move(next));
    }
    co_return answer;
  }
  Task<Result<bool>> use(std::string id, agents::Action action,
                         agents::Decision /*decision*/) override {
    const agents::Action& known = asked_.at(id);
    if (known.id != action.id || known.arguments != action.arguments) {
      co_return Err(Code::denied, "another action than was asked about");
    }
    const bool is_fresh = used_.insert(id).second;
    co_await delay(std::chrono::microseconds(random_.between(1, 20'000)));
    co_return is_fresh;
  }

 private:
  Random random_;
  std::map<std::string, agents::Action> asked_;
  std::set<std::string> used_;
  std::set<std::string> doubted_;
};

agents::ToolSpec tool(std::string name, bool idempotent) {
  agents::ToolSpec spec;
  spec.name = std::move(name);
  spec.input_schema = R"({"type":"object"})";
  spec.idempotent = idempotent;
  return spec;
}

agents::Fleet make_fleet(Random& random) {
  agents::Fleet fleet;
  fleet.name = "sim";
  fleet.depth_max = 2;
  fleet.models.push_back({"m", "/m.gguf", {}, 64, 4096, "", "", ""});
  for (const char* name : {"lead", "hand"}) {
    agents::AgentSpec agent;
    agent.name = name;
    agent.model = "m";
    agent.owner = "ops@example.com";
    agent.tools = {"*", "agent__hand"};
    agent.limits = {random.between(2, 8), random.between(2, 12), -1, -1};
    fleet.agents.push_back(agent);
  }
  fleet.limits = {-1, -1, -1, -1, -1, -1};
  agents::Graph& graph = fleet.workflow.graph;
  graph.nodes = {{"a", "lead", "", agents::GraphNode::Join::all, "", false, {}},
                 {"b", "hand", "", agents::GraphNode::Join::all, "", false, {}},
                 {"c", "lead", "", agents::GraphNode::Join::all, "", false, {}}};
  graph.edges = {{"a", "c", {agents::Condition::Kind::always, ""}, 0},
                 {"b", "c", {agents::Condition::Kind::always, ""}, 0},
                 {"c", "a", {agents::Condition::Kind::failed, ""}, 2}};
  fleet.workflow.pattern = "graph";
  fleet.workflow.agent = "lead";
  fleet.workflow.concurrency = random.between(1, 4);
  return fleet;
}

Result<void> check_arguments(const std::string& /*schema*/, const std::string& arguments) {
  if (arguments.ends_with('}')) return {};
  return Err(Code::invalid, "not a JSON object");
}

struct Simulation {
  explicit Simulation(SimWorld& world)
      : random(world.random().fork()),
        fleet(make_fleet(random)),
        journal(world.poller(), random.fork(), 0),
        guard(random.next()),
        model(random.fork(), {"read", "write", "send", "agent__hand"}, 0.02),
        tools(journal, random.fork(),
              {tool("read", true), tool("write", false), tool("send", false)}),
        people(random.fork()),
        seed(random.next() >> 1U) {
    if (random.chance(0.5)) snapshots = low_limits(random);
  }

  // A run and what it needs, made anew after each crash.
  struct Life {
    explicit Life(Simulation& of) : ports{of.guard, of.journal, check_arguments} {
      ports.approvals = &of.people;
      ports.roster = &roster;
      ports.snapshots = of.snapshots;
      const std::map<std::string, agents::Model*> models = {{"m", &of.model}};
      sub_agents = std::make_unique<agents::SubAgents>(of.fleet, models, ports,
                                                       std::vector<agents::Toolbox*>{&of.tools});
      run = std::make_unique<FleetRun>(
          of.fleet, agents::RunOptions{"run-1", "ops@example.com", of.seed, 1}, models,
          std::vector<agents::Toolbox*>{&of.tools, sub_agents.get()}, ports);
    }
    agents::Roster roster;
    agents::Ports ports;
    std::unique_ptr<agents::SubAgents> sub_agents;
    std::unique_ptr<FleetRun> run;
  };

  Random random;
  agents::Fleet fleet;
  SimJournal journal;
  SimGuard guard;
  SimModel model;
  SimToolbox tools;
  SimPeople people;
  std::uint64_t seed;
  agents::SnapshotLimits snapshots;
};

Error wrong(const std::string& what) {
  return Error{Code::internal, what};
}

Result<void> check(Simulation& simulation, const FleetRun& run) {
  std::map<std::string, SessionState> folded;
  for (const agents::StoredEvent& stored : simulation.journal.events()) {
    if (stored.event.session.empty()) continue;
    SessionState& state = folded[stored.event.session];
    if (state.end != SessionEnd::running) return Err(wrong(state.id + ": an event after its end"));
    TRY(apply(state, stored.event));
  }
  for (const auto& [id, state] : folded) {
    if (state.end == SessionEnd::running) return Err(wrong(id + ": it has not ended"));
    if (!state.parent.empty() && !folded.contains(state.parent)) {
      return Err(wrong(id + ": nobody delegated to it"));
    }
  }
  for (const auto& session : run.sessions()) {
    if (transcript(folded[session->id]) != transcript(session->state)) {
      return Err(wrong(session->id + ": the journal tells another story than the live run"));
    }
  }
  for (const auto& flow : run.flows()) {
    if (!flow->ended) return Err(wrong(flow->id + ": the flow has not ended"));
  }
  return check_recovery(simulation.journal, "run-1", folded);
}

Task<void> run_to_end(FleetRun& run, std::unique_ptr<Result<void>>& outcome) {
  std::vector<agents::Input> inputs = {{"in-1", "Handle it.", "", "{}", ""},
                                       {"in-2", "Handle it.", "", "{}", ""}};
  auto ended = co_await run.run(std::move(inputs));
  outcome = std::make_unique<Result<void>>(std::move(ended));
}

}  // namespace

Task<Result<void>> bounds_scenario(SimWorld& world) {
  Simulation simulation(world);
  Random& random = simulation.random;
  auto crashes = random.between(0, 3);
  while (true) {
    auto life = std::make_unique<Simulation::Life>(simulation);
    if (!simulation.journal.events().empty()) co_await ok(life->run->restore(simulation.journal));
    std::unique_ptr<Result<void>> outcome;
    Scope scope;
    scope.spawn(run_to_end(*life->run, outcome));
    if (crashes > 0) {
      co_await delay(std::chrono::microseconds(random.between(0, 5'000'000)));
    } else {
      co_await scope.join();
    }
    if (!simulation.tools.violation().empty()) co_return Err(wrong(simulation.tools.violation()));
    if (!simulation.model.violation().empty()) co_return Err(wrong(simulation.model.violation()));
    if (outcome) {
      co_await ok(std::move(*outcome));
      co_return check(simulation, *life->run);
    }
    --crashes;
    scope.cancel();
    life.reset();
    simulation.journal.crash();
    if (simulation.tools.running() != 0) {
      co_return Err(wrong("a cancelled run left a tool running"));
    }
    co_await delay(std::chrono::seconds(1));
  }
}

}  // namespace ambit::sim
