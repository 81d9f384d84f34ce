#pragma once

// Assembly: the rooms wired to the ports for one fleet. What `ambit run` owns while it runs, in the
// order in which it comes up; reading open() shows the program.

#include "a2a/remote_tools.h"
#include "agents/artifacts.h"
#include "agents/command_tools.h"
#include "agents/fleet.h"
#include "agents/fleet_run.h"
#include "agents/roster.h"
#include "agents/script_model.h"
#include "agents/sub_agents.h"
#include "agents/throttled_model.h"
#include "app/bounds.h"
#include "app/command.h"
#include "app/energy.h"
#include "app/jail_gate.h"
#include "app/people.h"
#include "app/redacting_journal.h"
#include "governance/guard.h"
#include "governance/instances.h"
#include "http/curl_client.h"
#include "inference/engine.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "mcp/oauth.h"
#include "mcp/skill_box.h"
#include "mcp/toolbox.h"
#include "memory/tools.h"
#include "remote/chat_model.h"
#include "sandbox/runner.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::app {

struct AssemblyOptions {
  std::string state;         // folder of journal and work directories; made if absent
  std::string run;           // id
  std::int64_t threads = 0;  // of the engine; 0: as many as there are processors
  std::int64_t batch_max = 64;
  bool grammar = true;
  bool models = true;                              // false: tools, policies and record alone
  std::map<std::string, std::string> environment;  // for the keys that the fleet file names
};

// The fleet file as it was read again: the agents, and the tools that it says itself, of sessions
// that begin from then on. Lives for as long as one of them does, and no longer than the assembly.
struct Generation {
  agents::Fleet fleet;
  std::unique_ptr<agents::CommandTools> command_tools;
  std::unique_ptr<agents::SubAgents> sub_agents;
  std::vector<agents::Toolbox*> toolboxes;  // all of them
  [[nodiscard]] std::string definition() const;
};

class Assembly {
 public:
  static Result<std::unique_ptr<Assembly>> open(io::UvWorld& world, agents::Fleet fleet,
                                                AssemblyOptions options);
  ~Assembly();
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  agents::FleetRun& start(agents::RunOptions options);
  // Stops all sessions, servers and jails; the journal stays open.
  void stop();

  // As it was read at the start.
  [[nodiscard]] const agents::Fleet& fleet() const { return fleet_; }
  // As it was read last, and which file that was.
  [[nodiscard]] const agents::Fleet& current() const {
    return generation_ ? generation_->fleet : fleet_;
  }
  [[nodiscard]] std::string definition() const;
  // For a fleet file that was read again. Errors: too many of them still have sessions.
  Result<std::shared_ptr<Generation>> next(agents::Fleet fleet);
  void adopt(std::shared_ptr<Generation> generation) { generation_ = std::move(generation); }
  log::LogJournal& journal() { return *journal_; }
  // What the counters of this process have counted, by name: "processors", "cuda:0".
  [[nodiscard]] std::map<std::string, inference::EnergyMeter::Totals> energy() const;
  [[nodiscard]] const std::map<std::string, std::unique_ptr<inference::Engine>>& engines() const {
    return engines_;
  }
  [[nodiscard]] agents::Guard& guard() const { return *guard_; }
  [[nodiscard]] governance::PolicyGuard& policy_guard() { return *guard_; }
  // By name in the fleet file: engines of this process and endpoints elsewhere.
  [[nodiscard]] std::map<std::string, agents::Model*> models() const;
  // Of the fleet, and opened.
  [[nodiscard]] agents::Model& model(const std::string& name) const;
  [[nodiscard]] std::vector<agents::Toolbox*> toolboxes() const;
  [[nodiscard]] const mcp::Skills& skills() const { return skill_box_->skills(); }
  // The sessions that live, and orders for them.
  [[nodiscard]] agents::Roster& roster() { return roster_; }
  // What a run is of: the fleet file and the policies, as they were read.
  [[nodiscard]] const std::vector<agents::Payload>& sources() const { return sources_; }
  // For whoever runs sessions of its own; all of it lives until stop().
  [[nodiscard]] agents::Ports ports();
  [[nodiscard]] std::string journal_path() const { return options_.state + "/journal"; }
  [[nodiscard]] std::string memory_path() const { return options_.state + "/memory"; }
  [[nodiscard]] std::string work_path() const { return options_.state + "/work/" + options_.run; }

