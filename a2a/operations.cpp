#include "a2a/operations.h"

#include "a2a/codec.h"
#include "a2a/v0_3.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using rpc::Json;

struct Method {
  Operation operation;
  std::string_view name;
  std::string_view old_name;  // of 0.3; empty: it had none
};
constexpr Method methods[] = {
    {Operation::send, "SendMessage", "message/send"},
    {Operation::stream, "SendStreamingMessage", "message/stream"},
    {Operation::get, "GetTask", "tasks/get"},
    {Operation::list, "ListTasks", ""},
    {Operation::cancel, "CancelTask", "tasks/cancel"},
    {Operation::subscribe, "SubscribeToTask", "tasks/resubscribe"},
    {Operation::create_push, "CreateTaskPushNotificationConfig",
     "tasks/pushNotificationConfig/set"},
    {Operation::get_push, "GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get"},
    {Operation::list_push, "ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list"},
    {Operation::delete_push, "DeleteTaskPushNotificationConfig",
     "tasks/pushNotificationConfig/delete"},
    {Operation::extended_card, "GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"},
};

template <class T>
tl::unexpected<Failure> failure(const Answer<T>& answer) {
  return tl::unexpected<Failure>(answer.error());
}

Answer<Outcome> outcome(Json json) {
  Outcome out;
  out.result = rpc::Value(std::move(json));
  return out;
}

// {"task": ...}
Json wrapped(const char* key, Json json) {
  Json out = Json::object();
  out[key] = std::move(json);
  return out;
}

Json page_json(const TaskPage& page, const ListRequest& request) {
  TaskDetail detail;
  detail.history_length = request.history_length;
  detail.has_artifacts = request.include_artifacts;
  Json tasks = Json::array();
  for (const auto& task : page.tasks) tasks.push_back(to_json(task->record, detail));
  Json json = wrapped("tasks", std::move(tasks));
  json["nextPageToken"] = page.next_token;
  json["pageSize"] = request.page_size.value_or(50);
  json["totalSize"] = page.total;
  return json;
}

Task<Answer<Outcome>> do_send(Service& service, Operation operation, Call call, Json params) {
  auto request = read_send_request(params);
  if (!request) co_return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  if (operation == Operation::stream) {
    auto stream = co_await service.stream(std::move(call), std::move(*request));
    if (!stream) co_return failure(stream);
    Outcome out;
    out.stream = std::move(*stream);
    co_return std::move(out);
  }
  auto sent = co_await service.send(std::move(call), std::move(*request));
  if (!sent) co_return failure(sent);
  if (const auto* message = std::get_if<Message>(&*sent)) {
    co_return outcome(wrapped("message", to_json(*message)));
  }
  const TaskView& view = std::get<TaskView>(*sent);
  co_return outcome(wrapped("task", to_json(view.task->record, view.detail)));
}

Answer<Outcome> do_list(Service& service, Call call, const Json& params) {
  const auto request = read_list_request(params);
  if (!request) return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  const auto page = service.list(call, *request);
  if (!page) return failure(page);
  return outcome(page_json(*page, *request));
}

Answer<Outcome> do_get(Service& service, Call call, const Json& params) {
  const auto request = read_get_request(params);
  if (!request) return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  const auto view = service.get(call, *request);
  if (!view) return failure(view);
  return outcome(to_json(view->task->record, view->detail));
}

Answer<Outcome> do_push(Service& service, Operation operation, Call call, const Json& params) {
  if (operation == Operation::create_push) {
    auto config = read_push_config(params, "");
    if (!config) return failure(config);
    if (config->task_id.empty()) return Fail(Fault::invalid_params, "taskId: is missing", "taskId");
    if (!config->tenant.empty()) call.tenant = config->tenant;
    const auto created = service.create_push(call, std::move(*config));
    if (!created) return failure(created);
    return outcome(to_json(*created));
  }
  const bool is_list = operation == Operation::list_push;
  const auto request = read_task_request(params, "taskId", is_list ? nullptr : "id");
  if (!request) return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  if (is_list) {
    const auto configs = service.list_push(call, *request);
    if (!configs) return failure(configs);
    Json all = Json::array();
    for (const PushConfig& config : *configs) all.push_back(to_json(config));
    Json json = wrapped("configs", std::move(all));
    json["nextPageToken"] = "";
    return outcome(std::move(json));
  }
  if (operation == Operation::delete_push) {
    const auto deleted = service.delete_push(call, *request);
    if (!deleted) return failure(deleted);
    return outcome(Json::object());
  }
  const auto config = service.get_push(call, *request);
  if (!config) return failure(config);
  return outcome(to_json(*config));
}

Task<Answer<Outcome>> perform_now(Service& service, Operation operation, Call call, Json params) {
  switch (operation) {
    case Operation::send:
    case Operation::stream: {
      auto sent = co_await do_send(service, operation, std::move(call), std::move(params));
      co_return sent;
    }
    case Operation::get:
      co_return do_get(service, std::move(call), params);
    case Operation::list:
      co_return do_list(service, std::move(call), params);
    case Operation::cancel: {
      auto request = read_task_request(params, "id", nullptr);
      if (!request) co_return failure(request);
      if (!request->tenant.empty()) call.tenant = request->tenant;
      auto view = co_await service.cancel(std::move(call), std::move(*request));
      if (!view) co_return failure(view);
      co_return outcome(to_json(view->task->record, view->detail));
    }
    case Operation::subscribe: {
      const auto request = read_task_request(params, "id", nullptr);
      if (!request) co_return failure(request);
      if (!request->tenant.empty()) call.tenant = request->tenant;
      auto stream = service.subscribe(call, *request);
      if (!stream) co_return failure(stream);
      Outcome out;
      out.stream = std::move(*stream);
      co_return std::move(out);
    }
    case Operation::extended_card: {
      const auto card = service.extended_card(call);
      if (!card) co_return failure(card);
      co_return outcome(to_json(**card, CardShape::pure));
    }
    default:
      co_return do_push(service, operation, std::move(call), params);
  }
}

}  // namespace

std::optional<Operation> find_method(Version version, std::string_view name) {
  for (const Method& method : methods) {
    const std::string_view known = version == Version::v1_0 ? method.name : method.old_name;
    if (!known.empty() && known == name) return method.operation;
  }
  return std::nullopt;
}

std::string_view method_name(Operation operation, Version version) {
  const auto* at = std::find_if(std::begin(methods), std::end(methods), [&](const Method& method) {
    return method.operation == operation;
  });
  return version == Version::v1_0 ? at->name : at->old_name;
}

bool is_streaming(Operation operation) {
  return operation == Operation::stream || operation == Operation::subscribe;
}

Task<Answer<Outcome>> perform(Service& service, Operation operation, Version version, Call call,
                              rpc::Value params) {
  call.is_0_3 = version == Version::v0_3;
  Json json = params.present() ? std::move(params.edit()) : Json::object();
  if (version == Version::v0_3) json = v0_3::upgrade_params(operation, std::move(json));
  auto done = co_await perform_now(service, operation, std::move(call), std::move(json));
  if (done && version == Version::v0_3 && done->result.present()) {
    if (operation == Operation::extended_card) {
      done->result = rpc::Value(to_json(*service.options().extended_card, CardShape::old));
    } else {
      done->result = rpc::Value(v0_3::downgrade_result(operation, std::move(done->result.edit())));
    }
  }
  co_return done;
}

std::string event_text(const Update& update, Version version) {
  if (version == Version::v1_0) return update.text();
  return rpc::compact(v0_3::downgrade_event(to_json(update.event())));
}

}  // namespace ambit::a2a
