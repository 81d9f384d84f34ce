// ambit mcp serve: the tools of one agent of a fleet as an MCP server on stdin and stdout. Every
// call goes through the fleet's policies, its record and its jails, as the agent's own calls do.

#include "app/assembly.h"
#include "app/command.h"
#include "app/load_fleet.h"
#include "app/mcp_door.h"
#include "io/signals.h"
#include "io/uuid.h"
#include "mcp/fleet_tools.h"
#include "mcp/stdio_server.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <unistd.h>
#include <utility>

namespace ambit::app {
namespace {

Task<void> serve_client(mcp::StdioServer& server, Error& reason) {
  reason = co_await server.run();
}

Task<void> append(log::LogJournal& journal, std::string type, const std::string& run,
                  std::string body, Result<void>& out) {
  agents::Event event{std::move(type), run, "", "", std::move(body), {}};
  auto stored = co_await journal.append(std::move(event));
  if (!stored) out = Err(std::move(stored).error());
}

// Before the first client asks; what fails now fails again, and is told, when a list is asked for.
Task<void> list_tools(mcp::FleetTools& tools) {
  auto listed = co_await tools.refresh();
  if (!listed) std::fprintf(stderr, "ambit: %s\n", listed.error().message.c_str());
}

Task<void> seal(log::LogJournal& journal, Result<void>& out) {
  out = co_await journal.close();
}

Result<void> run_all(io::UvWorld& world, Scope& scope, Result<void>& out) {
  world.loop().run_until([&] { return scope.size() == 0; });
  return out;
}

Result<int> serve(const std::string& agent_name, agents::Fleet fleet,
                  AssemblyOptions assembly_options, const std::string& principal) {
  const agents::AgentSpec* agent = fleet.agent(agent_name);
  if (agent == nullptr) {
    std::vector<std::string> names;
    for (const agents::AgentSpec& known : fleet.agents) names.push_back(known.name);
    const auto near = agents::suggestion(agent_name, names);
    return Err(Code::not_found, "there is no agent \"" + agent_name + "\"" +
                                    (near ? "; did you mean \"" + *near + "\"?" : ""));
  }
  io::UvWorld world;
  mcp::FleetToolsOptions options;
  options.agent = *agent;
  options.run = io::uuid_v7(world.world().clock, world.world().entropy);
  options.session = "mcp";
  const std::string fleet_name = fleet.name;
  assembly_options.run = options.run;
  auto assembly = TRY(Assembly::open(world, std::move(fleet), std::move(assembly_options)));
  options.skills = assembly->skills();
  auto in = world.world().network.adopt(STDIN_FILENO);
  auto out = world.world().network.adopt(STDOUT_FILENO);
  if (!in || !out) {
    return Err(Code::invalid,
               "stdin and stdout must be pipes: this command is started by an MCP client");
  }
  auto signals = TRY(world.signals({SIGINT, SIGTERM}));
  mcp::ServerOptions server_options;
  server_options.info = {"ambit-" + fleet_name, "0.1.0"};
  server_options.instructions = options.agent.description;
  JournalTaskKeeper keeper(assembly->journal(), options.agent.name);
  server_options.tasks.keeper = &keeper;
  mcp::FleetTools* tools_pointer = nullptr;
  server_options.before_list = [&tools_pointer]() { return tools_pointer->refresh(); };
  mcp::Server server(world.world().clock, world.world().entropy, std::move(server_options));
  mcp::FleetTools tools(server, assembly->toolboxes(), assembly->ports(), options);
  tools_pointer = &tools;
  Result<void> recorded;
  Error reason{Code::closed, "stopped"};
  {
    Scope scope;
    scope.spawn(append(assembly->journal(), "run.started", options.run,
                       "{\"fleet\":" + json_text(fleet_name) +
                           ",\"principal\":" + json_text(principal) + ",\"mcp\":\"stdio\"}",
                       recorded));
    TRY(run_all(world, scope, recorded));
    scope.spawn(list_tools(tools));
    TRY(run_all(world, scope, recorded));
  }
  {
    mcp::StdioServer stdio(server, **in, **out, principal);
    Scope scope;
    Scope watching;
    watching.spawn(io::until_signal(*signals));
    scope.spawn(serve_client(stdio, reason));
    world.loop().run_until([&] { return scope.size() == 0 || watching.size() == 0; });
  }
  {
    Scope scope;
    scope.spawn(append(assembly->journal(), "run.ended", options.run, "{}", recorded));
    TRY(run_all(world, scope, recorded));
    scope.spawn(seal(assembly->journal(), recorded));
    TRY(run_all(world, scope, recorded));
  }
  assembly->stop();
  if (reason.code != Code::closed) return Err(std::move(reason));
  return 0;
}

int serve_stdio(const Options& options, const Context& context) {
  const std::string path = options.text("fleet", "fleet.json");
  auto file = load_fleet(context, path);
  if (!file) return fail(file.error());
  if (!file->problems.empty()) return fail(problem_line(path, file->problems.front()));
  AssemblyOptions assembly;
  assembly.models = false;
  assembly.state = absolute(context, options.text("state", ".ambit"));
  const auto user = context.environment.find("USER");
  const std::string principal =
      options.text("principal", user != context.environment.end() ? user->second : "unknown");
  const auto code = serve(options.positional()[0], std::move(file->fleet), assembly, principal);
  return code ? *code : fail(code.error());
}

}  // namespace

Command mcp_serve_command() {
  return {"mcp serve",
          "AGENT",
          "the tools of a fleet's agent as an MCP server on stdin and stdout, policies included",
          {{"fleet", "FILE", "the fleet (default fleet.json)"},
           {"state", "DIR", "where journal and work directories are kept (default .ambit)"},
           {"principal", "NAME", "who is answerable (default: $USER)"}},
          1,
          1,
          serve_stdio};
}

}  // namespace ambit::app
