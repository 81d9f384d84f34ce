// The client's half of v0_3.h: requests down to 0.3, answers up to 1.0.

#include "a2a/v0_3.h"

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace ambit::a2a::v0_3 {
namespace {

using rpc::Json;

const std::map<std::string, std::string> up_states = {
    {"submitted", "TASK_STATE_SUBMITTED"}, {"working", "TASK_STATE_WORKING"},
    {"completed", "TASK_STATE_COMPLETED"}, {"failed", "TASK_STATE_FAILED"},
    {"canceled", "TASK_STATE_CANCELED"},   {"input-required", "TASK_STATE_INPUT_REQUIRED"},
    {"rejected", "TASK_STATE_REJECTED"},   {"auth-required", "TASK_STATE_AUTH_REQUIRED"},
    {"unknown", "TASK_STATE_UNSPECIFIED"},
};

bool has_object(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_object();
}
bool has_array(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_array();
}

void up_message(Json& message) {
  message = upgrade_message(std::move(message));
}

void up_parts(Json& holder) {
  if (!has_array(holder, "parts")) return;
  for (Json& part : holder["parts"]) part = upgrade_part(std::move(part));
}

void up_status(Json& holder) {
  if (!has_object(holder, "status")) return;
  Json& status = holder["status"];
  if (status.contains("state") && status["state"].is_string()) {
    const auto at = up_states.find(status["state"].get<std::string>());
    if (at != up_states.end()) status["state"] = at->second;
  }
  if (has_object(status, "message")) up_message(status["message"]);
}

void up_task(Json& task) {
  if (!task.is_object()) return;
  task.erase("kind");
  up_status(task);
  if (has_array(task, "artifacts")) {
    for (Json& artifact : task["artifacts"]) up_parts(artifact);
  }
  if (has_array(task, "history")) {
    for (Json& message : task["history"]) up_message(message);
  }
}

Json down_part(const Json& part) {
  return downgrade_part(part);
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
    up_message(event);
    out["message"] = std::move(event);
  } else if (kind == "status-update") {
    event.erase("kind");
    event.erase("final");
    up_status(event);
    out["statusUpdate"] = std::move(event);
  } else if (kind == "artifact-update") {
    event.erase("kind");
    if (has_object(event, "artifact")) up_parts(event["artifact"]);
    out["artifactUpdate"] = std::move(event);
  }
  return out;
}

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
    default:
      return result;
  }
}

Json downgrade_params(Operation operation, Json params) {
  params.erase("tenant");
  if (operation != Operation::send && operation != Operation::stream) return params;
  Json& message = params["message"];
  message["kind"] = "message";
  message["role"] = message["role"] == "ROLE_AGENT" ? "agent" : "user";
  for (Json& part : message["parts"]) part = down_part(part);
  Json& configuration = params["configuration"];
  if (!configuration.is_object()) configuration = Json::object();
  const bool returns_immediately =
      configuration.contains("returnImmediately") && configuration["returnImmediately"] == true;
  configuration.erase("returnImmediately");
  if (operation == Operation::send) configuration["blocking"] = !returns_immediately;
  if (configuration.empty()) params.erase("configuration");
  return params;
}

}  // namespace ambit::a2a::v0_3
