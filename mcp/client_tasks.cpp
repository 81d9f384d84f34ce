// The part of Client for calls that take more than one request: what a server asks before it
// answers, and calls that it answers with a task (extension io.modelcontextprotocol/tasks): it asks
// how far the task is, at the pace that the server names, answers what the task waits for, and
// gives its result as if the call had just taken long. Who gives the call up cancels the task.

#include "async/race.h"
#include "mcp/client_watch.h"
#include "mcp/json_text.h"
#include "mcp/task_record.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr std::int64_t poll_ms_min = 20;
constexpr std::int64_t poll_ms_max = 60'000;
constexpr std::size_t questions_max = 16;  // in one answer
constexpr const char* meta_related_task = "io.modelcontextprotocol/related-task";

std::int64_t poll_ms_of(const Json& task, const char* key) {
  const auto at = task.find(key);
  const bool said = at != task.end() && at->is_number_integer();
  return std::clamp(said ? at->get<std::int64_t>() : 1000, poll_ms_min, poll_ms_max);
}

// What a server may ask of its client, in whichever way.
bool is_input_method(const std::string& method) {
  return method == "elicitation/create" || method == "sampling/createMessage" ||
         method == "roots/list";
}

}  // namespace

// The questions of one answer of the server, all at once.
Task<Result<Value>> Client::answer_inputs(Value result, std::int64_t token) {
  const Json& json = result.json();
  const auto asked = json.find("inputRequests");
  if (asked != json.end() && !asked->is_object()) {
    co_return Err(Code::invalid, "$.result.inputRequests: must be an object");
  }
  if (asked == json.end()) co_return Value(Json::object());
  if (asked->size() > questions_max) {
    co_return Err(Code::exhausted, "the server asks more than " + std::to_string(questions_max) +
                                       " questions at once");
  }
  std::vector<std::string> keys;
  std::vector<Task<Result<Value>>> questions;
  for (const auto& [key, question] : asked->items()) {
    const std::string method = text_of(question, "method");
    if (!is_input_method(method)) {
      co_return Err(Code::unsupported,
                    "the server asks for \"" + key + "\" in a way that this client does not know");
    }
    keys.push_back(key);
    Value params = question.contains("params") ? Value(question["params"]) : Value();
    questions.push_back(answer_one(method, std::move(params), token));
  }
  const Asking asking(*this, token);
  auto given = co_await join(std::move(questions));
  Json answers = Json::object();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!given[i]) co_return Err(std::move(given[i]).error().context(keys[i]));
    answers[keys[i]] = given[i]->json();
  }
  co_return Value(std::move(answers));
}

Task<Result<Value>> Client::answer_one(std::string method, Value params, std::int64_t token) {
  // The call may end while its question is answered: the frame keeps what answers it.
  const auto watch = watches_.find(token);
  const bool is_of_call = watch != watches_.end() && watch->second->options->on_input;
  const InputHandler handler = is_of_call ? watch->second->options->on_input : options_.on_input;
  auto answer = co_await handler(std::move(method), std::move(params));
  co_return std::move(answer);
}

// The call that a legacy server's question belongs to, by its progress token; 0: nobody can tell.
std::int64_t Client::token_of(const rpc::Request& question) const {
  const Json& params = question.params.json();
  if (params.is_object() && params.contains("_meta")) {
    const Json& meta = params["_meta"];
    const auto related = meta.is_object() ? meta.find(meta_related_task) : meta.end();
    if (meta.is_object() && related != meta.end()) {
      const auto at = legacy_tasks_.find(text_of(*related, "taskId"));
      if (at != legacy_tasks_.end()) return at->second;
    }
  }
  if (const auto token = transport_.asked_within(question.id)) return *token;
  // Over pipes only one call leaves no doubt.
  std::int64_t sole = 0;
  for (const auto& [token, watch] : watches_) {
    if (!watch->options->on_input) continue;
    if (sole != 0) return 0;
    sole = token;
  }
  return sole;
}

// Cancels the task unless it has ended.
struct Client::Withdrawal {
  Client& client;
  std::string task;
  bool ended = false;
  Withdrawal(Client& owner, std::string id) : client(owner), task(std::move(id)) {}
  Withdrawal(const Withdrawal&) = delete;
  Withdrawal& operator=(const Withdrawal&) = delete;
  void of_call(std::int64_t token) { client.legacy_tasks_.emplace(task, token); }
  ~Withdrawal() {
    client.legacy_tasks_.erase(task);
    if (!ended) client.withdraw_task(task);
  }
};

bool Client::is_task(const Reply& reply) const {
  return server_.era == Era::modern && options_.takes_tasks && !reply.fault &&
         text_of(reply.result.json(), "resultType") == "task";
}

