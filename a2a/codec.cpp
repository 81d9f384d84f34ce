#include "a2a/codec.h"

#include "a2a/reader.h"
#include "io/utc.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <span>

namespace ambit::a2a {
namespace {

using agents::JsonWriter;
using rpc::Json;

constexpr std::array<std::string_view, 9> state_names = {
    "TASK_STATE_UNSPECIFIED",    "TASK_STATE_SUBMITTED", "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",      "TASK_STATE_FAILED",    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_REJECTED",  "TASK_STATE_AUTH_REQUIRED"};
constexpr std::array<std::string_view, 3> role_names = {"ROLE_UNSPECIFIED", "ROLE_USER",
                                                        "ROLE_AGENT"};
constexpr std::size_t parts_max = 1024;  // of one message

void put(JsonWriter& out, const char* key, const std::string& value) {
  if (!value.empty()) out.key(key).text(value);
}
void put(JsonWriter& out, const char* key, const rpc::Value& value) {
  if (value.present()) out.key(key).raw(value.text());
}
void put(JsonWriter& out, const char* key, const std::vector<std::string>& values) {
  if (values.empty()) return;
  out.key(key).begin_array();
  for (const std::string& value : values) out.text(value);
  out.end_array();
}
void put(JsonWriter& out, const char* key, bool value) {
  if (value) out.key(key).boolean(true);
}

template <class T>
void put_all(JsonWriter& out, const char* key, std::span<const T> all) {
  out.key(key).begin_array();
  for (const T& one : all) write(out, one);
  out.end_array();
}

Part read_part(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  Part part;
  int contents = 0;
  const std::pair<const char*, Part::Kind> kinds[] = {
      {"text", Part::Kind::text}, {"raw", Part::Kind::raw}, {"url", Part::Kind::url}};
  for (const auto& [key, kind] : kinds) {
    if (!reader.has(key)) continue;
    ++contents;
    part.kind = kind;
    part.text = reader.text(key);
  }
  // JSON null is a value that data may have.
  if (json.is_object() && json.contains("data")) {
    ++contents;
    part.kind = Part::Kind::data;
    part.data = rpc::Value(json["data"]);
  }
  if (contents != 1) reader.fail("", "must hold exactly one of text, raw, url and data");
  if (part.kind == Part::Kind::raw && !is_base64(part.text)) reader.fail("raw", "must be base64");
  part.metadata = reader.object("metadata");
  part.filename = reader.text("filename");
  part.media_type = reader.text("mediaType");
  return part;
}

Message read_message(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  Message message;
  message.id = reader.required_text("messageId");
  message.context_id = reader.text("contextId");
  message.task_id = reader.text("taskId");
  const std::string role = reader.required_text("role");
  const auto at = std::find(role_names.begin() + 1, role_names.end(), role);
  if (at == role_names.end()) reader.fail("role", "must be ROLE_USER or ROLE_AGENT");
  message.role = static_cast<Role>(at - role_names.begin());
  const Json* parts = reader.array("parts");
  if (parts == nullptr || parts->empty()) reader.fail("parts", "must hold at least one part");
  if (parts != nullptr && parts->size() > parts_max) {
    reader.fail("parts", "must hold at most " + std::to_string(parts_max) + " parts");
    return message;
  }
  for (std::size_t n = 0; parts != nullptr && n < parts->size(); ++n) {
    const std::string part_path = reader.path("parts[" + std::to_string(n) + "]");
    message.parts.push_back(read_part((*parts)[n], part_path, fault));
  }
  message.metadata = reader.object("metadata");
  message.extensions = reader.texts("extensions");
  message.reference_task_ids = reader.texts("referenceTaskIds");
  return message;
}

PushConfig read_push_config(const Json& json, const std::string& path,
                            std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  PushConfig config;
  config.tenant = reader.text("tenant");
  config.id = reader.text("id");
  config.task_id = reader.text("taskId");
  config.url = reader.required_text("url");
  config.token = reader.text("token");
  if (const Json* authentication = reader.find("authentication")) {
    Reader inner(*authentication, reader.path("authentication"), fault);
    config.scheme = inner.required_text("scheme");
    config.credentials = inner.text("credentials");
  }
  return config;
}

std::optional<std::int64_t> read_history_length(Reader& reader) {
  const auto length = reader.number("historyLength");
  if (length && *length < 0) reader.fail("historyLength", "must not be negative");
  return length;
}

template <class T>
Answer<T> answer(T value, std::optional<Failure>& fault) {
  if (fault) return tl::unexpected<Failure>(std::move(*fault));
  return value;
}

bool read_digits(std::string_view& text, std::size_t count, std::int64_t& out) {
  if (text.size() < count) return false;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + count, out);
  if (fault != std::errc() || end != text.data() + count || text.front() == '-') return false;
  text.remove_prefix(count);
  return true;
}
bool read_mark(std::string_view& text, std::string_view marks) {
  if (text.empty() || marks.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

bool is_terminal(TaskState state) {
  return state == TaskState::completed || state == TaskState::failed ||
         state == TaskState::canceled || state == TaskState::rejected;
}
bool is_interrupted(TaskState state) {
  return state == TaskState::input_required || state == TaskState::auth_required;
}

Part text_part(std::string text) {
  Part part;
  part.text = std::move(text);
  return part;
}

std::string_view to_string(TaskState state) {
  return state_names[static_cast<std::size_t>(state)];
}
std::optional<TaskState> to_task_state(std::string_view name) {
  const auto at = std::find(state_names.begin(), state_names.end(), name);
  if (at == state_names.end()) return std::nullopt;
  return static_cast<TaskState>(at - state_names.begin());
}

void write(JsonWriter& out, const Part& part) {
  out.begin_object();
  switch (part.kind) {
    case Part::Kind::text:
      out.key("text").text(part.text);
      break;
    case Part::Kind::raw:
      out.key("raw").text(part.text);
      break;
    case Part::Kind::url:
      out.key("url").text(part.text);
      break;
    case Part::Kind::data:
      out.key("data").raw(part.data.text());
      break;
  }
  put(out, "metadata", part.metadata);
  put(out, "filename", part.filename);
  put(out, "mediaType", part.media_type);
  out.end_object();
}

void write(JsonWriter& out, const Message& message) {
  out.begin_object().key("messageId").text(message.id);
  put(out, "contextId", message.context_id);
  put(out, "taskId", message.task_id);
  out.key("role").text(role_names[static_cast<std::size_t>(message.role)]);
  put_all(out, "parts", std::span(message.parts));
  put(out, "metadata", message.metadata);
  put(out, "extensions", message.extensions);
  put(out, "referenceTaskIds", message.reference_task_ids);
  out.end_object();
}

void write(JsonWriter& out, const Artifact& artifact) {
  out.begin_object().key("artifactId").text(artifact.id);
  put(out, "name", artifact.name);
  put(out, "description", artifact.description);
  put_all(out, "parts", std::span(artifact.parts));
  put(out, "metadata", artifact.metadata);
  put(out, "extensions", artifact.extensions);
  out.end_object();
}

void write(JsonWriter& out, const TaskStatus& status) {
  out.begin_object().key("state").text(to_string(status.state));
  if (status.message) write(out.key("message"), *status.message);
  if (status.timestamp_ns != 0) out.key("timestamp").text(io::utc_text(status.timestamp_ns));
  out.end_object();
}

void write(JsonWriter& out, const TaskRecord& task, const TaskDetail& detail) {
  out.begin_object().key("id").text(task.id);
  put(out, "contextId", task.context_id);
  write(out.key("status"), task.status);
  if (detail.has_artifacts && !task.artifacts.empty()) {
    put_all(out, "artifacts", std::span(task.artifacts));
  }
  std::span<const Message> history(task.history);
  if (detail.history_length) {
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(0, *detail.history_length));
    history = history.last(std::min(wanted, history.size()));
  }
  if (!history.empty()) put_all(out, "history", history);
  put(out, "metadata", task.metadata);
  out.end_object();
}

void write(JsonWriter& out, const StreamEvent& event) {
  out.begin_object();
  if (const auto* task = std::get_if<TaskRecord>(&event)) {
    write(out.key("task"), *task);
  } else if (const auto* message = std::get_if<Message>(&event)) {
    write(out.key("message"), *message);
  } else if (const auto* status = std::get_if<StatusUpdate>(&event)) {
    out.key("statusUpdate").begin_object();
    out.key("taskId").text(status->task_id).key("contextId").text(status->context_id);
    write(out.key("status"), status->status);
    put(out, "metadata", status->metadata);
    out.end_object();
  } else if (const auto* chunk = std::get_if<ArtifactUpdate>(&event)) {
    out.key("artifactUpdate").begin_object();
    out.key("taskId").text(chunk->task_id).key("contextId").text(chunk->context_id);
    write(out.key("artifact"), chunk->artifact);
    put(out, "append", chunk->append);
    put(out, "lastChunk", chunk->last_chunk);
    put(out, "metadata", chunk->metadata);
    out.end_object();
  }
  out.end_object();
}

void write(JsonWriter& out, const PushConfig& config) {
  out.begin_object();
  put(out, "tenant", config.tenant);
  put(out, "id", config.id);
  put(out, "taskId", config.task_id);
  out.key("url").text(config.url);
  if (!config.scheme.empty()) {
    out.key("authentication").begin_object().key("scheme").text(config.scheme).end_object();
  }
  out.end_object();
}

Json parsed(const std::string& written) {
  return Json::parse(written);
}

Answer<Message> read_message(const Json& json, const std::string& path) {
  std::optional<Failure> fault;
  return answer(read_message(json, path, fault), fault);
}

Answer<SendRequest> read_send_request(const Json& json) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  SendRequest request;
  request.tenant = reader.text("tenant");
  if (const Json* message = reader.find("message")) {
    request.message = read_message(*message, "message", fault);
  } else {
    reader.fail("message", "is missing");
  }
  request.metadata = reader.object("metadata");
  if (const Json* configuration = reader.find("configuration")) {
    Reader inner(*configuration, "configuration", fault);
    request.accepted_output_modes = inner.texts("acceptedOutputModes");
    request.history_length = read_history_length(inner);
    request.return_immediately = inner.flag("returnImmediately");
    if (const Json* push = inner.find("taskPushNotificationConfig")) {
      request.push = read_push_config(*push, inner.path("taskPushNotificationConfig"), fault);
    }
  }
  return answer(std::move(request), fault);
}

Answer<GetRequest> read_get_request(const Json& json) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  GetRequest request;
  request.tenant = reader.text("tenant");
  request.id = reader.required_text("id");
  request.history_length = read_history_length(reader);
  return answer(std::move(request), fault);
}

Answer<TaskRequest> read_task_request(const Json& json, const char* id_key,
                                      const char* config_key) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  TaskRequest request;
  request.tenant = reader.text("tenant");
  request.id = reader.required_text(id_key);
  if (config_key != nullptr) request.config_id = reader.required_text(config_key);
  return answer(std::move(request), fault);
}

