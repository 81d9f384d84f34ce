#pragma once

// An Action as JSON, for cases, approvals and explanations: the same names everywhere. The
// canonical form is what approvals are bound to.

#include "agents/ports.h"
#include "async/result.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace ambit::governance {

// {"agent", "kind", "tool", "arguments", ...}; what is left out has the Action's defaults. A member
// that is not known is an error, as is arguments that are no object.
Result<agents::Action> action_from_json(const nlohmann::json& value);
nlohmann::json to_json(const agents::Action& action);

// The canonical form (RFC 8785) of a value. Error: a text in it that is not UTF-8, or a number that
// other readers would round.
Result<std::string> canonical_text(const nlohmann::json& value);

// What the action would do and for whom, as canonical JSON (RFC 8785): kind, agent, session, run,
// who answers for it, tool, its definition's digest, arguments, and the id. Not the budget left or
// the taint, which change while people think.
Result<std::string> action_text(const agents::Action& action);
// SHA-256 hex over action_text(action): what approvals are bound to.
Result<std::string> action_hash(const agents::Action& action);

}  // namespace ambit::governance
