#include "mcp/live_call.h"
#include "mcp/server_replies.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::array<std::string_view, 8> levels = {"debug", "info",     "notice", "warning",
                                                    "error", "critical", "alert",  "emergency"};

std::size_t rank_of(std::string_view level) {
  return static_cast<std::size_t>(std::find(levels.begin(), levels.end(), level) - levels.begin());
}

std::string capability_for(const std::string& method) {
  if (method == "elicitation/create") return "elicitation";
  if (method == "sampling/createMessage") return "sampling";
  return method == "roots/list" ? "roots" : "";
}

Json from_id(const rpc::Id& id) {
  if (const auto* number = std::get_if<std::int64_t>(&id)) return *number;
  return std::get<std::string>(id);
}

}  // namespace

bool is_answer(const Json& question, const Json& answer) {
  if (!answer.is_object()) return false;
  const std::string method = question["method"].get<std::string>();
  if (method == "roots/list") return answer.contains("roots") && answer["roots"].is_array();
  if (method == "sampling/createMessage") return answer.contains("content");
  const auto action = answer.find("action");
  if (action == answer.end() || !action->is_string()) return false;
  const auto params = question.find("params");
  if (*action != "accept" || params == question.end() || !params->contains("requestedSchema")) {
    return true;
  }
  auto schema = rpc::Schema::compile((*params)["requestedSchema"]);
  const Json content = answer.contains("content") ? answer["content"] : Json::object();
  return !schema || schema->validate(content).has_value();
}

Call::Call(Server& server, Wire& wire, Era era, std::string principal)
    : server_(server),
      wire_(wire),
      era_(era),
      principal_(std::move(principal)),
      answers_(Json::object()),
      pending_(Json::object()) {}

bool Call::client_can(const std::string& capability) const {
  const Json& all = client_capabilities_.json();
  return all.is_object() && all.contains(capability);
}

Task<void> Call::progress(double done, std::optional<double> total, std::string message) {
  if (live_ != nullptr && !live_->task.empty()) {
    server_.task_says(live_->task, std::move(message));
    co_return;
  }
  if (!progress_token_) co_return;
  ProgressParams params;
  params.token = *progress_token_;
  params.progress = done;
  params.total = total;
  params.message = std::move(message);
  auto told = co_await wire_.notify("notifications/progress", to_value(params));
  if (!told) co_return;  // the client is gone: whoever owns this task knows
}

Task<void> Call::log(std::string level, Value data) {
  if (log_level_.empty() || rank_of(level) < rank_of(log_level_)) co_return;
  Value params =
      Json{{"level", level}, {"logger", server_.options_.info.name}, {"data", data.json()}};
  auto told = co_await wire_.notify("notifications/message", std::move(params));
  if (!told) co_return;
}

Result<void> Call::check_asked(const std::string& method) {
  const std::string capability = capability_for(method);
  INVARIANT(!capability.empty());
  if (client_can(capability)) return {};
  if (era_ == Era::modern) {
    const Json needed = {{"requiredCapabilities", {{capability, Json::object()}}}};
    fault_ = rpc::Fault{missing_client_capability, "the client does not offer " + capability,
                        Value(needed)};
  }
  return Err(Code::unsupported, "the client does not offer " + capability);
}

Task<Result<Value>> Call::ask(std::string key, std::string method, Value params) {
  Json question = {{"method", std::move(method)}};
  if (params.present()) question["params"] = params.json();
  Value questions = Json{{key, std::move(question)}};
  const Value answers = co_await ok(ask_all(std::move(questions)));
  co_return Value(answers.json()[key]);
}

Task<Result<Value>> Call::ask_all(Value questions) {
  Json answers = Json::object();
  for (const auto& [key, question] : questions.json().items()) {
    const std::string method = question["method"].get<std::string>();
    co_await ok(check_asked(method));
    if (era_ == Era::modern) {
      const Json& known = answers_.json();
      if (live_ != nullptr && !live_->task.empty()) continue;
      if (known.contains(key) && is_answer(question, known[key])) {
        answers[key] = known[key];
      } else {
        pending_.edit()[key] = question;
      }
      continue;
    }
    Value params = question.contains("params") ? Value(question["params"]) : Value();
    auto reply = co_await ok(wire_.ask(method, std::move(params)));
    if (reply.fault) co_return Err(rpc::to_error(*reply.fault).context(method));
    if (!is_answer(question, reply.result.json())) {
      co_return Err(Code::invalid, method + ": the client's answer does not fit the question");
    }
    answers[key] = reply.result.json();
  }
  if (live_ != nullptr && !live_->task.empty()) {
    co_return co_await live_->park(std::move(questions));
  }
  if (!pending_.json().empty()) {
    co_return Err(Code::unavailable, "waits for an answer of the client");
  }
  co_return Value(std::move(answers));
}

