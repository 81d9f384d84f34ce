#include "app/guard_options.h"

#include <utility>

namespace ambit::app {
namespace {

// What a memory's tools are, where the operator says nothing else: writes that the next one undoes.
void add_memory_tools(const agents::Fleet& fleet, governance::GuardOptions& options) {
  const governance::GuardOptions said = options;
  for (const agents::MemorySpec& memory : fleet.memories) {
    for (const char* operation : {"get", "list", "search", "put", "delete"}) {
      const std::string tool = std::string(agents::memory_prefix) + memory.name + "__" + operation;
      governance::ToolFacts facts = governance::facts_of(said, tool);
      const bool writes = tool.ends_with("put") || tool.ends_with("delete");
      facts.remembers = !writes;
      if (writes && facts.effect == agents::ActionKind::tool_call) {
        facts.effect = agents::ActionKind::memory_write;
      }
      if (writes && facts.reversibility.empty()) facts.reversibility = "compensable";
      options.tools[tool] = std::move(facts);
    }
  }
}

}  // namespace

governance::GuardOptions guard_options(const agents::Fleet& fleet) {
  governance::GuardOptions options;
  options.fleet = fleet.name;
  options.evaluate_only = fleet.evaluate_only;
  for (const agents::AgentSpec& agent : fleet.agents) {
    options.agents[agent.name] = {agent.autonomy_level};
  }
  for (const agents::ToolFactsSpec& said : fleet.tool_facts) {
    governance::ToolFacts& facts = options.tools[said.tool];
    facts.trusted = said.trusted;
    facts.trusted_fields = said.trusted_fields;
    facts.reversibility = said.reversibility;
    facts.risk = said.risk;
    facts.effect = governance::effect_named(said.effect);
  }
  add_memory_tools(fleet, options);
  return options;
}

Result<governance::Redaction> redaction_of(const agents::Fleet& fleet) {
  std::vector<governance::RedactionRule> rules;
  for (const agents::RedactionSpec& said : fleet.redactions) {
    rules.push_back({said.of, said.tool, said.paths, said.patterns});
  }
  return governance::Redaction::create(std::move(rules));
}

}  // namespace ambit::app
