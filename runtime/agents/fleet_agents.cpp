// The agents of a fleet file.

#include "agents/fleet_parser.h"
#include "agents/fleet_remote.h"

#include <algorithm>

namespace ambit::agents {

void FleetParser::agent(Reader& reader, const std::string& name) {
  if (is_remote_agent(reader.node())) {
    file_.fleet.remote_agents.push_back(read_remote_agent(reader, name, context_));
    return;
  }
  AgentSpec spec;
  spec.name = name;
  spec.description = reader.text("description");
  spec.instructions = reader.text("instructions");
  spec.owner = reader.text("owner");
  residency(reader, spec);
  agent_model(reader, spec);
  check_models(reader, spec);
  spec.tools = tool_names(reader, "tools");
  spec.disallowed_tools = tool_names(reader, "disallowedTools");
  spec.priority = static_cast<int>(reader.integer("priority", 0, -100, 100));
  latency(reader, spec);
  spec.limits = limits(reader, Limits{});
  spec.autonomy_level = reader.integer("autonomyLevel", spec.autonomy_level, 1, 5);
  own_memory(reader, spec);
  others(reader, "subAgents", "agent__", spec);
  others(reader, "handoffs", "handoff__", spec);
  if (const Node* node = reader.get("outputSchema", Node::Kind::object)) {
    spec.output_schema = node->to_json();
  }
  compaction(reader, spec);
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

void FleetParser::latency(Reader& reader, AgentSpec& spec) {
  const std::vector<std::string> names = {"interactive", "normal", "batch"};
  const std::string name = reader.text("class");
  if (name.empty()) return;
  reader.known("class", name, names, "class");
  const auto at = std::find(names.begin(), names.end(), name);
  if (at != names.end()) spec.latency = static_cast<LatencyClass>(at - names.begin());
}

// When its conversations give way to summaries of themselves.
void FleetParser::compaction(Reader& agent, AgentSpec& spec) {
  const Node* node = agent.get("compaction", Node::Kind::object);
  if (node == nullptr) return;
  Reader reader(file_.problems, *node, agent.at("compaction"));
  CompactionSpec made;
  made.threshold = reader.real("threshold", made.threshold, 0.1, 0.95);
  made.keep = reader.real("keep", made.keep, 0, 0.9);
  made.tokens_max = reader.integer("maxTokens", made.tokens_max, 16, 1'000'000);
  made.instructions = reader.text("instructions", made.instructions);
  const ModelSpec* model = file_.fleet.model(spec.model);
  const double window = model != nullptr ? static_cast<double>(model->context_max) : 0;
  const double left = made.keep * window + static_cast<double>(made.tokens_max);
  if (model != nullptr && left > made.threshold * window) {
    reader.report(*node, reader.path(),
                  "what is kept and a summary do not fit under the threshold: with the window of " +
                      std::to_string(model->context_max) + " tokens of the model \"" + model->name +
                      "\", lower \"keep\" or \"maxTokens\"");
  }
  reader.done();
  spec.compaction = std::move(made);
}

// Agents that this one may call, or hand its session over to.
void FleetParser::others(Reader& reader, const std::string& key, const std::string& prefix,
                         AgentSpec& spec) {
  const std::vector<std::string> names = reader.texts(key);
  const Node* node = reader.get(key);
  for (std::size_t i = 0; i < names.size() && i < node->items.size(); ++i) {
    reader.known(node->items[i], reader.at(key) + "[" + std::to_string(i) + "]", names[i],
                 agent_names(), "agent");
    spec.tools.push_back(prefix + names[i]);
  }
}

}  // namespace ambit::agents
