#pragma once

// Hostile MCP servers, one case each: what the server does, what must become of it, and the play
// that shows it. mcp/HOSTILE.md is the table of them, made by `attack_mcp --table`.

#include <functional>
#include <string>
#include <vector>

namespace ambit::mcp {

// What was seen, for a person; `good` if it is what must be.
struct Seen {
  bool good = false;
  std::string what;
};

struct Case {
  std::string does;  // the server
  std::string must;  // become of it
  std::function<Seen()> play;
};

struct Chapter {
  std::string title;
  std::vector<Case> cases;
};

Chapter definition_cases();
Chapter shifting_cases();
Chapter result_cases();
Chapter protocol_cases();
Chapter question_cases();
Chapter http_cases();
Chapter file_cases();

}  // namespace ambit::mcp
