#include "agents/fleet.h"

#include "agents/fleet_reader.h"
#include "agents/fleet_remote.h"
#include "agents/fleet_workflow.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <tuple>

namespace ambit::agents {
namespace {

constexpr std::int64_t kib = 1024;
constexpr std::int64_t never = -1;

const std::vector<std::string> known_arguments_of_tools = {"workdir", "fleetdir", "arguments"};

class FleetParser {
 public:
  FleetParser(const Node& root, const FleetContext& context) : root_(root), context_(context) {}

  FleetFile parse() {
    Fleet& fleet = file_.fleet;
    fleet.directory = context_.directory;
    fleet.profiles = preset_profiles();
    Reader top(file_.problems, root_, "");
    if (root_.kind != Node::Kind::object) return std::move(file_);
    top.get("$schema", Node::Kind::string);
    fleet.name = top.text("name", "fleet");
    check_name(top, "name", fleet.name);
    each(top, "profiles",
         [this](Reader& reader, const std::string& name) { profile(reader, name); });
    each(top, "models", [this](Reader& reader, const std::string& name) { model(reader, name); });
    each(top, "mcpServers",
         [this](Reader& reader, const std::string& name) { mcp_server(reader, name); });
    each(top, "tools", [this](Reader& reader, const std::string& name) { tool(reader, name); });
    each(top, "agents", [this](Reader& reader, const std::string& name) { agent(reader, name); });
    check_remote_agents(root_, file_);
    policies(top);
    fleet.limits = limits(top, {never, never, never, never, never, never});
    bounds(top);
    if (const Node* node = top.get("workflow", Node::Kind::object)) {
      Reader reader(file_.problems, *node, "workflow");
      workflow(reader);
    }
    top.require("models");
    top.require("agents");
    top.require("workflow");
    top.require("policies");
    top.done();
    std::sort(file_.problems.begin(), file_.problems.end(), [](const Problem& a, const Problem& b) {
      return std::tie(a.line, a.column, a.path, a.message) <
             std::tie(b.line, b.column, b.path, b.message);
    });
    return std::move(file_);
  }

 private:
  template <class F>
  void each(Reader& top, const std::string& key, F read) {
    const Node* node = top.get(key, Node::Kind::object);
    if (node == nullptr) return;
    for (const Node::Member& member : node->members) {
      const std::string path = key + "." + member.key;
      if (!is_name(member.key)) {
        file_.problems.push_back({path, member.line, member.column,
                                  "a name has 1 to 64 of the letters a-z, A-Z, 0-9, '_', '-'"});
        continue;
      }
      Reader reader(file_.problems, member.value, path);
      if (member.value.kind == Node::Kind::object) read(reader, member.key);
    }
  }

  void check_name(Reader& reader, const std::string& key, const std::string& name) {
    const Node* node = reader.get(key);
    if (node != nullptr && node->kind == Node::Kind::string && !is_name(name)) {
      reader.report(*node, reader.at(key),
                    "a name has 1 to 64 of the letters a-z, A-Z, 0-9, '_', '-'");
    }
  }

