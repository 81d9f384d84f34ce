#include "app/import.h"

#include "rpc/yaml.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <optional>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* policies_text =
    R"(// Read and think freely; a person is asked before anything else.

@id("may-think")
permit (principal, action == Action::"model_call", resource);

@id("may-delegate")
permit (principal, action == Action::"delegation", resource);

@id("may-read")
permit (principal, action == Action::"tool_call", resource)
when { resource.readOnly };

@id("ask-before-changes")
@advice("escalate")
@reason("It may change something, so a person is asked.")
permit (principal, action == Action::"tool_call", resource);
)";

std::string member_text(const Json& value, const char* key, const std::string& fallback = "") {
  return value.is_object() && value.contains(key) && value[key].is_string()
             ? value[key].get<std::string>()
             : fallback;
}

std::string name_of(const std::string& wanted, const std::string& fallback) {
  std::string name;
  for (const char c : wanted) {
    const bool good = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    name += good ? c : '-';
  }
  name = name.substr(0, 64);
  return name.empty() ? fallback : name;
}

class Importer {
 public:
  explicit Importer(const ImportOptions& options) : options_(options) {
    fleet_["models"] = Json::object();
    fleet_["agents"] = Json::object();
    fleet_["policies"] = {"fleet.cedar"};
  }

  Result<Imported> import(const std::string& text) {
    if (text.starts_with("---")) {
      TRY(claude_agent(text));
    } else if (options_.name.ends_with(".yaml") || options_.name.ends_with(".yml")) {
      const Json source = TRY(rpc::parse_yaml(text));
      if (!source.is_object() || !source.contains("agents")) return unknown();
      docker_agent(source);
    } else {
      const Json source = Json::parse(text, nullptr, false, true);
      if (!source.is_object()) return unknown();
      if (source.contains("component_type")) {
        open_agent_spec(source);
      } else if (source.contains("mcpServers") || source.contains("servers")) {
        mcp_servers(source.contains("mcpServers") ? source["mcpServers"] : source["servers"]);
      } else {
        return unknown();
      }
    }
    if (fleet_["agents"].empty()) return Err(Code::invalid, "there is no agent in it");
    made_.fleet = fleet_.dump(2) + "\n";
    made_.policies = policies_text;
    return std::move(made_);
  }

 private:
  static tl::unexpected<Error> unknown() {
    return Err(Code::invalid,
               "this is none of: a file with mcpServers, a Claude agent (.md), Open Agent Spec "
               "JSON, a Docker Agent file (.yaml)");
  }
  void leave_out(const std::string& what) { made_.left_out.push_back(what); }

  // The model that stands in where an agent's own is not one that can be reached from here.
  std::string own_model() {
    Json& models = fleet_["models"];
    if (!models.contains("main")) {
      const bool scripted = options_.model.ends_with(".json");
      models["main"] = {{"provider", scripted ? "scripted" : "embedded"},
                        {"model", options_.model.empty() ? "model.gguf" : options_.model}};
    }
    return "main";
  }

  void workflow_of(const std::string& agent) {
    fleet_["workflow"] = {{"agent", agent}, {"prompt", options_.prompt}};
  }

  void server(const std::string& wanted, const Json& value) {
    const std::string name = name_of(wanted, "server");
    Json made = Json::object();
    const std::string type = member_text(value, "type");
    if (type == "sse") {
      leave_out("server " + name + ": the old SSE transport is not spoken");
      return;
    }
    for (const char* key : {"type", "command", "args", "env", "cwd", "url", "headers"}) {
      if (value.contains(key)) made[key] = value[key];
    }
    if (!made.contains("command") && !made.contains("url")) {
      leave_out("server " + name + ": it has neither command nor url");
      return;
    }
    for (const auto& [key, ignored] : value.items()) {
      if (!made.contains(key)) leave_out("server " + name + ": " + key);
    }
    fleet_["mcpServers"][name] = std::move(made);
  }

  void mcp_servers(const Json& servers) {
    made_.kind = "mcpServers";
    Json tools = Json::array();
    for (const auto& [name, value] : servers.items()) {
      server(name, value);
      tools.push_back("mcp__" + name_of(name, "server") + "__*");
    }
    fleet_["agents"]["assistant"] = {{"model", own_model()}, {"tools", tools}};
    workflow_of("assistant");
  }

