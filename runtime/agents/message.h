#pragma once

// Messages as OpenAI-style JSON text, one object a message; and back.

#include "agents/ports.h"
#include "async/result.h"

#include <string>

namespace ambit::agents {

std::string to_json(const Message& message);
// Arguments of calls come as text (OpenAI) or as an object (templates, data sets).
Result<Message> message_from_json(const std::string& text);

}  // namespace ambit::agents