  [[nodiscard]] std::string absolute(const std::string& path) const {
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
  std::string existing(Reader& reader, const std::string& key, const Node& node,
                       const std::string& path) {
    std::string full = absolute(path);
    if (!full.starts_with("${") && context_.file_exists && !context_.file_exists(full)) {
      reader.report(node, reader.at(key), "there is no file \"" + full + "\"");
    }
    return full;
  }

  // ${VAR} and ${VAR:-default} from the environment.
  std::string environment(Reader& reader, const Node& node, const std::string& path,
                          const std::string& text) {
    auto value = [this](std::string_view name) -> std::optional<std::string> {
      std::optional<std::string> fallback;
      const std::size_t at = name.find(":-");
      if (at != std::string_view::npos) {
        fallback = std::string(name.substr(at + 2));
        name = name.substr(0, at);
      }
      auto found = context_.environment ? context_.environment(std::string(name)) : std::nullopt;
      return found ? found : fallback;
    };
    auto result = expand(text, value);
    if (result) return *result;
    reader.report(node, path,
                  result.error().message + "; set it in the environment or write ${NAME:-default}");
    return text;
  }

  // The origins of a profile of level net; sandbox says what is wrong with one in itself.
  void egress(Reader& reader, Profile& made) {
    const Node* list = reader.get("egress", Node::Kind::array);
    if (list == nullptr) return;
    if (made.level != "net")
      reader.report(*list, reader.at("egress"),
                    R"(only a profile that extends "net" has a network)");
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
        rule.report(*url, rule.at("url"),
                    R"(expected an origin such as "https://api.example.com")");
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

  void profile(Reader& reader, const std::string& name) {
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
    for (const std::string& path : reader.texts("write"))
      made.write_paths.push_back(absolute(path));
    made.wall_ms = reader.quantity("wallTime", made.wall_ms, true, 86'400'000);
    made.cpu_ms = reader.quantity("cpuTime", made.cpu_ms, true, 86'400'000);
    made.memory_bytes = reader.quantity("memory", made.memory_bytes, false, kib * kib * kib * 64);
    made.file_bytes = reader.quantity("fileSize", made.file_bytes, false, kib * kib * kib * 64);
    made.scratch_bytes =
        reader.quantity("scratch", made.scratch_bytes, false, kib * kib * kib * 64);
    made.output_bytes = reader.quantity("output", made.output_bytes, false, kib * kib * 64);
    made.processes = reader.integer("processes", made.processes, 1, 4096);
    made.open_files = reader.integer("openFiles", made.open_files, 8, 65'536);
    made.level = parent != nullptr ? parent->level : made.level;
    made.asks = reader.flag("asks", made.asks);
    made.service = reader.text("service", made.service);
    reader.known("service", made.service, {"call", "pooled", "warm"}, "service class");
    egress(reader, made);
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

  void model(Reader& reader, const std::string& name) {
    ModelSpec spec;
    spec.name = name;
    const std::string provider = reader.text("provider", "embedded");
    reader.known("provider", provider, {"embedded", "openai", "scripted"}, "provider");
    reader.require("model");
    if (const Node* node = reader.get("model", Node::Kind::string)) {
      std::string value = environment(reader, *node, reader.at("model"), node->string);
      if (provider == "openai") {
        spec.remote_name = std::move(value);
      } else if (provider == "scripted") {
        spec.script = existing(reader, "model", *node, value);
      } else {
        spec.file = existing(reader, "model", *node, value);
      }
    }
    if (provider == "openai") {
      endpoint(reader, spec);
    } else {
      for (const char* key : {"baseUrl", "apiKeyEnv"}) {
        const Node* node = reader.get(key);
        if (node != nullptr) {
          reader.report(*node, reader.at(key), R"(only a model of "provider": "openai" has one)");
        }
      }
    }
    spec.sampling.temperature = reader.real("temperature", 0.0, 0.0, 10.0);
    spec.sampling.top_p = reader.real("topP", 1.0, 0.0, 1.0);
    spec.sampling.min_p = reader.real("minP", 0.0, 0.0, 1.0);
    spec.sampling.top_k = static_cast<int>(reader.integer("topK", 0, 0, 1'000'000));
    spec.sampling.repeat_penalty = reader.real("repeatPenalty", 1.0, 0.1, 10.0);
    spec.tokens_max = reader.integer("maxTokens", spec.tokens_max, 1, 1'000'000);
    spec.at_once_max = reader.integer("maxAtOnce", 0, 1, 1'000'000);
    if (reader.get("maxAtOnce") == nullptr) spec.at_once_max = 0;
    fallbacks(reader, spec);
    if (const Node* node = reader.get("price", Node::Kind::object)) {
      Reader price(file_.problems, *node, reader.at("price"));
      spec.price.input = price.real("input", 0, 0, 1e6);
      spec.price.cached_input = price.real("cachedInput", spec.price.input, 0, 1e6);
      spec.price.output = price.real("output", 0, 0, 1e6);
      price.done();
    }
    spec.context_max = reader.integer("contextLength", spec.context_max, 16, 16'000'000);
    reader.done();
    file_.fleet.models.push_back(std::move(spec));
  }

  // Models to go to, in order, when this one cannot answer.
  void fallbacks(Reader& reader, ModelSpec& spec) {
    std::vector<std::string> names;
    if (const Node* models = root_.find("models")) {
      for (const Node::Member& member : models->members) names.push_back(member.key);
    }
    spec.fallback = reader.texts("fallback");
    const Node* node = reader.get("fallback");
    for (std::size_t i = 0; i < spec.fallback.size() && i < node->items.size(); ++i) {
      const std::string path = reader.at("fallback") + "[" + std::to_string(i) + "]";
      reader.known(node->items[i], path, spec.fallback[i], names, "model");
      if (spec.fallback[i] == spec.name) {
        reader.report(node->items[i], path, "a model cannot be its own fallback");
      }
    }
  }

  // Members that are strings, with ${VAR} replaced.
  void string_map(Reader& reader, const std::string& key,
                  std::vector<std::pair<std::string, std::string>>& out) {
    const Node* node = reader.get(key, Node::Kind::object);
    if (node == nullptr) return;
    for (const Node::Member& member : node->members) {
      const std::string path = reader.at(key) + "." + member.key;
      if (member.value.kind == Node::Kind::string) {
        out.emplace_back(member.key, environment(reader, member.value, path, member.value.string));
      } else {
        reader.report(
            member.value, path,
            "expected a string but found " + std::string(agents::to_string(member.value.kind)));
      }
    }
  }

  // The URL of a server over HTTP; null: it is a program ("command").
  const Node* mcp_transport(Reader& reader) {
    const Node* type = reader.get("type", Node::Kind::string);
    const Node* url = reader.get("url", Node::Kind::string);
    const std::string kind = type != nullptr ? type->string : url != nullptr ? "http" : "stdio";
    if (kind != "stdio" && kind != "http" && kind != "streamable-http") {
      reader.report(*type, reader.at("type"),
                    R"(there is no such transport; there are: "stdio", "http", "streamable-http")");
      return nullptr;
    }
    if (kind == "stdio" && url != nullptr) {
      reader.report(*url, reader.at("url"), R"(a server of type "stdio" has no URL)");
      return nullptr;
    }
    reader.require(kind == "stdio" ? "command" : "url");
    for (const char* key : {"command", "args", "env", "cwd", "profile", "jail"}) {
      const Node* other = kind == "stdio" ? nullptr : reader.get(key);
      if (other != nullptr) {
        reader.report(*other, reader.at(key), "a server over HTTP is not started: leave this out");
      }
    }
    const Node* headers = kind == "stdio" ? reader.get("headers") : nullptr;
    if (headers != nullptr) {
      reader.report(*headers, reader.at("headers"), "only servers over HTTP get headers");
    }
    return url;
  }

  void endpoint(Reader& reader, ModelSpec& spec) {
    reader.require("baseUrl");
    const Node* url = reader.get("baseUrl", Node::Kind::string);
    if (url != nullptr) {
      spec.base_url = environment(reader, *url, reader.at("baseUrl"), url->string);
      while (spec.base_url.ends_with('/')) spec.base_url.pop_back();
      spec.is_local = spec.base_url.starts_with("http://") && is_loopback(spec.base_url);
      if (!spec.base_url.starts_with("https://") && !spec.base_url.starts_with("http://")) {
        reader.report(*url, reader.at("baseUrl"),
                      R"(expected an http or https URL such as "https://api.example.com/v1")");
      }
    }
    const Node* key = reader.get("apiKeyEnv", Node::Kind::string);
    if (key == nullptr) return;
    spec.key_variable = key->string;
    if (context_.environment && !context_.environment(spec.key_variable)) {
      reader.report(*key, reader.at("apiKeyEnv"),
                    "the environment has no variable " + spec.key_variable +
                        "; set it to the endpoint's key");
    }
    if (url != nullptr && spec.base_url.starts_with("http://") && !is_loopback(spec.base_url)) {
      reader.report(*url, reader.at("baseUrl"),
                    "a key would cross the network unencrypted; use https");
    }
  }

  // Of a URL that begins with "http://".
  static bool is_loopback(std::string_view url) {
    const std::string_view authority = url.substr(7, url.find('/', 7) - 7);
    const auto is_host = [&](std::string_view host) {
      return authority == host ||
             (authority.starts_with(host) && authority.substr(host.size()).starts_with(':') &&
              authority.find('@') == std::string_view::npos);
    };
    return is_host("localhost") || is_host("127.0.0.1") || is_host("[::1]");
  }

  void mcp_server(Reader& reader, const std::string& name) {
    McpServerSpec spec;
    spec.name = name;
    spec.profile = reader.text("profile", "fs-read");
    reader.known("profile", spec.profile, names_of(file_.fleet.profiles), "profile");
    if (const Node* url = mcp_transport(reader)) {
      spec.url = environment(reader, *url, reader.at("url"), url->string);
      if (!spec.url.starts_with("http://") && !spec.url.starts_with("https://")) {
        reader.report(*url, reader.at("url"),
                      "expected a URL that begins with http:// or https://");
      }
    }
    const Node* command = reader.get("command", Node::Kind::string);
    if (command != nullptr) {
      spec.command = environment(reader, *command, reader.at("command"), command->string);
      if (spec.command.empty())
        reader.report(*command, reader.at("command"), "the command is empty");
      if (spec.command.find('/') != std::string::npos) spec.command = absolute(spec.command);
    }
    if (const Node* node = reader.get("args")) {
      for (const std::string& argument : reader.texts("args")) {
        spec.arguments.push_back(environment(reader, *node, reader.at("args"), argument));
      }
    }
    string_map(reader, "env", spec.environment);
    string_map(reader, "headers", spec.headers);
    spec.directory = absolute(reader.text("cwd", "."));
    spec.jail = reader.text("jail", "shared");
    reader.known("jail", spec.jail, {"shared", "agent", "call"}, "way to share a jail");
    reader.done();
    file_.fleet.mcp_servers.push_back(std::move(spec));
  }

  void tool(Reader& reader, const std::string& name) {
    CommandToolSpec spec;
    spec.spec.name = name;
    if (name.starts_with("mcp__")) {
      reader.report(reader.node(), reader.path(),
                    "names that begin with mcp__ belong to MCP servers");
    }
    if (name.starts_with("agent__") || name.starts_with("handoff__")) {
      reader.report(reader.node(), reader.path(),
                    "names that begin with agent__ or handoff__ belong to agents");
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
        reader.report(*schema, reader.at("inputSchema"),
                      R"(an input schema needs "type": "object")");
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

  void placeholders(Reader& reader, const std::string& key, const Node& node,
                    const std::string& text, const std::vector<std::string>& arguments) {
    auto known_name = [&](std::string_view name) -> std::optional<std::string> {
      const bool found = std::find(arguments.begin(), arguments.end(), name) != arguments.end();
      return found ? std::optional<std::string>("") : std::nullopt;
    };
    const auto result = expand(text, known_name);
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

  void agent(Reader& reader, const std::string& name) {
    if (is_remote_agent(reader.node())) {
      file_.fleet.remote_agents.push_back(read_remote_agent(reader, name, context_));
      return;
    }
    AgentSpec spec;
    spec.name = name;
    spec.description = reader.text("description");
    spec.instructions = reader.text("instructions");
    spec.owner = reader.text("owner");
    reader.require("model");
    spec.model = reader.text("model");
    reader.known("model", spec.model, names_of(file_.fleet.models), "model");
    spec.tools = tool_names(reader, "tools");
    spec.disallowed_tools = tool_names(reader, "disallowedTools");
    spec.priority = static_cast<int>(reader.integer("priority", 0, -100, 100));
    spec.limits = limits(reader, Limits{});
    others(reader, "subAgents", "agent__", spec);
    others(reader, "handoffs", "handoff__", spec);
    if (const Node* node = reader.get("outputSchema", Node::Kind::object)) {
      spec.output_schema = node->to_json();
    }
    residency(reader, spec);
    if (const Node* node = reader.get("a2a", Node::Kind::object)) {
      Reader exposure(file_.problems, *node, reader.at("a2a"));
      spec.a2a.emplace();
      spec.a2a->version = exposure.text("version", spec.a2a->version);
      spec.a2a->tags = exposure.texts("tags");
      spec.a2a->examples = exposure.texts("examples");
      exposure.done();
    }
    reader.done();
    file_.fleet.agents.push_back(std::move(spec));
  }

  // An agent whose data stays here gets no model that is elsewhere, not even as a last resort.
  void residency(Reader& reader, AgentSpec& spec) {
    const std::string where = reader.text("dataResidency", "any");
    reader.known("dataResidency", where, {"any", "local"}, "residency");
    spec.local_only = where == "local";
    if (!spec.local_only) return;
    std::vector<std::string> models = {spec.model};
    if (const ModelSpec* model = file_.fleet.model(spec.model)) {
      models.insert(models.end(), model->fallback.begin(), model->fallback.end());
    }
    for (const std::string& name : models) {
      const ModelSpec* model = file_.fleet.model(name);
      if (model == nullptr || model->is_local) continue;
      reader.report(*reader.get("dataResidency"), reader.at("dataResidency"),
                    "its data must not leave this machine, and the model \"" + name +
                        "\" is elsewhere: " + model->base_url);
    }
  }

  std::vector<std::string> tool_names(Reader& reader, const std::string& key) {
    std::vector<std::string> known_tools;
    for (const CommandToolSpec& tool : file_.fleet.tools) known_tools.push_back(tool.spec.name);
    std::vector<std::string> servers;
    for (const McpServerSpec& server : file_.fleet.mcp_servers)
      servers.push_back("mcp__" + server.name + "__*");
    std::vector<std::string> names = reader.texts(key);
    const Node* node = reader.get(key);
    for (std::size_t i = 0; i < names.size() && i < node->items.size(); ++i) {
      const std::string& name = names[i];
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

  Limits limits(Reader& owner, Limits fallback) {
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

  void policies(Reader& top) {
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

  void workflow(Reader& reader) {
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

  // What holds for the whole fleet beside its limits.
  void bounds(Reader& top) {
    Fleet& fleet = file_.fleet;
    fleet.depth_max = static_cast<int>(top.integer("maxDepth", fleet.depth_max, 0, 64));
    if (const Node* node = top.get("quotas", Node::Kind::array)) {
      for (std::size_t i = 0; i < node->items.size(); ++i) {
        Reader reader(file_.problems, node->items[i], "quotas[" + std::to_string(i) + "]");
        quota(reader);
      }
    }
    if (const Node* node = top.get("guards", Node::Kind::object)) {
      Reader reader(file_.problems, *node, "guards");
      Guards& guards = fleet.guards;
      guards.same_calls_max = reader.integer("maxSameCalls", 0, 1, 64);
      guards.same_cycles_max = reader.integer("maxSameCycles", 0, 1, 8);
      guards.failures_max = reader.integer("maxToolFailures", 0, 1, 1'000'000);
      guards.cool_down_ms = reader.quantity("coolDown", guards.cool_down_ms, true, 86'400'000);
      reader.done();
    }
    if (const Node* node = top.get("approvals", Node::Kind::object)) {
      Reader reader(file_.problems, *node, "approvals");
      fleet.approval_ms =
          reader.quantity("expireAfter", fleet.approval_ms, true, 86'400'000LL * 365);
      reader.done();
    }
    if (const Node* node = top.get("toolPins", Node::Kind::string)) {
      fleet.tool_pins = existing(top, "toolPins", *node, node->string);
    }
  }

  void quota(Reader& reader) {
    QuotaSpec spec;
    reader.require("name");
    spec.name = reader.text("name");
    spec.per = reader.text("per", spec.per);
    reader.known("per", spec.per, {"session", "agent", "tool", "run", "principal", "fleet"},
                 "reach");
    spec.measure = reader.text("measure", spec.measure);
    reader.known("measure", spec.measure, {"calls", "tokens", "money"}, "measure");
    reader.require("most");
    spec.most = spec.measure == "money"
                    ? static_cast<std::int64_t>(reader.real("most", 0, 0, 1e9) * 1e6)
                    : reader.integer("most", 0, 0, 1'000'000'000'000);
    spec.window_ms = reader.quantity("window", 0, true, 86'400'000LL * 366);
    spec.at_once_most = reader.integer("atOnce", -1, 1, 1'000'000);
    spec.tool = reader.text("tool");
    spec.agent = reader.text("agent");
    if (!spec.agent.empty()) reader.known("agent", spec.agent, agent_names(), "agent");
    reader.done();
    file_.fleet.quotas.push_back(std::move(spec));
  }

  // As they stand in the file, whether they are read already or not.
  [[nodiscard]] std::vector<std::string> agent_names() const {
    std::vector<std::string> names;
    const Node* agents = root_.find("agents");
    if (agents == nullptr) return names;
    for (const Node::Member& member : agents->members) names.push_back(member.key);
    return names;
  }

  // Agents that this one may call, or hand its session over to.
  void others(Reader& reader, const std::string& key, const std::string& prefix, AgentSpec& spec) {
    const std::vector<std::string> names = reader.texts(key);
    const Node* node = reader.get(key);
    for (std::size_t i = 0; i < names.size() && i < node->items.size(); ++i) {
      reader.known(node->items[i], reader.at(key) + "[" + std::to_string(i) + "]", names[i],
                   agent_names(), "agent");
      spec.tools.push_back(prefix + names[i]);
    }
  }

  const Node& root_;
  const FleetContext& context_;
  FleetFile file_;
};

}  // namespace

bool AgentSpec::offers(std::string_view tool) const {
  // Other agents are never meant by a pattern.
  if (tool.starts_with("agent__") || tool.starts_with("handoff__")) {
    const auto is = [tool](const std::string& offered) { return offered == tool; };
    return std::any_of(tools.begin(), tools.end(), is) &&
           std::none_of(disallowed_tools.begin(), disallowed_tools.end(), is);
  }
  auto matches = [tool](const std::string& pattern) {
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
  if (document) return FleetParser(*document, context).parse();
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
