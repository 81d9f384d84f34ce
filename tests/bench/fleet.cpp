// What the runtime itself costs: agents that make five model turns with one trivial tool call each
// and a closing turn, under a model and a tool that answer at once. A step is a turn with its tool
// call. Without a record, and with gate, budgets and a durable record; beside frameworks from npm.

#include "agents/fleet_run.h"
#include "async/scope.h"
#include "bench/figure.h"
#include "governance/guard.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "support/run_task.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <new>
#include <string_view>
#include <unistd.h>

using namespace ambit;

namespace {

constexpr int steps_of_an_agent = 5;

// Of the loop's thread; what a step allocates is the same on every machine.
thread_local std::int64_t allocations = 0;

// Calls add(n, n) until there are enough results, then ends; at once, or after some thought.
class FastModel final : public agents::Model {
 public:
  explicit FastModel(Duration thinks = {}, int calls = steps_of_an_agent)
      : thinks_(thinks), calls_(calls) {}
  Task<Result<agents::Turn>> generate(agents::TurnRequest request) override {
    ++asked;
    int results = 0;
    for (const agents::Message& message : request.messages) {
      results += message.role == agents::Role::tool ? 1 : 0;
    }
    return think(results);
  }
  std::string identity() const override { return "instant"; }
  int asked = 0;

 private:
  // What is measured is the runtime: while the model thinks, it takes no more than it must.
  Task<Result<agents::Turn>> think(int results) {
    if (thinks_ > Duration::zero()) co_await delay(thinks_);
    co_return answer(results);
  }
  [[nodiscard]] agents::Turn answer(int results) const {
    agents::Turn turn;
    turn.message.role = agents::Role::assistant;
    turn.usage.input_tokens = 10;
    turn.usage.output_tokens = 5;
    if (results < calls_) {
      const std::string n = std::to_string(results);
      turn.message.tool_calls.push_back({"", "add", R"({"a":)" + n + R"(,"b":)" + n + "}"});
      turn.finish = agents::FinishReason::tool_calls;
    } else {
      turn.message.content = "done";
    }
    return turn;
  }

  Duration thinks_;
  int calls_;
};

class AddTool final : public agents::Toolbox {
 public:
  Task<Result<std::vector<agents::ToolSpec>>> list() override {
    agents::ToolSpec spec;
    spec.name = "add";
    spec.description = "Adds two numbers.";
    spec.input_schema = R"({"type":"object"})";
    spec.read_only = true;
    co_return std::vector<agents::ToolSpec>{spec};
  }
  Task<agents::Outcome> call(std::string /*session*/, agents::ToolCall call) override {
    agents::Outcome outcome;
    outcome.content = std::to_string(call.arguments.size());
    ++calls;
    co_return outcome;
  }
  std::int64_t calls = 0;
};

class OpenGuard final : public agents::Guard {
 public:
  agents::Decision decide(const agents::Action& /*action*/) override {
    agents::Decision decision;
    decision.verdict = agents::Verdict::allow;
    return decision;
  }
};

class NoJournal final : public agents::Journal {
 public:
  Task<Result<std::uint64_t>> append(agents::Event /*event*/) override { co_return count_++; }
  Result<void> post(agents::Event /*event*/) override {
    ++count_;
    return {};
  }
  Result<void> read(const std::string& /*run*/,
                    const std::function<bool(const agents::StoredEvent&)>& /*visit*/) override {
    return {};
  }

 private:
  std::uint64_t count_ = 0;
};

agents::Fleet one_agent(int count) {
  agents::Fleet fleet;
  fleet.name = "bench";
  agents::ModelSpec model;
  model.name = "m";
  fleet.models.push_back(model);
  agents::AgentSpec agent;
  agent.name = "adder";
  agent.model = "m";
  agent.owner = "bench";
  agent.instructions = "You add numbers.";
  agent.tools = {"add"};
  fleet.agents.push_back(agent);
  fleet.limits = {-1, -1, -1, -1};
  fleet.workflow.agent = "adder";
  fleet.workflow.concurrency = count;
  return fleet;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double resident_kib() {
  long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
}

struct Measured {
  double steps_per_cpu_second = 0;
  double steps_per_second = 0;
  double kib_per_agent = 0;
  double allocations_per_step = 0;
};

struct Work {
  int count = 0;
  bool gate = false;
  bool record = false;
  Duration thinks{};  // of the model
  int calls = steps_of_an_agent;
};

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "fleet: %s\n", why.c_str());
  std::abort();
}

