#pragma once

// How a model says "call this tool": what its chat template taught it. Makes the byte language of a
// turn that offers tools, and reads the calls back out of the text.
//   hermes  free text, then perhaps several of
//           <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>
//   llama   either free text that does not begin with "{",
//           or {"name": ..., "parameters": {...}}

#include "agents/ports.h"
#include "async/result.h"
#include "inference/automaton.h"

#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

enum class Dialect { hermes, llama };

struct TurnShape {
  const std::vector<agents::ToolSpec>* tools = nullptr;
  agents::ToolChoice choice = agents::ToolChoice::automatic;
  std::string_view output_schema{};   // JSON text; empty: free text
  std::string_view output_pattern{};  // a regular expression of the whole answer
  std::string_view output_grammar{};  // in GBNF
};

// True when such a turn is free text only and needs no grammar.
bool is_free(const TurnShape& shape);
// A tool whose schema is not covered (json_schema.h) takes any JSON object.
Result<ExpressionId> turn_language(Automaton& automaton, Dialect dialect, const TurnShape& shape);

struct SpokenTurn {
  std::string content;
  std::vector<agents::ToolCall> calls;  // without ids
};
// Lenient: what does not read as a call stays text.
SpokenTurn read_turn(Dialect dialect, std::string_view text);
// How much of the beginning of an unfinished turn is content whatever may follow.
std::size_t sure_content(Dialect dialect, std::string_view text);
// How long the end of the text is that may be the beginning of `mark` (not empty).
std::size_t begun(std::string_view text, std::string_view mark);

}  // namespace ambit::inference
