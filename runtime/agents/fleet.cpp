#include "agents/fleet.h"

#include "agents/fleet_include.h"
#include "agents/fleet_parser.h"
#include "agents/fleet_remote.h"
#include "agents/fleet_workflow.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

namespace ambit::agents {
namespace {

constexpr std::int64_t never = -1;

}  // namespace

FleetFile FleetParser::parse() {
  Fleet& fleet = file_.fleet;
  fleet.directory = context_.directory;
  fleet.profiles = preset_profiles();
  Reader top(file_.problems, root_, "");
  if (root_.kind != Node::Kind::object) return std::move(file_);
  top.get("$schema", Node::Kind::string);
  fleet.name = top.text("name", "fleet");
  check_name(top, "name", fleet.name);
  each(top, "profiles", [this](Reader& reader, const std::string& name) { profile(reader, name); });
  each(top, "models", [this](Reader& reader, const std::string& name) { model(reader, name); });
  each(top, "roles", [this](Reader& reader, const std::string& name) { role(reader, name); });
  each(top, "mcpServers",
       [this](Reader& reader, const std::string& name) { mcp_server(reader, name); });
  each(top, "tools", [this](Reader& reader, const std::string& name) { tool(reader, name); });
  skills(top);
  each(top, "memory", [this](Reader& reader, const std::string& name) { memory(reader, name); });
  artifacts(top);
  each(top, "agents", [this](Reader& reader, const std::string& name) { agent(reader, name); });
  check_remote_agents(root_, file_);
  policies(top);
  fleet.limits = limits(top, {never, never, never, never, never, never});
  bounds(top);
  if (const Node* node = top.get("workflow", Node::Kind::object)) {
    Reader reader(file_.problems, *node, "workflow");
    workflow(reader);
  }
  check_residency();
  // A fleet of models alone has no agents, one that only serves no workflow.
  top.require("models");
  top.require("policies");
  top.done();
  std::sort(file_.problems.begin(), file_.problems.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.file, a.line, a.column, a.path, a.message) <
           std::tie(b.file, b.line, b.column, b.path, b.message);
  });
  return std::move(file_);
}

void FleetParser::check_name(Reader& reader, const std::string& key, const std::string& name) {
  const Node* node = reader.get(key);
  if (node != nullptr && node->kind == Node::Kind::string && !is_name(name)) {
    reader.report(*node, reader.at(key),
                  "a name has 1 to 64 of the letters a-z, A-Z, 0-9, '_', '-'");
  }
}

std::string FleetParser::absolute(const std::string& path) const {
  if (path.empty() || path.front() == '/' || path.starts_with("${")) return path;
  std::string base = context_.directory;
  std::string_view rest = path;
  while (rest.starts_with("./") || rest.starts_with("../")) {
    if (rest.starts_with("./")) {
      rest.remove_prefix(2);
    } else {
      rest.remove_prefix(3);
      base.resize(std::min(base.size(), base.find_last_of('/')));
    }
  }
  if (rest == ".") rest = "";
  return rest.empty() ? base : base + "/" + std::string(rest);
}

// A path that must exist; reported at the node that names it.
std::string FleetParser::existing(Reader& reader, const std::string& key, const Node& node,
                                  const std::string& path) {
  std::string full = absolute(path);
  if (!full.starts_with("${") && context_.file_exists && !context_.file_exists(full)) {
    reader.report(node, reader.at(key), "there is no file \"" + full + "\"");
  }
  return full;
}

std::optional<std::string> FleetParser::variable(std::string_view name) const {
  std::optional<std::string> fallback;
  const std::size_t at = name.find(":-");
  if (at != std::string_view::npos) {
    fallback = std::string(name.substr(at + 2));
    name = name.substr(0, at);
  }
  auto found = context_.environment ? context_.environment(std::string(name)) : std::nullopt;
  return found ? found : fallback;
}

// ${VAR} and ${VAR:-default} from the environment.
std::string FleetParser::environment(Reader& reader, const Node& node, const std::string& path,
                                     const std::string& text) {
  auto result = expand(text, [this](std::string_view name) { return variable(name); });
  if (result) return *result;
  reader.report(node, path,
                result.error().message + "; set it in the environment or write ${NAME:-default}");
  return text;
}

