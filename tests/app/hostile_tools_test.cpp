// Tools that misbehave, through the whole line: gate, record, real jails. Each ends with its type,
// the record holds it, and the fleet goes on.

#include "agents/command_tools.h"
#include "agents/fleet_run.h"
#include "governance/guard.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "runtime/agents/scripted.h"
#include "sandbox/runner.h"

#include <catch2/catch.hpp>

#include <filesystem>

namespace ambit::app {
namespace {

namespace fs = std::filesystem;
using agents::OutcomeKind;

struct Hostile {
  const char* name;
  const char* level;
  std::vector<std::string> command;
  std::vector<OutcomeKind> ends;  // any of these
};

const std::vector<Hostile>& hostile_tools() {
  static const std::vector<Hostile> tools = {
      {"read_shadow", "fs-read", {"cat", "/etc/shadow"}, {OutcomeKind::tool_error}},
      {"open_socket",
       "fs-read",
       {"bash", "-c", "echo x > /dev/tcp/127.0.0.1/22"},
       {OutcomeKind::tool_error}},
      {"fork_bomb",
       "fs-read",
       {"bash", "-c", "f(){ f|f& }; f; sleep 30"},
       {OutcomeKind::process_limit, OutcomeKind::timeout, OutcomeKind::tool_error}},
      {"write_outside",
       "fs-write",
       {"sh", "-c", "echo x > /usr/canary"},
       {OutcomeKind::tool_error}},
      {"print_forever",
       "fs-read",
       {"sh", "-c", "while :; do echo flood; done"},
       {OutcomeKind::output_limit}},
      {"sleep_forever", "fs-read", {"sleep", "1000"}, {OutcomeKind::timeout}},
      {"no_such_program", "fs-read", {"no-such-program"}, {OutcomeKind::refused}},
  };
  return tools;
}

agents::Fleet hostile_fleet() {
  agents::Fleet fleet = agents::small_fleet();
  fleet.agents[0].limits.turns = 20;
  fleet.agents[0].limits.tokens = 10'000'000;  // the flood is reserved for as if it were read
  for (const Hostile& hostile : hostile_tools()) {
    agents::Profile profile;
    profile.name = hostile.name;
    profile.level = hostile.level;
    profile.wall_ms = 700;
    profile.processes = 12;
    fleet.profiles.push_back(profile);
    agents::CommandToolSpec tool;
    tool.spec = agents::tool(hostile.name, false);
    tool.command = hostile.command;
    tool.profile = hostile.name;
    fleet.tools.push_back(tool);
  }
  return fleet;
}

std::vector<agents::Message> script() {
  std::vector<agents::Message> messages;
  for (const Hostile& hostile : hostile_tools())
    messages.push_back(agents::calls(hostile.name, "{}"));
  messages.push_back(agents::says("still here"));
  return messages;
}

}  // namespace

TEST_CASE("hostile tools are refused or ended, typed and recorded, and the session goes on",
          "[app]") {
  const fs::path folder =
      fs::temp_directory_path() / ("ambit-hostile-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const agents::Fleet fleet = hostile_fleet();
  {
    io::UvWorld world;
    log::JournalOptions journal_options;
    journal_options.writer.folder = folder.string();
    journal_options.writer.map_bytes = std::uint64_t{1} << 30;
    auto journal = log::LogJournal::open(world.world(), journal_options);
    REQUIRE(journal);
    auto guard =
        governance::PolicyGuard::create({{"all", "permit(principal, action, resource);"}}, {});
    REQUIRE(guard);
    auto runner = sandbox::ZygoteRunner::open(world.world(), {});
    if (!runner) {
      WARN("SKIPPED: no jails here: " << runner.error().message);
      return;
    }
    agents::CommandTools tools(fleet, **runner,
                               [](const std::string&) { return Result<std::string>("/tmp"); });
    agents::ScriptedModel model(script());
    agents::FleetRun run(fleet, {"hostile", "test", 1, 1}, {{"m", &model}}, {&tools},
                         agents::Ports{**guard, **journal, agents::any_arguments});
    Result<void> result;
    Scope scope;
    scope.spawn([](agents::FleetRun& r, Result<void>& out) -> Task<void> {
      std::vector<agents::Input> inputs;
      inputs.push_back(agents::Input{"s", "go", ""});
      out = co_await r.run(std::move(inputs));
    }(run, result));
    world.loop().run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
    const agents::SessionState& state = run.sessions().at(0)->state;
    INFO(state.error);
    CHECK(state.answer == "still here");
    REQUIRE(state.calls.size() == hostile_tools().size());
    for (std::size_t i = 0; i < hostile_tools().size(); ++i) {
      const Hostile& hostile = hostile_tools()[i];
      INFO(hostile.name << " ended as " << to_string(*state.calls[i].outcome) << ": "
                        << state.calls[i].detail);
      CHECK(std::count(hostile.ends.begin(), hostile.ends.end(), *state.calls[i].outcome) == 1);
    }
    std::size_t outcomes = 0;
    REQUIRE((*journal)->read("hostile", [&](const agents::StoredEvent& stored) {
      outcomes += stored.event.type == "action.outcome" ? 1 : 0;
      return true;
    }));
    CHECK(outcomes == hostile_tools().size());
    CHECK_FALSE(fs::exists("/usr/canary"));
  }
  fs::remove_all(folder);
}

}  // namespace ambit::app
