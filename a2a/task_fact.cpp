#include "a2a/task_fact.h"

#include "a2a/codec.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>

namespace ambit::a2a {
namespace {

using agents::JsonWriter;
using rpc::Json;

constexpr const char* created = "task.created";
constexpr const char* changed = "task.changed";

tl::unexpected<Error> damaged(const agents::Event& event, const std::string& why) {
  return Err(Code::internal, "the record of task " + event.run + " (" + event.type + "): " + why);
}

// Times are kept to the nanosecond, beside the message that has milliseconds.
void write_change(JsonWriter& out, const TaskChange& change) {
  out.begin_object();
  if (const auto* message = std::get_if<Message>(&change)) {
    write(out.key("message"), *message);
  } else if (const auto* status = std::get_if<TaskStatus>(&change)) {
    write(out.key("status"), *status);
    out.key("ns").integer(status->timestamp_ns);
  } else if (const auto* chunk = std::get_if<ArtifactChange>(&change)) {
    write(out.key("artifact"), chunk->artifact);
    if (chunk->append) out.key("append").boolean(true);
  } else {
    const auto& push = std::get<PushChange>(change);
    Json config = {{"id", push.config.id}};
    if (!push.is_removed) {
      config = to_json(push.config);
      config["token"] = push.config.token;
      config["scheme"] = push.config.scheme;
      config["credentials"] = push.config.credentials;
      config["is03"] = push.config.is_0_3;
    }
    out.key("push").raw(rpc::compact(config));
    if (push.is_removed) out.key("removed").boolean(true);
  }
  out.end_object();
}

std::string text(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// The readers of a client are those that take what an agent said; each takes a whole answer.
Answer<TaskRecord> read_wrapped(Json task) {
  return read_task(task);
}

Answer<TaskChange> read_change(const Json& json) {
  Json task = {{"id", "t"}};
  task["status"] = {{"state", "TASK_STATE_WORKING"}};
  if (json.contains("message")) {
    task["history"] = Json::array({json["message"]});
    auto read = read_wrapped(std::move(task));
    if (!read) return tl::unexpected<Failure>(read.error());
    return TaskChange(std::move(read->history.front()));
  }
  if (json.contains("status")) {
    task["status"] = json["status"];
    auto read = read_wrapped(std::move(task));
    if (!read) return tl::unexpected<Failure>(read.error());
    read->status.timestamp_ns = json.value("ns", read->status.timestamp_ns);
    return TaskChange(std::move(read->status));
  }
  if (json.contains("artifact")) {
    task["artifacts"] = Json::array({json["artifact"]});
    auto read = read_wrapped(std::move(task));
    if (!read) return tl::unexpected<Failure>(read.error());
    return TaskChange(
        ArtifactChange{std::move(read->artifacts.front()), json.value("append", false)});
  }
  if (!json.contains("push") || !json["push"].is_object()) {
    return Fail(Fault::internal, "holds a change of no known kind");
  }
  const Json& push = json["push"];
  PushChange change;
  change.is_removed = json.value("removed", false);
  change.config.tenant = text(push, "tenant");
  change.config.id = text(push, "id");
  change.config.task_id = text(push, "taskId");
  change.config.url = text(push, "url");
  change.config.token = text(push, "token");
  change.config.scheme = text(push, "scheme");
  change.config.credentials = text(push, "credentials");
  change.config.is_0_3 = push.value("is03", false);
  return TaskChange(std::move(change));
}

Result<Json> payload(const agents::Event& event, const char* name) {
  for (const agents::Payload& one : event.payloads) {
    if (one.name != name) continue;
    rpc::ParseLimits limits;
    limits.bytes_max = std::size_t{64} << 20;
    auto value = rpc::Value::parse(one.bytes, limits);
    if (!value) return damaged(event, value.error().message);
    return std::move(value->edit());
  }
  return damaged(event, std::string("holds no ") + name + "; it may have been erased");
}

Result<void> fold_created(std::optional<StoredTask>& task, const agents::Event& event,
                          const StoreLimits& limits) {
  if (task) return damaged(event, "a task is made once");
  const Json json = TRY(payload(event, "task"));
  if (!json.is_object() || !json.contains("task")) return damaged(event, "holds no task");
  auto record = read_task(json["task"]);
  if (!record) return damaged(event, record.error().message);
  record->status.timestamp_ns = json.value("ns", record->status.timestamp_ns);
  const auto body = rpc::Value::parse(event.body);
  if (!body) return damaged(event, body.error().message);
  task.emplace();
  // Its messages count as those that come later do; the task is new all the same.
  const std::vector<Message> history = std::move(record->history);
  record->history.clear();
  task->record = std::move(*record);
  for (const Message& message : history) TRY(apply(*task, TaskChange(message), limits));
  task->generation = 0;
  task->owner = text(body->json(), "caller") + std::string(1, '\0') + text(body->json(), "tenant");
  return {};
}

}  // namespace

agents::Event created_event(const TaskRecord& record, const std::string& owner,
                            const std::string& agent) {
  agents::Event event{created, record.id, "", agent, "{}", {}};
  const std::size_t zero = std::min(owner.find('\0'), owner.size());
  Json body = {{"caller", owner.substr(0, zero)}, {"context", record.context_id}};
  if (zero + 1 < owner.size()) body["tenant"] = owner.substr(zero + 1);
  event.body = rpc::compact(body);
  std::string written;
  JsonWriter task(written);
  task.begin_object().key("ns").integer(record.status.timestamp_ns);
  write(task.key("task"), record);
  task.end_object();
  event.payloads.push_back({"task", std::move(written)});
  return event;
}

agents::Event changed_event(const std::string& id, const TaskChanges& changes,
                            const std::string& agent) {
  agents::Event event{changed, id, "", agent, "{}", {}};
  Json body = {{"changes", changes.size()}};
  std::string written;
  JsonWriter all(written);
  all.begin_array();
  for (const TaskChange& change : changes) {
    if (const auto* status = std::get_if<TaskStatus>(&change)) {
      body["state"] = to_string(status->state);
    }
    write_change(all, change);
  }
  event.body = rpc::compact(body);
  all.end_array();
  event.payloads.push_back({"changes", std::move(written)});
  return event;
}

Result<void> fold(std::optional<StoredTask>& task, const agents::Event& event,
                  const StoreLimits& limits) {
  if (event.type == created) return fold_created(task, event, limits);
  if (event.type != changed) return {};
  if (!task) return damaged(event, "comes before the task was made");
  const Json all = TRY(payload(event, "changes"));
  if (!all.is_array()) return damaged(event, "holds no list of changes");
  for (const Json& one : all) {
    auto change = read_change(one.is_object() ? one : Json::object());
    if (!change) return damaged(event, change.error().message);
    auto applied = apply(*task, *change, limits);
    if (!applied) return damaged(event, applied.error().message);
  }
  return {};
}

void TaskRoll::follow(const std::string& id, std::string_view type, std::string_view body) {
  if (type == created) open_.emplace(id, made_++);
  if (type != changed) return;
  const auto task = open_.find(id);
  const auto said = rpc::Value::parse(body);
  if (task == open_.end() || !said) return;
  const std::string state = text(said->json(), "state");
  constexpr TaskState last[] = {TaskState::completed, TaskState::failed, TaskState::canceled,
                                TaskState::rejected};
  const bool has_ended = std::any_of(std::begin(last), std::end(last),
                                     [&](TaskState each) { return to_string(each) == state; });
  if (!has_ended) return;
  ended_.emplace(task->second, id);
  open_.erase(task);
  if (ended_.size() > ended_max_) ended_.erase(ended_.begin());
}

std::vector<std::string> TaskRoll::ids() const {
  std::map<std::uint64_t, std::string> all = ended_;
  for (const auto& [id, made] : open_) all.emplace(made, id);
  std::vector<std::string> ids;
  ids.reserve(all.size());
  for (auto& [made, id] : all) ids.push_back(std::move(id));
  return ids;
}

}  // namespace ambit::a2a
