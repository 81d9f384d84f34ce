// The third part of Server: tool calls that outlive their request (extension
// io.modelcontextprotocol/tasks, SEP-2663). The server decides: a call becomes a task when its
// handler says so or when it takes long, and only for clients that take tasks.

#include "async/race.h"
#include "io/uuid.h"
#include "mcp/live_call.h"
#include "mcp/server_replies.h"

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr std::size_t said_max = 256;  // messages to a client that reads slowly

Value needs_tasks() {
  return Json{{"requiredCapabilities", {{"extensions", {{tasks_extension, Json::object()}}}}}};
}

}  // namespace

// ---- the call
// ---------------------------------------------------------------------------------

LiveCall::LiveCall(Server& server, rpc::Request said_request, std::string principal)
    : request(std::move(said_request)),
      call(server, *this, Era::modern, std::move(principal)),
      server_(server) {
  call.live_ = this;
}

Task<Result<void>> LiveCall::notify(std::string method, Value params) {
  if (!task.empty()) co_return Result<void>();  // what it logs nobody waits for
  // Of progress the newest counts; a client that does not read loses the oldest.
  if (said.size() >= said_max) said.pop_front();
  said.emplace_back(std::move(method), std::move(params));
  changed.wake_all();
  co_return Result<void>();
}

Task<Result<Reply>> LiveCall::ask(std::string method, Value /*params*/) {
  co_return Err(Code::unsupported, method + ": a modern client is not asked directly");
}

Task<Result<void>> LiveCall::news() {
  // What came before this task started counts.
  if (said.empty() && !done && task.empty() && !wants_task) co_await changed.wait();
  co_return Result<void>();
}

Task<void> LiveCall::detach() {
  wants_task = true;
  changed.wake_all();
  while (task.empty() && !stays) co_await settled.wait();
}

Task<Result<Value>> LiveCall::park(Value asked) {
  const Json& all = asked.json();
  for (const auto& [key, question] : all.items()) {
    if (!call.answers_.json().contains(key)) questions[key] = question;
  }
  server_.task_waits(*this);
  while (!questions.empty()) co_await settled.wait();
  Json answers = Json::object();
  for (const auto& [key, question] : all.items()) answers[key] = call.answers_.json()[key];
  co_return Value(std::move(answers));
}

Task<void> Call::detach() {
  if (live_ != nullptr) co_await live_->detach();
}

bool Call::takes_tasks() const {
  const Json& all = client_capabilities_.json();
  const auto extensions = all.is_object() ? all.find("extensions") : all.end();
  return all.is_object() && extensions != all.end() && extensions->is_object() &&
         extensions->contains(tasks_extension);
}

// ---- from request to task
// ---------------------------------------------------------------------------------

Task<void> Server::work(LiveCall& live) {
  static const Json none = Json::object();
  const Json& params = live.request.params.present() ? live.request.params.json() : none;
  live.reply = co_await call_tool(params, live.call);
  if (live.call.fault_) live.reply.fault = std::move(live.call.fault_);
  live.done = true;
  live.changed.wake_all();
  if (!live.task.empty()) co_await conclude(live);
}

Task<Reply> Server::answer_live(std::shared_ptr<LiveCall> live, Wire& wire) {
  auto taken = take_answers(live->request, live->call);
  if (!taken) co_return invalid(taken.error().message);
  live->scope.spawn(work(*live));
  const Instant deadline = Loop::current().now() + options_.tasks.after;
  while (!live->done && live->task.empty()) {
    if (!live->said.empty()) {
      auto [method, params] = std::move(live->said.front());
      live->said.pop_front();
      auto told = co_await wire.notify(std::move(method), std::move(params));
      if (!told) co_return refusal(rpc::internal_error, "the client is gone");
      continue;
    }
    const Instant now = Loop::current().now();
    if (!live->stays && (live->wants_task || now >= deadline)) {
      co_await become_task(live);
    } else if (live->stays) {
      co_await live->changed.wait();
    } else {
      const Duration left = deadline - now;
      auto news = co_await with_timeout(left, live->news());
      if (!news && news.error().code != Code::timeout) live->stays = true;
    }
  }
  // What it said last goes before its answer.
  while (live->task.empty() && !live->said.empty()) {
    auto [method, params] = std::move(live->said.front());
    live->said.pop_front();
    auto told = co_await wire.notify(std::move(method), std::move(params));
    if (!told) break;
  }
  if (live->task.empty()) {
    if (!live->reply.fault && !live->call.pending_.json().empty()) {
      co_return input_required(live->request, live->call);
    }
    co_return std::move(live->reply);
  }
  Reply reply;
  TaskRecord first = tasks_.at(live->task);
  reply.result = to_client(first, options_.tasks.poll_ms, false);
  reply.result.edit()["resultType"] = "task";
  co_return reply;
}

