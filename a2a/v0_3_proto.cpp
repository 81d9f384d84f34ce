#include "a2a/v0_3_proto.h"

#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <string>
#include <utility>

namespace ambit::a2a::v0_3_proto {
namespace {

using rpc::Json;
using v0_3_shape::change_each;
using v0_3_shape::rename;

}  // namespace

Json upgrade_part(Json part) {
  if (!part.is_object()) return part;
  if (part.contains("file") && part["file"].is_object()) {
    Json file = std::move(part["file"]);
    part.erase("file");
    if (file.contains("fileWithUri")) part["url"] = std::move(file["fileWithUri"]);
    if (file.contains("fileWithBytes")) part["raw"] = std::move(file["fileWithBytes"]);
    if (file.contains("mimeType")) part["mediaType"] = std::move(file["mimeType"]);
    if (file.contains("name")) part["filename"] = std::move(file["name"]);
    return part;
  }
  const auto data = part.find("data");
  if (data != part.end() && data->is_object() && data->contains("data")) {
    Json inner = std::move((*data)["data"]);
    *data = std::move(inner);
  }
  return part;
}

Json downgrade_part(Json part) {
  Json out = Json::object();
  if (part.contains("text")) {
    out["text"] = std::move(part["text"]);
  } else if (part.contains("data")) {
    out["data"]["data"] = v0_3_shape::object_of(std::move(part["data"]));
  } else {
    Json file = Json::object();
    if (part.contains("url")) file["fileWithUri"] = std::move(part["url"]);
    if (part.contains("raw")) file["fileWithBytes"] = std::move(part["raw"]);
    if (part.contains("mediaType")) file["mimeType"] = std::move(part["mediaType"]);
    if (part.contains("filename")) file["name"] = std::move(part["filename"]);
    out["file"] = std::move(file);
  }
  if (part.contains("metadata")) out["metadata"] = std::move(part["metadata"]);
  return out;
}

Json upgrade_message(Json message) {
  if (!message.is_object()) return message;
  rename(message, "content", "parts");
  change_each(message, "parts", upgrade_part);
  return message;
}

namespace {

Json downgrade_message(Json message) {
  change_each(message, "parts", downgrade_part);
  rename(message, "parts", "content");
  message.erase("referenceTaskIds");
  return message;
}

void downgrade_status(Json& status) {
  if (status["state"] == "TASK_STATE_CANCELED") status["state"] = "TASK_STATE_CANCELLED";
  if (status.contains("message")) {
    status["message"] = downgrade_message(std::move(status["message"]));
  }
}

Json downgrade_task(Json task) {
  downgrade_status(task["status"]);
  v0_3_shape::change_task(task, downgrade_part, downgrade_message);
  return task;
}

Json downgrade_push(Json config) {
  const auto text = [&](const char* key) {
    return config.contains(key) ? config[key].get<std::string>() : std::string();
  };
  Json out = Json::object();
  out["name"] = "tasks/" + text("taskId") + "/pushNotificationConfigs/" + text("id");
  config.erase("taskId");
  config.erase("tenant");
  v0_3_shape::downgrade_authentication(config);
  out["pushNotificationConfig"] = std::move(config);
  return out;
}

// "tasks/ID/pushNotificationConfigs/CONFIG" into its two ids, empty where they are not there.
std::pair<std::string, std::string> ids_of(const Json& name) {
  std::pair<std::string, std::string> ids;
  if (!name.is_string()) return ids;
  const auto text = name.get<std::string>();
  constexpr std::string_view tasks = "tasks/";
  constexpr std::string_view configs = "/pushNotificationConfigs";
  if (!text.starts_with(tasks)) return ids;
  const std::size_t end = text.find('/', tasks.size());
  ids.first = text.substr(tasks.size(), end == std::string::npos ? end : end - tasks.size());
  if (end != std::string::npos && text.compare(end, configs.size(), configs) == 0) {
    ids.second = text.substr(std::min(end + configs.size() + 1, text.size()));
  }
  return ids;
}

void take_name(Json& params, const char* member, const char* id_key, const char* config_key) {
  const auto at = params.find(member);
  if (at == params.end()) return;
  auto [task, config] = ids_of(*at);
  params.erase(member);
  if (!task.empty()) params[id_key] = std::move(task);
  if (config_key != nullptr && !config.empty()) params[config_key] = std::move(config);
}

Json upgrade_send(Json params) {
  rename(params, "request", "message");
  if (params.contains("message")) params["message"] = upgrade_message(std::move(params["message"]));
  // ProtoJSON leaves out what is false, and there false means: do not wait.
  const auto at = params.find("configuration");
  if (at != params.end() && at->is_object() && !at->contains("blocking")) {
    (*at)["blocking"] = false;
  }
  v0_3_shape::upgrade_configuration(params, {"pushNotification", "pushNotificationConfig"});
  return params;
}

}  // namespace

// {parent, configId, config: {name, pushNotificationConfig}}; REST has the parent in its path and
// may give the inner members alone.
Json upgrade_create_push(const Json& params) {
  Json out = Json::object();
  const auto take = [&](const Json& holder, const char* key) -> Json {
    const auto at = holder.find(key);
    return at == holder.end() ? Json() : *at;
  };
  Json config = take(params, "config");
  Json inner = take(config.is_object() ? config : params, "pushNotificationConfig");
  if (!inner.is_object()) inner = config;
  if (inner.is_object()) out = v0_3_shape::upgrade_push(std::move(inner));
  auto ids = ids_of(take(params, "parent"));
  if (ids.first.empty()) ids = ids_of(take(params, "name"));
  if (config.is_object() && ids.first.empty()) ids = ids_of(take(config, "name"));
  if (params.contains("taskId")) out["taskId"] = params["taskId"];
  if (!ids.first.empty()) out["taskId"] = ids.first;
  const Json config_id = take(params, "configId");
  if (config_id.is_string() && !config_id.get<std::string>().empty()) out["id"] = config_id;
  if (!out.contains("id") && !ids.second.empty()) out["id"] = ids.second;
  return out;
}

Json upgrade_params(Operation operation, Json params) {
  if (!params.is_object()) return params;
  switch (operation) {
    case Operation::send:
    case Operation::stream:
      return upgrade_send(std::move(params));
    case Operation::get:
    case Operation::cancel:
    case Operation::subscribe:
      take_name(params, "name", "id", nullptr);
      return params;
    case Operation::create_push:
      return upgrade_create_push(params);
    case Operation::get_push:
    case Operation::delete_push:
      take_name(params, "name", "taskId", "id");
      return params;
    case Operation::list_push:
      take_name(params, "parent", "taskId", nullptr);
      return params;
    default:
      return params;
  }
}

Json downgrade_event(Json event) {
  if (event.contains("task")) event["task"] = downgrade_task(std::move(event["task"]));
  if (event.contains("message")) event["message"] = downgrade_message(std::move(event["message"]));
  if (event.contains("artifactUpdate")) {
    change_each(event["artifactUpdate"]["artifact"], "parts", downgrade_part);
  }
  if (event.contains("statusUpdate")) {
    Json& update = event["statusUpdate"];
    update["final"] = v0_3_shape::is_final(update["status"]["state"].get<std::string>());
    downgrade_status(update["status"]);
  }
  return event;
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
    case Operation::list_push:
      for (Json& config : result["configs"]) config = downgrade_push(std::move(config));
      return result;
    default:
      return result;
  }
}

Json card_of(Json card) {
  if (card.contains("securitySchemes")) {
    for (auto& [name, scheme] : card["securitySchemes"].items()) {
      Json inner = std::move(scheme);
      inner.erase("type");
      scheme = Json::object();
      scheme["httpAuthSecurityScheme"] = std::move(inner);
    }
  }
  if (card.contains("security")) {
    for (Json& requirement : card["security"]) {
      Json schemes = Json::object();
      for (auto& [name, scopes] : requirement.items()) schemes[name]["list"] = scopes;
      requirement = Json::object();
      requirement["schemes"] = std::move(schemes);
    }
  }
  return card;
}

}  // namespace ambit::a2a::v0_3_proto
