#pragma once

// SubAgents: the agents of a fleet as tools of each other. `agent__NAME` runs a session of that
// agent inside the caller's budget and gives its answer; `handoff__NAME` ends the caller's session,
// and whoever drives it (flow.h) goes on with that agent. Both are delegations at the gate. A
// delegated session is called PARENT.CALL, so after a crash it goes on where it was.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "agents/turn_loop.h"

#include <map>
#include <string>
#include <vector>

namespace ambit::agents {

class SubAgents final : public Toolbox {
 public:
  // `ports` needs a roster. Models by name in the fleet file; `others`: every other toolbox. All is
  // borrowed and outlives it.
  SubAgents(const Fleet& fleet, std::map<std::string, Model*> models, Ports ports,
            std::vector<Toolbox*> others);

  Task<Result<std::vector<ToolSpec>>> list() override;
  Task<Outcome> call(std::string session, ToolCall call) override;

 private:
  Task<Outcome> delegate(Roster::Entry& parent, const AgentSpec& agent, std::string child,
                         std::string task);
  Task<Result<SessionState>> run_child(Roster::Entry& parent, const AgentSpec& agent,
                                       std::string child, std::string task);
  Task<Result<const Catalogue*>> catalogue_of(const AgentSpec& agent, const std::string& run);

  const Fleet& fleet_;
  std::map<std::string, Model*> models_;
  Ports ports_;
  std::vector<Toolbox*> boxes_;                  // the others, then this one
  std::map<std::string, Catalogue> catalogues_;  // by agent
};

// The agent that a session's last call handed it over to; empty: none.
std::string handed_over_to(const SessionState& state);
// What it said to that agent.
std::string handoff_message(const SessionState& state);
// What a session has spent so far, alone, and with those among `restored` that it delegated to.
Cost spent_by(const SessionState& state);
Cost spent_in(const std::map<std::string, SessionState>& restored, const SessionState& state);

}  // namespace ambit::agents