Measured run_once(const Work& work) {
  const int count = work.count;
  agents::Fleet fleet = one_agent(count);
  fleet.agents[0].limits.turns = fleet.agents[0].limits.tool_calls = work.calls + 1;
  const std::string folder = "build/bench-fleet-" + std::to_string(::getpid());
  io::UvWorld world;
  FastModel model(work.thinks, work.calls);
  AddTool tools;
  OpenGuard open_guard;
  NoJournal no_journal;
  std::unique_ptr<governance::PolicyGuard> guard;
  std::unique_ptr<log::LogJournal> journal;
  if (work.gate) {
    governance::GuardOptions options;
    options.fleet = fleet.name;
    guard =
        governance::PolicyGuard::create(
            {{"bench.cedar", "permit(principal in Fleet::\"bench\", action, resource);"}}, options)
            .value();
  }
  if (work.record) {
    std::filesystem::create_directories(folder);
    log::JournalOptions where;
    where.writer.folder = folder;
    journal = log::LogJournal::open(world.world(), where).value();
  }
  std::vector<agents::Input> inputs;
  for (int i = 0; i < count; ++i) inputs.push_back({"a" + std::to_string(i), "Add.", ""});
  const double before = resident_kib();
  agents::RunOptions options;
  options.run = "bench";
  options.principal = "bench";
  const auto wall = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds();
  const std::int64_t allocated = allocations;
  Measured measured;
  {
    agents::FleetRun run(
        fleet, options, {{"m", &model}}, {&tools},
        agents::Ports{work.gate ? static_cast<agents::Guard&>(*guard) : open_guard,
                      work.record ? static_cast<agents::Journal&>(*journal) : no_journal,
                      [](const std::string&, const std::string&) { return Result<void>(); }});
    const auto ran = run_task(world.loop(), run.run(std::move(inputs)));
    if (!ran) fail(ran.error().message);
    measured.kib_per_agent = (resident_kib() - before) / count;
    for (const auto& session : run.sessions()) {
      if (session->state.end != agents::SessionEnd::completed) fail(session->state.error);
    }
  }
  const double steps = static_cast<double>(tools.calls);
  measured.steps_per_cpu_second = steps / (cpu_seconds() - cpu);
  measured.allocations_per_step = static_cast<double>(allocations - allocated) / steps;
  measured.steps_per_second =
      steps / std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count();
  journal.reset();
  std::filesystem::remove_all(folder);
  return measured;
}

Measured median_of(int runs, const Work& work) {
  std::vector<double> cpu;
  std::vector<double> wall;
  std::vector<double> memory;
  std::vector<double> allocated;
  for (int i = 0; i < runs; ++i) {
    const Measured one = run_once(work);
    cpu.push_back(one.steps_per_cpu_second);
    wall.push_back(one.steps_per_second);
    allocated.push_back(one.allocations_per_step);
    if (i == 0) memory.push_back(one.kib_per_agent);  // later ones find the heap grown already
  }
  return {bench::quantile(cpu, 0.5), bench::quantile(wall, 0.5), bench::quantile(memory, 0.5),
          bench::quantile(allocated, 0.5)};
}

// "NAME COUNT STEPS_PER_CPU_S STEPS_PER_S KIB_PER_AGENT" a line.
std::map<std::pair<std::string, int>, Measured> peers() {
  std::map<std::pair<std::string, int>, Measured> found;
  std::FILE* peer = ::popen("node " PEER_SCRIPT, "r");
  char line[512];
  while (peer != nullptr && std::fgets(line, sizeof line, peer) != nullptr) {
    char name[64];
    int count = 0;
    Measured one;
    if (std::sscanf(line, "%63s %d %lf %lf %lf", name, &count, &one.steps_per_cpu_second,
                    &one.steps_per_second, &one.kib_per_agent) == 5) {
      found[{name, count}] = one;
    } else {
      std::fprintf(stderr, "%s", line);
    }
  }
  if (peer != nullptr) ::pclose(peer);
  return found;
}

void report(const std::string& what, const std::string& unit, bench::Better better, double ours,
            const std::string& peer, double theirs, double goal) {
  bench::Figure figure{"fleet", what, unit, better, ours, peer, theirs};
  if (goal > 0) figure.goal_on = bench::Goal::ours;
  figure.goal = goal;
  bench::print(figure);
}

