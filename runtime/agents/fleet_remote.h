#pragma once

// The members of a fleet file's "agents" that live elsewhere: {"card": "https://..."}. Ours may
// give them tasks ("subAgents"), over A2A; they take no session over, and see nothing of an agent
// whose data stays here.

#include "agents/fleet.h"
#include "agents/fleet_reader.h"

#include <string>

namespace ambit::agents {

bool is_remote_agent(const Node& agent);
RemoteAgentSpec read_remote_agent(Reader& reader, const std::string& name,
                                  const FleetContext& context);
// What `root`, the whole document, says about remote agents in the wrong places.
void check_remote_agents(const Node& root, FleetFile& file);

}  // namespace ambit::agents
