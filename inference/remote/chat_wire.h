#pragma once

// The wire format of OpenAI's chat completions (POST /chat/completions), as every compatible
// endpoint speaks it: one TurnRequest to a body, one answer to a Turn. Pure.

#include "agents/ports.h"
#include "async/result.h"

#include <string>
#include <string_view>

namespace ambit::remote {

// The body of the request, without streaming. What the endpoint does not know (minP, topK,
// repeatPenalty) is sent only when it was asked for, under the names that compatible servers use.
Result<std::string> to_request(const std::string& model, const agents::TurnRequest& request);

// The first choice of the answer. Errors: invalid, when it is no chat completion, is refused by a
// content filter, or calls a tool with what is no JSON object.
Result<agents::Turn> to_turn(std::string_view body);

// What an answer says that it has cost, whether it is of use or not.
agents::Usage usage_of(std::string_view body);

// What an error's body says, in one line of at most 300 bytes; empty if it says nothing.
std::string error_message(std::string_view body);
// Does this body of a 400 mean that the conversation no longer fits the model's context?
bool is_context_overflow(std::string_view body);

}  // namespace ambit::remote
