#include "a2a/operations.h"

#include "a2a/codec.h"
#include "a2a/v0_3.h"
#include "a2a/v0_3_proto.h"
#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using agents::JsonWriter;
using rpc::Json;

struct Method {
  Operation operation;
  std::string_view name;
  std::string_view old_name;        // of 0.3; empty: it had none
  std::string_view old_proto_name;  // of 0.3's gRPC
};
constexpr Method methods[] = {
    {Operation::send, "SendMessage", "message/send", "SendMessage"},
    {Operation::stream, "SendStreamingMessage", "message/stream", "SendStreamingMessage"},
    {Operation::get, "GetTask", "tasks/get", "GetTask"},
    {Operation::list, "ListTasks", "", ""},
    {Operation::cancel, "CancelTask", "tasks/cancel", "CancelTask"},
    {Operation::subscribe, "SubscribeToTask", "tasks/resubscribe", "TaskSubscription"},
    {Operation::create_push, "CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set",
     "CreateTaskPushNotificationConfig"},
    {Operation::get_push, "GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get",
     "GetTaskPushNotificationConfig"},
    {Operation::list_push, "ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list",
     "ListTaskPushNotificationConfig"},
    {Operation::delete_push, "DeleteTaskPushNotificationConfig",
     "tasks/pushNotificationConfig/delete", "DeleteTaskPushNotificationConfig"},
    {Operation::extended_card, "GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard",
     "GetAgentCard"},
};

template <class T>
tl::unexpected<Failure> failure(const Answer<T>& answer) {
  return tl::unexpected<Failure>(answer.error());
}

Answer<Outcome> outcome(std::string result) {
  Outcome out;
  out.result = std::move(result);
  return out;
}

// {"task": ...}
template <class... T>
std::string wrapped(const char* key, const T&... what) {
  std::string text;
  JsonWriter out(text);
  write(out.begin_object().key(key), what...);
  out.end_object();
  return text;
}

std::string page_text(const TaskPage& page, const ListRequest& request) {
  TaskDetail detail;
  detail.history_length = request.history_length;
  detail.has_artifacts = request.include_artifacts;
  std::string text;
  JsonWriter out(text);
  out.begin_object().key("tasks").begin_array();
  for (const auto& task : page.tasks) write(out, task->record, detail);
  out.end_array().key("nextPageToken").text(page.next_token);
  out.key("pageSize").integer(request.page_size.value_or(50));
  out.key("totalSize").integer(static_cast<std::int64_t>(page.total));
  out.end_object();
  return text;
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
    co_return outcome(wrapped("message", *message));
  }
  const TaskView& view = std::get<TaskView>(*sent);
  co_return outcome(wrapped("task", view.task->record, view.detail));
}

Answer<Outcome> do_list(Service& service, Call call, const Json& params) {
  const auto request = read_list_request(params);
  if (!request) return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  const auto page = service.list(call, *request);
  if (!page) return failure(page);
  return outcome(page_text(*page, *request));
}

Answer<Outcome> do_get(Service& service, Call call, const Json& params) {
  const auto request = read_get_request(params);
  if (!request) return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  const auto view = service.get(call, *request);
  if (!view) return failure(view);
  return outcome(to_text(view->task->record, view->detail));
}

