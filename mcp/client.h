#pragma once

// Client: talks to one MCP server, of either era, over its stdio. connect() finds the era out
// (discover first, initialize if that is not understood). Requests of the server are answered: ping
// and an empty list of roots; sampling and elicitation are refused. Whatever the server does, each
// call ends: with an answer, Code::timeout, or the reason why the connection ended. Owned by a
// toolbox or a command.

#include "async/loop.h"
#include "async/scope.h"
#include "mcp/protocol.h"
#include "mcp/stdio.h"
#include "rpc/binder.h"
#include "rpc/peer.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ambit::mcp {

enum class EraChoice { automatic, legacy, modern };

struct ClientOptions {
  Implementation info = {"ambit", "0.1.0"};
  EraChoice era = EraChoice::automatic;
  Duration discover_time = std::chrono::seconds(3);  // then the server counts as legacy
  Duration initialize_time = std::chrono::seconds(30);
  Duration list_time = std::chrono::seconds(30);  // a page
  std::size_t pages_max = 64;
  std::size_t tools_max = 4096;
  StdioLimits stdio;
  rpc::PeerLimits peer;
  std::function<void(const LogParams&)> on_log;  // notifications/message
};

struct CallOptions {
  Duration silence = std::chrono::seconds(60);  // without an answer or progress
  Duration total = std::chrono::minutes(10);    // whatever progress says
  std::function<void(const ProgressParams&)> on_progress;
};

// The server answered: with the tool's result, or with a fault instead.
struct ToolAnswer {
  CallToolResult result;
  std::optional<rpc::Fault> fault;
};

struct ToolList {
  std::vector<Tool> tools;            // in the server's order
  std::vector<std::string> rejected;  // what was left out, and why
};

struct ServerFacts {
  Era era = Era::legacy;
  std::string protocol_version;
  std::optional<Implementation> info;
  Value capabilities;
  std::string instructions;
};

class Client {
 public:
  Client(Connection connection, ClientOptions options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Once, before anything else.
  Task<Result<void>> connect();
  // Some servers end at a first message that is not initialize: start it again with
  // EraChoice::legacy.
  [[nodiscard]] bool died_at_discovery() const { return died_at_discovery_; }

  Task<Result<ToolList>> list_tools();
  // Destroying the task cancels the call at the server too.
  Task<Result<ToolAnswer>> call_tool(std::string name, Value arguments, CallOptions options = {});

  [[nodiscard]] const ServerFacts& server() const { return server_; }
  // True once after the server said that its tools have changed.
  bool take_tools_changed() { return std::exchange(tools_changed_, false); }
  [[nodiscard]] const std::optional<Error>& ended() const { return peer_.ended(); }
  [[nodiscard]] const rpc::PeerCounts& counts() const { return peer_.counts(); }
  // The error, with the end of the server's stderr: what a person needs to see.
  [[nodiscard]] Error explained(Error error) const;

 private:
  struct Watch;
  Task<void> watch(Watch& watch, CallOptions& options);
  Task<Result<bool>> discover();
  Result<bool> judge_discovery(rpc::Reply reply);
  Task<Result<void>> initialize();
  Task<Result<ListToolsResult>> list_page(std::optional<std::string> cursor);
  [[nodiscard]] Value meta(std::optional<std::int64_t> progress_token) const;
  void bind_requests();
  void on_notification(const rpc::Notification& notification);
  void on_abandoned(const rpc::Id& id, const std::string& method);
  Task<void> send_cancelled(rpc::Id id);
  Task<void> run_peer();
  Task<void> run_writer();

  Connection connection_;
  ClientOptions options_;
  ServerFacts server_;
  bool died_at_discovery_ = false;
  bool tools_changed_ = false;
  std::int64_t next_token_ = 1;
  std::map<std::int64_t, Watch*> watches_;
  std::size_t cancelling_ = 0;
  rpc::Binder requests_;
  StderrTail stderr_;
  StdioTransport transport_;
  rpc::Peer peer_;
  Scope scope_;
};

}  // namespace ambit::mcp
