#include "a2a/v0_3.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace ambit::a2a::v0_3 {
namespace {

using rpc::Json;

constexpr std::pair<const char*, const char*> states[] = {
    {"submitted", "TASK_STATE_SUBMITTED"}, {"working", "TASK_STATE_WORKING"},
    {"completed", "TASK_STATE_COMPLETED"}, {"failed", "TASK_STATE_FAILED"},
    {"canceled", "TASK_STATE_CANCELED"},   {"input-required", "TASK_STATE_INPUT_REQUIRED"},
    {"rejected", "TASK_STATE_REJECTED"},   {"auth-required", "TASK_STATE_AUTH_REQUIRED"},
};

bool is_string(const Json& json, const char* key, const char* value) {
  const auto at = json.find(key);
  return at != json.end() && at->is_string() && *at == value;
}

void rename(Json& json, const char* from, const char* to) {
  const auto at = json.find(from);
  if (at == json.end()) return;
  Json value = std::move(*at);
  json.erase(from);
  json[to] = std::move(value);
}

}  // namespace

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
    if (part.contains("data")) {
      // 0.3 knows objects alone.
      if (part["data"].is_object()) {
        out["data"] = std::move(part["data"]);
      } else {
        out["data"]["value"] = std::move(part["data"]);
      }
    }
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
  const auto parts = message.find("parts");
  if (parts != message.end() && parts->is_array()) {
    for (Json& part : *parts) part = upgrade_part(std::move(part));
  }
  return message;
}

namespace {

void downgrade_parts(Json& holder) {
  for (Json& part : holder["parts"]) part = downgrade_part(std::move(part));
}

Json with_kind(const char* kind, const Json& json) {
  Json out = {{"kind", kind}};
  out.update(json);
  return out;
}

Json downgrade_message(Json message) {
  message["role"] = message["role"] == "ROLE_AGENT" ? "agent" : "user";
  downgrade_parts(message);
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
  if (task.contains("artifacts")) {
    for (Json& artifact : task["artifacts"]) downgrade_parts(artifact);
  }
  if (task.contains("history")) {
    for (Json& message : task["history"]) message = downgrade_message(std::move(message));
  }
  return with_kind("task", std::move(task));
}

Json upgrade_push(Json config) {
  const auto at = config.find("authentication");
  if (at == config.end() || !at->is_object()) return config;
  Json scheme = "Bearer";
  if (at->contains("schemes") && (*at)["schemes"].is_array() && !(*at)["schemes"].empty()) {
    scheme = (*at)["schemes"][0];
  }
  at->erase("schemes");
  (*at)["scheme"] = std::move(scheme);
  return config;
}

Json downgrade_push(Json config) {
  Json out = Json::object();
  out["taskId"] = config.contains("taskId") ? config["taskId"] : Json("");
  config.erase("taskId");
  config.erase("tenant");
  if (config.contains("authentication")) {
    Json schemes = Json::array();
    schemes.push_back(config["authentication"]["scheme"]);
    config["authentication"].erase("scheme");
    config["authentication"]["schemes"] = std::move(schemes);
  }
  out["pushNotificationConfig"] = std::move(config);
  return out;
}

Json upgrade_send(Json params) {
  if (params.contains("message")) params["message"] = upgrade_message(std::move(params["message"]));
  const auto configuration = params.find("configuration");
  if (configuration == params.end() || !configuration->is_object()) return params;
  const auto blocking = configuration->find("blocking");
  if (blocking != configuration->end() && blocking->is_boolean()) {
    (*configuration)["returnImmediately"] = !blocking->get<bool>();
  }
  if (configuration->contains("pushNotificationConfig")) {
    (*configuration)["taskPushNotificationConfig"] =
        upgrade_push(std::move((*configuration)["pushNotificationConfig"]));
  }
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
              ? upgrade_push(params["pushNotificationConfig"])
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
    downgrade_parts(update["artifact"]);
    return with_kind("artifact-update", std::move(update));
  }
  Json update = std::move(event["statusUpdate"]);
  downgrade_status(update["status"]);
  const std::string state = update["status"]["state"];
  update["final"] = state != "submitted" && state != "working" && state != "auth-required";
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
