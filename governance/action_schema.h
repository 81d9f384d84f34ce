#pragma once

// The Cedar schema of what policies see: every kind of action with its principal, its resource and
// its context. Published (`ambit policy schema`), so that editors, validators and reviewers that
// are not ours can check a fleet's policies.

#include "agents/ports.h"
#include "async/result.h"
#include "cedar/schema.h"
#include "governance/guard.h"

#include <string>
#include <vector>

namespace ambit::governance {

// In the human-readable form. The arguments of the tools, as far as Cedar can type them, are
// optional attributes of context.arguments; a name that two tools use for different types, or whose
// values have several, is left out.
std::string action_schema(const std::vector<agents::ToolSpec>& tools = {});

// Whether what the policies would see of an action fits the schema; the arguments are not looked
// at. The error names the place.
Result<void> check_action(const agents::Action& action, const GuardOptions& options,
                          const cedar::Schema& schema);

}  // namespace ambit::governance
