#pragma once

// What a fleet file says to the guard: levels of agents, facts about tools, whether anything is
// enforced. The same for the program that runs the fleet and for the commands of `ambit policy`.

#include "agents/fleet.h"
#include "governance/cedar_call.h"
#include "governance/redaction.h"

namespace ambit::app {

governance::GuardOptions guard_options(const agents::Fleet& fleet);
// What its record never gets to hold.
Result<governance::Redaction> redaction_of(const agents::Fleet& fleet);

}  // namespace ambit::app