Task<void> Server::become_task(std::shared_ptr<LiveCall> live) {
  forget_expired();
  TaskRecord record;
  record.id = io::uuid_v4(entropy_);
  record.principal = live->call.principal_;
  record.tool = text_of(live->request.params.json(), "name");
  record.created_ms = record.updated_ms = clock_.unix_ns() / 1'000'000;
  record.ttl_ms = options_.tasks.ttl_ms;
  const std::string id = record.id;
  bool kept = tasks_.size() < options_.tasks.tasks_max;
  if (kept && options_.tasks.keeper != nullptr) {
    auto durable = co_await options_.tasks.keeper->keep(record);
    kept = durable.has_value();
  }
  if (kept) {
    tasks_.emplace(id, std::move(record));
    live_.emplace(id, live);
    live->task = id;
    live->said.clear();
    if (live->done) co_await conclude(*live);
  } else {
    live->stays = true;
  }
  live->settled.wake_all();
}

// The end of a task's work: what came of it is kept, and the call let go.
Task<void> Server::conclude(LiveCall& live) {
  const auto at = tasks_.find(live.task);
  if (at == tasks_.end()) co_return;
  TaskRecord& record = at->second;
  record.status = live.reply.fault ? TaskStatus::failed : TaskStatus::completed;
  if (live.reply.fault) {
    Json error = {{"code", live.reply.fault->code}, {"message", live.reply.fault->message}};
    if (live.reply.fault->data.present()) error["data"] = live.reply.fault->data.json();
    record.error = std::move(error);
  } else {
    record.result = std::move(live.reply.result);
  }
  const std::string id = record.id;
  co_await settle(id);
  reaping_.spawn(reap(id));
}

Task<void> Server::reap(std::string id) {
  co_await delay(Duration::zero());  // the call's own coroutine ends first
  live_.erase(id);
}

// Writes down that a task has ended, and tells who listens.
Task<void> Server::settle(std::string id) {
  const auto at = tasks_.find(id);
  if (at == tasks_.end()) co_return;
  at->second.updated_ms = clock_.unix_ns() / 1'000'000;
  at->second.questions = Value();
  TaskRecord copy = at->second;
  task_changed(id);
  if (options_.tasks.keeper == nullptr) co_return;
  auto kept = co_await options_.tasks.keeper->keep(std::move(copy));
  // The action itself is in the record; what is lost is its answer, after a restart.
  if (!kept) co_return;
}

// ---- what is said of tasks
// ---------------------------------------------------------------------------------

void Server::task_says(const std::string& id, std::string message) {
  const auto at = tasks_.find(id);
  if (at == tasks_.end() || is_terminal(at->second.status)) return;
  at->second.message = std::move(message);
  at->second.updated_ms = clock_.unix_ns() / 1'000'000;
  task_changed(id);
}

void Server::task_waits(LiveCall& live) {
  const auto at = tasks_.find(live.task);
  if (at == tasks_.end() || is_terminal(at->second.status)) return;
  at->second.status = live.questions.empty() ? TaskStatus::working : TaskStatus::input_required;
  at->second.questions = Value(live.questions);
  at->second.updated_ms = clock_.unix_ns() / 1'000'000;
  task_changed(live.task);
}

