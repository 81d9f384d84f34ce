// Which models an agent of a fleet file gets: by name, or by a role; and that no data which must
// stay on this machine can go where it may leave it.

#include "agents/fleet_parser.h"
#include "agents/route.h"

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::size_t role_models_max = 16;

}  // namespace

// Models that can do the same work, and which of them goes first.
void FleetParser::role(Reader& reader, const std::string& name) {
  RoleSpec spec;
  spec.name = name;
  reader.require("models");
  spec.models = reader.texts("models");
  const Node* node = reader.get("models");
  for (std::size_t i = 0; i < spec.models.size() && i < node->items.size(); ++i) {
    const std::string path = reader.at("models") + "[" + std::to_string(i) + "]";
    reader.known(node->items[i], path, spec.models[i], names_of(file_.fleet.models), "model");
    if (std::count(spec.models.begin(), spec.models.end(), spec.models[i]) > 1) {
      reader.report(node->items[i], path, "it is named twice");
    }
  }
  if (node != nullptr && (spec.models.empty() || spec.models.size() > role_models_max)) {
    reader.report(*node, reader.at("models"),
                  "name 1 to " + std::to_string(role_models_max) + " models");
  }
  spec.sort = reader.text("sort", spec.sort);
  reader.known("sort", spec.sort, {"listed", "price", "latency"}, "order");
  spec.latency_ms = reader.quantity("latencyObjective", 0, true, 86'400'000);
  reader.done();
  file_.fleet.roles.push_back(std::move(spec));
}

// "model": a model, or "@ROLE".
void FleetParser::agent_model(Reader& reader, AgentSpec& spec) {
  reader.require("model");
  spec.model = reader.text("model");
  if (!spec.model.starts_with('@')) {
    reader.known("model", spec.model, names_of(file_.fleet.models), "model");
    return;
  }
  spec.role = spec.model.substr(1);
  reader.known("model", spec.role, names_of(file_.fleet.roles), "role");
  const RoleSpec* role = file_.fleet.role(spec.role);
  if (role == nullptr) return;
  const std::vector<std::string> models = file_.fleet.models_of(spec);
  if (!models.empty()) {
    spec.model = models.front();
    return;
  }
  // Reported with the role where it has no models at all.
  spec.model = role->models.empty() ? "" : role->models.front();
}

// An agent whose data stays here gets no model that is elsewhere, not even as a last resort. Before
// agent_model(): a role gives it those of its models alone that are here.
void FleetParser::residency(Reader& reader, AgentSpec& spec) {
  const std::string where = reader.text("dataResidency", "any");
  reader.known("dataResidency", where, {"any", "local"}, "residency");
  spec.local_only = where == "local";
}

void FleetParser::check_models(Reader& reader, const AgentSpec& spec) {
  if (!spec.local_only) return;
  std::vector<std::string> models = {spec.model};
  const ModelSpec* own = file_.fleet.model(spec.model);
  if (own != nullptr && spec.role.empty()) {
    models.insert(models.end(), own->fallback.begin(), own->fallback.end());
  }
  for (const std::string& name : models) {
    const ModelSpec* model = file_.fleet.model(name);
    if (model == nullptr || model->is_local) continue;
    reader.report(*reader.get("dataResidency"), reader.at("dataResidency"),
                  "its data must not leave this machine, and the model \"" + name +
                      "\" is elsewhere: " + model->base_url);
  }
}

// Agents that hear each other's words are alike in where these may go.
void FleetParser::check_residency() {
  const Fleet& fleet = file_.fleet;
  const Node* agents = root_.find("agents");
  const auto report = [&](const AgentSpec& agent, const std::string& why) {
    const Node* node = agents != nullptr ? agents->find(agent.name) : nullptr;
    const Node* where = node != nullptr ? node->find("dataResidency") : nullptr;
    if (where == nullptr) return;
    const std::string path = "agents." + agent.name + ".dataResidency";
    file_.problems.push_back(problem_at(*where, path, why + R"(: give it "local" too)"));
  };
  std::vector<const AgentSpec*> cast;
  for (const GraphNode& node : fleet.workflow.graph.nodes) {
    cast.push_back(fleet.agent(node.agent));
    if (!node.plan) continue;
    for (const std::string& name : node.plan->executors) cast.push_back(fleet.agent(name));
  }
  for (const AgentSpec& kept : fleet.agents) {
    if (!kept.local_only) continue;
    const bool works_along = std::find(cast.begin(), cast.end(), &kept) != cast.end();
    for (const AgentSpec& other : fleet.agents) {
      if (other.local_only) continue;
      const std::string words = "its data must not leave this machine, and ";
      const std::string named = "the agent \"" + other.name + "\"";
      const auto calls = [](const AgentSpec& from, const AgentSpec& to) {
        return from.offers("agent__" + to.name) || from.offers("handoff__" + to.name);
      };
      if (calls(kept, other)) report(kept, words + "it gives " + named + " tasks");
      if (calls(other, kept)) report(kept, words + named + " hears its answers");
      if (works_along && std::find(cast.begin(), cast.end(), &other) != cast.end()) {
        report(kept, words + named + " works on the same inputs");
      }
      for (const MemorySpec& memory : fleet.memories) {
        const auto has = [&](const AgentSpec& agent) {
          return std::find(agent.memory.begin(), agent.memory.end(), memory.name) !=
                 agent.memory.end();
        };
        if (memory.is_shared && has(kept) && has(other)) {
          report(kept, words + named + " reads the memory \"" + memory.name + "\"");
        }
      }
    }
  }
}

const RoleSpec* Fleet::role(std::string_view wanted) const {
  const auto at = std::find_if(roles.begin(), roles.end(),
                               [&](const auto& item) { return item.name == wanted; });
  return at != roles.end() ? &*at : nullptr;
}

std::vector<std::string> Fleet::models_of(const AgentSpec& agent) const {
  std::vector<std::string> named = {agent.model};
  const RoleSpec* role_of = role(agent.role);
  if (!agent.role.empty() && role_of != nullptr) named = role_of->models;
  for (std::size_t i = 0, count = named.size(); i < count; ++i) {
    const ModelSpec* spec = model(named[i]);
    if (spec != nullptr) named.insert(named.end(), spec->fallback.begin(), spec->fallback.end());
  }
  std::vector<std::string> names;
  for (const std::string& one : named) {
    const ModelSpec* spec = model(one);
    const bool is_new = std::find(names.begin(), names.end(), one) == names.end();
    if (spec != nullptr && is_new && residency_refusal(agent, *spec).empty()) names.push_back(one);
  }
  return names;
}

}  // namespace ambit::agents