Answer<ListRequest> read_list_request(const Json& json) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  ListRequest request;
  request.tenant = reader.text("tenant");
  request.context_id = reader.text("contextId");
  request.page_size = reader.number("pageSize");
  if (request.page_size && (*request.page_size < 1 || *request.page_size > 100)) {
    reader.fail("pageSize", "must be from 1 to 100");
  }
  request.page_token = reader.text("pageToken");
  request.history_length = read_history_length(reader);
  request.include_artifacts = reader.flag("includeArtifacts");
  if (reader.has("status")) {
    const auto state = to_task_state(reader.text("status"));
    if (!state) reader.fail("status", "is no state of a task");
    request.status = state.value_or(TaskState::unspecified);
  }
  if (reader.has("statusTimestampAfter")) {
    const auto time = parse_time(reader.text("statusTimestampAfter"));
    if (!time) reader.fail("statusTimestampAfter", "must be a time like 2026-01-31T12:00:00Z");
    request.status_after_ns = time.value_or(0);
  }
  return answer(std::move(request), fault);
}

Answer<PushConfig> read_push_config(const Json& json, const std::string& path) {
  std::optional<Failure> fault;
  return answer(read_push_config(json, path, fault), fault);
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  std::int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!(read_digits(text, 4, year) && read_mark(text, "-") && read_digits(text, 2, month) &&
        read_mark(text, "-") && read_digits(text, 2, day) && read_mark(text, "Tt") &&
        read_digits(text, 2, hour) && read_mark(text, ":") && read_digits(text, 2, minute) &&
        read_mark(text, ":") && read_digits(text, 2, second))) {
    return std::nullopt;
  }
  if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
      minute > 59 || second > 60) {
    return std::nullopt;
  }
  std::int64_t nanoseconds = 0;
  if (read_mark(text, ".")) {
    std::int64_t digit = 0;
    std::int64_t unit = 100'000'000;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      read_digits(text, 1, digit);
      nanoseconds += digit * unit;
      unit /= 10;
    }
    if (unit == 100'000'000) return std::nullopt;
  }
  std::int64_t offset_minutes = 0;
  if (!read_mark(text, "Zz")) {
    if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
    const int sign = text.front() == '-' ? -1 : 1;
    text.remove_prefix(1);
    std::int64_t hours = 0, minutes = 0;
    if (!(read_digits(text, 2, hours) && read_mark(text, ":") && read_digits(text, 2, minutes)))
      return std::nullopt;
    if (hours > 23 || minutes > 59) return std::nullopt;
    offset_minutes = sign * (hours * 60 + minutes);
  }
  if (!text.empty()) return std::nullopt;
  std::tm parts{};
  parts.tm_year = static_cast<int>(year - 1900);
  parts.tm_mon = static_cast<int>(month - 1);
  parts.tm_mday = static_cast<int>(day);
  parts.tm_hour = static_cast<int>(hour);
  parts.tm_min = static_cast<int>(minute);
  parts.tm_sec = static_cast<int>(second);
  const std::int64_t seconds = timegm(&parts) - offset_minutes * 60;
  return seconds * 1'000'000'000 + nanoseconds;
}

bool is_base64(std::string_view text) {
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const std::string_view digits = text.substr(0, text.size() - padding);
  if (digits.size() % 4 == 1 || (padding > 0 && text.size() % 4 != 0)) return false;
  // Both alphabets and missing padding, as ProtoJSON readers accept them.
  return std::all_of(digits.begin(), digits.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
           c == '/' || c == '-' || c == '_';
  });
}

}  // namespace ambit::a2a
