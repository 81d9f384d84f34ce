// Reading what an agent answers, and writing what it is asked: the client's half of codec.h. It
// reads leniently what other servers leave out (roles, ids, empty parts) and strictly what decides
// anything.

#include "a2a/codec.h"
#include "a2a/reader.h"

#include <nlohmann/json.hpp>

namespace ambit::a2a {
namespace {

using rpc::Json;

constexpr std::size_t items_max = 100'000;  // of one array

template <class T>
Answer<T> checked(T value, const std::optional<Failure>& fault) {
  if (!fault) return value;
  return Fail(Fault::invalid_agent_response, "the agent's answer: " + fault->message, fault->field);
}

Part read_said_part(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  Part part;
  // JSON null is a value that data may have.
  if (json.is_object() && json.contains("data")) {
    part.kind = Part::Kind::data;
    part.data = rpc::Value(json["data"]);
  } else if (reader.has("raw")) {
    part.kind = Part::Kind::raw;
    part.text = reader.text("raw");
  } else if (reader.has("url")) {
    part.kind = Part::Kind::url;
    part.text = reader.text("url");
  } else {
    part.text = reader.text("text");
  }
  part.metadata = reader.object("metadata");
  part.filename = reader.text("filename");
  part.media_type = reader.text("mediaType");
  return part;
}

template <class T, class F>
std::vector<T> read_all(Reader& reader, const char* key, std::optional<Failure>& fault, F read) {
  std::vector<T> all;
  const Json* items = reader.array(key);
  if (items == nullptr) return all;
  if (items->size() > items_max) {
    reader.fail(key, "holds too many items");
    return all;
  }
  for (std::size_t n = 0; n < items->size(); ++n) {
    all.push_back(read((*items)[n], reader.path(key) + "[" + std::to_string(n) + "]", fault));
  }
  return all;
}

Message read_said(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  Message message;
  message.id = reader.text("messageId");
  message.context_id = reader.text("contextId");
  message.task_id = reader.text("taskId");
  message.role = reader.text("role") == "ROLE_USER" ? Role::user : Role::agent;
  message.parts = read_all<Part>(reader, "parts", fault, read_said_part);
  message.metadata = reader.object("metadata");
  message.extensions = reader.texts("extensions");
  message.reference_task_ids = reader.texts("referenceTaskIds");
  return message;
}

Artifact read_artifact(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  Artifact artifact;
  artifact.id = reader.text("artifactId");
  artifact.name = reader.text("name");
  artifact.description = reader.text("description");
  artifact.parts = read_all<Part>(reader, "parts", fault, read_said_part);
  artifact.metadata = reader.object("metadata");
  artifact.extensions = reader.texts("extensions");
  return artifact;
}

TaskStatus read_status(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  TaskStatus status;
  const auto state = to_task_state(reader.required_text("state"));
  if (!state) reader.fail("state", "is no state of a task");
  status.state = state.value_or(TaskState::unspecified);
  if (const Json* message = reader.find("message")) {
    status.message = read_said(*message, reader.path("message"), fault);
  }
  status.timestamp_ns = parse_time(reader.text("timestamp")).value_or(0);
  return status;
}

TaskStatus required_status(Reader& reader, std::optional<Failure>& fault) {
  if (const Json* status = reader.find("status")) {
    return read_status(*status, reader.path("status"), fault);
  }
  reader.fail("status", "is missing");
  return {};
}

TaskRecord read_task(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  TaskRecord task;
  task.id = reader.required_text("id");
  task.context_id = reader.text("contextId");
  task.status = required_status(reader, fault);
  task.artifacts = read_all<Artifact>(reader, "artifacts", fault, read_artifact);
  task.history = read_all<Message>(reader, "history", fault, read_said);
  task.metadata = reader.object("metadata");
  return task;
}

StatusUpdate read_status_update(const Json& json, std::optional<Failure>& fault) {
  Reader reader(json, "statusUpdate", fault);
  StatusUpdate update;
  update.task_id = reader.required_text("taskId");
  update.context_id = reader.text("contextId");
  update.status = required_status(reader, fault);
  update.metadata = reader.object("metadata");
  return update;
}

ArtifactUpdate read_artifact_update(const Json& json, std::optional<Failure>& fault) {
  Reader reader(json, "artifactUpdate", fault);
  ArtifactUpdate update;
  update.task_id = reader.required_text("taskId");
  update.context_id = reader.text("contextId");
  if (const Json* artifact = reader.find("artifact")) {
    update.artifact = read_artifact(*artifact, "artifactUpdate.artifact", fault);
  } else {
    reader.fail("artifact", "is missing");
  }
  update.append = reader.flag("append");
  update.last_chunk = reader.flag("lastChunk");
  update.metadata = reader.object("metadata");
  return update;
}

}  // namespace

Answer<TaskRecord> read_task(const Json& json) {
  std::optional<Failure> fault;
  TaskRecord task = read_task(json, "task", fault);
  return checked(std::move(task), fault);
}

Answer<StreamEvent> read_stream_event(const Json& json) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  StreamEvent event;
  if (const Json* task = reader.find("task")) {
    event = read_task(*task, "task", fault);
  } else if (const Json* message = reader.find("message")) {
    event = read_said(*message, "message", fault);
  } else if (const Json* status = reader.find("statusUpdate")) {
    event = read_status_update(*status, fault);
  } else if (const Json* artifact = reader.find("artifactUpdate")) {
    event = read_artifact_update(*artifact, fault);
  } else {
    reader.fail("", "holds none of task, message, statusUpdate and artifactUpdate");
  }
  return checked(std::move(event), fault);
}

Answer<RemotePage> read_page(const Json& json) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  RemotePage page;
  page.tasks = read_all<TaskRecord>(
      reader, "tasks", fault,
      [](const Json& item, const std::string& path, std::optional<Failure>& found) {
        return read_task(item, path, found);
      });
  page.next_token = reader.text("nextPageToken");
  page.total = reader.number("totalSize").value_or(0);
  return checked(std::move(page), fault);
}

Json to_request_json(const PushConfig& config) {
  Json json = to_json(config);
  if (!config.token.empty()) json["token"] = config.token;
  if (!config.credentials.empty()) json["authentication"]["credentials"] = config.credentials;
  return json;
}

Json to_json(const SendRequest& request) {
  Json json = Json::object();
  if (!request.tenant.empty()) json["tenant"] = request.tenant;
  json["message"] = to_json(request.message);
  Json configuration = Json::object();
  if (!request.accepted_output_modes.empty()) {
    configuration["acceptedOutputModes"] = request.accepted_output_modes;
  }
  if (request.history_length) configuration["historyLength"] = *request.history_length;
  if (request.return_immediately) configuration["returnImmediately"] = true;
  if (request.push) configuration["taskPushNotificationConfig"] = to_request_json(*request.push);
  if (!configuration.empty()) json["configuration"] = std::move(configuration);
  if (request.metadata.present()) json["metadata"] = request.metadata.json();
  return json;
}

}  // namespace ambit::a2a
