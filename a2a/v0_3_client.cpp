// The client's half of v0_3.h: requests down to 0.3, answers up to 1.0.

#include "a2a/v0_3.h"
#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <string>

namespace ambit::a2a::v0_3 {
namespace {

using rpc::Json;

bool has_object(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_object();
}

void up_status(Json& holder) {
  if (!has_object(holder, "status")) return;
  Json& status = holder["status"];
  if (status.contains("state") && status["state"].is_string()) {
    status["state"] = upgrade_state(status["state"].get<std::string>());
  }
  if (has_object(status, "message")) status["message"] = upgrade_message(status["message"]);
}

void up_task(Json& task) {
  if (!task.is_object()) return;
  task.erase("kind");
  up_status(task);
  v0_3_shape::change_task(task, upgrade_part, upgrade_message);
}

}  // namespace

Json upgrade_event(Json event) {
  std::string kind;
  if (event.is_object() && event.contains("kind") && event["kind"].is_string()) {
    kind = event["kind"].get<std::string>();
  }
  Json out = Json::object();
  if (kind == "task") {
    up_task(event);
    out["task"] = std::move(event);
  } else if (kind == "message") {
    out["message"] = upgrade_message(std::move(event));
  } else if (kind == "status-update") {
    event.erase("kind");
    event.erase("final");
    up_status(event);
    out["statusUpdate"] = std::move(event);
  } else if (kind == "artifact-update") {
    event.erase("kind");
    if (has_object(event, "artifact")) {
      v0_3_shape::change_each(event["artifact"], "parts", upgrade_part);
    }
    out["artifactUpdate"] = std::move(event);
  }
  return out;
}

namespace {

// {"taskId", "pushNotificationConfig": {...}} becomes one object.
Json up_push(Json config) {
  if (!has_object(config, "pushNotificationConfig")) return config;
  Json out = v0_3_shape::upgrade_push(std::move(config["pushNotificationConfig"]));
  if (config.contains("taskId")) out["taskId"] = std::move(config["taskId"]);
  return out;
}

}  // namespace

Json upgrade_result(Operation operation, Json result) {
  switch (operation) {
    case Operation::send:
    case Operation::stream:
    case Operation::subscribe:
      return upgrade_event(std::move(result));
    case Operation::get:
    case Operation::cancel:
      up_task(result);
      return result;
    case Operation::create_push:
    case Operation::get_push:
      return up_push(std::move(result));
    case Operation::list_push: {
      Json out = Json::object();
      out["configs"] = std::move(result);
      v0_3_shape::change_each(out, "configs", up_push);
      return out;
    }
    default:
      return result;
  }
}

Json downgrade_params(Operation operation, Json params) {
  params.erase("tenant");
  switch (operation) {
    case Operation::send:
    case Operation::stream: {
      Json& message = params["message"];
      message["kind"] = "message";
      message["role"] = message["role"] == "ROLE_AGENT" ? "agent" : "user";
      v0_3_shape::change_each(message, "parts", downgrade_part);
      v0_3_shape::downgrade_configuration(params, "pushNotificationConfig",
                                          operation == Operation::send);
      return params;
    }
    case Operation::create_push: {
      Json out = Json::object();
      out["taskId"] = params["taskId"];
      params.erase("taskId");
      v0_3_shape::downgrade_authentication(params);
      out["pushNotificationConfig"] = std::move(params);
      return out;
    }
    case Operation::get_push:
    case Operation::list_push:
    case Operation::delete_push:
      v0_3_shape::rename(params, "id", "pushNotificationConfigId");
      v0_3_shape::rename(params, "taskId", "id");
      return params;
    default:
      return params;
  }
}

}  // namespace ambit::a2a::v0_3