// A run without a record, whose model is given.
class BareRun {
 public:
  BareRun(agents::Fleet fleet, agents::Model& model)
      : fleet_(std::move(fleet)),
        run_(fleet_, options(), {{"m", &model}}, {&tools_},
             agents::Ports{guard_, journal_,
                           [](const std::string&, const std::string&) { return Result<void>(); }}) {
  }
  Task<Result<void>> run() {
    std::vector<agents::Input> inputs;
    for (int i = 0; i < fleet_.workflow.concurrency; ++i) {
      inputs.push_back({"a" + std::to_string(i), "Add.", ""});
    }
    return run_.run(std::move(inputs));
  }
  [[nodiscard]] std::int64_t steps() const { return tools_.calls; }

 private:
  static agents::RunOptions options() {
    agents::RunOptions options;
    options.run = options.principal = "bench";
    return options;
  }

  agents::Fleet fleet_;
  AddTool tools_;
  OpenGuard guard_;
  NoJournal journal_;
  agents::FleetRun run_;
};

// What an agent takes that waits for its model.
double kib_per_idle_agent(int count) {
  io::UvWorld world;
  FastModel model(std::chrono::hours(1));
  const double before = resident_kib();
  BareRun run(one_agent(count), model);
  Scope scope;
  auto all = [](BareRun& of) -> Task<void> { co_await of.run(); };
  scope.spawn(all(run));
  if (!world.loop().run_until([&] { return model.asked == count; })) std::abort();
  return (resident_kib() - before) / count;
}

// Steps a second, as a part of what the model alone would allow.
double part_of_ideal(int count, Duration thinks, int calls) {
  io::UvWorld world;
  FastModel model(thinks, calls);
  agents::Fleet fleet = one_agent(count);
  fleet.agents[0].limits.turns = fleet.agents[0].limits.tool_calls = calls + 1;
  BareRun run(std::move(fleet), model);
  const auto start = std::chrono::steady_clock::now();
  if (!run_task(world.loop(), run.run())) std::abort();
  if (run.steps() != std::int64_t{calls} * count) std::abort();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return std::chrono::duration<double>(thinks * (calls + 1)) / took;
}

// How late an interactive task goes on that waits for a moment now and then.
Task<void> sample_lateness(std::vector<double>& late_ms) {
  co_await become(LatencyClass::interactive);
  const std::chrono::milliseconds pause(1);
  while (true) {
    const auto due = std::chrono::steady_clock::now() + pause;
    co_await delay(pause);
    const std::chrono::duration<double, std::milli> late = std::chrono::steady_clock::now() - due;
    late_ms.push_back(late.count());
  }
}

double p99_delay_ms(int count, LatencyClass latency) {
  io::UvWorld world;
  FastModel model({}, 4 * steps_of_an_agent);
  agents::Fleet fleet = one_agent(count);
  fleet.agents[0].latency = latency;
  fleet.agents[0].limits.turns = fleet.agents[0].limits.tool_calls = 100;
  BareRun run(std::move(fleet), model);
  std::vector<double> late_ms;
  Scope scope;
  scope.spawn(sample_lateness(late_ms));
  if (!run_task(world.loop(), run.run())) std::abort();
  if (late_ms.empty()) std::abort();
  return bench::quantile(late_ms, 0.99);
}

// From exec to the end of one agent, as whoever types the command waits for it.
double start_ms() {
  const std::string command =
      std::filesystem::read_symlink("/proc/self/exe").string() + " 1 bare 1 >/dev/null";
  std::vector<double> took;
  for (int i = 0; i < 11; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (std::system(command.c_str()) != 0) std::abort();
    const std::chrono::duration<double, std::milli> one = std::chrono::steady_clock::now() - start;
    took.push_back(one.count());
  }
  return bench::quantile(took, 0.5);
}

// What a live agent takes, in a process whose heap has not grown before.
double kib_per_live_agent(int count) {
  const std::string command = std::filesystem::read_symlink("/proc/self/exe").string() + " " +
                              std::to_string(count) + " bare 1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  double kib = 0;
  if (pipe == nullptr ||
      std::fscanf(pipe, "%*d agents, bare: %*f steps/CPU-s, %*f steps/s, %lf KiB", &kib) != 1)
    std::abort();
  char rest[256];
  while (std::fgets(rest, sizeof rest, pipe) != nullptr) {
  }
  if (::pclose(pipe) != 0) std::abort();
  return kib;
}

