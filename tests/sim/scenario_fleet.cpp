// A whole fleet run with a scripted model, slow and failing tools, a journal that may fail, and
// crashes at any instant, each followed by a restart from the journal. What must hold: no tool runs
// without a durable permit, or twice unless it may; no budget is exceeded; every session ends,
// once; and the journal alone gives back the very state that the live run had.

#include "agents/fleet_run.h"
#include "async/scope.h"
#include "scenario.h"
#include "scripted_ports.h"

#include <map>
#include <memory>

namespace ambit::sim {
namespace {

using agents::FleetRun;
using agents::SessionEnd;
using agents::SessionState;

agents::ToolSpec tool(std::string name, bool idempotent) {
  agents::ToolSpec spec;
  spec.name = std::move(name);
  spec.input_schema = R"({"type":"object"})";
  spec.idempotent = idempotent;
  return spec;
}

std::int64_t limit(Random& random, std::int64_t most) {
  return random.chance(0.3) ? -1 : random.between(1, most);
}

agents::Fleet make_fleet(Random& random) {
  agents::Fleet fleet;
  fleet.name = "sim";
  fleet.models.push_back({"m", "/m.gguf", {}, 64, 4096, "", "", ""});
  agents::AgentSpec agent;
  agent.name = "clerk";
  agent.model = "m";
  agent.owner = "ops@example.com";
  agent.instructions = "Be quick.";
  agent.tools = {"*"};
  agent.limits = {random.between(1, 12), limit(random, 10), limit(random, 20'000),
                  limit(random, 2'000'000)};
  fleet.agents.push_back(agent);
  fleet.limits = {limit(random, 60), limit(random, 40), limit(random, 100'000),
                  limit(random, 20'000'000)};
  fleet.workflow.agent = "clerk";
  fleet.workflow.concurrency = random.between(1, 8);
  return fleet;
}

Result<void> check_arguments(const std::string& /*schema*/, const std::string& arguments) {
  if (arguments.ends_with('}')) return {};
  return Err(Code::invalid, "not a JSON object");
}

// Everything that outlives a crash, and the checks.
struct Simulation {
  explicit Simulation(SimWorld& world)
      : random(world.random().fork()),
        fleet(make_fleet(random)),
        specs{tool("read", true), tool("write", false), tool("search", true), tool("send", false)},
        journal(world.poller(), random.fork(), random.chance(0.3) ? 0.005 : 0),
        guard(random.next()),
        model(random.fork(), {"read", "write", "search", "send"}, random.chance(0.5) ? 0.02 : 0),
        tools(journal, random.fork(), specs),
        ports{guard, journal, check_arguments} {
    options.run = "run-1";
    options.principal = "ops@example.com";
    options.seed = random.next() >> 1U;
    options.repeat = static_cast<int>(random.between(1, 3));
    if (random.chance(0.5)) ports.snapshots = low_limits(random);
    const auto count = random.between(1, 6);
    for (std::int64_t n = 0; n < count; ++n) {
      inputs.push_back(
          {"in-" + std::to_string(n), "Handle it.", random.chance(0.1) ? "not usable" : ""});
    }
  }

  Random random;
  agents::Fleet fleet;
  std::vector<agents::ToolSpec> specs;
  SimJournal journal;
  SimGuard guard;
  SimModel model;
  SimToolbox tools;
  agents::Ports ports;
  agents::RunOptions options;
  std::vector<agents::Input> inputs;

  std::unique_ptr<FleetRun> make_run() {
    std::map<std::string, agents::Model*> models = {{"m", &model}};
    std::vector<agents::Toolbox*> boxes = {&tools};
    return std::make_unique<FleetRun>(fleet, options, std::move(models), std::move(boxes), ports);
  }
};

Error wrong(const std::string& what) {
  return Error{Code::internal, what};
}

Result<void> check_session(const Simulation& simulation, const SessionState& state) {
  const agents::Limits& limits = simulation.fleet.agents[0].limits;
  const std::int64_t tokens =
      state.usage.input_tokens - state.usage.cached_tokens + state.usage.output_tokens;
  if (state.end == SessionEnd::running) return Err(wrong(state.id + ": it has not ended"));
  if (state.turns > limits.turns) return Err(wrong(state.id + ": more turns than its budget"));
  if (limits.tool_calls >= 0 && simulation.tools.calls_of(state.id) > limits.tool_calls) {
    return Err(wrong(state.id + ": more tool calls than its budget"));
  }
  if (limits.tokens >= 0 && tokens > limits.tokens)
    return Err(wrong(state.id + ": more tokens than its budget"));
  return {};
}

// The fold of the journal must be the live state; and one end a session, nothing after it.
Result<void> check_journal(Simulation& simulation, const FleetRun& run) {
  std::map<std::string, SessionState> folded;
  for (const agents::StoredEvent& stored : simulation.journal.events()) {
    if (stored.event.type.starts_with("run.")) continue;
    SessionState& state = folded[stored.event.session];
    if (state.end != SessionEnd::running) return Err(wrong(state.id + ": an event after its end"));
    TRY(apply(state, stored.event));
  }
  for (const auto& session : run.sessions()) {
    if (transcript(folded[session->id]) != transcript(session->state)) {
      return Err(wrong(session->id + ": the journal tells another story than the live run"));
    }
  }
  return check_recovery(simulation.journal, simulation.options.run, folded);
}

Result<void> check_run(Simulation& simulation, const FleetRun& run) {
  const auto expected =
      simulation.inputs.size() * static_cast<std::size_t>(simulation.options.repeat);
  if (run.sessions().size() != expected) return Err(wrong("a session is missing"));
  if (run.live() != 0) return Err(wrong("a session still lives"));
  const agents::Limits& limits = simulation.fleet.limits;
  std::int64_t turns = 0;
  std::int64_t calls = 0;
  std::int64_t tokens = 0;
  for (const auto& session : run.sessions()) {
    const SessionState& state = session->state;
    TRY(check_session(simulation, state));
    turns += state.turns;
    calls += simulation.tools.calls_of(session->id);
    tokens += state.usage.input_tokens - state.usage.cached_tokens + state.usage.output_tokens;
  }
  if (limits.turns >= 0 && turns > limits.turns)
    return Err(wrong("the run took more turns than its budget"));
  if (limits.tool_calls >= 0 && calls > limits.tool_calls) {
    return Err(wrong("the run made more tool calls than its budget"));
  }
  if (limits.tokens >= 0 && tokens > limits.tokens)
    return Err(wrong("the run took more tokens than its budget"));
  return check_journal(simulation, run);
}

Task<void> run_to_end(FleetRun& run, std::vector<agents::Input> inputs,
                      std::unique_ptr<Result<void>>& outcome) {
  auto ended = co_await run.run(std::move(inputs));
  outcome = std::make_unique<Result<void>>(std::move(ended));
}

}  // namespace

Task<Result<void>> fleet_scenario(SimWorld& world) {
  Simulation simulation(world);
  Random& random = simulation.random;
  auto crashes = random.chance(0.6) ? random.between(1, 3) : 0;
  while (true) {
    auto run = simulation.make_run();
    if (!simulation.journal.events().empty()) co_await ok(run->restore(simulation.journal));
    std::unique_ptr<Result<void>> outcome;
    Scope scope;
    scope.spawn(run_to_end(*run, simulation.inputs, outcome));
    if (crashes > 0) {
      co_await delay(std::chrono::microseconds(random.between(0, 3'000'000)));
    } else {
      co_await scope.join();
    }
    if (!simulation.tools.violation().empty()) co_return Err(wrong(simulation.tools.violation()));
    if (!simulation.model.violation().empty()) co_return Err(wrong(simulation.model.violation()));
    if (!outcome) {
      --crashes;
      scope.cancel();
      run.reset();
      simulation.journal.crash();
      if (simulation.tools.running() != 0)
        co_return Err(wrong("a cancelled run left a tool running"));
      co_await delay(
          std::chrono::seconds(1));  // what was on its way to the disk has arrived, or never will
      continue;
    }
    if (*outcome) co_return check_run(simulation, *run);
    if (!simulation.journal.has_failed())
      co_return Err(wrong("it failed: " + outcome->error().message));
    co_return Result<void>();
  }
}

}  // namespace ambit::sim
