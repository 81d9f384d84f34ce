// ambit init, ambit import, ambit tools pin: the beginning of a fleet.

#include "app/assembly.h"
#include "app/command.h"
#include "app/import.h"
#include "app/load_fleet.h"
#include "governance/pins.h"
#include "io/file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace ambit::app {
namespace {

constexpr std::size_t source_bytes_max = 16 << 20;

constexpr const char* first_fleet = R"({
  // Change this to an agent of your own: ambit fleet check, ambit fleet schema.
  "name": "first",
  "models": {
    // What it says stands in script.json. For a real one:
    // {"model": "model.gguf"}, or {"provider": "openai", "model": "...", "baseUrl": "https://...", "apiKeyEnv": "..."}
    "main": {"provider": "scripted", "model": "script.json"}
  },
  "profiles": {"here": {"extends": "fs-read", "read": ["."]}},
  "tools": {
    "list_files": {
      "description": "List the files of the project",
      "command": ["ls", "${fleetdir}"],
      "profile": "here",
      "annotations": {"readOnlyHint": true}
    }
  },
  "agents": {
    "guide": {"model": "main", "instructions": "Say what is in this project.", "tools": ["list_files"], "limits": {"maxTurns": 4}}
  },
  "policies": ["fleet.cedar"],
  "workflow": {"agent": "guide", "prompt": "What is here?"}
}
)";
constexpr const char* first_script = R"([
  {"turn": 1, "call": {"name": "list_files"}},
  {"say": "There is:\n${last}"}
]
)";
constexpr const char* first_policies = R"(@id("may-think")
permit (principal, action == Action::"model_call", resource);

@id("may-look")
permit (principal == Agent::"guide", action == Action::"tool_call", resource == Tool::"list_files");
)";

Result<void> write_new(const std::string& path, std::string_view text) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0) {
    return Err(Code::conflict, path + " is there already; nothing is overwritten");
  }
  return io::write_file(path, text);
}

Result<void> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0 || errno == EEXIST) return {};
  return Err(Code::denied, "cannot make the folder " + path + ": " + std::strerror(errno));
}

Result<int> init(const Options& options, const Context& context) {
  const std::string folder =
      absolute(context, options.positional().empty() ? "." : options.positional()[0]);
  TRY(make_folder(folder));
  TRY(write_new(folder + "/fleet.json", first_fleet));
  TRY(write_new(folder + "/fleet.cedar", first_policies));
  TRY(write_new(folder + "/script.json", first_script));
  if (options.flag("json")) {
    print("{\"folder\":" + json_text(folder) + "}\n");
  } else {
    print("wrote fleet.json, fleet.cedar and script.json. Next: ambit run " + folder +
          "/fleet.json\n");
  }
  return 0;
}

Result<int> import(const Options& options, const Context& context) {
  const std::string& path = options.positional()[0];
  ImportOptions import;
  import.name = path;
  if (options.flag("model")) import.model = absolute(context, options.text("model"));
  import.prompt = options.text("prompt", "Hello.");
  const std::string text = TRY(io::read_file(absolute(context, path), source_bytes_max));
  auto made = import_agents(text, import);
  if (!made) return Err(std::move(made).error().context(path));
  for (const std::string& what : made->left_out) {
    std::fprintf(stderr, "ambit: left out: %s\n", what.c_str());
  }
  if (!options.flag("out")) {
    print(made->fleet);
    return 0;
  }
  const std::string folder = absolute(context, options.text("out"));
  TRY(make_folder(folder));
  TRY(write_new(folder + "/fleet.json", made->fleet));
  TRY(write_new(folder + "/fleet.cedar", made->policies));
  if (options.flag("json")) {
    print("{\"kind\":" + json_text(made->kind) + ",\"folder\":" + json_text(folder) +
          ",\"leftOut\":" + std::to_string(made->left_out.size()) + "}\n");
  } else {
    print("imported a file of the kind " + made->kind + ". Next: ambit fleet check " + folder +
          "/fleet.json\n");
  }
  return 0;
}

Task<void> list_into(agents::Toolbox& box, Result<std::vector<agents::ToolSpec>>& out) {
  out = co_await box.list();
}

