#pragma once

// What a Server is made of: the way to its client, what it offers, and its options.

#include "async/task.h"
#include "mcp/protocol.h"
#include "mcp/skill.h"
#include "mcp/task_record.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ambit::mcp {

class Call;
class LiveCall;
class Server;

// The way to the client beside a request's own reply.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual Task<Result<void>> notify(std::string method, Value params) = 0;
  // A request to a legacy client.
  virtual Task<Result<rpc::Reply>> ask(std::string method, Value params) = 0;
  // Closes the stream of the answer; the client comes back for it. Nothing where there is none.
  virtual void hang_up() {}
};

// Handlers give the whole result as the protocol has it, without resultType and caching.
using Handler = std::function<Task<Result<Value>>(Value arguments, Call& call)>;

struct ServerTool {
  Value definition;  // as tools/list shows it
  Handler run;       // gets the arguments, checked; an Error becomes a result with isError
  std::vector<std::string> needs;  // capabilities that the client must have: "sampling"
  TaskSupport tasks = TaskSupport::none;
};
struct ServerPrompt {
  Value definition;
  Handler get;          // gets the arguments
  std::string grant{};  // as of a resource
};
struct ServerResource {
  Value definition;  // with "uri", or with "uriTemplate" whose {name}s stand for one path segment
  Handler read;      // gets {"uri": ...}
  // Who may not see this tool may not see the resource either; empty: everybody may.
  std::string tool{};
  // Who is not offered this name may not see it; for what no tool stands for. Empty: everybody may.
  std::string grant{};
  // Of a template: the resources that this caller finds under it now, as resources/list shows them,
  // always in one order. Null: they are not listed.
  std::function<std::vector<Value>(const std::string& principal)> listed{};
};
struct ServerSkill {
  std::shared_ptr<const Skill> skill;  // with a `read`, its entry is enough
  Handler read;         // of its files, gets {"uri": ...}; null: they are given as they are
  std::string tool{};   // as of a resource
  std::string grant{};  // as of a resource
};

// Calls that outlive their request.
struct TaskOptions {
  std::size_t tasks_max = 1024;  // then calls stay what they are
  std::int64_t ttl_ms = 3'600'000;
  std::int64_t poll_ms = 500;
  Duration after = std::chrono::seconds(2);  // a call that runs longer becomes a task
  TaskKeeper* keeper = nullptr;              // null: tasks end with the process
};

struct ServerOptions {
  Implementation info = {"ambit", "0.1.0"};
  std::string instructions;
  std::size_t page_items = 200;
  Caching caching;  // of modern lists and resources
  Duration state_lifetime = std::chrono::minutes(15);
  std::size_t watched_max = 1024;  // resources that one client may subscribe to
  TaskOptions tasks;
  // With more tools than this a client is shown three, to search, describe and call the others; 0:
  // it is shown all of them, always.
  std::size_t progressive_above = 256;
  // Before any list of tools, prompts or resources is given; an Error is the answer then. Null:
  // nothing to do.
  std::function<Task<Result<void>>()> before_list;
  // Whether this caller may see and call the tool, or what has such a grant; null: everybody every
  // one.
  std::function<bool(const std::string& principal, const std::string& tool)> offers;
};

}  // namespace ambit::mcp
