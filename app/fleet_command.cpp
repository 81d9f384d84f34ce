// ambit fleet check, ambit fleet schema

#include "app/command.h"
#include "app/fleet_schema.h"
#include "app/load_fleet.h"
#include "app/load_skills.h"

#include <cstdio>

namespace ambit::app {
namespace {

int check(const Options& options, const Context& context) {
  const std::string& path = options.positional()[0];
  auto file = load_fleet(context, path);
  if (!file) return fail(file.error());
  if (file->problems.empty()) {
    const auto skills = load_skills(file->fleet);
    if (!skills) file->problems.push_back({"skills", 1, 1, skills.error().message});
  }
  if (options.flag("json")) {
    std::string out = "{\"file\":" + json_text(path) + ",\"problems\":[";
    for (std::size_t i = 0; i < file->problems.size(); ++i) {
      const agents::Problem& problem = file->problems[i];
      out += (i > 0 ? "," : "") + std::string("{\"file\":") +
             json_text(problem.file.empty() ? path : problem.file) +
             ",\"path\":" + json_text(problem.path) + ",\"line\":" + std::to_string(problem.line) +
             ",\"column\":" + std::to_string(problem.column) +
             ",\"message\":" + json_text(problem.message) + "}";
    }
    print(out + "]}\n");
    return file->problems.empty() ? 0 : 1;
  }
  for (const agents::Problem& problem : file->problems) {
    std::fprintf(stderr, "%s\n", problem_line(path, problem).c_str());
  }
  if (!file->problems.empty()) {
    const std::size_t count = file->problems.size();
    return fail(path + " has " + std::to_string(count) + (count == 1 ? " mistake" : " mistakes"));
  }
  const agents::Fleet& fleet = file->fleet;
  print(path + ": sound. " + std::to_string(fleet.agents.size()) + " agents, " +
        std::to_string(fleet.models.size()) + " models, " + std::to_string(fleet.tools.size()) +
        " tools, " + std::to_string(fleet.mcp_servers.size()) + " MCP servers, " +
        std::to_string(fleet.skills.size()) + " skills, " + std::to_string(fleet.policies.size()) +
        " policy files.\n");
  return 0;
}

}  // namespace

Command fleet_check_command() {
  return {"fleet check",
          "FILE",
          "find every mistake in a fleet file, with path, line and column",
          {{"json", "", "print the mistakes as JSON"}},
          1,
          1,
          check};
}

Command fleet_schema_command() {
  return {"fleet schema",
          "",
          "print the JSON Schema of fleet files, for editors",
          {{"json", "", "the same"}},
          0,
          0,
          [](const Options&, const Context&) {
            print(fleet_schema);
            return 0;
          }};
}

}  // namespace ambit::app
