#pragma once

// FleetParser: reads a whole fleet file and finds every mistake in one pass. Its parts lie beside
// each other: fleet_models.cpp, fleet_tools.cpp, fleet_agents.cpp, fleet_bounds.cpp; fleet.cpp has
// what they share. For the files of this folder alone.

#include "agents/fleet.h"
#include "agents/fleet_reader.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::agents {

// "memory__notes__get" and so on, of every store.
void append_memory_tools(const Fleet& fleet, std::vector<std::string>& names);

class FleetParser {
 public:
  // `problems`: those that are known already.
  FleetParser(const Node& root, const FleetContext& context, std::vector<Problem> problems = {})
      : root_(root), context_(context) {
    file_.problems = std::move(problems);
  }

  FleetFile parse();

 private:
  template <class F>
  void each(Reader& top, const std::string& key, F read) {
    const Node* node = top.get(key, Node::Kind::object);
    if (node == nullptr) return;
    for (const Node::Member& member : node->members) {
      const std::string path = key + "." + member.key;
      if (!is_name(member.key)) {
        file_.problems.push_back(
            problem_at(member, path, "a name has 1 to 64 of the letters a-z, A-Z, 0-9, '_', '-'"));
        continue;
      }
      Reader reader(file_.problems, member.value, path);
      if (member.value.kind == Node::Kind::object) read(reader, member.key);
    }
  }

  void check_name(Reader& reader, const std::string& key, const std::string& name);
  [[nodiscard]] std::string absolute(const std::string& path) const;
  // A path that must exist; reported at the node that names it.
  std::string existing(Reader& reader, const std::string& key, const Node& node,
                       const std::string& path);
  // Of "VAR" or "VAR:-default".
  [[nodiscard]] std::optional<std::string> variable(std::string_view name) const;
  // ${VAR} and ${VAR:-default} from the environment.
  std::string environment(Reader& reader, const Node& node, const std::string& path,
                          const std::string& text);
  void egress(Reader& reader, Profile& made);
  void profile(Reader& reader, const std::string& name);
  void model(Reader& reader, const std::string& name);
  void computing(Reader& reader, ModelSpec& spec, bool is_embedded);
  void fallbacks(Reader& reader, ModelSpec& spec);
  void string_map(Reader& reader, const std::string& key,
                  std::vector<std::pair<std::string, std::string>>& out);
  void mcp_transport(Reader& reader, McpServerSpec& spec);
  void endpoint(Reader& reader, ModelSpec& spec);
  static bool is_loopback(std::string_view url);
  void mcp_server(Reader& reader, const std::string& name);
  void file_pins(Reader& reader, McpServerSpec& spec);
  void mcp_login(Reader& server, McpServerSpec& spec);
  void tool(Reader& reader, const std::string& name);
  void skills(Reader& top);
  void memory(Reader& reader, const std::string& name);
  void artifacts(Reader& top);
  void own_memory(Reader& reader, AgentSpec& spec);
  void placeholders(Reader& reader, const std::string& key, const Node& node, std::string& text,
                    const std::vector<std::string>& arguments);
  void agent(Reader& reader, const std::string& name);
  void role(Reader& reader, const std::string& name);
  void agent_model(Reader& reader, AgentSpec& spec);
  static void residency(Reader& reader, AgentSpec& spec);
  void check_models(Reader& reader, const AgentSpec& spec);
  void check_residency();
  static void latency(Reader& reader, AgentSpec& spec);
  void compaction(Reader& reader, AgentSpec& spec);
  std::vector<std::string> tool_names(Reader& reader, const std::string& key);
  Limits limits(Reader& owner, Limits fallback);
  void policies(Reader& top);
  void workflow(Reader& reader);
  void bounds(Reader& top);
  void quota(Reader& reader);
  void approvals(Reader& reader);
  void tool_facts(Reader& top);
  void redactions(Reader& top);
  [[nodiscard]] std::vector<std::string> known_tools() const;
  // As they stand in the file, whether they are read already or not.
  [[nodiscard]] std::vector<std::string> agent_names() const;
  void others(Reader& reader, const std::string& key, const std::string& prefix, AgentSpec& spec);

  const Node& root_;
  const FleetContext& context_;
  FleetFile file_;
};

}  // namespace ambit::agents