void Server::task_changed(const std::string& id) {
  for (Watcher* watcher : watchers_) {
    if (!watcher->wanted.tasks.contains(id)) continue;
    watcher->pending_.tasks.insert(id);
    watcher->changed_.wake_all();
  }
}

std::optional<Value> Server::task_news(const std::string& id) const {
  const auto at = tasks_.find(id);
  if (at == tasks_.end()) return std::nullopt;
  return to_client(at->second, options_.tasks.poll_ms, true);
}

bool Server::has_task(const std::string& id, const std::string& principal) const {
  const auto at = tasks_.find(id);
  return at != tasks_.end() && at->second.principal == principal;
}

void Server::forget_expired() {
  const std::int64_t now = clock_.unix_ns() / 1'000'000;
  std::erase_if(tasks_, [&](const auto& entry) {
    const TaskRecord& record = entry.second;
    return is_terminal(record.status) && record.created_ms + record.ttl_ms < now;
  });
}

void Server::restore_tasks(std::vector<TaskRecord> records) {
  for (TaskRecord& record : records) {
    if (!is_terminal(record.status)) {
      record.status = TaskStatus::failed;
      record.error = Json{{"code", rpc::internal_error},
                          {"message",
                           "the server was restarted while the tool ran; whether it "
                           "took effect is not known"}};
    }
    const std::string id = record.id;
    if (tasks_.size() < options_.tasks.tasks_max) tasks_.insert_or_assign(id, std::move(record));
  }
  forget_expired();
}

void Server::end_tasks() {
  reaping_.cancel();
  live_.clear();
}

// ---- tasks/get, tasks/update, tasks/cancel
// ---------------------------------------------------------------------------------

Task<Reply> Server::answer_task(const rpc::Request& request, Call& call) {
  const std::string& method = request.method;
  if (method != "tasks/get" && method != "tasks/update" && method != "tasks/cancel") {
    co_return unknown(method);
  }
  if (!call.takes_tasks()) {
    co_return refusal(missing_client_capability,
                      method + " needs a client that offers " + tasks_extension, needs_tasks());
  }
  forget_expired();
  const Json& params = request.params.json();
  const std::string id = text_of(params, "taskId");
  if (!has_task(id, call.principal_)) co_return invalid("$.params.taskId: there is no such task");
  Reply reply;
  reply.result = Json::object();
  const auto live = live_.find(id);
  if (method == "tasks/get") {
    reply.result = to_client(tasks_.at(id), options_.tasks.poll_ms, true);
  } else if (method == "tasks/cancel") {
    if (!is_terminal(tasks_.at(id).status)) co_await cancel_task(id);
  } else {
    const auto answers = params.find("inputResponses");
    if (answers == params.end() || !answers->is_object()) {
      co_return invalid("$.params.inputResponses: must be an object");
    }
    if (live == live_.end()) co_return reply;
    auto taken = take_task_answers(*live->second, *answers);
    if (!taken) co_return invalid(taken.error().message);
  }
  co_return reply;
}

Task<void> Server::cancel_task(std::string id) {
  tasks_.at(id).status = TaskStatus::cancelled;
  const auto live = live_.find(id);
  if (live != live_.end()) {
    live->second->scope.cancel();
    live_.erase(live);
  }
  co_await settle(id);
}

Result<void> Server::take_task_answers(LiveCall& live, const Json& answers) {
  for (const auto& [key, answer] : answers.items()) {
    const auto question = live.questions.find(key);
    if (question != live.questions.end() && !is_answer(*question, answer)) {
      return Err(Code::invalid, "$.params.inputResponses." + key + ": does not fit what was asked");
    }
  }
  bool any = false;
  for (const auto& [key, answer] : answers.items()) {
    if (!live.questions.contains(key)) continue;  // answered before, or never asked
    live.call.answers_.edit()[key] = answer;
    live.questions.erase(key);
    any = true;
  }
  if (!any) return {};
  task_waits(live);
  if (live.questions.empty()) live.settled.wake_all();
  return {};
}

}  // namespace ambit::mcp