Limits FleetParser::limits(Reader& owner, Limits fallback) {
  const Node* node = owner.get("limits", Node::Kind::object);
  if (node == nullptr) return fallback;
  Reader reader(file_.problems, *node, owner.at("limits"));
  fallback.turns = reader.integer("maxTurns", fallback.turns, 1, 1'000'000'000);
  fallback.tool_calls = reader.integer("maxToolCalls", fallback.tool_calls, 0, 1'000'000'000);
  fallback.tokens = reader.integer("maxTokens", fallback.tokens, 1, 1'000'000'000'000);
  fallback.wall_ms = reader.quantity("maxWallTime", fallback.wall_ms, true, 86'400'000LL * 365);
  fallback.descendants = reader.integer("maxDescendants", fallback.descendants, 0, 1'000'000'000);
  if (reader.get("maxCostUsd") != nullptr) {
    fallback.money_micros = static_cast<std::int64_t>(reader.real("maxCostUsd", 0, 0, 1e9) * 1e6);
  }
  reader.done();
  return fallback;
}

void FleetParser::policies(Reader& top) {
  const Node* node = top.get("policies", Node::Kind::array);
  if (node == nullptr) return;
  std::vector<std::string> paths = top.texts("policies");
  for (std::size_t i = 0; i < paths.size() && i < node->items.size(); ++i) {
    const std::string key = "policies[" + std::to_string(i) + "]";
    file_.fleet.policies.push_back(existing(top, key, node->items[i], paths[i]));
  }
  if (node->items.empty()) {
    top.report(*node, "policies",
               "no policy: everything would be denied; name at least one Cedar file");
  }
}

void FleetParser::workflow(Reader& reader) {
  Workflow& flow = file_.fleet.workflow;
  if (const Node* node = reader.get("inputs", Node::Kind::string)) {
    flow.inputs = existing(reader, "inputs", *node, node->string);
  }
  flow.id = reader.text("id", "id");
  reader.require("prompt");
  flow.prompt = reader.text("prompt");
  flow.subject = reader.text("subject");
  flow.concurrency = reader.integer("concurrency", flow.concurrency, 1, 1'000'000);
  read_pattern(reader, file_.fleet);
  reader.done();
}

// As they stand in the file, whether they are read already or not.
std::vector<std::string> FleetParser::agent_names() const {
  std::vector<std::string> names;
  const Node* agents = root_.find("agents");
  if (agents == nullptr) return names;
  for (const Node::Member& member : agents->members) names.push_back(member.key);
  return names;
}

bool AgentSpec::offers(std::string_view tool) const {
  // Other agents are never meant by a pattern.
  if (tool.starts_with("agent__") || tool.starts_with("handoff__")) {
    const auto is = [tool](const std::string& offered) { return offered == tool; };
    return std::any_of(tools.begin(), tools.end(), is) &&
           std::none_of(disallowed_tools.begin(), disallowed_tools.end(), is);
  }
  // Nor is a memory that it was not given.
  const bool is_memory = tool.starts_with(memory_prefix);
  auto matches = [tool, is_memory](const std::string& pattern) {
    if (is_memory && !pattern.starts_with(memory_prefix)) return false;
    if (!pattern.ends_with('*')) return pattern == tool;
    return tool.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
  };
  return std::any_of(tools.begin(), tools.end(), matches) &&
         std::none_of(disallowed_tools.begin(), disallowed_tools.end(), matches);
}

const ModelSpec* Fleet::model(std::string_view wanted) const {
  const auto at = std::find_if(models.begin(), models.end(),
                               [&](const auto& item) { return item.name == wanted; });
  return at != models.end() ? &*at : nullptr;
}
const AgentSpec* Fleet::agent(std::string_view wanted) const {
  const auto at = std::find_if(agents.begin(), agents.end(),
                               [&](const auto& item) { return item.name == wanted; });
  return at != agents.end() ? &*at : nullptr;
}
const Profile* Fleet::profile(std::string_view wanted) const {
  const auto at = std::find_if(profiles.begin(), profiles.end(),
                               [&](const auto& item) { return item.name == wanted; });
  return at != profiles.end() ? &*at : nullptr;
}

std::vector<Profile> preset_profiles() {
  std::vector<Profile> presets(4);
  presets[0].name = presets[0].level = "compute";
  presets[1].name = presets[1].level = "fs-read";
  presets[2].name = presets[2].level = "fs-write";
  presets[3].name = presets[3].level = "net";
  return presets;
}

FleetFile parse_fleet(std::string_view text, const FleetContext& context) {
  auto document = parse_document(text);
  if (document) {
    std::vector<Problem> problems;
    const bool includes = document->find("include") != nullptr;
    put_in_includes(*document, context, problems);
    FleetFile file = FleetParser(*document, context, std::move(problems)).parse();
    file.fleet.source = includes ? document->to_json() : std::string(text);
    return file;
  }
  // The message carries its place: "line 3, column 7: ...".
  FleetFile file;
  Problem problem{"", 1, 1, document.error().message};
  int line = 0;
  int column = 0;
  if (std::sscanf(problem.message.c_str(), "line %d, column %d:", &line, &column) == 2) {
    problem = {"", line, column, problem.message.substr(problem.message.find(": ") + 2)};
  }
  file.problems.push_back(std::move(problem));
  return file;
}

}  // namespace ambit::agents
