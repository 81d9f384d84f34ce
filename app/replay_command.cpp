// ambit replay RUN: executes a recorded run again and names the first difference.

#include "app/assembly.h"
#include "app/audit_options.h"
#include "app/load_fleet.h"
#include "replay/replay.h"

#include <cstdio>

namespace ambit::app {
namespace {

struct Settings {
  std::string run;
  replay::Options options;
  bool other_model = false;
  AssemblyOptions assembly;
};

// The tools that each agent is offered, as the servers list them now; withheld ones as in the run.
Task<Result<std::map<std::string, replay::Tools>>> list_all(Assembly& assembly) {
  std::map<std::string, replay::Tools> tools;
  for (const agents::AgentSpec& agent : assembly.fleet().agents) {
    const agents::Catalogue listed =
        co_await ok(agents::list_tools(agent, assembly.toolboxes(), assembly.ports().check_tool));
    tools[agent.name] = listed.specs;
  }
  co_return tools;
}

Task<void> replay_all(Assembly& assembly, const Settings& wanted, Result<replay::Report>& result) {
  auto tools = co_await list_all(assembly);
  if (!tools) {
    result = Err(std::move(tools).error());
    co_return;
  }
  replay::Setting setting{assembly.fleet(), assembly.models(), assembly.guard(), *tools};
  replay::Replay replay(std::move(setting), wanted.options);
  result = co_await replay.run(assembly.journal(), wanted.run);
}

int show(const Settings& wanted, const replay::Report& report) {
  const std::string counts = std::to_string(report.turns) + " turns, " +
                             std::to_string(report.tokens) + " tokens, " +
                             std::to_string(report.decisions) + " decisions";
  std::string left_out;
  if (report.limited > 0) {
    left_out += std::to_string(report.limited) + " decisions were made by a budget. ";
  }
  if (report.elsewhere > 0) {
    left_out += std::to_string(report.elsewhere) +
                " turns are of models elsewhere, which are not asked again. ";
  }
  if (report.unreadable > 0) {
    left_out += std::to_string(report.unreadable) +
                " turns and decisions rest on what was redacted, and are left out. ";
  }
  if (!left_out.empty()) left_out.back() = '\n';
  if (report.differences.empty()) {
    print(counts + ": identical\n" + left_out);
    return 0;
  }
  for (const replay::Difference& each : report.differences) {
    print("record " + std::to_string(each.index) + ", session " + each.session + ", turn " +
          std::to_string(each.turn) + ": " + each.what + "\n");
  }
  if (wanted.other_model) {
    print(std::to_string(report.differences.size()) + " turns would be others, " +
          std::to_string(report.turns) + " the same\n" + left_out);
    return 1;
  }
  if (wanted.options.decode) {
    return fail("the run diverges at record " + std::to_string(report.differences.front().index) +
                " (" + counts + " were identical until then)");
  }
  print(std::to_string(report.differences.size()) + " decisions would be others, " +
        std::to_string(report.decisions) + " the same\n" + left_out);
  return 0;
}

Result<int> replay_fleet(const Settings& wanted, agents::Fleet fleet) {
  io::UvWorld world;
  auto assembly = TRY(Assembly::open(world, std::move(fleet), wanted.assembly));
  Result<replay::Report> result = Err(Code::internal, "the replay did not end");
  {
    Scope work;
    work.spawn(replay_all(*assembly, wanted, result));
    world.loop().run_until([&] { return work.size() == 0; });
  }
  if (!result) return Err(std::move(result).error());
  return show(wanted, *result);
}

int replay_run(const Options& options, const Context& context) {
  Settings wanted;
  wanted.run = options.positional()[0];
  wanted.assembly.state = absolute(context, options.text("state", ".ambit"));
  wanted.assembly.run = wanted.run;
  wanted.assembly.environment = context.environment;
  const auto journal = journal_of(options, context);
  if (!journal) return fail(journal.error());
  const auto batch = options.integer("max-batch", 64, 1, 4096);
  const auto threads = options.integer("threads", 0, 0, 1024);
  for (const auto* number : {&batch, &threads}) {
    if (!*number) return fail(number->error()), 2;
  }
  wanted.assembly.batch_max = *batch;
  wanted.assembly.threads = *threads;
  wanted.options.concurrency = static_cast<std::size_t>(*batch);
  const std::string fleet_file = options.text("fleet");
  if (fleet_file.empty()) {
    return fail("say which fleet the run was of: --fleet FILE"), 2;
  }
  auto file = load_fleet(context, fleet_file);
  if (!file) return fail(file.error());
  if (!file->problems.empty()) return fail(problem_line(fleet_file, file->problems.front()));
  if (options.flag("policy")) {
    file->fleet.policies = {absolute(context, options.text("policy"))};
    wanted.options.decode = false;
    wanted.options.differences_max = 1000;
  }
  if (options.flag("model")) {
    wanted.other_model = true;
    wanted.options.differences_max = 1000;
    for (agents::ModelSpec& model : file->fleet.models) {
      if (model.base_url.empty() && model.script.empty()) {
        model.file = absolute(context, options.text("model"));
      }
    }
  }
  auto code = replay_fleet(wanted, std::move(file->fleet));
  return code ? *code : fail(code.error());
}

}  // namespace

Command replay_command() {
  return {
      "replay",
      "RUN",
      "execute a recorded run again; name the first difference, or say that it is identical",
      {{"fleet", "FILE", "the fleet file that the run was of"},
       state_option(),
       {"policy", "FILE", "decide with these policies instead, and list what would differ"},
       {"model", "FILE",
        "decode with this model instead, and list the turns that would differ (then exit code 1)"},
       {"max-batch", "N", "at most N sessions in one forward pass (default 64)"},
       {"threads", "N", "threads of the engine (default: all processors)"}},
      1,
      1,
      replay_run};
}

}  // namespace ambit::app