// How the task is once it is not at work any more; it is asked at the pace that its server names.
Task<Result<Reply>> Client::until_task_rests(Withdrawal& task, std::int64_t pause_ms,
                                             std::int64_t token) {
  const char* pace = server_.era == Era::modern ? "pollIntervalMs" : "pollInterval";
  while (true) {
    co_await delay(std::chrono::milliseconds(pause_ms));
    Value params = task_params(task.task);
    auto reply = co_await ok(peer_.call("tasks/get", std::move(params)));
    if (reply.fault) {
      task.ended = true;
      co_return Err(rpc::to_error(*reply.fault).context("tasks/get"));
    }
    hear(token, text_of(reply.result.json(), "statusMessage"));
    if (text_of(reply.result.json(), "status") != "working") co_return reply;
    pause_ms = poll_ms_of(reply.result.json(), pace);
  }
}

Task<Result<Reply>> Client::follow_task(Value created, std::int64_t token) {
  const std::string id = text_of(created.json(), "taskId");
  if (id.empty()) co_return Err(Code::invalid, "$.result.taskId: must be a string");
  Withdrawal withdrawal(*this, id);
  became_task(token);
  std::int64_t pause_ms = poll_ms_of(created.json(), "pollIntervalMs");
  while (true) {
    auto reply = co_await ok(until_task_rests(withdrawal, pause_ms, token));
    if (text_of(reply.result.json(), "status") != "input_required") {
      withdrawal.ended = true;
      co_return outcome_of_task(std::move(reply));
    }
    co_await ok(answer_task(id, reply.result, token));
    pause_ms = poll_ms_min;
  }
}

// Tasks as MCP 2025-11-25 had them: the result is a request of its own, which waits for it, and on
// whose way the server asks what the task still needs.
Task<Result<Reply>> Client::follow_legacy_task(Value created, std::int64_t token) {
  const std::string id = text_of(created.json()["task"], "taskId");
  if (id.empty()) co_return Err(Code::invalid, "$.result.task.taskId: must be a string");
  Withdrawal withdrawal(*this, id);
  withdrawal.of_call(token);
  became_task(token);
  const std::int64_t pause_ms = poll_ms_of(created.json()["task"], "pollInterval");
  const auto reply = co_await ok(until_task_rests(withdrawal, pause_ms, token));
  if (text_of(reply.result.json(), "status") == "cancelled") {
    withdrawal.ended = true;
    co_return Err(Code::closed, "the task was cancelled at the server");
  }
  Value wanted = task_params(id);
  auto result = co_await ok(peer_.call("tasks/result", std::move(wanted)));
  withdrawal.ended = true;
  co_return result;
}

Result<Reply> Client::outcome_of_task(Reply reply) {
  const Json& task = reply.result.json();
  const std::string status = text_of(task, "status");
  Reply outcome;
  if (status == "completed") {
    if (!task.contains("result") || !task["result"].is_object()) {
      return Err(Code::invalid, "tasks/get: $.result.result: must be an object");
    }
    Json result = task["result"];
    result["resultType"] = "complete";
    outcome.result = std::move(result);
    return outcome;
  }
  if (status == "cancelled") return Err(Code::closed, "the task was cancelled at the server");
  if (status != "failed" || !task.contains("error") || !task["error"].is_object()) {
    return Err(Code::invalid, "tasks/get: a task of status \"" + status + "\" without its error");
  }
  const Json& error = task["error"];
  const bool has_code = error.contains("code") && error["code"].is_number_integer();
  outcome.fault = rpc::Fault{has_code ? error["code"].get<std::int64_t>() : rpc::internal_error,
                             text_of(error, "message"),
                             {}};
  return outcome;
}

Value Client::task_params(const std::string& id) const {
  Json params = {{"taskId", id}};
  const Value about = meta(std::nullopt);
  if (about.present()) params["_meta"] = about.json();
  return params;
}

void Client::became_task(std::int64_t token) {
  const auto at = watches_.find(token);
  if (at != watches_.end() && at->second->options->on_task) at->second->options->on_task();
}

Task<Result<void>> Client::answer_task(std::string id, Value task, std::int64_t token) {
  const auto watch = watches_.find(token);
  if (!options_.on_input && (watch == watches_.end() || !watch->second->options->on_input)) {
    co_return Err(Code::unsupported, "the task waits for input, which this client does not offer");
  }
  const Value answers = co_await ok(answer_inputs(std::move(task), token));
  Value params = task_params(id);
  params.edit()["inputResponses"] = answers.json();
  auto reply = co_await ok(peer_.call("tasks/update", std::move(params)));
  if (reply.fault) co_return Err(rpc::to_error(*reply.fault).context("tasks/update"));
  co_return Result<void>();
}

void Client::withdraw_task(const std::string& id) {
  if (cancelling_ >= cancelling_max || peer_.ended()) return;
  scope_.spawn(cancel_task(id));
}

Task<void> Client::cancel_task(std::string id) {
  struct Leave {
    std::size_t& count;
    ~Leave() { --count; }
  };
  ++cancelling_;
  const Leave leave{cancelling_};
  Value params = task_params(id);
  auto reply = co_await peer_.call("tasks/cancel", std::move(params));
  if (!reply) co_return;  // the server is gone, and the task with it
}

}  // namespace ambit::mcp
