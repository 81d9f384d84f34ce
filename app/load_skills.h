#pragma once

// The skills of a fleet, read from their folders once, at the start: what is served is what was
// checked. Only regular files below the folder itself; names that begin with a dot are passed over;
// a link is an error, so that nothing outside the folder is given away.

#include "agents/fleet.h"
#include "mcp/skill_box.h"

namespace ambit::app {

// Errors name the folder or the file, and what to do. Blocks.
Result<mcp::Skills> load_skills(const agents::Fleet& fleet);

}  // namespace ambit::app
