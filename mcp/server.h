#pragma once

// Server: tools, prompts, resources and completion for MCP clients of either era, whatever the
// transport. Pure of I/O: a transport gives it one request at a time with a Wire to speak on. A
// handler asks its client through its Call, in one way for both eras: to a legacy client the
// question is sent and the handler waits; for a modern one the handler ends there, the client gets
// the questions and a sealed state, and the handler runs again from its start once the answers are
// there. So a handler does nothing that cannot be done twice before its last question.

#include "async/scope.h"
#include "async/waiters.h"
#include "mcp/protocol.h"
#include "mcp/request_state.h"
#include "mcp/server_options.h"
#include "mcp/task_record.h"
#include "mcp/tool_headers.h"
#include "mcp/tool_search.h"
#include "rpc/schema.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ambit::mcp {

class LiveCall;

// What has changed and somebody has not been told yet. Bounded by what can change, however often
// it does.
struct Changes {
  bool tools = false;
  bool prompts = false;
  bool resources = false;
  std::set<std::string> uris;
  std::set<std::string> tasks;  // by id
  [[nodiscard]] bool any() const {
    return tools || prompts || resources || !uris.empty() || !tasks.empty();
  }
};

// Hears of changes while it lives: a legacy session, a modern subscription.
class Watcher {
 public:
  Watcher(Server& server, Changes wanted);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  Changes wanted;

 private:
  friend class Server;
  Server& server_;
  Changes pending_;
  Waiters changed_;
};

// What the server knows of one legacy client, from initialize on.
struct Session {
  explicit Session(Server& server) : watcher(server, {true, true, true, {}, {}}) {}
  std::string version;  // empty: initialize has not come
  Value client_capabilities;
  std::string log_level = "debug";
  Watcher watcher;
};

struct Answer {
  rpc::Reply reply;
  int status = 200;  // over HTTP
};

