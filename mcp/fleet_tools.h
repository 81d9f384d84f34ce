#pragma once

// FleetTools: the tools of one agent of a fleet, offered by a Server to clients outside. A call
// goes through the same gate as an agent's own (agents/gate.h); one that people must approve waits
// for them. What is denied is answered as an error of the tool that says why. A toolbox that cannot
// be listed makes every list an error: an outage must not look like an empty catalogue. The agent's
// skills (mcp/skill_box.h) are offered as skills too; reading one of their files is the same call.
// What the agent's sessions have kept whole (agents/artifacts.h) is there as resources, for the
// caller who asked for those sessions alone; reading one is a call of artifact__read.
// When the fleet file is read again, clients are told of what has changed for them.

#include "agents/budget.h"
#include "agents/fact.h"
#include "agents/fleet.h"
#include "agents/gate.h"
#include "agents/ports.h"
#include "async/channel.h"
#include "mcp/server.h"
#include "mcp/skill_box.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ambit::mcp {

struct FleetToolsOptions {
  std::string run;      // id in the record
  std::string session;  // of this client
  agents::AgentSpec agent;
  Skills skills{};         // of the fleet; those that the agent's tools name are offered
  bool is_shared = false;  // many clients for a long time: quotas bound them, and no count of calls
};

class FleetTools {
 public:
  // The agent as one reading of the fleet file has it, and where its tools are.
  struct Edition {
    agents::AgentSpec agent;
    std::vector<agents::Toolbox*> boxes;
    std::shared_ptr<const void> keeps{};  // the boxes alive, for as long as a call is in them
  };

  // Everything is borrowed and outlives it; the server gets its tools at the first refresh().
  FleetTools(Server& server, std::vector<agents::Toolbox*> boxes, agents::Ports ports,
             FleetToolsOptions options);
  ~FleetTools();
  FleetTools(const FleetTools&) = delete;
  FleetTools& operator=(const FleetTools&) = delete;

  // Lists every toolbox again and offers what the agent may use. For Server's before_list.
  Task<Result<void>> refresh();
  // Lists the tools of another reading; what it gives puts that one in force. Calls that have begun
  // end where they began.
  Task<Result<std::function<void()>>> prepare(Edition next);

 private:
  struct Offered {
    agents::Toolbox* box = nullptr;
    agents::ToolSpec spec;
    std::shared_ptr<const Edition> edition;
  };
  using Offers = std::map<std::string, Offered>;
  Task<Result<Offers>> list(std::shared_ptr<const Edition> edition);
  Result<void> take(const Offers& fresh);
  Task<Result<Value>> call(std::string name, Value arguments, Call& call);
  Result<void> offer_skills();
  Task<Result<Value>> read(std::shared_ptr<const Skill> skill, Value where, Call& call);
  Result<void> offer_artifacts();
  [[nodiscard]] std::vector<Value> artifacts_of(const std::string& principal) const;
  Task<Result<Value>> read_artifact(Value where, Call& call);
  class ClientRecorder;
  class Given;
  Task<Result<agents::Outcome>> walk(Offered offered, std::string arguments, std::string principal);
  Task<Result<agents::Outcome>> carry_out(Offered offered, agents::Action action,
                                          std::string call_id);
  Task<agents::Outcome> perform(Offered offered, std::string arguments, std::string call_id);
  Result<void> offer(const Offered& offered);

  Server& server_;
  agents::Ports ports_;
  FleetToolsOptions options_;
  agents::Ledger ledger_;
  agents::Gate gate_;
  std::shared_ptr<const Edition> edition_;
  Offers offered_;
  std::int64_t actions_ = 0;
  std::unique_ptr<agents::Toolbox> given_;  // where an artifact's whole content comes from
  std::set<std::string> skills_;            // that the server has, whoever may see them
  Semaphore refreshing_{1};
};

}  // namespace ambit::mcp
