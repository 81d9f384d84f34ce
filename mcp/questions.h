#pragma once

// What an upstream server may ask of a person through us. A form must not ask for what is secret
// (MCP 2025-06-18, elicitation: "servers MUST NOT use form mode elicitation to request sensitive
// information"), and a link must lead where it says that it leads.

#include "mcp/protocol.h"

#include <optional>
#include <string>

namespace ambit::mcp {

// Why the question is not passed on; nothing: it may be. `params` are those of
// "elicitation/create", "sampling/createMessage" or "roots/list".
std::optional<std::string> why_not_ask(const std::string& method, const Value& params);

}  // namespace ambit::mcp