// Every tool of the fleet as its server offers it now.
Result<int> pin_tools(const Options& options, const Context& context) {
  const std::string& path = options.positional()[0];
  auto file = TRY(load_fleet(context, path));
  // The file of pins may not be there yet.
  std::erase_if(file.problems, [](const agents::Problem& one) { return one.path == "toolPins"; });
  if (!file.problems.empty()) return Err(Code::invalid, problem_line(path, file.problems.front()));
  const std::string pins_path = file.fleet.tool_pins;
  if (pins_path.empty()) {
    return Err(Code::invalid, path + R"(: say where the pins are kept: "toolPins": "pins.json")");
  }
  governance::ToolPins pins;
  if (::access(pins_path.c_str(), F_OK) == 0) {
    const std::string text = TRY(io::read_file(pins_path, source_bytes_max));
    pins = TRY(governance::ToolPins::from_json(text));
  }
  file.fleet.tool_pins.clear();
  io::UvWorld world;
  AssemblyOptions assembly_options;
  assembly_options.models = false;
  assembly_options.run = "tools";
  assembly_options.environment = context.environment;
  assembly_options.state = absolute(context, options.text("state", ".ambit"));
  auto assembly = TRY(Assembly::open(world, std::move(file.fleet), assembly_options));
  std::vector<agents::ToolSpec> tools;
  for (agents::Toolbox* box : assembly->toolboxes()) {
    Result<std::vector<agents::ToolSpec>> listed = Err(Code::internal, "not listed");
    {
      Scope scope;
      scope.spawn(list_into(*box, listed));
      world.loop().run_until([&] { return scope.size() == 0; });
    }
    if (!listed) return Err(std::move(listed).error());
    for (agents::ToolSpec& spec : *listed) {
      if (spec.agent.empty()) tools.push_back(std::move(spec));
    }
  }
  const auto changes = TRY(pins.compare(tools));
  const bool as_json = options.flag("json");
  for (const governance::PinChange& change : changes) {
    const std::string kind(to_string(change.kind));
    print(as_json ? "{\"tool\":" + json_text(change.tool) + ",\"change\":" + json_text(kind) + "}\n"
                  : kind + " " + change.tool + "\n");
    if (change.kind == governance::PinChange::Kind::removed) pins.remove(change.tool);
  }
  if (options.flag("check")) {
    return changes.empty() ? 0 : fail("these tools are not as they were pinned");
  }
  for (const agents::ToolSpec& spec : tools) TRY(pins.pin(spec));
  TRY(io::write_file(pins_path, pins.to_json() + "\n"));
  if (!as_json) print(std::to_string(tools.size()) + " tools pinned in " + pins_path + "\n");
  return 0;
}

int code_of(const Result<int>& result) {
  return result ? *result : fail(result.error());
}

}  // namespace

Command init_command() {
  return {"init",
          "[FOLDER]",
          "write a first fleet that runs as it is",
          {{"json", "", "as JSON"}},
          0,
          1,
          [](const Options& options, const Context& context) {
            return code_of(init(options, context));
          }};
}

Command import_command() {
  return {
      "import",
      "FILE",
      "make a fleet of another host's file: mcpServers, a Claude agent, Open Agent Spec, Docker "
      "Agent",
      {{"out", "FOLDER", "write fleet.json and fleet.cedar there (default: the fleet to stdout)"},
       {"model", "FILE", "what decodes: a .gguf file, or a script (.json)"},
       {"prompt", "TEXT", "what the first agent is told"},
       {"json", "", "as JSON"}},
      1,
      1,
      [](const Options& options, const Context& context) {
        return code_of(import(options, context));
      }};
}

Command tools_pin_command() {
  return {"tools pin",
          "FLEET",
          "a person has looked: pin the definitions of a fleet's tools as they are now",
          {{"check", "", "only say what differs; exit code 1 if anything does"},
           {"state", "DIR", "the state folder (default .ambit)"},
           {"json", "", "one JSON object a line"}},
          1,
          1,
          [](const Options& options, const Context& context) {
            return code_of(pin_tools(options, context));
          }};
}

}  // namespace ambit::app