Value text_result(std::string_view text) {
  return Json{{"content", Json::array({{{"type", "text"}, {"text", text}}})}};
}

// ---- changes
// ----------------------------------------------------------------------------------------

Watcher::Watcher(Server& server, Changes what) : wanted(std::move(what)), server_(server) {
  server_.watchers_.insert(this);
  if (!wanted.uris.empty()) server_.note_watched();
}
Watcher::~Watcher() {
  server_.watchers_.erase(this);
  if (!wanted.uris.empty()) server_.note_watched();
}

std::set<std::string> Server::watched() const {
  std::set<std::string> all;
  for (const Watcher* watcher : watchers_) {
    all.insert(watcher->wanted.uris.begin(), watcher->wanted.uris.end());
  }
  return all;
}

void Server::changed(bool Changes::* what) {
  for (Watcher* watcher : watchers_) {
    if (!(watcher->wanted.*what)) continue;
    watcher->pending_.*what = true;
    watcher->changed_.wake_all();
  }
}

void Server::resource_updated(const std::string& uri) {
  for (Watcher* watcher : watchers_) {
    if (!watcher->wanted.uris.contains(uri)) continue;
    watcher->pending_.uris.insert(uri);
    watcher->changed_.wake_all();
  }
}

Task<void> Server::tell(Watcher& watcher, Wire& wire, Value meta) {
  while (true) {
    while (!watcher.pending_.any()) co_await watcher.changed_.wait();
    const Changes now = std::exchange(watcher.pending_, Changes());
    std::vector<std::pair<std::string, Json>> news;
    if (now.tools) news.emplace_back("notifications/tools/list_changed", Json::object());
    if (now.prompts) news.emplace_back("notifications/prompts/list_changed", Json::object());
    if (now.resources) news.emplace_back("notifications/resources/list_changed", Json::object());
    for (const std::string& id : now.tasks) {
      auto task = task_news(id);
      if (task) news.emplace_back("notifications/tasks", std::move(task->edit()));
    }
    for (const std::string& uri : now.uris) {
      news.emplace_back("notifications/resources/updated", Json{{"uri", uri}});
    }
    for (auto& [method, params] : news) {
      if (meta.present()) params["_meta"] = meta.json();
      auto told = co_await wire.notify(method, Value(std::move(params)));
      if (!told) co_return;
    }
  }
}

// Lives until the client closes its stream or cancels: then this task is destroyed.
Task<rpc::Reply> Server::listen(const rpc::Request& request, Call& call) {
  rpc::Reply reply;
  const Json& params = request.params.json();
  const auto filter = params.find("notifications");
  if (filter == params.end() || !filter->is_object()) {
    reply.fault = rpc::Fault{rpc::invalid_params, "$.params.notifications: must be an object", {}};
    co_return reply;
  }
  const auto is_set = [&](const char* key) {
    return filter->contains(key) && (*filter)[key].is_boolean() && (*filter)[key].get<bool>();
  };
  Changes wanted{is_set("toolsListChanged"),
                 is_set("promptsListChanged"),
                 is_set("resourcesListChanged"),
                 {},
                 {}};
  if (filter->contains("resourceSubscriptions") && (*filter)["resourceSubscriptions"].is_array()) {
    for (const Json& uri : (*filter)["resourceSubscriptions"]) {
      const bool has_room = uri.is_string() && wanted.uris.size() < options_.watched_max;
      if (has_room && !is_hidden(call.principal_, uri.get<std::string>())) {
        wanted.uris.insert(uri.get<std::string>());
      }
    }
  }
  if (call.takes_tasks() && filter->contains("taskIds") && (*filter)["taskIds"].is_array()) {
    for (const Json& id : (*filter)["taskIds"]) {
      if (!id.is_string() || wanted.tasks.size() >= options_.watched_max) continue;
      if (has_task(id.get<std::string>(), call.principal_))
        wanted.tasks.insert(id.get<std::string>());
    }
  }
  Json honoured = Json::object();
  if (wanted.tools) honoured["toolsListChanged"] = true;
  if (wanted.prompts) honoured["promptsListChanged"] = true;
  if (wanted.resources) honoured["resourcesListChanged"] = true;
  if (!wanted.uris.empty()) honoured["resourceSubscriptions"] = wanted.uris;
  if (!wanted.tasks.empty()) honoured["taskIds"] = wanted.tasks;
  Wire& wire = call.wire_;
  Watcher watcher(*this, std::move(wanted));
  const Json meta = {{meta_subscription, from_id(request.id)}};
  Value accepted = Json{{"_meta", meta}, {"notifications", std::move(honoured)}};
  auto told = co_await wire.notify("notifications/subscriptions/acknowledged", std::move(accepted));
  if (told) co_await tell(watcher, wire, Value(meta));
  reply.result = Json{{"_meta", meta}};
  co_return reply;
}

}  // namespace ambit::mcp
