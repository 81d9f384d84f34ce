// ambit run FLEET: every input of the workflow becomes a session; at the end a table of what came
// of it.

#include "app/assembly.h"
#include "app/command.h"
#include "app/control.h"
#include "app/energy.h"
#include "app/fleet_reload.h"
#include "app/load_fleet.h"
#include "async/race.h"
#include "io/file.h"
#include "io/signals.h"
#include "io/uuid.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <unistd.h>

namespace ambit::app {
namespace {

// The record holds it as a number of JSON, which is exact up to here (RFC 8785).
constexpr std::int64_t seed_max = (std::int64_t{1} << 53) - 1;

using agents::SessionEnd;

constexpr std::size_t inputs_bytes_max = 256 << 20;
constexpr int exit_waits = 4;  // people must answer before it can go on

std::int64_t memory_of_process(const char* field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(field))
      return std::stoll(line.substr(std::string_view(field).size() + 1)) * 1024;
  }
  return 0;
}

std::string count(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

std::string fixed(double value, int digits) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// What the whole command needs from one place.
struct Session {
  std::string path;
  std::string fleet_file;
  FleetReload::Read read_fleet;
  std::string resume;
  bool json = false;
  bool live = false;  // one line that is written again and again
  bool quiet = false;
  std::string transcripts;
  agents::RunOptions options;
  AssemblyOptions assembly;
  std::int64_t memory_before = 0;
  std::int64_t live_peak = 0;
  double seconds = 0;
  int signal = 0;
  bool park = false;    // end when only people are waited for
  bool parked = false;  // that is so
  Result<void> result;
};

void show_progress(const agents::FleetRun& run, const Session& session, double seconds, bool last) {
  if (session.quiet) return;
  const agents::RunProgress now = run.progress();
  const double rate = seconds > 0 ? static_cast<double>(now.output_tokens) / seconds : 0;
  std::fprintf(
      stderr, "%s%s of %s sessions, %s live, %s turns, %s tool calls, %s tokens (%s/s), %s s%s",
      session.live ? "\r\x1b[K" : "", count(now.ended).c_str(), count(now.sessions).c_str(),
      count(now.live).c_str(), count(now.turns).c_str(), count(now.tool_calls).c_str(),
      count(now.output_tokens).c_str(), fixed(rate, 0).c_str(), fixed(seconds, 1).c_str(),
      session.live && !last ? "" : "\n");
}

Task<void> watch_progress(const agents::FleetRun& run, Session& session, Instant start) {
  const Duration period = session.live ? std::chrono::milliseconds(200) : std::chrono::seconds(1);
  while (true) {
    co_await delay(period);
    session.live_peak = std::max(session.live_peak, run.progress().live);
    show_progress(run, session,
                  std::chrono::duration<double>(Loop::current().now() - start).count(), false);
  }
}

Task<void> run_all(agents::FleetRun& run, std::vector<agents::Input> inputs, Session& session) {
  session.result = co_await run.run(std::move(inputs));
}

// SIGQUIT stops every session, and that is recorded; the others end the program, and the run can be
// taken up again.
Task<void> watch_signals(io::Signals& signals, ControlDesk& desk, Session& session) {
  while (true) {
    const int signal = co_await signals.next();
    if (signal == SIGHUP) {
      const std::string reload = R"({"do":"reload"})";
      std::string operator_name = "SIGHUP";
      const std::string told = co_await desk.handle(reload, std::move(operator_name));
      std::fprintf(stderr, "%sambit: %s\n", session.live ? "\n" : "", told.c_str());
      continue;
    }
    if (signal != SIGQUIT) {
      session.signal = signal;
      co_return;
    }
    const std::string order = R"({"do":"stop","reason":"SIGQUIT"})";
    std::string who = "the operator";
    co_await desk.handle(order, std::move(who));
  }
}

std::string session_json(const agents::FleetSession& session) {
  const agents::SessionState& state = session.state;
  std::string out =
      "{\"session\":" + json_text(session.id) + ",\"agent\":" + json_text(state.agent) +
      ",\"state\":" + json_text(to_string(state.end)) + ",\"answer\":" + json_text(state.answer) +
      ",\"error\":" + json_text(state.error) + ",\"turns\":" + std::to_string(state.turns) +
      ",\"inputTokens\":" + std::to_string(state.usage.input_tokens) +
      ",\"cachedTokens\":" + std::to_string(state.usage.cached_tokens) +
      ",\"outputTokens\":" + std::to_string(state.usage.output_tokens) +
      ",\"movedBytes\":" + std::to_string(state.usage.moved_bytes) +
      ",\"energyUj\":" + std::to_string(state.usage.energy_uj) +
      ",\"toolCalls\":" + std::to_string(state.call_count()) + ",\"calls\":[";
  for (std::size_t i = 0; i < state.calls.size(); ++i) {
    const agents::CallRecord& call = state.calls[i];
    out += (i > 0 ? "," : "") + std::string("{\"tool\":") + json_text(call.call.name) +
           ",\"arguments\":" + call.call.arguments +
           ",\"verdict\":" + json_text(to_string(call.verdict)) +
           ",\"reason\":" + json_text(call.reason) + ",\"policies\":[";
    for (std::size_t k = 0; k < call.policies.size(); ++k)
      out += (k > 0 ? "," : "") + json_text(call.policies[k]);
    out += "],\"outcome\":" + json_text(call.outcome ? to_string(*call.outcome) : "none") +
           ",\"detail\":" + json_text(call.detail) + "}";
  }
  return out + "]}";
}

struct Totals {
  agents::RunProgress progress;
  double seconds = 0;
  std::int64_t memory_peak = 0;
  std::int64_t memory_per_agent = 0;
};

Totals totals_of(const agents::FleetRun& run, const Session& session) {
  Totals totals;
  totals.progress = run.progress();
  totals.seconds = session.seconds;
  totals.memory_peak = memory_of_process("VmHWM");
  const std::int64_t live = std::max<std::int64_t>(session.live_peak, 1);
  totals.memory_per_agent =
      std::max<std::int64_t>(0, totals.memory_peak - session.memory_before) / live;
  return totals;
}

std::uint64_t records_of(Assembly& assembly) {
  return assembly.journal().reader().size().value_or(0);
}

void print_json(const agents::FleetRun& run, const Session& session, Assembly& assembly) {
  const Totals totals = totals_of(run, session);
  const agents::RunProgress& sum = totals.progress;
  print("{\"run\":" + json_text(session.options.run) +
        ",\"fleet\":" + json_text(assembly.fleet().name) +
        ",\"seed\":" + std::to_string(session.options.seed) + ",\"sessions\":[");
  bool first = true;
  for (const auto& item : run.sessions()) {
    print((first ? "\n" : ",\n") + session_json(*item));
    first = false;
  }
  std::string flows;
  for (const auto& flow : run.flows()) {
    if (flow->only != nullptr) break;
    flows += (flows.empty() ? "],\"flows\":[\n{\"id\":" : ",\n{\"id\":") + json_text(flow->id) +
             ",\"state\":" + json_text(flow->ended ? to_string(flow->answer->end) : "running") +
             ",\"answer\":" + json_text(flow->answer->answer) +
             ",\"error\":" + json_text(flow->answer->error) + "}";
  }
  print(flows);
  std::string ends;
  for (const auto& [end, number] : sum.ends) {
    ends += (ends.empty() ? "" : ",") + json_text(to_string(end)) + ":" + std::to_string(number);
  }
  auto rate = [&](std::int64_t number) {
    return fixed(totals.seconds > 0 ? static_cast<double>(number) / totals.seconds : 0, 1);
  };
  print("\n],\"states\":{" + ends + "},\"totals\":{\"sessions\":" + std::to_string(sum.sessions) +
        ",\"livePeak\":" + std::to_string(session.live_peak) +
        ",\"seconds\":" + fixed(totals.seconds, 3) + ",\"turns\":" + std::to_string(sum.turns) +
        ",\"turnsPerSecond\":" + rate(sum.turns) + ",\"toolCalls\":" +
        std::to_string(sum.tool_calls) + ",\"inputTokens\":" + std::to_string(sum.input_tokens) +
        ",\"cachedTokens\":" + std::to_string(sum.cached_tokens) +
        ",\"outputTokens\":" + std::to_string(sum.output_tokens) +
        ",\"outputTokensPerSecond\":" + rate(sum.output_tokens) +
        ",\"tokensPerSecond\":" + rate(sum.output_tokens + sum.input_tokens - sum.cached_tokens) +
        ",\"costMicros\":" + std::to_string(sum.cost_micros) + ",\"movedBytes\":" +
        std::to_string(sum.moved_bytes) + ",\"energyUj\":" + std::to_string(sum.energy_uj) +
        ",\"idleEnergyUj\":" + std::to_string(std::llround(idle_joules(assembly.energy()) * 1e6)) +
        ",\"waiting\":" + std::to_string(sum.waiting) +
        ",\"memoryPeakBytes\":" + std::to_string(totals.memory_peak) +
        ",\"memoryPerAgentBytes\":" + std::to_string(totals.memory_per_agent) +
        "},\"record\":{\"path\":" + json_text(assembly.journal_path()) +
        ",\"size\":" + std::to_string(records_of(assembly)) +
        "},\"work\":" + json_text(assembly.work_path()) + "}\n");
}

std::string cut(const std::string& text, std::size_t width) {
  std::string line = text.substr(0, text.find('\n'));
  return line.size() <= width ? line : line.substr(0, width - 3) + "...";
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

// At most this many rows of a table; the rest is counted.
constexpr std::size_t rows_max = 60;

void print_tables(const agents::FleetRun& run) {
  print("\n" + padded("SESSION", 14) + padded("STATE", 11) + padded("CALLS", 7) + "ANSWER\n");
  std::size_t row = 0;
  for (const auto& item : run.sessions()) {
    if (++row > rows_max) continue;
    const agents::SessionState& state = item->state;
    print(padded(item->id, 14) + padded(std::string(to_string(state.end)), 11) +
          padded(std::to_string(state.call_count()), 7) +
          cut(state.error.empty() ? state.answer.substr(state.answer.rfind('\n') + 1) : state.error,
              100) +
          "\n");
  }
  if (row > rows_max)
    print("... and " + count(static_cast<std::int64_t>(row - rows_max)) + " more (see --json)\n");
  for (const auto& flow : run.flows()) {
    if (flow->only != nullptr) break;
    if (flow == run.flows().front())
      print("\n" + padded("INPUT", 14) + padded("STATE", 11) + "ANSWER\n");
    const agents::FlowAnswer& answer = *flow->answer;
    print(padded(flow->id, 14) +
          padded(std::string(flow->ended ? to_string(answer.end) : "running"), 11) +
          cut(answer.answer.empty() ? answer.error : answer.answer, 100) + "\n");
  }
  row = 0;
  for (const auto& item : run.sessions()) {
    for (const agents::CallRecord& call : item->state.calls) {
      if (call.verdict == agents::Verdict::allow) continue;
      if (row++ == 0) print("\nNot allowed:\n");
      if (row > rows_max) continue;
      print(padded(item->id, 14) + padded(std::string(to_string(call.verdict)), 10) +
            call.call.name + " " + cut(call.call.arguments, 70) + "\n" + std::string(24, ' ') +
            call.reason + "\n");
    }
  }
  if (row > rows_max)
    print("... and " + count(static_cast<std::int64_t>(row - rows_max)) + " more (see --json)\n");
}

void print_summary(const agents::FleetRun& run, const Session& session, Assembly& assembly) {
  const Totals totals = totals_of(run, session);
  const agents::RunProgress& sum = totals.progress;
  std::string ends;
  for (const auto& [end, number] : sum.ends) {
    ends += (ends.empty() ? "" : ", ") + count(number) + " " + std::string(to_string(end));
  }
  const double seconds = std::max(totals.seconds, 1e-9);
  print("\n" + count(sum.sessions) + " sessions in " + fixed(totals.seconds, 1) + " s: " + ends +
        ".\n");
  print(count(sum.turns) + " turns (" + fixed(static_cast<double>(sum.turns) / seconds, 0) +
        "/s), " + count(sum.tool_calls) + " tool calls, " + count(sum.output_tokens) +
        " tokens decoded (" + fixed(static_cast<double>(sum.output_tokens) / seconds, 0) + "/s), " +
        count(sum.input_tokens - sum.cached_tokens) + " read, " + count(sum.cached_tokens) +
        " found in the cache" +
        (sum.cost_micros > 0 ? ", $" + fixed(static_cast<double>(sum.cost_micros) / 1e6, 4) : "") +
        ".\n" + energy_summary(sum, idle_joules(assembly.energy())) +
        "Memory: " + count(totals.memory_peak >> 10) + " KiB at the peak, " +
        count(totals.memory_per_agent >> 10) + " KiB for each of " + count(session.live_peak) +
        " live agents.\n");
  print("Record: " + count(static_cast<std::int64_t>(records_of(assembly))) + " records in " +
        assembly.journal_path() + "\nWork:   " + assembly.work_path() +
        "\n\nNext: ambit audit verify --state " + session.assembly.state +
        "\n      ambit audit list --state " + session.assembly.state + " --run " +
        session.options.run + "\n      ambit audit console --state " + session.assembly.state +
        "\n");
}

Result<void> write_transcripts(const agents::FleetRun& run, const std::string& path) {
  std::string text;
  for (const auto& item : run.sessions()) text += agents::transcript(item->state) + "\n";
  return io::write_file(path, text);
}

Result<std::vector<agents::Input>> inputs_of(const agents::Fleet& fleet) {
  if (fleet.workflow.inputs.empty())
    return std::vector<agents::Input>{{"main", fleet.workflow.prompt, ""}};
  return agents::read_inputs(fleet.workflow,
                             TRY(io::read_file(fleet.workflow.inputs, inputs_bytes_max)));
}

// Sessions that begin from now on are of the next reading of the fleet file.
Task<Result<std::function<void()>>> adopt_in_run(Assembly& assembly, agents::FleetRun* run,
                                                 std::shared_ptr<Generation> next) {
  if (run == nullptr) co_return Err(Code::conflict, "the run has not begun yet; ask again");
  auto cast = std::make_shared<agents::Cast>();
  cast->fleet = &next->fleet;
  agents::ToolCheck check = assembly.ports().check_tool;
  cast->catalogues =
      co_await ok(agents::cast_tools(next->fleet, next->toolboxes, std::move(check)));
  cast->owner = std::move(next);
  std::function<void()> adopt = [run, cast = std::move(cast)]() { run->adopt(cast); };
  co_return adopt;
}

Result<int> run_fleet(Session session, agents::Fleet fleet) {
  if (fleet.workflow.agent.empty()) {
    return Err(Code::invalid, session.fleet_file +
                                  ": there is no workflow to run; say who begins with what "
                                  "(\"workflow\": {\"agent\": NAME, \"prompt\": TEXT}), or offer "
                                  "what is there to others with: ambit serve " +
                                  session.fleet_file);
  }
  std::vector<agents::Input> inputs = TRY(inputs_of(fleet));
  if (inputs.empty()) return Err(Code::invalid, fleet.workflow.inputs + " holds no record");
  io::UvWorld world;
  if (session.resume.empty()) {
    session.options.run = io::uuid_v7(world.world().clock, world.world().entropy);
  } else {
    session.options.run = session.resume;
  }
  session.assembly.run = session.options.run;
  auto assembly = TRY(Assembly::open(world, std::move(fleet), session.assembly));
  auto signals = TRY(world.signals({SIGINT, SIGTERM, SIGQUIT, SIGHUP}));
  ControlDesk desk(assembly->roster(), assembly->journal(),
                   {session.options.run, assembly->fleet().name, "run"});
  agents::FleetRun* started = nullptr;
  FleetReload reloading(*assembly, session.options.run, session.fleet_file, session.read_fleet,
                        [&started, &assembly](std::shared_ptr<Generation> next) {
                          return adopt_in_run(*assembly, started, std::move(next));
                        });
  desk.on_reload([&reloading](std::string by, bool dry_run) {
    return reloading.reload(std::move(by), dry_run);
  });
  const auto control =
      TRY(ControlSocket::open(world.world(), desk, session.assembly.state, session.options.run));
  session.options.sources = assembly->sources();
  agents::FleetRun& run = assembly->start(session.options);
  started = &run;
  if (!session.resume.empty()) TRY(run.restore(assembly->journal()));
  session.memory_before = memory_of_process("VmRSS");
  const Instant start = world.loop().now();
  {
    Scope background;
    Scope work;
    background.spawn(watch_progress(run, session, start));
    background.spawn(watch_signals(*signals, desk, session));
    work.spawn(run_all(run, std::move(inputs), session));
    world.loop().run_until([&] {
      session.live_peak = std::max(session.live_peak, run.live());
      session.parked = session.park && run.only_waits();
      return work.size() == 0 || session.signal != 0 || session.parked;
    });
  }
  session.seconds = std::chrono::duration<double>(world.loop().now() - start).count();
  const Result<void> closed = close_journal(world, *assembly);
  show_progress(run, session, session.seconds, true);
  if (!session.transcripts.empty()) TRY(write_transcripts(run, session.transcripts));
  if (session.json) {
    print_json(run, session, *assembly);
  } else {
    print_tables(run);
    print_summary(run, session, *assembly);
  }
  if (session.parked) {
    const agents::RunProgress now = run.progress();
    print("\n" + count(now.waiting) +
          " sessions wait for people (see: ambit pending). Then go on " + "with: ambit run " +
          session.fleet_file + " --state " + session.assembly.state + " --resume " +
          session.options.run + "\n");
    return exit_waits;
  }
  if (session.signal != 0) {
    const agents::RunProgress now = run.progress();
    return fail("stopped by a signal; " + count(now.ended) + " of " + count(now.sessions) +
                " sessions had ended. Go on with: ambit run " + session.fleet_file + " --state " +
                session.assembly.state + " --resume " + session.options.run);
  }
  if (!session.result) return Err(std::move(session.result).error());
  TRY(closed);
  // A session that failed on the way is no failure of an input that came to its answer.
  const auto& flows = run.flows();
  const bool failed = std::any_of(flows.begin(), flows.end(), [](const auto& flow) {
    return (flow->only != nullptr ? flow->only->state.end : flow->answer->end) ==
           SessionEnd::failed;
  });
  return failed ? 1 : 0;
}

int run(const Options& options, const Context& context) {
  Session session;
  session.fleet_file = options.positional()[0];
  session.json = options.flag("json");
  session.quiet = options.flag("quiet");
  session.live = context.terminal && !session.json && ::isatty(STDERR_FILENO) == 1;
  session.transcripts = options.text("transcripts");
  session.resume = options.text("resume");
  session.park = options.flag("park");
  session.assembly.state = absolute(context, options.text("state", ".ambit"));
  session.assembly.grammar = !options.flag("no-grammar");
  session.assembly.environment = context.environment;
  const auto seed = options.integer("seed", 0, 0, seed_max);
  const auto repeat = options.integer("repeat", 1, 1, 100'000);
  const auto batch = options.integer("max-batch", 64, 1, 4096);
  const auto threads = options.integer("threads", 0, 0, 1024);
  for (const auto* number : {&seed, &repeat, &batch, &threads}) {
    if (!*number) {
      fail(number->error());
      return 2;
    }
  }
  session.options.seed = static_cast<std::uint64_t>(*seed);
  session.options.repeat = static_cast<int>(*repeat);
  session.assembly.batch_max = *batch;
  session.assembly.threads = *threads;
  const auto user = context.environment.find("USER");
  session.options.principal =
      options.text("principal", user != context.environment.end() ? user->second : "unknown");
  auto file = load_fleet(context, session.fleet_file);
  if (!file) return fail(file.error());
  if (!file->problems.empty()) {
    return fail(problem_line(session.fleet_file, file->problems.front()) +
                (file->problems.size() > 1
                     ? " (and " + std::to_string(file->problems.size() - 1) +
                           " more: ambit fleet check " + session.fleet_file + ")"
                     : ""));
  }
  session.read_fleet = [&context, path = session.fleet_file] { return load_fleet(context, path); };
  auto code = run_fleet(std::move(session), std::move(file->fleet));
  return code ? *code : fail(code.error());
}

}  // namespace

Command run_command() {
  return {
      "run",
      "FLEET",
      "run a fleet: one session for every input, until all have ended",
      {{"seed", "N", "seed of the sampling (default 0)"},
       {"repeat", "N", "run every input N times (default 1)"},
       {"max-batch", "N", "at most N sessions in one forward pass (default 64); changes no token"},
       {"threads", "N", "threads of the engine (default: all processors); changes no token"},
       {"state", "DIR", "where journal and work directories are kept (default .ambit)"},
       {"transcripts", "FILE",
        "write every conversation as JSON Lines, the same bytes for the same seed"},
       {"resume", "RUN", "go on with a run that was cut off"},
       {"park", "", "end (exit code 4) when nothing goes on but waiting for people's approvals"},
       {"principal", "NAME", "who is answerable (default: $USER)"},
       {"no-grammar", "", "let the model write calls freely"},
       {"quiet", "", "no progress"},
       {"json", "", "print the result as JSON"}},
      1,
      1,
      run};
}

}  // namespace ambit::app
