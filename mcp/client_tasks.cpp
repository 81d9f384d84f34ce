// The half of Client for calls that take more than one request: what a server asks before it
// answers, and calls that it answers with a task (extension io.modelcontextprotocol/tasks): it asks
// how far the task is, at the pace that the server names, answers what the task waits for, and
// gives its result as if the call had just taken long. Who gives the call up cancels the task.

#include "mcp/client.h"
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

std::int64_t poll_ms_of(const Json& task) {
  const auto at = task.find("pollIntervalMs");
  const bool said = at != task.end() && at->is_number_integer();
  return std::clamp(said ? at->get<std::int64_t>() : 1000, poll_ms_min, poll_ms_max);
}

// What a server may ask of its client, in whichever way.
bool is_input_method(const std::string& method) {
  return method == "elicitation/create" || method == "sampling/createMessage" ||
         method == "roots/list";
}

}  // namespace

Task<Result<Value>> Client::answer_inputs(Value result) {
  Json answers = Json::object();
  const Json& json = result.json();
  const auto asked = json.find("inputRequests");
  if (asked != json.end() && !asked->is_object()) {
    co_return Err(Code::invalid, "$.result.inputRequests: must be an object");
  }
  if (asked == json.end()) co_return Value(std::move(answers));
  for (const auto& [key, question] : asked->items()) {
    const bool good = question.is_object() && question.contains("method") &&
                      question["method"].is_string() &&
                      is_input_method(question["method"].get<std::string>());
    if (!good) {
      co_return Err(Code::unsupported,
                    "the server asks for \"" + key + "\" in a way that this client does not know");
    }
    const std::string method = question["method"].get<std::string>();
    Value params = question.contains("params") ? Value(question["params"]) : Value();
    auto answer = co_await options_.on_input(method, std::move(params));
    if (!answer) co_return Err(std::move(answer).error().context(method));
    answers[key] = answer->json();
  }
  co_return Value(std::move(answers));
}

// Cancels the task unless it has ended.
struct Client::Withdrawal {
  Client& client;
  std::string task;
  bool ended = false;
  Withdrawal(Client& owner, std::string id) : client(owner), task(std::move(id)) {}
  Withdrawal(const Withdrawal&) = delete;
  Withdrawal& operator=(const Withdrawal&) = delete;
  ~Withdrawal() {
    if (!ended) client.withdraw_task(task);
  }
};

bool Client::is_task(const Reply& reply) const {
  return server_.era == Era::modern && options_.takes_tasks && !reply.fault &&
         text_of(reply.result.json(), "resultType") == "task";
}

Task<Result<Reply>> Client::follow_task(Value created, std::int64_t token) {
  const std::string id = text_of(created.json(), "taskId");
  if (id.empty()) co_return Err(Code::invalid, "$.result.taskId: must be a string");
  Withdrawal withdrawal(*this, id);
  std::int64_t pause_ms = poll_ms_of(created.json());
  while (true) {
    co_await delay(std::chrono::milliseconds(pause_ms));
    Value params = task_params(id);
    auto reply = co_await ok(peer_.call("tasks/get", std::move(params)));
    if (reply.fault) {
      withdrawal.ended = true;
      co_return Err(rpc::to_error(*reply.fault).context("tasks/get"));
    }
    hear(token, text_of(reply.result.json(), "statusMessage"));
    const Json& task = reply.result.json();
    const std::string status = text_of(task, "status");
    pause_ms = poll_ms_of(task);
    if (status == "input_required") {
      co_await ok(answer_task(id, reply.result));
      pause_ms = poll_ms_min;
    } else if (status != "working") {
      withdrawal.ended = true;
      co_return outcome_of_task(std::move(reply));
    }
  }
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
  return Json{{"taskId", id}, {"_meta", meta(std::nullopt).json()}};
}

Task<Result<void>> Client::answer_task(std::string id, Value task) {
  if (!options_.on_input) {
    co_return Err(Code::unsupported, "the task waits for input, which this client does not offer");
  }
  const Value answers = co_await ok(answer_inputs(std::move(task)));
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
