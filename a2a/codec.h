#pragma once

// A2A 1.0 as JSON (ProtoJSON: camelCase, enums by name, base64, UTC times, defaults left out, null
// is absent, unknown members ignored). Reading gives the first fault with the path of its field;
// writing cannot fail.

#include "a2a/failure.h"
#include "a2a/protocol.h"
#include "agents/json_writer.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::a2a {

// How much of a task to write.
struct TaskDetail {
  std::optional<std::int64_t> history_length;  // the last n messages; none: all
  bool has_artifacts = true;
};

std::string_view to_string(TaskState state);  // "TASK_STATE_WORKING"
std::optional<TaskState> to_task_state(std::string_view name);

void write(agents::JsonWriter& out, const Part& part);
void write(agents::JsonWriter& out, const Message& message);
void write(agents::JsonWriter& out, const Artifact& artifact);
void write(agents::JsonWriter& out, const TaskStatus& status);
void write(agents::JsonWriter& out, const TaskRecord& task, const TaskDetail& detail = {});
void write(agents::JsonWriter& out, const StreamEvent& event);  // {"statusUpdate": {...}}
void write(agents::JsonWriter& out, const PushConfig& config);  // without secrets

template <class... T>
concept Writable = requires(agents::JsonWriter& out, const T&... what) { write(out, what...); };

// What write() writes.
template <class... T>
  requires Writable<T...>
std::string to_text(const T&... what) {
  std::string text;
  agents::JsonWriter out(text);
  write(out, what...);
  return text;
}

rpc::Json parsed(const std::string& written);
// The same as a value, for those who change it: an rpc::Json.
template <class... T>
  requires Writable<T...>
auto to_json(const T&... what) {
  return parsed(to_text(what...));
}

Answer<Message> read_message(const rpc::Json& json, const std::string& path);
Answer<SendRequest> read_send_request(const rpc::Json& json);
Answer<GetRequest> read_get_request(const rpc::Json& json);
// `id_key` is "id" or "taskId"; `config_key` is null where there is no configuration to name.
Answer<TaskRequest> read_task_request(const rpc::Json& json, const char* id_key,
                                      const char* config_key);
Answer<ListRequest> read_list_request(const rpc::Json& json);
Answer<PushConfig> read_push_config(const rpc::Json& json, const std::string& path);

// What an agent answers, for its client. The fault is the agent's: invalid_agent_response.
struct RemotePage {
  std::vector<TaskRecord> tasks;
  std::string next_token;
  std::int64_t total = 0;
};
Answer<TaskRecord> read_task(const rpc::Json& json);
Answer<StreamEvent> read_stream_event(const rpc::Json& json);
Answer<RemotePage> read_page(const rpc::Json& json);
rpc::Json to_json(const SendRequest& request);
rpc::Json to_request_json(const PushConfig& config);  // with its secrets

// RFC 3339, with any offset.
std::optional<std::int64_t> parse_time(std::string_view text);
bool is_base64(std::string_view text);

}  // namespace ambit::a2a
