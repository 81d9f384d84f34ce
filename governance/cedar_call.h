#pragma once

// CedarCall: an action as the policies see it, and what the operator says of agents and tools
// beforehand. POLICY.md names every entity and attribute.

#include "agents/ports.h"
#include "async/result.h"
#include "cedar/policy_set.h"
#include "governance/autonomy.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

struct AgentFacts {
  std::int64_t autonomy_level = 1;  // 1 (a person does it) to 5 (nobody watches)
};

// What the operator says of a tool.
struct ToolFacts {
  bool trusted = false;                       // its results are vouched for
  std::vector<std::string> trusted_fields{};  // or these members of them (JSON)
  // Empty: by what the tool says of itself: "none" (it only reads), "reversible", "irreversible".
  std::string reversibility{};
  std::string risk = "medium";  // "low", "medium", "high"
  // What its call is, for policies: a tool that writes a memory writes a memory.
  agents::ActionKind effect = agents::ActionKind::tool_call;
  // Its results are kept values, which say of themselves where they came from (agents/memory.h).
  bool remembers = false;
};

// {"TOOL": {"trusted", "trustedFields", "reversibility", "risk", "effect"}}. Errors name the JSON
// path.
Result<std::map<std::string, ToolFacts>> tool_facts_from_json(std::string_view text);

// "message", "memory_write", "spawn", "egress"; anything else: a tool call.
agents::ActionKind effect_named(std::string_view name);

struct GuardOptions {
  std::string fleet;
  std::map<std::string, AgentFacts> agents;  // by name; one that is not here has the defaults
  std::map<std::string, ToolFacts> tools{};  // by name, or by its beginning and a star
  // Everything is allowed, and the decision says what the policies would have said.
  bool evaluate_only = false;
  // So many refusals of one agent in a row lower its level by one; 0: never.
  std::int64_t refusals_max = 5;
  std::size_t heard_bytes_max = 256U << 20;  // of all sessions
  // Called with the levels (AutonomyLevels::to_json) whenever one has fallen.
  std::function<void(const std::string&)> keep_levels{};
  std::size_t argument_bytes_max = 1U << 20;
  std::size_t argument_depth_max = 64;
};

// What the policies get to see of an action: public for tests and for explanations.
struct CedarCall {
  cedar::Request request;
  cedar::Entities entities;
};
// Without `levels` the autonomy levels are those of the options.
Result<CedarCall> to_cedar(const agents::Action& action, const GuardOptions& options,
                           const AutonomyLevels* levels = nullptr);

// By its name, or by the longest beginning of it; null: the operator says nothing of it.
const ToolFacts* find_facts(const GuardOptions& options, const std::string& tool);
// The same, or what holds of a tool of which the operator says nothing.
const ToolFacts& facts_of(const GuardOptions& options, const std::string& tool);
std::string reversibility_of(const agents::Action& action, const ToolFacts& facts);
// How deep the arrays and objects of a JSON text go.
std::size_t nesting(std::string_view text);

}  // namespace ambit::governance
