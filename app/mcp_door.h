#pragma once

// McpDoor: the tools of one exposed agent of `ambit serve`, for MCP clients. Calls that outlive
// their request are kept in the record: after a restart their answers can still be asked for.

#include "agents/fleet.h"
#include "app/assembly.h"
#include "async/log.h"
#include "mcp/fleet_tools.h"
#include "mcp/http_endpoint.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::app {

// Tasks of MCP clients as records: type mcp.task, the task's id as the run, the rest as a payload.
class JournalTaskKeeper final : public mcp::TaskKeeper {
 public:
  JournalTaskKeeper(log::LogJournal& journal, std::string agent)
      : journal_(journal), agent_(std::move(agent)) {}
  Task<Result<void>> keep(mcp::TaskRecord record) override;

 private:
  log::LogJournal& journal_;
  std::string agent_;
};
// Those of an agent that began after `since` (ns); one that cannot be read is left out, with a
// warning.
Result<std::vector<mcp::TaskRecord>> kept_mcp_tasks(log::LogJournal& journal,
                                                    const std::string& agent, std::int64_t since_ns,
                                                    Log& log);

class McpDoor {
 public:
  using Authenticate = std::function<std::optional<std::string>(const http::RequestHead&)>;

  // Everything is borrowed and outlives it.
  McpDoor(io::UvWorld& world, Assembly& assembly, agents::AgentSpec agent, const std::string& run,
          Authenticate authenticate);
  McpDoor(const McpDoor&) = delete;
  McpDoor& operator=(const McpDoor&) = delete;

  // Takes up what was kept, and lists the tools.
  Task<Result<void>> open(Log& log);
  // For a fleet file that was read again: lists the tools that it gives the agent. What it gives
  // then puts them in force, and clients are told of what has changed.
  Task<Result<std::function<void()>>> prepare(agents::AgentSpec agent,
                                              std::shared_ptr<Generation> next);
  // An endpoint at this path; it must not outlive the door.
  [[nodiscard]] std::unique_ptr<mcp::HttpEndpoint> endpoint(std::string path);

 private:
  Result<void> shelve_artifacts();

  io::UvWorld& world_;
  Assembly& assembly_;
  std::string agent_;
  Authenticate authenticate_;
  JournalTaskKeeper keeper_;
  mcp::Server server_;
  mcp::FleetTools tools_;
};

}  // namespace ambit::app