// The part of its speed that a fleet loses to its record, gate and budgets the same.
double cost_of_record(int count, int runs) {
  Work work{count, true, false, std::chrono::milliseconds(200), 19};
  const double without = median_of(runs, work).steps_per_second;
  work.record = true;
  const double with = median_of(runs, work).steps_per_second;
  return std::max(0.0001, 1 - with / without);
}

void report_cost_of_record() {
  for (const int count : {100, 1000}) {
    report(std::to_string(count) + " agents, a model of 200 ms, what the record costs", "part",
           bench::Better::less, cost_of_record(count, 5), "", 0, 0.05);
  }
}

void report_waiting() {
  constexpr double room_kib = 24.0 * 1024 * 1024;
  const double idle = kib_per_idle_agent(100'000);
  report("100000 idle agents", "KiB/idle agent", bench::Better::less, idle, "", 0, 4);
  report("idle agents in 24 GiB", "agents", bench::Better::more, room_kib / idle, "", 0, 1'000'000);
  report("start to the end of one agent", "ms", bench::Better::less, start_ms(), "", 0, 20);
  report("10000 agents, a model of 200 ms, 20 turns", "part of the ideal", bench::Better::more,
         part_of_ideal(10'000, std::chrono::milliseconds(200), 19), "", 0, 0.99);
  report("p99 delay of an interactive agent beside 10000 batch agents", "ms", bench::Better::less,
         p99_delay_ms(10'000, LatencyClass::batch), "one class",
         p99_delay_ms(10'000, LatencyClass::interactive), 5);
}

// One case alone, for a profiler: "bench_fleet 1000 durable 20"; bare, durable, cost or idle.
int run_case(int count, std::string_view name, int runs) {
  if (name == "idle") {
    std::printf("%d agents, idle: %.2f KiB/agent\n", count, kib_per_idle_agent(count));
    return 0;
  }
  if (name == "cost") {
    std::printf("%d agents, a model of 200 ms: the record costs %.4f\n", count,
                cost_of_record(count, runs));
    return 0;
  }
  const bool durable = name == "durable";
  const Measured one = median_of(runs, {count, durable, durable});
  std::printf(
      "%d agents, %s: %.0f steps/CPU-s, %.0f steps/s, %.1f KiB/agent, %.1f allocations/step\n",
      count, durable ? "durable" : "bare", one.steps_per_cpu_second, one.steps_per_second,
      one.kib_per_agent, one.allocations_per_step);
  return 0;
}

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

int main(int argc, char** argv) {
  if (argc == 4) {
    return run_case(std::atoi(argv[1]), argv[2], std::atoi(argv[3]));
  }
  report_waiting();
  report_cost_of_record();
  const auto theirs = peers();
  for (const int count : {100, 1000, 10'000, 100'000}) {
    const std::string of = std::to_string(count) + " agents, ";
    const int runs = count < 100'000 ? 5 : 1;
    const Measured bare = median_of(runs, {count});
    const double kib = kib_per_live_agent(count);
    report(of + "no record", "steps/CPU-s", bench::Better::more, bare.steps_per_cpu_second, "", 0,
           100'000);
    report(of + "no record", "allocations/step", bench::Better::less, bare.allocations_per_step, "",
           0, 0);
    report(of + "memory", "KiB/live agent", bench::Better::less, kib, "", 0, 0);
    for (const auto& [key, one] : theirs) {
      if (key.second != count) continue;
      report(of + "no record", "steps/CPU-s", bench::Better::more, bare.steps_per_cpu_second,
             key.first, one.steps_per_cpu_second, 0);
      report(of + "memory", "KiB/live agent", bench::Better::less, kib, key.first,
             one.kib_per_agent, 0);
    }
    const Measured durable = median_of(runs, {count, true, true});
    report(of + "gate, budget and record", "durable steps/s", bench::Better::more,
           durable.steps_per_second, "", 0, 20'000);
    report(of + "gate, budget and record", "steps/CPU-s", bench::Better::more,
           durable.steps_per_cpu_second, "", 0, 0);
    report(of + "gate, budget and record", "allocations/step", bench::Better::less,
           durable.allocations_per_step, "", 0, 0);
  }
  return 0;
}
