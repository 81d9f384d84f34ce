#pragma once

// What a chat template can say by itself, and how a conversation goes on where it cannot: tools are
// described in the system message, calls and results are written in words of ours, a system message
// joins the question after it. So an agent with tools can be given to every model that converses.

#include "agents/model.h"
#include "inference/dialect.h"
#include "inference/template.h"

#include <vector>

namespace ambit::inference {

struct ChatAbilities {
  bool system = false;  // a system message
  // Definitions of tools, results, and calls in a dialect that is read back (dialect.h).
  bool tools = false;
  Dialect dialect = Dialect::hermes;  // ours is this one
};
// Has the template write small conversations, and looks for what was in them.
ChatAbilities abilities_of(const Template& chat);

// The conversation without tools, calls and results; messages of one role that meet are one.
std::vector<agents::Message> tools_in_words(const std::vector<agents::Message>& messages,
                                            const std::vector<agents::ToolSpec>* tools);
// The conversation without system messages.
std::vector<agents::Message> system_in_words(const std::vector<agents::Message>& messages);

}  // namespace ambit::inference
