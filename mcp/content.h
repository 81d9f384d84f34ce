#pragma once

// What a model gets to read of a tool's result: text as it is, everything else as one line that
// says what it was. Cut at a bound, between two characters.

#include "mcp/protocol.h"

#include <cstddef>
#include <string>

namespace ambit::mcp {

struct Flattened {
  std::string text;
  bool truncated = false;
};

// Blocks are joined by line breaks. A result without blocks gives its structured content.
Flattened flatten(const CallToolResult& result, std::size_t bytes_max);

}  // namespace ambit::mcp
