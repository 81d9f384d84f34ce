// The profiles of jails and the command tools of a fleet file.

#include "agents/fleet_parser.h"

#include <algorithm>

namespace ambit::agents {
namespace {

const std::vector<std::string> known_arguments_of_tools = {"workdir", "fleetdir", "arguments"};

// `text` with `by` in the place of every `what`.
std::string with_escapes(std::string text, std::string_view by, std::string_view what = "${") {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

}  // namespace

// The origins of a profile of level net; sandbox says what is wrong with one in itself.
void FleetParser::egress(Reader& reader, Profile& made) {
  const Node* list = reader.get("egress", Node::Kind::array);
  if (list == nullptr) return;
  if (made.level != "net")
    reader.report(*list, reader.at("egress"), R"(only a profile that extends "net" has a network)");
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const Node& item = list->items[i];
    Reader rule(file_.problems, item, reader.at("egress") + "[" + std::to_string(i) + "]");
    if (item.kind != Node::Kind::object) {
      rule.report(item, rule.path(), R"(expected an object such as {"url": "https://host"})");
      continue;
    }
    rule.require("url");
    EgressRule made_rule;
    made_rule.origin = rule.text("url");
    const bool is_origin =
        made_rule.origin.starts_with("https://") || made_rule.origin.starts_with("http://");
    if (const Node* url = rule.get("url", Node::Kind::string); url != nullptr && !is_origin)
      rule.report(*url, rule.at("url"), R"(expected an origin such as "https://api.example.com")");
    made_rule.methods = rule.texts("methods");
    made_rule.secrets = rule.texts("secrets");
    made_rule.tunnel = rule.flag("tunnel", false);
    made_rule.is_private = rule.flag("private", false);
    if (made_rule.tunnel && !(made_rule.methods.empty() && made_rule.secrets.empty()))
      rule.report(item, rule.path(),
                  "in a tunnel the proxy sees neither methods nor headers: leave methods and "
                  "secrets out, or the tunnel");
    for (const std::string& name : made_rule.secrets) {
      const Node* node = rule.get("secrets");
      if (context_.environment && !context_.environment(name))
        rule.report(*node, rule.at("secrets"),
                    "the environment has no variable " + name + "; set it to the secret");
    }
    rule.done();
    made.egress.push_back(std::move(made_rule));
  }
}

void FleetParser::profile(Reader& reader, const std::string& name) {
  if (file_.fleet.profile(name) != nullptr) {
    reader.report(reader.node(), reader.path(),
                  "\"" + name + "\" is the name of a preset; choose another");
  }
  const std::string base = reader.text("extends", "compute");
  reader.known("extends", base, names_of(file_.fleet.profiles), "profile");
  const Profile* parent = file_.fleet.profile(base);
  Profile made = parent != nullptr ? *parent : Profile{};
  made.name = name;
  for (const std::string& path : reader.texts("read")) made.read_paths.push_back(absolute(path));
  for (const std::string& path : reader.texts("write")) made.write_paths.push_back(absolute(path));
  made.wall_ms = reader.quantity("wallTime", made.wall_ms, true, 86'400'000);
  made.cpu_ms = reader.quantity("cpuTime", made.cpu_ms, true, 86'400'000);
  made.memory_bytes = reader.quantity("memory", made.memory_bytes, false, kib * kib * kib * 64);
  made.file_bytes = reader.quantity("fileSize", made.file_bytes, false, kib * kib * kib * 64);
  made.scratch_bytes = reader.quantity("scratch", made.scratch_bytes, false, kib * kib * kib * 64);
  made.output_bytes = reader.quantity("output", made.output_bytes, false, kib * kib * 64);
  made.processes = reader.integer("processes", made.processes, 1, 4096);
  made.open_files = reader.integer("openFiles", made.open_files, 8, 65'536);
  made.level = parent != nullptr ? parent->level : made.level;
  made.asks = reader.flag("asks", made.asks);
  made.service = reader.text("service", made.service);
  reader.known("service", made.service, {"call", "pooled", "warm"}, "service class");
  made.isolation = reader.text("isolation", made.isolation);
  reader.known("isolation", made.isolation, {"full", "reduced-if-needed"}, "isolation");
  egress(reader, made);
  if (made.level == "net" && made.isolation != "full") {
    reader.report(
        reader.node(), reader.path(),
        R"(a profile that extends "net" needs a network of its own: its isolation is "full")");
  }
  if (made.level == "compute" && made.asks) {
    reader.report(reader.node(), reader.path(),
                  R"(a profile that asks for paths must extend "fs-read", "fs-write" or "net")");
  }
  if (made.level == "compute" && !(made.read_paths.empty() && made.write_paths.empty())) {
    reader.report(reader.node(), reader.path(),
                  R"(a profile that reads or writes paths must extend "fs-read" or "fs-write")");
  }
  if (made.level == "fs-read" && !made.write_paths.empty()) {
    reader.report(reader.node(), reader.path(),
                  R"(a profile that writes paths must extend "fs-write")");
  }
  reader.done();
  file_.fleet.profiles.push_back(std::move(made));
}

void FleetParser::tool(Reader& reader, const std::string& name) {
  CommandToolSpec spec;
  spec.spec.name = name;
  if (name.starts_with("mcp__")) {
    reader.report(reader.node(), reader.path(),
                  "names that begin with mcp__ belong to MCP servers");
  }
  if (name.starts_with("skill__")) {
    reader.report(reader.node(), reader.path(), "names that begin with skill__ belong to skills");
  }
  if (name.starts_with("agent__") || name.starts_with("handoff__")) {
    reader.report(reader.node(), reader.path(),
                  "names that begin with agent__ or handoff__ belong to agents");
  }
  if (name.starts_with(memory_prefix)) {
    reader.report(reader.node(), reader.path(),
                  "names that begin with memory__ belong to memories");
  }
  reader.require("description");
  reader.require("command");
  spec.spec.description = reader.text("description");
  spec.command = reader.texts("command");
  const Node* command = reader.get("command");
  if (command != nullptr && command->kind == Node::Kind::array && command->items.empty()) {
    reader.report(*command, reader.at("command"),
                  "the command is empty: give the program and its arguments");
  }
  spec.profile = reader.text("profile", "compute");
  reader.known("profile", spec.profile, names_of(file_.fleet.profiles), "profile");
  spec.input = reader.text("stdin", "${arguments}");
  std::vector<std::string> arguments = known_arguments_of_tools;
  spec.spec.input_schema = R"({"type":"object","properties":{}})";
  if (const Node* schema = reader.get("inputSchema", Node::Kind::object)) {
    spec.spec.input_schema = schema->to_json();
    const Node* type = schema->find("type");
    if (type == nullptr || type->string != "object") {
      reader.report(*schema, reader.at("inputSchema"), R"(an input schema needs "type": "object")");
    }
    if (const Node* properties = schema->find("properties")) {
      for (const Node::Member& member : properties->members) arguments.push_back(member.key);
    }
  }
  for (std::size_t i = 0; i < spec.command.size(); ++i) {
    placeholders(reader, "command[" + std::to_string(i) + "]", command->items[i], spec.command[i],
                 arguments);
  }
  if (const Node* input = reader.get("stdin", Node::Kind::string)) {
    placeholders(reader, "stdin", *input, spec.input, arguments);
  }
  if (const Node* node = reader.get("annotations", Node::Kind::object)) {
    Reader hints(file_.problems, *node, reader.at("annotations"));
    hints.get("title", Node::Kind::string);
    spec.spec.read_only = hints.flag("readOnlyHint", false);
    spec.spec.destructive = hints.flag("destructiveHint", !spec.spec.read_only);
    spec.spec.idempotent = hints.flag("idempotentHint", spec.spec.read_only);
    hints.flag("openWorldHint", false);
    hints.done();
  }
  reader.done();
  file_.fleet.tools.push_back(std::move(spec));
}

// Folders, each called what its skill is called.
void FleetParser::skills(Reader& top) {
  const Node* node = top.get("skills", Node::Kind::array);
  if (node == nullptr) return;
  const std::vector<std::string> folders = top.texts("skills");
  for (std::size_t i = 0; i < folders.size() && i < node->items.size(); ++i) {
    const std::string key = "skills[" + std::to_string(i) + "]";
    std::string folder = folders[i];
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    SkillSpec spec{folder.substr(folder.rfind('/') + 1), absolute(folder)};
    if (!is_name(spec.name)) {
      top.report(node->items[i], key, "name the skill's own folder, such as \"skills/refunds\"");
      continue;
    }
    existing(top, key, node->items[i], folder + "/SKILL.md");
    const std::vector<std::string> known = names_of(file_.fleet.skills);
    if (std::find(known.begin(), known.end(), spec.name) != known.end()) {
      top.report(node->items[i], key, "there is a skill \"" + spec.name + "\" already");
    }
    file_.fleet.skills.push_back(std::move(spec));
  }
}

// What the environment gives is put in; what is known of a call alone stays for later. Values from
// outside hold no placeholders.
void FleetParser::placeholders(Reader& reader, const std::string& key, const Node& node,
                               std::string& text, const std::vector<std::string>& arguments) {
  auto value = [&](std::string_view name) -> std::optional<std::string> {
    if (std::find(arguments.begin(), arguments.end(), name) != arguments.end()) {
      return "${" + std::string(name) + "}";
    }
    auto found = variable(name);
    return found ? std::optional(with_escapes(*found, "$${")) : std::nullopt;
  };
  auto result = expand(with_escapes(text, "$$${", "$${"), value);
  if (result) text = std::move(*result);
  if (result) return;
  const std::string& message = result.error().message;
  const std::size_t open = message.find("${");
  const auto near =
      open == std::string::npos
          ? std::nullopt
          : suggestion(message.substr(open + 2, message.size() - open - 3), arguments);
  reader.report(node, reader.at(key),
                message + (near ? "; did you mean ${" + *near + "}?"
                                : "; known here: " + list_of(arguments)));
}

std::vector<std::string> FleetParser::tool_names(Reader& reader, const std::string& key) {
  std::vector<std::string> known_tools;
  for (const CommandToolSpec& tool : file_.fleet.tools) known_tools.push_back(tool.spec.name);
  for (const SkillSpec& skill : file_.fleet.skills) known_tools.push_back("skill__" + skill.name);
  if (file_.fleet.artifacts) known_tools.emplace_back(artifact_tool);
  // Given by "memory" alone; single ones of them can be withheld.
  if (key == "disallowedTools") append_memory_tools(file_.fleet, known_tools);
  std::vector<std::string> servers;
  for (const McpServerSpec& server : file_.fleet.mcp_servers)
    servers.push_back("mcp__" + server.name + "__*");
  std::vector<std::string> names = reader.texts(key);
  const Node* node = reader.get(key);
  for (std::size_t i = 0; i < names.size() && i < node->items.size(); ++i) {
    const std::string& name = names[i];
    if (key == "tools" && name.starts_with(memory_prefix)) {
      reader.report(node->items[i], reader.at(key) + "[" + std::to_string(i) + "]",
                    R"(an agent gets a memory's tools by "memory": ["NAME"])");
      continue;
    }
    const bool from_server =
        std::any_of(servers.begin(), servers.end(), [&](const std::string& pattern) {
          return name.starts_with(pattern.substr(0, pattern.size() - 1));
        });
    if (name == "*" || from_server || name.ends_with('*') ||
        std::find(known_tools.begin(), known_tools.end(), name) != known_tools.end()) {
      continue;
    }
    std::vector<std::string> all = known_tools;
    all.insert(all.end(), servers.begin(), servers.end());
    std::string message = "there is no tool \"" + name + "\"";
    const auto near = suggestion(name, all);
    message += near ? "; did you mean \"" + *near + "\"?" : "; there are: " + list_of(all);
    reader.report(node->items[i], reader.at(key) + "[" + std::to_string(i) + "]", message);
  }
  return names;
}

}  // namespace ambit::agents
