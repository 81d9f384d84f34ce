// The part of Server that gives tasks as MCP 2025-11-25 had them: the client asks for one with its
// call, hears at once what it is called, and fetches the result by a request of its own, which
// waits for it and on whose way the questions of the tool are asked. The task itself is the same as
// that of a modern client (server_tasks.cpp).

#include "mcp/live_call.h"
#include "mcp/server_replies.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr const char* meta_related = "io.modelcontextprotocol/related-task";

Json related(const std::string& id) {
  return {{meta_related, {{"taskId", id}}}};
}

}  // namespace

Task<Reply> Server::start_legacy_task(rpc::Request request, const Call& call) {
  const Json asked = request.params.json()["task"];
  const std::string name = text_of(request.params.json(), "name");
  const auto at =
      tools_.find(is_meta_tool(name) ? text_of(meant(request.params.json()), "name") : name);
  if (at == tools_.end() || !may_see(call.principal_, at->first)) {
    co_return invalid("there is no tool \"" + name + "\"");
  }
  if (at->second.given.tasks == TaskSupport::none) {
    co_return refusal(rpc::method_not_found, "the tool cannot be called as a task");
  }
  auto live = std::make_shared<LiveCall>(*this, std::move(request), call.principal_);
  live->call.client_capabilities_ = call.client_capabilities_;
  live->call.client_capabilities_.edit()["extensions"][tasks_extension] = Json::object();
  live->call.log_level_ = call.log_level_;
  co_await become_task(live);
  if (live->task.empty()) {
    co_return refusal(rpc::to_fault_code(Code::exhausted),
                      "no more tasks can be kept; call the tool without one");
  }
  TaskRecord& record = tasks_.at(live->task);
  if (asked.is_object() && asked.contains("ttl") && asked["ttl"].is_number_integer()) {
    const std::int64_t wanted = asked["ttl"].get<std::int64_t>();
    record.ttl_ms = std::clamp<std::int64_t>(wanted, 0, record.ttl_ms);
  }
  Reply reply;
  reply.result = Json{{"task", to_legacy_client(record, options_.tasks.poll_ms).json()}};
  live->scope.spawn(work(*live));
  co_return reply;
}

Task<Reply> Server::answer_legacy_task(const rpc::Request& request, Call& call) {
  const std::string& method = request.method;
  const Json& params = request.params.json();
  forget_expired();
  if (method == "tasks/list") co_return list_legacy_tasks(params, call);
  if (method != "tasks/get" && method != "tasks/result" && method != "tasks/cancel") {
    co_return unknown(method);
  }
  const std::string id = text_of(params, "taskId");
  if (!has_task(id, call.principal_)) co_return invalid("$.params.taskId: there is no such task");
  if (method == "tasks/result") co_return co_await legacy_task_result(id, call);
  if (method == "tasks/cancel") {
    if (is_terminal(tasks_.at(id).status)) {
      co_return invalid("$.params.taskId: the task has ended already");
    }
    co_await cancel_task(id);
  }
  Reply reply;
  reply.result = to_legacy_client(tasks_.at(id), options_.tasks.poll_ms);
  co_return reply;
}

Reply Server::list_legacy_tasks(const Json& params, const Call& call) const {
  std::deque<Json> tasks;
  std::vector<const Json*> all;
  for (const auto& [id, record] : tasks_) {
    if (record.principal != call.principal_) continue;
    tasks.push_back(to_legacy_client(record, options_.tasks.poll_ms).json());
    all.push_back(&tasks.back());
  }
  return page("tasks", all, params.is_object() ? params : Json::object());
}

// What the tool asks meanwhile is asked on the way of this request.
Task<Reply> Server::legacy_task_result(std::string id, Call& call) {
  Changes wanted;
  wanted.tasks.insert(id);
  Watcher watcher(*this, std::move(wanted));
  while (true) {
    const auto at = tasks_.find(id);
    if (at == tasks_.end()) co_return invalid("$.params.taskId: the task has been forgotten");
    const TaskRecord& record = at->second;
    Reply reply;
    if (record.status == TaskStatus::completed) {
      reply.result = record.result;
      reply.result.edit()["_meta"][meta_related] = {{"taskId", id}};
      co_return reply;
    }
    if (record.status == TaskStatus::failed) {
      const Json& error = record.error.json();
      Value data = error.contains("data") ? Value(error["data"]) : Value();
      co_return refusal(error.value("code", rpc::internal_error), text_of(error, "message"),
                        std::move(data));
    }
    if (record.status == TaskStatus::cancelled) co_return invalid("the task was cancelled");
    if (record.status == TaskStatus::input_required) {
      auto asked = co_await ask_for_task(id, call);
      if (!asked) {
        reply.fault = rpc::to_fault(asked.error());
        co_return reply;
      }
      continue;
    }
    while (!watcher.pending_.any()) co_await watcher.changed_.wait();
    watcher.pending_ = Changes();
  }
}

Task<Result<void>> Server::ask_for_task(std::string id, Call& call) {
  const auto found = live_.find(id);
  if (found == live_.end()) co_return Err(Code::closed, "the task does not run any more");
  const std::shared_ptr<LiveCall> live = found->second;
  const Json questions = live->questions;
  for (const auto& [key, question] : questions.items()) {
    Json params = question.contains("params") ? question["params"] : Json::object();
    params["_meta"] = related(id);
    const std::string method = question["method"].get<std::string>();
    auto reply = co_await ok(call.wire_.ask(method, Value(std::move(params))));
    if (reply.fault) co_return Err(rpc::to_error(*reply.fault).context(method));
    Json answers = Json::object();
    answers[key] = reply.result.json();
    co_await ok(take_task_answers(*live, answers));
  }
  co_return Result<void>();
}

}  // namespace ambit::mcp
