#pragma once

// Client: talks to one MCP server, of either era, over stdio or HTTP. connect() finds the era out
// (discover first, initialize if that is not understood). What the server asks back (sampling,
// elicitation, roots) goes to `on_input`, whichever way the era asks it; without one the roots are
// empty and the rest is refused. Whatever the server does, each call ends: with an answer,
// Code::timeout, or the reason why the connection ended. Owned by a toolbox or a command.

#include "async/loop.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "mcp/protocol.h"
#include "mcp/stdio.h"
#include "rpc/binder.h"
#include "rpc/peer.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ambit::mcp {

// modern_unasked: without server/discover, which a client need not send.
enum class EraChoice { automatic, legacy, modern, modern_unasked };

// Which era the servers of an origin speak, so that it is found out once.
using EraMemory = std::map<std::string, Era>;

// Answers what the server wants to know: "elicitation/create", "sampling/createMessage",
// "roots/list".
using InputHandler = std::function<Task<Result<Value>>(std::string method, Value params)>;

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
  // The server's news: "notifications/tools/list_changed", ".../resources/updated" and their like.
  // A modern server, and resources of a legacy one, tell only what hear_of() has asked for.
  std::function<void(const std::string& method, const Value& params)> on_change;
  InputHandler on_input;  // `capabilities` says what of it is answered
  Value capabilities;
  std::size_t input_rounds_max = 8;  // of one request
  bool takes_tasks = true;           // a modern server may answer a call with a task
  std::shared_ptr<EraMemory> eras;   // may be null
};

struct CallOptions {
  Duration silence = std::chrono::seconds(60);  // without an answer or progress
  Duration total = std::chrono::minutes(10);    // whatever progress says
  std::function<void(const ProgressParams&)> on_progress;
  InputHandler on_input;          // instead of the client's, where the question is this call's
  std::function<void()> on_task;  // the server has made a task of the call
};

// What a client wants to be told of.
struct Interests {
  bool tools = false;
  bool prompts = false;
  bool resources = false;
  std::set<std::string> uris;  // of resources
  [[nodiscard]] bool any() const { return tools || prompts || resources || !uris.empty(); }
  friend bool operator==(const Interests&, const Interests&) = default;
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

// The server offers news of this kind: "tools", "listChanged".
bool tells(const ServerFacts& server, const char* capability, const char* what);

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
  // Any request; `params` is an object or not present, its _meta is ours. The server's questions on
  // the way are answered here.
  Task<Result<rpc::Reply>> request(std::string method, Value params, CallOptions options = {});
  // Every page of a list: the items under `key` of each result of `method`.
  Task<Result<Value>> list_all(std::string method, std::string key);
  // Asks the server for this news from now on, again whenever its stream ends; it comes to
  // on_change.
  void hear_of(Interests wanted);
  // Ends what the server keeps for us, where the transport can say so.
  Task<void> close() { return transport_.close(); }

  [[nodiscard]] const ServerFacts& server() const { return server_; }
  // True once after the server said that its tools have changed.
  bool take_tools_changed() { return std::exchange(tools_changed_, false); }
  [[nodiscard]] const std::optional<Error>& ended() const { return peer_.ended(); }
  [[nodiscard]] const rpc::PeerCounts& counts() const { return peer_.counts(); }
  // Nothing of the last request was done; another connection may try it again.
  [[nodiscard]] bool has_lost_session() const { return transport_.has_lost_session(); }
  // The error, with the end of the server's stderr: what a person needs to see.
  [[nodiscard]] Error explained(Error error) const;

 private:
  struct Watch;
  struct Asking;
  struct Withdrawal;
  static constexpr std::size_t cancelling_max = 64;
  Task<void> watch(Watch& watch, CallOptions& options);
  enum class Verdict { modern, legacy, ask_again };
  Task<Result<bool>> discover();
  Result<Verdict> judge_discovery(rpc::Reply reply);
  void remember();
  Task<Result<rpc::Reply>> converse(std::string method, Value params, std::int64_t token);
  Task<Result<Value>> answer_inputs(Value result, std::int64_t token);
  Task<Result<Value>> answer_one(std::string method, Value params, std::int64_t token);
  [[nodiscard]] std::int64_t token_of(const rpc::Request& question) const;
  // A call that has become a task at the server.
  [[nodiscard]] bool is_task(const rpc::Reply& reply) const;
  Task<Result<rpc::Reply>> until_task_rests(Withdrawal& task, std::int64_t pause_ms,
                                            std::int64_t token);
  Task<Result<rpc::Reply>> follow_task(Value created, std::int64_t token);
  Task<Result<rpc::Reply>> follow_legacy_task(Value created, std::int64_t token);
  static Result<rpc::Reply> outcome_of_task(rpc::Reply reply);
  [[nodiscard]] Value task_params(const std::string& id) const;
  Task<Result<void>> answer_task(std::string id, Value task, std::int64_t token);
  void withdraw_task(const std::string& id);
  Task<void> cancel_task(std::string id);
  void hear(std::int64_t token, std::string message);
  void became_task(std::int64_t token);
  Task<rpc::Reply> answer_input(rpc::Request request);
  Task<void> keep_hearing();
  Task<void> hear_modern();
  Task<void> hear_legacy();
  Task<Result<rpc::Reply>> listen_once(Interests wanted);
  Task<void> other_interests(Interests than);
  void note_headers(ToolList& list);
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
  std::map<std::string, std::int64_t> legacy_tasks_;  // the call that became it, by its id
  Interests interests_;
  bool hearing_ = false;
  Waiters interests_changed_;
  std::size_t cancelling_ = 0;
  rpc::Binder requests_;
  StderrTail stderr_;
  std::unique_ptr<StdioTransport> stdio_;
  ClientTransport& transport_;
  rpc::Peer peer_;
  Scope scope_;
};

}  // namespace ambit::mcp