Task<Answer<Outcome>> do_push(Service& service, Operation operation, Call call, Json params) {
  if (operation == Operation::create_push) {
    auto config = read_push_config(params, "");
    if (!config) co_return failure(config);
    if (config->task_id.empty())
      co_return Fail(Fault::invalid_params, "taskId: is missing", "taskId");
    if (!config->tenant.empty()) call.tenant = config->tenant;
    auto created = co_await service.create_push(std::move(call), std::move(*config));
    if (!created) co_return failure(created);
    co_return outcome(to_text(*created));
  }
  const bool is_list = operation == Operation::list_push;
  auto request = read_task_request(params, "taskId", is_list ? nullptr : "id");
  if (!request) co_return failure(request);
  if (!request->tenant.empty()) call.tenant = request->tenant;
  if (is_list) {
    const auto configs = service.list_push(call, *request);
    if (!configs) co_return failure(configs);
    std::string text;
    JsonWriter out(text);
    out.begin_object().key("configs").begin_array();
    for (const PushConfig& config : *configs) write(out, config);
    out.end_array().key("nextPageToken").text("").end_object();
    co_return outcome(std::move(text));
  }
  if (operation == Operation::delete_push) {
    auto deleted = co_await service.delete_push(std::move(call), std::move(*request));
    if (!deleted) co_return failure(deleted);
    co_return outcome("{}");
  }
  const auto config = service.get_push(call, *request);
  if (!config) co_return failure(config);
  co_return outcome(to_text(*config));
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
      co_return outcome(to_text(view->task->record, view->detail));
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
      co_return outcome(rpc::compact(to_json(**card, CardShape::pure)));
    }
    default:
      break;
  }
  co_return co_await do_push(service, operation, std::move(call), std::move(params));
}

}  // namespace

namespace {

std::string_view name_in(const Method& method, Version version) {
  if (version == Version::v1_0) return method.name;
  return version == Version::v0_3 ? method.old_name : method.old_proto_name;
}

}  // namespace

std::optional<Operation> find_method(Version version, std::string_view name) {
  for (const Method& method : methods) {
    const std::string_view known = name_in(method, version);
    if (!known.empty() && known == name) return method.operation;
  }
  return std::nullopt;
}

std::string_view method_name(Operation operation, Version version) {
  const auto* at = std::find_if(std::begin(methods), std::end(methods), [&](const Method& method) {
    return method.operation == operation;
  });
  return name_in(*at, version);
}

bool is_streaming(Operation operation) {
  return operation == Operation::stream || operation == Operation::subscribe;
}

Task<Answer<Outcome>> perform(Service& service, Operation operation, Version version, Call call,
                              rpc::Value params) {
  call.is_0_3 = version != Version::v1_0;
  auto admitted = service.admit(call);
  if (!admitted) co_return tl::unexpected<Failure>(admitted.error());
  Json json = params.present() ? std::move(params.edit()) : Json::object();
  if (version == Version::v0_3) json = v0_3::upgrade_params(operation, std::move(json));
  // Who writes the proto's own names gets them back, but in push configurations: those are read as
  // the specification writes them by the same clients (the official TCK's).
  bool has_proto_names = false;
  if (version == Version::v0_3_proto) {
    has_proto_names = v0_3_shape::to_json_names(json);
    json = v0_3_proto::upgrade_params(operation, std::move(json));
  }
  auto done = co_await perform_now(service, operation, std::move(call), std::move(json));
  if (!done || done->result.empty() || version == Version::v1_0) co_return done;
  if (operation == Operation::extended_card) {
    Json card = to_json(*service.options().extended_card, CardShape::old);
    if (version == Version::v0_3_proto) card = v0_3_proto::card_of(std::move(card));
    done->result = rpc::compact(card);
    co_return done;
  }
  Json result = Json::parse(done->result);
  result = version == Version::v0_3 ? v0_3::downgrade_result(operation, std::move(result))
                                    : v0_3_proto::downgrade_result(operation, std::move(result));
  const bool is_push = operation == Operation::create_push || operation == Operation::get_push ||
                       operation == Operation::list_push;
  if (has_proto_names && !is_push) v0_3_shape::to_proto_names(result);
  done->result = rpc::compact(result);
  co_return done;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, end);
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::string activated_extensions(const AgentCard& card, const Call& call) {
  std::string activated;
  for (const Extension& extension : card.extensions) {
    if (std::find(call.extensions.begin(), call.extensions.end(), extension.uri) ==
        call.extensions.end()) {
      continue;
    }
    activated += (activated.empty() ? "" : ", ") + extension.uri;
  }
  return activated;
}

std::string event_text(const Update& update, Version version) {
  if (version == Version::v1_0) return update.text();
  Json json = to_json(update.event());
  return rpc::compact(version == Version::v0_3 ? v0_3::downgrade_event(std::move(json))
                                               : v0_3_proto::downgrade_event(std::move(json)));
}

}  // namespace ambit::a2a
