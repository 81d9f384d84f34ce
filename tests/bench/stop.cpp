// How long a whole fleet takes to stop: ten thousand agents in the middle of their work, each turn
// and call through the gate and into a durable record; then the order to stop. From the order to
// the last effect that begins, and to the last record that says that a session was stopped.

#include "agents/fleet_run.h"
#include "bench/figure.h"
#include "governance/guard.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "support/run_task.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <unistd.h>

using namespace ambit;

namespace {

constexpr int agents_count = 10'000;
constexpr double goal_ms = 100;

// Not the loop's clock: that stands still while the loop does one thing after the other.
using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// When something last began or ended.
struct Marks {
  Clock::time_point effect{};   // a model's turn or a tool's call began
  Clock::time_point stopped{};  // a session's end was on disk
  std::int64_t effects = 0;
  std::int64_t ended = 0;
};

// A turn takes twenty milliseconds, and always asks for one more call.
class BusyModel final : public agents::Model {
 public:
  explicit BusyModel(Marks& marks) : marks_(marks) {}
  Task<Result<agents::Turn>> generate(agents::TurnRequest /*request*/) override {
    marks_.effect = Clock::now();
    ++marks_.effects;
    co_await delay(std::chrono::milliseconds(20));
    agents::Turn turn;
    turn.message.role = agents::Role::assistant;
    turn.message.tool_calls.push_back({"", "work", "{}"});
    turn.finish = agents::FinishReason::tool_calls;
    turn.usage.input_tokens = 10;
    turn.usage.output_tokens = 5;
    co_return turn;
  }
  [[nodiscard]] std::string identity() const override { return "busy"; }

 private:
  Marks& marks_;
};

class WorkTool final : public agents::Toolbox {
 public:
  explicit WorkTool(Marks& marks) : marks_(marks) {}
  Task<Result<std::vector<agents::ToolSpec>>> list() override {
    agents::ToolSpec spec;
    spec.name = "work";
    spec.input_schema = R"({"type":"object"})";
    co_return std::vector<agents::ToolSpec>{spec};
  }
  Task<agents::Outcome> call(std::string /*session*/, agents::ToolCall /*call*/) override {
    marks_.effect = Clock::now();
    ++marks_.effects;
    co_await delay(std::chrono::milliseconds(20));
    agents::Outcome outcome;
    outcome.content = "done";
    co_return outcome;
  }

 private:
  Marks& marks_;
};

class MarkingJournal final : public agents::Journal {
 public:
  MarkingJournal(agents::Journal& journal, Marks& marks) : journal_(journal), marks_(marks) {}
  Task<Result<std::uint64_t>> append(agents::Event event) override {
    const bool is_end = event.type == "session.ended";
    auto index = co_await journal_.append(std::move(event));
    if (is_end && index) {
      marks_.stopped = Clock::now();
      ++marks_.ended;
    }
    co_return index;
  }
  Result<void> post(agents::Event event) override { return journal_.post(std::move(event)); }
  Result<void> read(const std::string& run,
                    const std::function<bool(const agents::StoredEvent&)>& visit) override {
    return journal_.read(run, visit);
  }
  Result<void> recover(const std::string& run,
                       const std::function<bool(const agents::StoredEvent&)>& visit) override {
    return journal_.recover(run, visit);
  }

 private:
  agents::Journal& journal_;
  Marks& marks_;
};

agents::Fleet busy_fleet() {
  agents::Fleet fleet;
  fleet.name = "bench";
  agents::ModelSpec model;
  model.name = "m";
  fleet.models.push_back(model);
  agents::AgentSpec agent;
  agent.name = "worker";
  agent.model = "m";
  agent.owner = "bench";
  agent.tools = {"work"};
  agent.limits = {-1, -1, -1, -1};
  fleet.agents.push_back(agent);
  fleet.limits = {-1, -1, -1, -1};
  fleet.workflow.agent = "worker";
  fleet.workflow.concurrency = agents_count;
  return fleet;
}

void figure(const char* what, double ms, double goal) {
  bench::Figure one;
  one.bench = "stop";
  one.what = what;
  one.unit = "ms";
  one.ours = ms;
  if (goal > 0) {
    one.goal_on = bench::Goal::ours;
    one.goal = goal;
  }
  bench::print(one);
}

int measure(const std::filesystem::path& folder) {
  io::UvWorld world;
  log::JournalOptions options;
  options.writer.folder = folder.string();
  auto journal = log::LogJournal::open(world.world(), options);
  auto guard =
      governance::PolicyGuard::create({{"all.cedar", "permit(principal, action, resource);"}}, {});
  if (!journal || !guard) {
    std::fprintf(stderr, "stop: the record or the policies cannot be opened\n");
    return 1;
  }
  Marks marks;
  MarkingJournal marking(**journal, marks);
  BusyModel model(marks);
  WorkTool tool(marks);
  agents::Roster roster;
  agents::Ports ports{**guard, marking,
                      [](const std::string&, const std::string&) { return Result<void>(); }};
  ports.roster = &roster;
  const agents::Fleet fleet = busy_fleet();
  agents::FleetRun run(fleet, {"stop", "bench", 1, 1}, {{"m", &model}}, {&tool}, ports);
  std::vector<agents::Input> inputs;
  for (int i = 0; i < agents_count; ++i) inputs.push_back({std::to_string(i), "go", ""});
  Result<void> done;
  Scope scope;
  scope.spawn(
      [](agents::FleetRun& of, std::vector<agents::Input> all, Result<void>& out) -> Task<void> {
        out = co_await of.run(std::move(all));
      }(run, std::move(inputs), done));
  auto& loop = world.loop();
  // Until all live and each has done something.
  loop.run_until([&] { return roster.size() == agents_count && marks.effects > 3 * agents_count; });
  const std::int64_t before = marks.effects;
  const Clock::time_point order = Clock::now();
  const std::size_t meant = roster.stop({}, "the benchmark");
  loop.run_until([&] { return marks.ended == agents_count; });
  loop.run_until([&] { return scope.size() == 0; });
  const double last_effect = marks.effects > before ? ms_between(order, marks.effect) : 0;
  std::fprintf(stderr, "stop: %zu agents were meant, %lld effects before, %lld after the order\n",
               meant, static_cast<long long>(before),
               static_cast<long long>(marks.effects - before));
  figure("10,000 agents: from the order to the last effect that begins", last_effect, goal_ms);
  figure("10,000 agents: from the order to the last stop on disk", ms_between(order, marks.stopped),
         0);
  const auto sealed = run_task(loop, (*journal)->close());
  return done && sealed && meant == agents_count ? 0 : 1;
}

}  // namespace

int main() {
  const auto folder =
      std::filesystem::temp_directory_path() / ("ambit-stop-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const int code = measure(folder);
  std::filesystem::remove_all(folder);
  return code;
}