class Server {
 public:
  Server(io::Clock& clock, io::Entropy& entropy, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // An error: the definition is malformed, or its name is taken. Clients are told of the change.
  Result<void> add(ServerTool tool);
  Result<void> add(ServerPrompt prompt);
  Result<void> add(ServerResource resource);
  // Its files become resources; clients that know the extension get its entry too.
  Result<void> add(ServerSkill skill);
  bool remove_tool(const std::string& name);
  bool remove_prompt(const std::string& name);
  bool remove_resource(const std::string& uri);  // or its uriTemplate
  bool remove_skill(const std::string& uri);     // with its files
  void clear();
  void set_completion(Handler complete) { complete_ = std::move(complete); }
  void resource_updated(const std::string& uri);
  // The resources that some client wants to hear of; `hears` is told whenever that changes.
  [[nodiscard]] std::set<std::string> watched() const;
  void set_on_watched(std::function<void()> hears) { on_watched_ = std::move(hears); }
  // What was kept of tasks before this process began; those that had not ended have failed.
  void restore_tasks(std::vector<TaskRecord> records);
  // Cancels the calls that are tasks. Whoever owns what their handlers use does so before it dies.
  void end_tasks();

  // Answers one request. `session` is null where there can be no legacy client. What it is given
  // must outlive the task.
  Task<Answer> answer(rpc::Request request, Session* session, Wire& wire, std::string principal);
  // Tells the client of this watcher what changes, until its task is destroyed. The notifications
  // carry `meta` as their _meta if it is present.
  Task<void> tell(Watcher& watcher, Wire& wire, Value meta);

  static bool is_modern(const rpc::Request& request);
  // What is wrong with a modern request's _meta.
  static std::optional<rpc::Fault> fault_of_meta(const rpc::Request& request);
  // The headers that a call of this tool must repeat.
  [[nodiscard]] const HeaderParameters* mirrored(const std::string& tool) const;

 private:
  friend class Watcher;
  friend class Call;
  friend class LiveCall;
  struct Tool {
    ServerTool given;
    rpc::Schema input;
    std::optional<rpc::Schema> output;
    HeaderParameters headers;
  };

  Task<Answer> answer_modern(rpc::Request request, Wire& wire, std::string principal);
  Task<Answer> answer_legacy(rpc::Request request, Session& session, Wire& wire,
                             std::string principal);
  Task<rpc::Reply> answer_common(const rpc::Request& request, Call& call);
  Task<rpc::Reply> call_tool(const rpc::Json& params, Call& call);
  Task<rpc::Reply> get_prompt(const rpc::Json& params, Call& call);
  Task<rpc::Reply> read_resource(const rpc::Json& params, Call& call);
  Task<rpc::Reply> list(const std::string& method, const rpc::Json& params, Call& call);
  [[nodiscard]] rpc::Reply page(const std::string& key, const std::vector<const rpc::Json*>& all,
                                const rpc::Json& params) const;
  [[nodiscard]] bool may_see(const std::string& principal, const std::string& tool) const;
  // The same of a resource or a skill.
  template <class Item>
  [[nodiscard]] bool sees(const std::string& principal, const Item& item) const {
    return (item.tool.empty() || may_see(principal, item.tool)) && has_grant(principal, item);
  }
  template <class Item>
  [[nodiscard]] bool has_grant(const std::string& principal, const Item& item) const {
    return item.grant.empty() || !options_.offers || options_.offers(principal, item.grant);
  }
  // How this resource is read; null: there is none, or none that this caller may see.
  [[nodiscard]] const Handler* reader_of(const std::string& principal,
                                         const std::string& uri) const;
  // There is such a resource, and this caller may not see it.
  [[nodiscard]] bool is_hidden(const std::string& principal, const std::string& uri) const;
  // The same of what an argument is completed for.
  [[nodiscard]] bool hides_reference(const std::string& principal, const rpc::Json& ref) const;
  [[nodiscard]] std::vector<const rpc::Json*> skill_entries(const Call& call) const;
  rpc::Reply get_skill(const rpc::Json& params, const Call& call) const;
  rpc::Reply read_directory(const rpc::Json& params, const Call& call) const;
  Task<rpc::Reply> listen(const rpc::Request& request, Call& call);
  Task<rpc::Reply> answer_live(std::shared_ptr<LiveCall> live, Wire& wire);
  Task<rpc::Reply> answer_task(const rpc::Request& request, Call& call);
  // Tasks as MCP 2025-11-25 had them: the client asks for one.
  Task<rpc::Reply> start_legacy_task(rpc::Request request, const Call& call);
  Task<rpc::Reply> answer_legacy_task(const rpc::Request& request, Call& call);
  Task<rpc::Reply> legacy_task_result(std::string id, Call& call);
  Task<Result<void>> ask_for_task(std::string id, Call& call);
  [[nodiscard]] rpc::Reply list_legacy_tasks(const rpc::Json& params, const Call& call) const;
  Task<void> cancel_task(std::string id);
  Task<void> work(LiveCall& live);
  Task<void> become_task(std::shared_ptr<LiveCall> live);
  Task<void> conclude(LiveCall& live);
  Task<void> settle(std::string id);
  Task<void> reap(std::string id);
  Result<void> take_task_answers(LiveCall& live, const rpc::Json& answers);
  void task_says(const std::string& id, std::string message);
  void task_waits(LiveCall& live);
  void task_changed(const std::string& id);
  [[nodiscard]] std::optional<Value> task_news(const std::string& id) const;
  [[nodiscard]] bool has_task(const std::string& id, const std::string& principal) const;
  void forget_expired();
  [[nodiscard]] bool may_become_task(const rpc::Request& request, const Call& call) const;
  static void read_meta(const rpc::Json& meta, Call& call);
  [[nodiscard]] bool is_progressive() const;
  [[nodiscard]] bool is_meta_tool(const std::string& name) const;
  static const rpc::Json& meta_definitions();
  [[nodiscard]] rpc::Json meant(const rpc::Json& params) const;
  [[nodiscard]] rpc::Reply answer_meta(const rpc::Json& params, const std::string& principal) const;
  rpc::Reply initialize(const rpc::Json& params, Session& session);
  rpc::Reply subscribe(const rpc::Json& params, Session& session, bool on);
  rpc::Json discovery() const;
  rpc::Json capabilities(Era era) const;
  void stamp(const std::string& method, rpc::Reply& reply) const;
  rpc::Reply input_required(const rpc::Request& request, Call& call);
  Result<void> take_answers(const rpc::Request& request, Call& call) const;
  void changed(bool Changes::* what);
  void note_watched() const {
    if (on_watched_) on_watched_();
  }

  io::Clock& clock_;
  io::Entropy& entropy_;
  ServerOptions options_;
  StateSealer sealer_;
  std::map<std::string, Tool> tools_;
  ToolSearch search_;  // over the same tools
  std::map<std::string, ServerPrompt> prompts_;
  std::map<std::string, ServerResource> resources_;  // by uri
  std::map<std::string, ServerResource> templates_;  // by uriTemplate
  struct OfferedSkill {
    Value entry;
    std::string tool;
    std::string grant;
    std::vector<std::string> files;
  };
  std::map<std::string, OfferedSkill> skills_;  // by the URI of their SKILL.md
  Handler complete_;
  std::function<void()> on_watched_;
  std::set<Watcher*> watchers_;
  std::map<std::string, TaskRecord> tasks_;                // by id
  std::map<std::string, std::shared_ptr<LiveCall>> live_;  // those that still run
  Scope reaping_;
};

// One request as its handler sees it.
class Call {
 public:
  Call(Server& server, Wire& wire, Era era, std::string principal);