  // Tools that every host of this kind has, as commands in a jail.
  void host_tool(const std::string& name, Json& tools) {
    const std::map<std::string, Json> known = {
        {"Read",
         {{"description", "Read a file"},
          {"command", {"head", "-c", "65536", "--", "${fleetdir}/${path}"}},
          {"inputSchema",
           {{"type", "object"},
            {"properties", {{"path", {{"type", "string"}}}}},
            {"required", {"path"}}}},
          {"profile", "project"},
          {"annotations", {{"readOnlyHint", true}}}}},
        {"Grep",
         {{"description", "Search the files for a pattern"},
          {"command", {"grep", "-rn", "-m", "50", "-e", "${pattern}", "${fleetdir}"}},
          {"inputSchema",
           {{"type", "object"},
            {"properties", {{"pattern", {{"type", "string"}}}}},
            {"required", {"pattern"}}}},
          {"profile", "project"},
          {"annotations", {{"readOnlyHint", true}}}}},
        {"Glob",
         {{"description", "Find files by name"},
          {"command", {"find", "${fleetdir}", "-name", "${pattern}", "-not", "-path", "*/.git/*"}},
          {"inputSchema",
           {{"type", "object"},
            {"properties", {{"pattern", {{"type", "string"}}}}},
            {"required", {"pattern"}}}},
          {"profile", "project"},
          {"annotations", {{"readOnlyHint", true}}}}}};
    const auto at = known.find(name);
    if (name.starts_with("mcp__")) {
      tools.push_back(name);
    } else if (at == known.end()) {
      leave_out("tool " + name + ": give the fleet a command tool or an MCP server for it");
    } else {
      fleet_["profiles"]["project"] = {{"extends", "fs-read"}, {"read", {"."}}};
      fleet_["tools"][name] = at->second;
      tools.push_back(name);
    }
  }

  Result<void> claude_agent(const std::string& text) {
    made_.kind = "Claude agent";
    const rpc::FrontMatter file = TRY(rpc::parse_front_matter(text));
    const Json& head = file.head.json();
    const std::string name = name_of(member_text(head, "name"), "agent");
    Json agent = {{"description", member_text(head, "description")},
                  {"instructions", file.body},
                  {"model", own_model()}};
    Json tools = Json::array();
    for (const std::string& tool : words_of(head, "tools")) host_tool(tool, tools);
    agent["tools"] = tools;
    if (const std::string model = member_text(head, "model"); !model.empty()) {
      leave_out("model " + model + ": --model says what decodes instead");
    }
    if (head.contains("maxTurns") && head["maxTurns"].is_number_integer()) {
      agent["limits"] = {{"maxTurns", head["maxTurns"]}};
    }
    for (const auto& [key, ignored] : head.items()) {
      const bool taken = key == "name" || key == "description" || key == "tools" ||
                         key == "model" || key == "maxTurns";
      if (!taken) leave_out(key);
    }
    fleet_["agents"][name] = std::move(agent);
    workflow_of(name);
    return {};
  }

