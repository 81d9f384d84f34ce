// The tools and the models that an agent gets: what turn_loop.h declares of them.

#include "agents/json_writer.h"
#include "agents/turn_loop.h"

#include <algorithm>

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

std::vector<ModelRoute> fallbacks_of(const Fleet& fleet, const ModelSpec& spec,
                                     const std::map<std::string, Model*>& models) {
  std::vector<ModelRoute> routes;
  for (const std::string& name : spec.fallback) {
    const auto at = models.find(name);
    if (at != models.end()) routes.push_back({fleet.model(name), at->second});
  }
  return routes;
}

}  // namespace ambit::agents
