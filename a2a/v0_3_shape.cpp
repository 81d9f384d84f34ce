#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::a2a::v0_3_shape {

using rpc::Json;

namespace {

bool is_free(const std::string& name) {
  return name == "metadata" || name == "data" || name == "params";
}

std::string proto_name(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') out += '_';
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

}  // namespace

std::string json_name(std::string_view proto_name) {
  std::string out;
  bool is_next_upper = false;
  for (const char c : proto_name) {
    if (c == '_') {
      is_next_upper = true;
      continue;
    }
    out += is_next_upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    is_next_upper = false;
  }
  return out;
}

bool to_json_names(Json& json) {
  bool is_changed = false;
  if (json.is_array()) {
    for (Json& one : json) is_changed = to_json_names(one) || is_changed;
  }
  if (!json.is_object()) return is_changed;
  Json out = Json::object();
  for (auto& [key, value] : json.items()) {
    std::string name = json_name(key);
    is_changed = is_changed || name != key;
    if (!is_free(name)) is_changed = to_json_names(value) || is_changed;
    out[std::move(name)] = std::move(value);
  }
  json = std::move(out);
  return is_changed;
}

void to_proto_names(Json& json) {
  if (json.is_array()) {
    for (Json& one : json) to_proto_names(one);
  }
  if (!json.is_object()) return;
  Json out = Json::object();
  for (auto& [key, value] : json.items()) {
    if (!is_free(key)) to_proto_names(value);
    out[proto_name(key)] = std::move(value);
  }
  json = std::move(out);
}

void rename(Json& json, const char* from, const char* to) {
  const auto at = json.find(from);
  if (at == json.end()) return;
  Json value = std::move(*at);
  json.erase(from);
  json[to] = std::move(value);
}

void change_each(Json& holder, const char* key, Change change) {
  if (!holder.is_object()) return;
  const auto at = holder.find(key);
  if (at == holder.end() || !at->is_array()) return;
  for (Json& one : *at) one = change(std::move(one));
}

Json object_of(Json data) {
  if (data.is_object()) return data;
  Json out = Json::object();
  out["value"] = std::move(data);
  return out;
}

void change_task(Json& task, PartChange part, Change message) {
  if (task.contains("artifacts") && task["artifacts"].is_array()) {
    for (Json& artifact : task["artifacts"]) change_each(artifact, "parts", part);
  }
  change_each(task, "history", message);
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

void downgrade_authentication(Json& config) {
  const auto at = config.find("authentication");
  if (at == config.end()) return;
  Json schemes = Json::array();
  schemes.push_back((*at)["scheme"]);
  at->erase("scheme");
  (*at)["schemes"] = std::move(schemes);
}

void upgrade_configuration(Json& params, std::initializer_list<const char*> push_names) {
  const auto at = params.find("configuration");
  if (at == params.end() || !at->is_object()) return;
  Json& configuration = *at;
  const auto blocking = configuration.find("blocking");
  if (blocking != configuration.end() && blocking->is_boolean()) {
    configuration["returnImmediately"] = !blocking->get<bool>();
  }
  for (const char* name : push_names) {
    if (!configuration.contains(name)) continue;
    configuration["taskPushNotificationConfig"] = upgrade_push(std::move(configuration[name]));
  }
}

void downgrade_configuration(Json& params, const char* push_name, bool has_blocking) {
  Json& configuration = params["configuration"];
  if (!configuration.is_object()) configuration = Json::object();
  const bool returns_immediately =
      configuration.contains("returnImmediately") && configuration["returnImmediately"] == true;
  configuration.erase("returnImmediately");
  if (has_blocking) configuration["blocking"] = !returns_immediately;
  if (configuration.contains("taskPushNotificationConfig")) {
    Json push = std::move(configuration["taskPushNotificationConfig"]);
    configuration.erase("taskPushNotificationConfig");
    push.erase("taskId");
    push.erase("tenant");
    downgrade_authentication(push);
    configuration[push_name] = std::move(push);
  }
  if (configuration.empty()) params.erase("configuration");
}

bool is_final(std::string_view state) {
  return state != "TASK_STATE_SUBMITTED" && state != "TASK_STATE_WORKING" &&
         state != "TASK_STATE_AUTH_REQUIRED";
}

}  // namespace ambit::a2a::v0_3_shape
