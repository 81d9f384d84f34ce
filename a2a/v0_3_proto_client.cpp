// The client's half of v0_3_proto.h: requests down to 0.3, answers up to 1.0.

#include "a2a/v0_3_proto.h"
#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <string>

namespace ambit::a2a::v0_3_proto {
namespace {

using rpc::Json;

constexpr std::int64_t history_all = 0x7FFFFFFF;

Json resource(const std::string& task, const std::string& config) {
  return "tasks/" + task + (config.empty() ? "" : "/pushNotificationConfigs/" + config);
}

std::string taken(Json& params, const char* key) {
  const auto at = params.find(key);
  if (at == params.end() || !at->is_string()) return "";
  std::string text = at->get<std::string>();
  params.erase(key);
  return text;
}

void up_status(Json& holder) {
  if (!holder.is_object() || !holder.contains("status") || !holder["status"].is_object()) return;
  Json& status = holder["status"];
  if (status.contains("state") && status["state"] == "TASK_STATE_CANCELLED") {
    status["state"] = "TASK_STATE_CANCELED";
  }
  if (status.contains("message")) status["message"] = upgrade_message(status["message"]);
}

Json up_task(Json task) {
  if (!task.is_object()) return task;
  up_status(task);
  v0_3_shape::change_task(task, upgrade_part, upgrade_message);
  return task;
}

Json up_push(Json config) {
  return upgrade_create_push(config);
}

}  // namespace

Json upgrade_event(Json event) {
  if (!event.is_object()) return event;
  // The proto's own name of the member, which some write.
  v0_3_shape::rename(event, "msg", "message");
  if (event.contains("task")) event["task"] = up_task(std::move(event["task"]));
  if (event.contains("message")) event["message"] = upgrade_message(std::move(event["message"]));
  if (event.contains("statusUpdate") && event["statusUpdate"].is_object()) {
    event["statusUpdate"].erase("final");
    up_status(event["statusUpdate"]);
  }
  if (event.contains("artifactUpdate") && event["artifactUpdate"].is_object() &&
      event["artifactUpdate"].contains("artifact")) {
    v0_3_shape::change_each(event["artifactUpdate"]["artifact"], "parts", upgrade_part);
  }
  return event;
}

Json upgrade_result(Operation operation, Json result) {
  switch (operation) {
    case Operation::send:
    case Operation::stream:
    case Operation::subscribe:
      return upgrade_event(std::move(result));
    case Operation::get:
    case Operation::cancel:
      return up_task(std::move(result));
    case Operation::create_push:
    case Operation::get_push:
      return result.is_object() ? up_push(std::move(result)) : result;
    case Operation::list_push: {
      Json out = Json::object();
      out["configs"] = result.is_array()            ? std::move(result)
                       : result.contains("configs") ? std::move(result["configs"])
                                                    : Json::array();
      v0_3_shape::change_each(out, "configs", up_push);
      return out;
    }
    default:
      return result;
  }
}

Json downgrade_params(Operation operation, Json params) {
  params.erase("tenant");
  if (operation == Operation::send || operation == Operation::stream) {
    Json& message = params["message"];
    v0_3_shape::change_each(message, "parts", downgrade_part);
    v0_3_shape::rename(message, "parts", "content");
    message.erase("referenceTaskIds");
    v0_3_shape::downgrade_configuration(params, "pushNotification", operation == Operation::send);
  } else if (operation == Operation::create_push) {
    const std::string task = taken(params, "taskId");
    const std::string config =
        params.contains("id") && params["id"].is_string() ? params["id"].get<std::string>() : "";
    v0_3_shape::downgrade_authentication(params);
    Json out = {{"taskId", task}, {"parent", resource(task, "")}, {"configId", config}};
    out["config"]["name"] = resource(task, config);
    out["config"]["pushNotificationConfig"] = std::move(params);
    return out;
  }
  return params;
}

void put_names(Operation operation, Json& params) {
  switch (operation) {
    case Operation::send:
    case Operation::stream:
      v0_3_shape::rename(params, "message", "request");
      break;
    case Operation::get:
      // This message cannot say that the number is not said: 0 is what it has then.
      if (!params.contains("historyLength")) params["historyLength"] = history_all;
      [[fallthrough]];
    case Operation::cancel:
    case Operation::subscribe:
      params["name"] = resource(taken(params, "id"), "");
      break;
    case Operation::create_push:
      params.erase("taskId");
      break;
    case Operation::get_push:
    case Operation::delete_push: {
      const std::string config = taken(params, "id");
      params["name"] = resource(taken(params, "taskId"), config);
      break;
    }
    case Operation::list_push:
      params["parent"] = resource(taken(params, "taskId"), "");
      break;
    default:
      break;
  }
}

}  // namespace ambit::a2a::v0_3_proto
