#pragma once

// Includes of a fleet file: "include": ["models.json", "teams/desk.json"]. What the named files say
// is put into the document before it is read, so that a fleet is one document whatever it was
// written in. For the files of this folder alone.

#include "agents/document.h"
#include "agents/fleet.h"

#include <vector>

namespace ambit::agents {

// Paths of includes are relative to the file that names them; every other path in a file is
// relative to the fleet file itself. An included file may hold what is named (profiles, models,
// mcpServers, tools, agents, toolFacts), policies, skills and includes of its own, at most 8 deep
// and 100 files in all. Every mistake is reported; what is sound is put in all the same.
void put_in_includes(Node& root, const FleetContext& context, std::vector<Problem>& problems);

}  // namespace ambit::agents