  // A list, or one text with commas.
  static std::vector<std::string> words_of(const Json& from, const char* key) {
    std::vector<std::string> words;
    if (!from.is_object() || !from.contains(key)) return words;
    if (from[key].is_array()) {
      for (const Json& word : from[key]) {
        if (word.is_string()) words.push_back(word.get<std::string>());
      }
      return words;
    }
    std::string rest = member_text(from, key) + ",";
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      std::string word = rest.substr(0, comma);
      rest.erase(0, comma + 1);
      while (word.starts_with(' ')) word.erase(0, 1);
      while (word.ends_with(' ')) word.pop_back();
      if (!word.empty()) words.push_back(std::move(word));
    }
    return words;
  }

  // A component, or the one that it refers to.
  const Json& resolved(const Json& value) const {
    const std::string id = member_text(value, "$component_ref");
    if (id.empty() || !references_.contains(id)) return value;
    return references_[id];
  }

  std::string spec_model(const Json& reference) {
    const Json& config = resolved(reference);
    const std::string type = member_text(config, "component_type");
    std::string url = member_text(config, "url");
    if (type == "OpenAiConfig") url = "https://api.openai.com/v1";
    if (!options_.model.empty() || url.empty()) {
      if (options_.model.empty()) leave_out("model " + member_text(config, "name", type));
      return own_model();
    }
    if (!url.starts_with("http")) url = "http://" + url;
    while (url.ends_with('/')) url.pop_back();
    if (!url.ends_with("/v1")) url += "/v1";
    const std::string name = name_of(member_text(config, "name"), "model");
    fleet_["models"][name] = {
        {"provider", "openai"}, {"model", member_text(config, "model_id")}, {"baseUrl", url}};
    if (type == "OpenAiConfig") fleet_["models"][name]["apiKeyEnv"] = "OPENAI_API_KEY";
    return name;
  }

  void spec_toolbox(const Json& reference, Json& tools) {
    const Json& box = resolved(reference);
    const std::string name = name_of(member_text(box, "name"), "tools");
    if (member_text(box, "component_type") != "MCPToolBox" || !box.contains("client_transport")) {
      leave_out("toolbox " + name);
      return;
    }
    Json transport = resolved(box["client_transport"]);
    Json made = Json::object();
    for (const char* key : {"command", "args", "env", "cwd", "url", "headers"}) {
      if (transport.contains(key) && !transport[key].is_null()) made[key] = transport[key];
    }
    server(name, made);
    tools.push_back("mcp__" + name + "__*");
  }

  std::string spec_agent(const Json& reference) {
    const Json& agent = resolved(reference);
    const std::string name = name_of(member_text(agent, "name"), "agent");
    if (fleet_["agents"].contains(name)) return name;
    Json made = {{"description", member_text(agent, "description")},
                 {"instructions", member_text(agent, "system_prompt")},
                 {"model", spec_model(agent.value("llm_config", Json::object()))}};
    Json tools = Json::array();
    for (const Json& tool : agent.value("tools", Json::array())) {
      leave_out("tool " + member_text(resolved(tool), "name") +
                ": give the fleet a command tool or an MCP server for it");
    }
    for (const Json& box : agent.value("toolboxes", Json::array())) spec_toolbox(box, tools);
    if (!tools.empty()) made["tools"] = tools;
    fleet_["agents"][name] = std::move(made);
    return name;
  }

  void open_agent_spec(const Json& source) {
    made_.kind = "Open Agent Spec";
    references_ = source.value("$referenced_components", Json::object());
    const std::string type = member_text(source, "component_type");
    if (type == "Agent") {
      workflow_of(spec_agent(source));
    } else if (type == "Swarm") {
      Json names = Json::array({spec_agent(source.at("first_agent"))});
      for (const Json& pair : source.value("relationships", Json::array())) {
        for (const Json& one : pair) {
          const std::string name = spec_agent(one);
          if (std::find(names.begin(), names.end(), Json(name)) == names.end())
            names.push_back(name);
        }
      }
      fleet_["workflow"] = {{"pattern", "handoff"}, {"agents", names}, {"prompt", options_.prompt}};
    } else if (type == "ManagerWorkers") {
      const Json& manager = source.contains("group_manager") ? source["group_manager"] : Json();
      Json workers = Json::array();
      for (const Json& one : source.value("workers", Json::array()))
        workers.push_back(spec_agent(one));
      std::string name = spec_agent(manager);
      if (member_text(resolved(manager), "component_type") != "Agent") {
        // The manager is a bare model.
        name = "manager";
        fleet_["agents"].erase("agent");
        fleet_["agents"][name] = {
            {"model", spec_model(manager)},
            {"instructions", "Give each part of the task to the right agent."}};
      }
      fleet_["workflow"] = {{"pattern", "supervisor"},
                            {"agent", name},
                            {"workers", workers},
                            {"prompt", options_.prompt}};
    } else if (type == "Flow") {
      flow(source);
    } else {
      leave_out("component " + type);
    }
  }

  // Nodes of agents and of bare models, in the order of the control flow.
  void flow(const Json& source) {
    Json nodes = Json::object();
    for (const Json& reference : source.value("nodes", Json::array())) {
      const Json& node = resolved(reference);
      const std::string name = name_of(member_text(node, "name"), "node");
      const std::string type = member_text(node, "component_type");
      if (type == "AgentNode") {
        nodes[name] = {{"agent", spec_agent(node.at("agent"))}};
      } else if (type == "LlmNode") {
        fleet_["agents"][name] = {{"model", spec_model(node.value("llm_config", Json::object()))}};
        // Placeholders of the other kind: {{name}}.
        std::string prompt = member_text(node, "prompt_template");
        for (std::size_t at = prompt.find("{{"); at != std::string::npos; at = prompt.find("{{")) {
          const std::size_t end = prompt.find("}}", at);
          if (end == std::string::npos) break;
          prompt.replace(at, end + 2 - at, "${previous}");
        }
        nodes[name] = {{"agent", name}, {"prompt", prompt}};
      } else if (type != "StartNode" && type != "EndNode") {
        leave_out("node " + name + " (" + type + ")");
      }
    }
    Json edges = Json::array();
    for (const Json& reference : source.value("control_flow_connections", Json::array())) {
      const Json& edge = resolved(reference);
      const auto name = [&](const char* key) {
        return edge.contains(key) ? name_of(member_text(resolved(edge[key]), "name"), "node") : "";
      };
      if (nodes.contains(name("from_node")) && nodes.contains(name("to_node"))) {
        edges.push_back({{"from", name("from_node")}, {"to", name("to_node")}});
      }
    }
    fleet_["workflow"] = {
        {"pattern", "graph"}, {"nodes", nodes}, {"edges", edges}, {"prompt", options_.prompt}};
  }

  void docker_agent(const Json& source) {
    made_.kind = "Docker Agent";
    std::string first;
    for (const auto& [wanted, value] : source["agents"].items()) {
      const std::string name = name_of(wanted, "agent");
      if (first.empty() || wanted == "root") first = name;
      Json agent = {{"description", member_text(value, "description")},
                    {"instructions", member_text(value, "instruction")},
                    {"model", own_model()}};
      if (const std::string model = member_text(value, "model"); !model.empty()) {
        leave_out("model " + model + " of " + name + ": --model says what decodes instead");
      }
      Json tools = Json::array();
      std::size_t number = 0;
      for (const Json& set : value.value("toolsets", Json::array())) {
        const std::string type = member_text(set, "type");
        if (type == "mcp" && set.contains("command")) {
          const std::string box = name + "-" + std::to_string(++number);
          Json transport = Json::object();
          for (const char* key : {"command", "args", "env"}) {
            if (set.contains(key)) transport[key] = set[key];
          }
          server(box, transport);
          tools.push_back("mcp__" + box + "__*");
        } else if (type == "mcp" && set.contains("remote")) {
          const std::string box = name + "-" + std::to_string(++number);
          server(box, {{"type", "http"}, {"url", member_text(set["remote"], "url")}});
          tools.push_back("mcp__" + box + "__*");
        } else {
          leave_out("toolset " + type + " of " + name);
        }
      }
      if (!tools.empty()) agent["tools"] = tools;
      for (const auto& [key, ours] :
           {std::pair("sub_agents", "subAgents"), std::pair("handoffs", "handoffs")}) {
        Json names = Json::array();
        for (const std::string& other : words_of(value, key))
          names.push_back(name_of(other, "agent"));
        if (!names.empty()) agent[ours] = names;
      }
      if (value.contains("max_iterations") && value["max_iterations"].is_number_integer() &&
          value["max_iterations"] > 0) {
        agent["limits"] = {{"maxTurns", value["max_iterations"]}};
      }
      fleet_["agents"][name] = std::move(agent);
    }
    if (!first.empty()) workflow_of(first);
  }

  const ImportOptions& options_;
  Json fleet_;
  Json references_;
  Imported made_;
};

}  // namespace

Result<Imported> import_agents(const std::string& text, const ImportOptions& options) {
  try {
    return Importer(options).import(text);
  } catch (const Json::exception& error) {
    return Err(Code::invalid, std::string("the file is not as it should be: ") + error.what());
  }
}

}  // namespace ambit::app
