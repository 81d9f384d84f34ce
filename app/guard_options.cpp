#include "app/guard_options.h"

#include <utility>

namespace ambit::app {

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