 private:
  Assembly(io::UvWorld& world, agents::Fleet fleet, AssemblyOptions options);
  Result<void> open_models();
  Result<void> open_script(const agents::ModelSpec& spec);
  Result<void> open_bounds();
  Result<void> open_engine(const agents::ModelSpec& spec);
  void open_endpoint(const agents::ModelSpec& spec);
  Result<void> open_guard();
  Result<void> open_tools();
  Result<void> open_memory();
  Result<void> open_remote_agents();
  // Those of one reading of the fleet file, with those that all readings share.
  [[nodiscard]] std::vector<agents::Toolbox*> toolboxes_with(agents::CommandTools& commands) const;
  [[nodiscard]] std::unique_ptr<agents::CommandTools> command_tools_of(const agents::Fleet& fleet);
  std::unique_ptr<agents::Toolbox> open_server(const agents::McpServerSpec& server,
                                               const mcp::ToolboxOptions& options);
  Result<std::string> work_directory(const std::string& session);
  Task<Result<mcp::Connection>> connect(const agents::McpServerSpec& server);

  io::UvWorld& world_;
  agents::Fleet fleet_;
  AssemblyOptions options_;
  std::unique_ptr<log::LogJournal> journal_;
  // Before the journal: what it never gets to hold, and whose session is whose.
  std::unique_ptr<RedactingJournal> redacting_;
  std::unique_ptr<SessionBook> book_;
  std::unique_ptr<governance::PolicyGuard> guard_;
  std::unique_ptr<http::CurlClient> webhook_;   // null: nobody is told of approvals
  std::unique_ptr<FolderApprovals> approvals_;  // null: no person can be asked
  std::unique_ptr<governance::Instances> instances_;
  std::unique_ptr<LimitQuotas> quotas_;  // null: the fleet has none
  agents::ToolCheck check_tool_;
  agents::Roster roster_;
  agents::ModelHealth health_;
  std::unique_ptr<agents::Artifacts> artifacts_;  // null: the fleet keeps none
  std::vector<agents::Payload> sources_;
  std::shared_ptr<inference::EnergyMeters> energy_;            // null until an engine is opened
  std::shared_ptr<inference::cuda::Residencies> residencies_;  // null: no two models share a GPU
  std::map<std::string, std::unique_ptr<inference::Engine>> engines_;
  std::map<std::string, std::shared_ptr<mcp::OAuth>> logins_;  // by MCP server; null: none
  std::unique_ptr<http::CurlClient> client_;           // made when the first endpoint needs it
  std::map<std::string, remote::Endpoint> addresses_;  // by URL and the name of the key
  std::map<std::string, std::unique_ptr<remote::ChatModel>> endpoints_;
  std::map<std::string, std::unique_ptr<agents::ScriptModel>> scripts_;
  std::map<std::string, std::unique_ptr<agents::ThrottledModel>> throttled_;
  std::unique_ptr<JailGate> gate_;
  std::unique_ptr<http::CurlClient> egress_;          // of jails, to public addresses alone
  std::unique_ptr<http::CurlClient> egress_private_;  // for origins that are named as private
  std::unique_ptr<sandbox::ZygoteRunner> runner_;
  std::unique_ptr<agents::CommandTools> command_tools_;
  std::unique_ptr<mcp::SkillBox> skill_box_;
  std::unique_ptr<memory::MemoryTools> memory_tools_;  // null: the fleet has no memory
  std::unique_ptr<http::CurlClient> http_;
  std::vector<std::unique_ptr<agents::Toolbox>> servers_;
  std::unique_ptr<http::CurlClient> agents_client_;
  std::unique_ptr<http::Client> agents_grpc_;        // null: this program has no gRPC
  std::unique_ptr<a2a::RemoteTools> remote_agents_;  // null: the fleet has none
  std::unique_ptr<agents::SubAgents> sub_agents_;
  std::shared_ptr<Generation> generation_;  // null: the first one
  std::vector<std::weak_ptr<Generation>> generations_;
  std::unique_ptr<agents::FleetRun> run_;
};

// Seals the record: what was appended is on disk already, whatever becomes of this.
Result<void> close_journal(io::UvWorld& world, Assembly& assembly);

}  // namespace ambit::app
