// The tools that an agent gets: what turn_loop.h declares of them.

#include "agents/fleet_run.h"
#include "agents/json_writer.h"
#include "agents/turn_loop.h"

#include <algorithm>
#include <set>

namespace ambit::agents {

Task<Result<Catalogue>> list_tools(const AgentSpec& agent, std::vector<Toolbox*> toolboxes,
                                   ToolCheck check) {
  Catalogue catalogue;
  auto specs = std::make_shared<std::vector<ToolSpec>>();
  for (Toolbox* box : toolboxes) {
    const std::vector<ToolSpec> listed = co_await ok(box->list());
    for (const ToolSpec& spec : listed) {
      if (!agent.offers(spec.name)) continue;
      const auto good = check ? check(spec) : Result<void>();
      if (!good) {
        catalogue.quarantined.emplace_back(spec.name, good.error().message);
        continue;
      }
      specs->push_back(spec);
      catalogue.boxes.push_back(box);
    }
  }
  for (const std::string& name : agent.tools) {
    const auto& withheld = catalogue.quarantined;
    const bool there = name.ends_with('*') ||
                       std::any_of(specs->begin(), specs->end(),
                                   [&](const ToolSpec& spec) { return spec.name == name; }) ||
                       std::any_of(withheld.begin(), withheld.end(),
                                   [&](const auto& one) { return one.first == name; });
    if (!there)
      co_return Err(Code::not_found,
                    "agent " + agent.name + ": no server offers the tool \"" + name + "\"");
  }
  catalogue.specs = std::move(specs);
  co_return catalogue;
}

// Those of sub-agents are listed when they are needed.
Task<Result<std::map<std::string, Catalogue>>> cast_tools(const Fleet& fleet,
                                                          std::vector<Toolbox*> toolboxes,
                                                          ToolCheck check) {
  std::map<std::string, Catalogue> catalogues;
  std::set<std::string> names{fleet.workflow.agent};
  for (const GraphNode& node : fleet.workflow.graph.nodes) {
    names.insert(node.agent);
    if (node.plan) names.insert(node.plan->executors.begin(), node.plan->executors.end());
  }
  for (const std::string& name : names) {
    const AgentSpec& agent = *fleet.agent(name);
    catalogues[name] = co_await ok(list_tools(agent, toolboxes, check));
  }
  co_return catalogues;
}

std::vector<Event> quarantine_events(const Catalogue& catalogue, const std::string& run,
                                     const std::string& agent) {
  std::vector<Event> events;
  for (const auto& [tool, why] : catalogue.quarantined) {
    Event event{"tool.quarantined", run, "", agent, "", {}};
    JsonWriter(event.body)
        .begin_object()
        .key("reason")
        .text(why)
        .key("tool")
        .text(tool)
        .end_object();
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace ambit::agents
