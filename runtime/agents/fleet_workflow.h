#pragma once

// The `workflow` of a fleet file: each pattern, read into the Graph that it is a shorthand for.

#include "agents/fleet.h"
#include "agents/fleet_reader.h"

namespace ambit::agents {

// Reads what belongs to the pattern into fleet.workflow. The fleet's agents are read already; those
// that may delegate or hand over by this pattern get the tools for it.
void read_pattern(Reader& reader, Fleet& fleet);

}  // namespace ambit::agents