  [[nodiscard]] Era era() const { return era_; }
  [[nodiscard]] const std::string& principal() const { return principal_; }
  [[nodiscard]] bool client_can(const std::string& capability) const;
  // Nothing where the client has not asked for it.
  Task<void> progress(double done, std::optional<double> total, std::string message);
  Task<void> log(std::string level, Value data);
  // "elicitation/create", "sampling/createMessage" or "roots/list". The key names the question
  // within this request. An Error goes back to the server: return it.
  Task<Result<Value>> ask(std::string key, std::string method, Value params);
  // Several at once: {key: {"method": ..., "params": ...}} gives {key: answer}.
  Task<Result<Value>> ask_all(Value questions);
  // What the tool still has to do takes long: its client, if it takes tasks, is answered with one
  // now. Questions that are asked afterwards wait in the task.
  Task<void> detach();
  [[nodiscard]] bool takes_tasks() const;
  // The request is answered with this fault, whatever the handler returns.
  void refuse(rpc::Fault fault) { fault_ = std::move(fault); }
  // What a handler that waits for a modern client's answers finds again when it is run once more;
  // the client carries it, sealed. Empty in a first run.
  void keep(std::string what) { kept_ = std::move(what); }
  [[nodiscard]] const std::string& kept() const { return kept_; }
  void hang_up() { wire_.hang_up(); }

 private:
  friend class Server;
  friend class LiveCall;
  [[nodiscard]] Result<void> check_asked(const std::string& method);
  Server& server_;
  Wire& wire_;
  Era era_;
  std::string principal_;
  Value client_capabilities_;
  std::string log_level_;
  std::optional<rpc::Id> progress_token_;
  Value answers_;  // by key, of this round and those before
  Value pending_;  // questions that have no answer yet
  std::string kept_;
  std::optional<rpc::Fault> fault_;
  LiveCall* live_ = nullptr;  // the call that this is of, where it may become a task
};

// {"content": [{"type": "text", "text": ...}]}
Value text_result(std::string_view text);

}  // namespace ambit::mcp
