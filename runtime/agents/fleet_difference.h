#pragma once

// The difference between two fleet files, in words, and which of it a running program can take
// over: agents, their tools and jails, how models sample and what they cost, policies. What is open
// already (models, servers, the record) stays as it is until a restart. Compared is what the files
// say, so that each change has its path.

#include "async/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace ambit::agents {

struct FleetChange {
  std::string path;         // "agents.clerk.limits.maxTurns"
  std::string words;        // "8 -> 12", "added", "removed", "changed"
  std::string restart_for;  // why it needs a restart; empty: it does not
  friend bool operator==(const FleetChange&, const FleetChange&) = default;
};

// In the order of the files. Errors: a text that is no fleet file.
Result<std::vector<FleetChange>> fleet_difference(std::string_view before, std::string_view now);

}  // namespace ambit::agents
