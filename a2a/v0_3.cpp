#include "a2a/v0_3.h"

#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace ambit::a2a::v0_3 {
namespace {

using rpc::Json;
using v0_3_shape::rename;

constexpr std::pair<const char*, const char*> states[] = {
    {"submitted", "TASK_STATE_SUBMITTED"}, {"working", "TASK_STATE_WORKING"},
    {"completed", "TASK_STATE_COMPLETED"}, {"failed", "TASK_STATE_FAILED"},
    {"canceled", "TASK_STATE_CANCELED"},   {"input-required", "TASK_STATE_INPUT_REQUIRED"},
    {"rejected", "TASK_STATE_REJECTED"},   {"auth-required", "TASK_STATE_AUTH_REQUIRED"},
    {"unknown", "TASK_STATE_UNSPECIFIED"},
};

bool is_string(const Json& json, const char* key, const char* value) {
  const auto at = json.find(key);
  return at != json.end() && at->is_string() && *at == value;
}

}  // namespace

std::string upgrade_state(std::string state) {
  for (const auto& [old, name] : states) {
    if (state == old) return name;
  }
  return state;
}

Json upgrade_part(Json part) {
  if (!part.is_object()) return part;
  if (is_string(part, "kind", "file") && part.contains("file") && part["file"].is_object()) {
    const Json& file = part["file"];
    Json out = Json::object();
    if (file.contains("bytes")) out["raw"] = file["bytes"];
    if (file.contains("uri")) out["url"] = file["uri"];
    if (file.contains("name")) out["filename"] = file["name"];
    if (file.contains("mimeType")) out["mediaType"] = file["mimeType"];
    if (part.contains("metadata")) out["metadata"] = part["metadata"];
    return out;
  }
  part.erase("kind");
  return part;
}

Json downgrade_part(Json part) {
  const bool is_file = part.contains("raw") || part.contains("url");
  if (!is_file) {
    Json out = {{"kind", part.contains("text") ? "text" : "data"}};
    if (part.contains("text")) out["text"] = part["text"];
    if (part.contains("data")) out["data"] = v0_3_shape::object_of(std::move(part["data"]));
    if (part.contains("metadata")) out["metadata"] = std::move(part["metadata"]);
    return out;
  }
  Json file = Json::object();
  if (part.contains("raw")) file["bytes"] = part["raw"];
  if (part.contains("url")) file["uri"] = part["url"];
  if (part.contains("filename")) file["name"] = part["filename"];
  if (part.contains("mediaType")) file["mimeType"] = part["mediaType"];
  Json out = {{"kind", "file"}};
  out["file"] = std::move(file);
  if (part.contains("metadata")) out["metadata"] = std::move(part["metadata"]);
  return out;
}

Json upgrade_message(Json message) {
  if (!message.is_object()) return message;
  message.erase("kind");
  if (is_string(message, "role", "user")) message["role"] = "ROLE_USER";
  if (is_string(message, "role", "agent")) message["role"] = "ROLE_AGENT";
  v0_3_shape::change_each(message, "parts", upgrade_part);
  return message;
}

namespace {

Json with_kind(const char* kind, const Json& json) {
  Json out = {{"kind", kind}};
  out.update(json);
  return out;
}

Json downgrade_message(Json message) {
  message["role"] = message["role"] == "ROLE_AGENT" ? "agent" : "user";
  v0_3_shape::change_each(message, "parts", downgrade_part);
  return with_kind("message", std::move(message));
}

void downgrade_status(Json& status) {
  const std::string state = status["state"];
  const auto at = std::find_if(std::begin(states), std::end(states),
                               [&](const auto& pair) { return state == pair.second; });
  status["state"] = at == std::end(states) ? "unknown" : at->first;
  if (status.contains("message"))
    status["message"] = downgrade_message(std::move(status["message"]));
}

Json downgrade_task(Json task) {
  if (!task.contains("contextId")) task["contextId"] = "";
  downgrade_status(task["status"]);
  v0_3_shape::change_task(task, downgrade_part, downgrade_message);
  return with_kind("task", std::move(task));
}

Json downgrade_push(Json config) {
  Json out = Json::object();
  out["taskId"] = config.contains("taskId") ? config["taskId"] : Json("");
  config.erase("taskId");
  config.erase("tenant");
  v0_3_shape::downgrade_authentication(config);
  out["pushNotificationConfig"] = std::move(config);
  return out;
}

Json upgrade_send(Json params) {
  if (params.contains("message")) params["message"] = upgrade_message(std::move(params["message"]));
  v0_3_shape::upgrade_configuration(params, {"pushNotificationConfig"});
  return params;
}

}  // namespace

Json upgrade_params(Operation operation, Json params) {
  if (!params.is_object()) return params;
  switch (operation) {
    case Operation::send:
    case Operation::stream:
      return upgrade_send(std::move(params));
    case Operation::create_push: {
      Json out =
          params.contains("pushNotificationConfig") && params["pushNotificationConfig"].is_object()
              ? v0_3_shape::upgrade_push(params["pushNotificationConfig"])
              : Json::object();
      if (params.contains("taskId")) out["taskId"] = params["taskId"];
      // A configuration without an id is the one of its task.
      if (!out.contains("id") && out.contains("taskId")) out["id"] = out["taskId"];
      return out;
    }
    case Operation::get_push:
    case Operation::list_push:
    case Operation::delete_push:
      // There the task's id is "id".
      rename(params, "id", "taskId");
      rename(params, "pushNotificationConfigId", "id");
      // The one that was set without an id may be called so too.
      if (is_string(params, "id", "default")) params.erase("id");
      if (operation != Operation::list_push && !params.contains("id") && params.contains("taskId"))
        params["id"] = params["taskId"];
      return params;
    default:
      return params;
  }
}

Json downgrade_event(Json event) {
  if (event.contains("task")) return downgrade_task(std::move(event["task"]));
  if (event.contains("message")) return downgrade_message(std::move(event["message"]));
  if (event.contains("artifactUpdate")) {
    Json update = std::move(event["artifactUpdate"]);
    v0_3_shape::change_each(update["artifact"], "parts", downgrade_part);
    return with_kind("artifact-update", std::move(update));
  }
  Json update = std::move(event["statusUpdate"]);
  update["final"] = v0_3_shape::is_final(update["status"]["state"].get<std::string>());
  downgrade_status(update["status"]);
  return with_kind("status-update", std::move(update));
}

Json downgrade_result(Operation operation, Json result) {
  switch (operation) {
    case Operation::send:
      return downgrade_event(std::move(result));
    case Operation::get:
    case Operation::cancel:
      return downgrade_task(std::move(result));
    case Operation::create_push:
    case Operation::get_push:
      return downgrade_push(std::move(result));
    case Operation::list_push: {
      Json all = Json::array();
      for (Json& config : result["configs"]) all.push_back(downgrade_push(std::move(config)));
      return all;
    }
    case Operation::delete_push:
      return nullptr;
    default:
      return result;
  }
}

}  // namespace ambit::a2a::v0_3
