#pragma once

// The words of A2A 1.0 as plain structs (a2a.proto is the source of every member and comment). Free
// JSON (metadata, data parts) is an rpc::Value; bytes stay base64 text, as they travel. Times are
// nanoseconds since 1970. How they are written is codec.h's.

#include "rpc/value.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ambit::a2a {

enum class TaskState {
  unspecified,
  submitted,
  working,
  completed,
  failed,
  canceled,
  input_required,
  rejected,
  auth_required,
};
bool is_terminal(TaskState state);
bool is_interrupted(TaskState state);

enum class Role { unspecified, user, agent };

struct Part {
  enum class Kind { text, raw, url, data };
  Kind kind = Kind::text;
  std::string text;  // the text, the base64 of raw bytes, or the URL
  rpc::Value data;
  rpc::Value metadata;
  std::string filename;
  std::string media_type;
  friend bool operator==(const Part&, const Part&) = default;
};
Part text_part(std::string text);

struct Message {
  std::string id;
  std::string context_id;
  std::string task_id;
  Role role = Role::unspecified;
  std::vector<Part> parts;
  rpc::Value metadata;
  std::vector<std::string> extensions;
  std::vector<std::string> reference_task_ids;
  friend bool operator==(const Message&, const Message&) = default;
};

struct Artifact {
  std::string id;
  std::string name;
  std::string description;
  std::vector<Part> parts;
  rpc::Value metadata;
  std::vector<std::string> extensions;
  friend bool operator==(const Artifact&, const Artifact&) = default;
};

struct TaskStatus {
  TaskState state = TaskState::unspecified;
  std::optional<Message> message;
  std::int64_t timestamp_ns = 0;
  friend bool operator==(const TaskStatus&, const TaskStatus&) = default;
};

// A2A's task; not to be confused with the coroutine ambit::Task.
struct TaskRecord {
  std::string id;
  std::string context_id;
  TaskStatus status;
  std::vector<Artifact> artifacts;
  std::vector<Message> history;
  rpc::Value metadata;
  friend bool operator==(const TaskRecord&, const TaskRecord&) = default;
};

struct StatusUpdate {
  std::string task_id;
  std::string context_id;
  TaskStatus status;
  rpc::Value metadata;
  friend bool operator==(const StatusUpdate&, const StatusUpdate&) = default;
};

struct ArtifactUpdate {
  std::string task_id;
  std::string context_id;
  Artifact artifact;
  bool append = false;
  bool last_chunk = false;
  rpc::Value metadata;
  friend bool operator==(const ArtifactUpdate&, const ArtifactUpdate&) = default;
};

using StreamEvent = std::variant<TaskRecord, Message, StatusUpdate, ArtifactUpdate>;

struct PushConfig {
  std::string tenant;
  std::string id;
  std::string task_id;
  std::string url;
  std::string token;
  std::string scheme;       // of the Authorization header; empty: none
  std::string credentials;  // secret: never given back
  bool is_0_3 = false;      // its events go out in the shape of 0.3
  friend bool operator==(const PushConfig&, const PushConfig&) = default;
};

struct SendRequest {
  std::string tenant;
  Message message;
  std::vector<std::string> accepted_output_modes;
  std::optional<PushConfig> push;
  std::optional<std::int64_t> history_length;
  bool return_immediately = false;
  rpc::Value metadata;
  friend bool operator==(const SendRequest&, const SendRequest&) = default;
};

struct GetRequest {
  std::string tenant;
  std::string id;
  std::optional<std::int64_t> history_length;
};

// Also for SubscribeToTask, CancelTask and (with `config_id`) for what is done with push
// configurations.
struct TaskRequest {
  std::string tenant;
  std::string id;
  std::string config_id;
};

struct ListRequest {
  std::string tenant;
  std::string context_id;
  TaskState status = TaskState::unspecified;  // any
  std::optional<std::int64_t> page_size;
  std::string page_token;
  std::optional<std::int64_t> history_length;
  std::int64_t status_after_ns = 0;
  bool include_artifacts = false;
};

}  // namespace ambit::a2a
