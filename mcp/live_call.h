#pragma once

// LiveCall: a tools/call of a client that takes tasks, from its request on for as long as it runs.
// It owns the handler's coroutine, so that the request may be answered before the handler has
// ended: with a task. Until then what the handler says goes to the client through the request;
// afterwards progress becomes the task's status message, and questions wait in the task for
// tasks/update. Destroying it cancels the call. Internal to mcp.

#include "async/scope.h"
#include "async/waiters.h"
#include "mcp/server.h"

#include <nlohmann/json.hpp>

#include <deque>
#include <memory>
#include <string>
#include <utility>

namespace ambit::mcp {

class LiveCall final : public Wire {
 public:
  LiveCall(Server& server, rpc::Request said, std::string principal);

  Task<Result<void>> notify(std::string method, Value params) override;
  Task<Result<rpc::Reply>> ask(std::string method, Value params) override;
  // Returns once the call is a task, or cannot become one.
  Task<void> detach();
  // As Call::ask_all, of a call that is a task.
  Task<Result<Value>> park(Value questions);
  Task<Result<void>> news();

  rpc::Request request;
  Call call;
  rpc::Reply reply;  // once done
  bool done = false;
  bool wants_task = false;
  bool stays = false;  // it cannot become a task: there are too many, or they cannot be kept
  std::string task;    // its id, once it is one
  std::deque<std::pair<std::string, Value>> said;  // for the client, while it is no task
  rpc::Json questions = rpc::Json::object();       // that wait for tasks/update
  Waiters changed;                                 // for who answers the request
  Waiters settled;                                 // for detach() and park()

 private:
  Server& server_;

 public:
  Scope scope;  // of the handler; last, so that it dies first
};

}  // namespace ambit::mcp
