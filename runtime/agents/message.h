#pragma once

// Messages as OpenAI-style JSON text, one object a message; and back.

#include "agents/ports.h"
#include "async/result.h"

#include <string>
#include <vector>

namespace ambit::agents {

std::string to_json(const Message& message);
// Arguments of calls come as text (OpenAI) or as an object (templates, data sets).
Result<Message> message_from_json(const std::string& text);

// One message a line.
std::string to_json_lines(const std::vector<Message>& messages);
Result<std::vector<Message>> messages_from_json_lines(const std::string& lines);

}  // namespace ambit::agents
