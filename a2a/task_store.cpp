#include "a2a/task_store.h"

#include <algorithm>
#include <charconv>

namespace ambit::a2a {
namespace {

constexpr std::size_t part_overhead = 64;

std::size_t bytes_of(const std::vector<Part>& parts) {
  std::size_t bytes = 0;
  for (const Part& part : parts) {
    bytes += part_overhead + part.text.size() + part.filename.size() + part.media_type.size();
    if (part.data.present()) bytes += part.data.text().size();
    if (part.metadata.present()) bytes += part.metadata.text().size();
  }
  return bytes;
}

std::size_t bytes_of(const Message& message) {
  return 2 * part_overhead + message.id.size() + bytes_of(message.parts) +
         (message.metadata.present() ? message.metadata.text().size() : 0);
}

std::size_t bytes_of(const TaskChange& change) {
  if (const auto* message = std::get_if<Message>(&change)) return bytes_of(*message);
  if (const auto* status = std::get_if<TaskStatus>(&change)) {
    return status->message ? bytes_of(*status->message) : 0;
  }
  if (const auto* chunk = std::get_if<ArtifactChange>(&change)) {
    return bytes_of(chunk->artifact.parts);
  }
  const PushConfig& config = std::get<PushChange>(change).config;
  return part_overhead + config.url.size() + config.token.size() + config.credentials.size();
}

std::size_t bytes_of(const TaskChanges& changes) {
  std::size_t bytes = 0;
  for (const TaskChange& change : changes) bytes += bytes_of(change);
  return bytes;
}

void apply_status(TaskRecord& record, const TaskStatus& status) {
  if (record.status.message) record.history.push_back(std::move(*record.status.message));
  record.status = status;
}

void apply_artifact(StoredTask& task, const ArtifactChange& change) {
  auto& artifacts = task.record.artifacts;
  // A chunk nearly always belongs to the artifact that came last.
  const auto at = std::find_if(artifacts.rbegin(), artifacts.rend(),
                               [&](const Artifact& one) { return one.id == change.artifact.id; });
  if (at == artifacts.rend()) {
    artifacts.push_back(change.artifact);
  } else if (change.append) {
    at->parts.insert(at->parts.end(), change.artifact.parts.begin(), change.artifact.parts.end());
  } else {
    task.bytes -= bytes_of(at->parts);
    *at = change.artifact;
  }
}

std::optional<std::int64_t> to_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<void> check(const StoredTask& task, const TaskChanges& changes, const StoreLimits& limits) {
  bool has_ended = is_terminal(task.record.status.state);
  std::size_t bytes = task.bytes;
  std::size_t history = task.record.history.size();
  for (const TaskChange& change : changes) {
    const bool is_push = std::holds_alternative<PushChange>(change);
    if (has_ended && !is_push) return Err(Code::conflict, "task " + task.record.id + " has ended");
    const std::size_t more = bytes_of(change);
    bytes += more;
    // A state without words always fits, so that a task which is too large can end.
    if (more > 0 && bytes > limits.task_bytes_max) {
      return Err(Code::exhausted, "task " + task.record.id + " is larger than " +
                                      std::to_string(limits.task_bytes_max) + " bytes");
    }
    if (std::holds_alternative<Message>(change) && ++history > limits.history_max) {
      return Err(Code::exhausted, "task " + task.record.id + " has more than " +
                                      std::to_string(limits.history_max) + " messages");
    }
    const auto* status = std::get_if<TaskStatus>(&change);
    has_ended = has_ended || (status != nullptr && is_terminal(status->state));
  }
  return {};
}

namespace {

void apply_checked(StoredTask& task, const TaskChange& change) {
  task.bytes += bytes_of(change);
  if (const auto* push = std::get_if<PushChange>(&change)) {
    if (push->is_removed) {
      task.push.erase(push->config.id);
    } else {
      task.push[push->config.id] = push->config;
    }
    return;
  }
  ++task.generation;
  if (const auto* said = std::get_if<Message>(&change)) {
    if (task.record.status.message) {
      task.record.history.push_back(std::move(*task.record.status.message));
      task.record.status.message.reset();
    }
    task.record.history.push_back(*said);
  } else if (const auto* status = std::get_if<TaskStatus>(&change)) {
    apply_status(task.record, *status);
  } else {
    apply_artifact(task, std::get<ArtifactChange>(change));
  }
}

}  // namespace

Result<void> apply(StoredTask& task, const TaskChange& change, const StoreLimits& limits) {
  TRY(check(task, {change}, limits));
  apply_checked(task, change);
  return {};
}

bool MemoryTaskStore::make_room(std::size_t tasks, std::size_t bytes) {
  const auto has_room = [&] {
    return tasks_.size() + tasks <= limits_.tasks_max && bytes_ + bytes <= limits_.total_bytes_max;
  };
  while (!ended_.empty() && !has_room()) {
    const std::string id = ended_.front();
    const Ref task = tasks_.at(id).task;
    forget(id);
    if (on_evicted_) on_evicted_(*task);
  }
  return has_room();
}

void MemoryTaskStore::forget(const std::string& id) {
  const auto at = tasks_.find(id);
  Entry& entry = at->second;
  for (const Message& message : entry.task->record.history) {
    const auto named = messages_.find({entry.task->owner, message.id});
    if (named != messages_.end() && named->second == id) messages_.erase(named);
  }
  order_.erase(entry.order);
  if (entry.has_ended) ended_.erase(entry.ended);
  bytes_ -= entry.task->bytes;
  tasks_.erase(at);
}

void MemoryTaskStore::reorder(Entry& entry) {
  order_.erase(entry.order);
  entry.order = {entry.task->owner, -entry.task->record.status.timestamp_ns, -(++sequence_)};
  order_.emplace(entry.order, entry.task);
  if (entry.has_ended || !is_terminal(entry.task->record.status.state)) return;
  entry.has_ended = true;
  entry.ended = ended_.insert(ended_.end(), entry.task->record.id);
}

Result<void> MemoryTaskStore::admit(const TaskRecord& record) {
  std::size_t bytes = 0;
  for (const Message& message : record.history) bytes += bytes_of(message);
  if (bytes <= limits_.task_bytes_max && make_room(1, bytes)) return {};
  return Err(Code::exhausted, "no room for another task; try again when some have ended");
}

Result<void> MemoryTaskStore::admit(const std::string& id, const TaskChanges& changes) {
  const auto at = tasks_.find(id);
  if (at == tasks_.end()) return Err(Code::not_found, "task " + id + " is not there any more");
  TRY(check(*at->second.task, changes, limits_));
  const std::size_t more = bytes_of(changes);
  // A task that is running cannot be evicted by this.
  if (more > 0 && bytes_ + more > limits_.total_bytes_max && !make_room(0, more)) {
    return Err(Code::exhausted, "the tasks of this server take all the room they may");
  }
  return {};
}

TaskStore::Ref MemoryTaskStore::put(TaskRecord record, std::string owner) {
  StoredTask task;
  task.record = std::move(record);
  task.owner = std::move(owner);
  for (const Message& message : task.record.history) task.bytes += bytes_of(message);
  return put(std::move(task));
}

TaskStore::Ref MemoryTaskStore::put(StoredTask task) {
  auto shared = std::make_shared<StoredTask>(std::move(task));
  const std::string id = shared->record.id;
  for (const Message& message : shared->record.history) {
    if (message.role == Role::user) messages_.emplace(std::pair(shared->owner, message.id), id);
  }
  bytes_ += shared->bytes;
  Entry& entry = tasks_[id];
  entry.task = shared;
  reorder(entry);
  return shared;
}

void MemoryTaskStore::put(const std::string& id, const TaskChanges& changes) {
  const auto at = tasks_.find(id);
  if (at == tasks_.end()) return;
  Entry& entry = at->second;
  StoredTask& task = *entry.task;
  const std::size_t before = task.bytes;
  bool is_moved = false;
  for (const TaskChange& change : changes) {
    apply_checked(task, change);
    if (const auto* said = std::get_if<Message>(&change)) {
      messages_.emplace(std::pair(task.owner, said->id), id);
    }
    is_moved = is_moved || std::holds_alternative<TaskStatus>(change);
  }
  bytes_ = bytes_ - before + task.bytes;
  if (is_moved) reorder(entry);
}

std::vector<TaskStore::Ref> MemoryTaskStore::open_tasks() const {
  std::vector<Ref> open;
  for (const auto& [id, entry] : tasks_) {
    if (!entry.has_ended) open.push_back(entry.task);
  }
  return open;
}

Task<Result<TaskStore::Ref>> MemoryTaskStore::create(TaskRecord record, std::string owner) {
  co_await ok(admit(record));
  co_return put(std::move(record), std::move(owner));
}

Task<Result<void>> MemoryTaskStore::append(std::string id, TaskChanges changes) {
  co_await ok(admit(id, changes));
  put(id, changes);
  co_return Result<void>();
}

TaskStore::Ref MemoryTaskStore::find(const std::string& owner, const std::string& id) const {
  const auto at = tasks_.find(id);
  return at == tasks_.end() || at->second.task->owner != owner ? nullptr : at->second.task;
}

TaskStore::Ref MemoryTaskStore::find_message(const std::string& owner,
                                             const std::string& message_id) const {
  const auto at = messages_.find({owner, message_id});
  return at == messages_.end() ? nullptr : find(owner, at->second);
}

Result<TaskPage> MemoryTaskStore::list(const std::string& owner, const TaskFilter& filter,
                                       std::size_t page_size, const std::string& token) const {
  Order after{owner, INT64_MIN, INT64_MIN};
  if (!token.empty()) {
    const std::size_t dot = token.find('.');
    const auto time = to_number(std::string_view(token).substr(0, dot));
    const auto number = dot == std::string::npos
                            ? std::nullopt
                            : to_number(std::string_view(token).substr(dot + 1));
    if (!time || !number || *time < 0 || *number < 0) {
      return Err(Code::invalid, "pageToken: is none that this server has given");
    }
    after = {owner, -*time, -*number};
  }
  TaskPage page;
  Order last;
  bool has_more = false;
  for (auto at = order_.lower_bound(Order{owner, INT64_MIN, INT64_MIN});
       at != order_.end() && std::get<0>(at->first) == owner; ++at) {
    const TaskRecord& record = at->second->record;
    if (!filter.context_id.empty() && record.context_id != filter.context_id) continue;
    if (filter.state != TaskState::unspecified && record.status.state != filter.state) continue;
    if (record.status.timestamp_ns < filter.after_ns) continue;
    ++page.total;
    if (!token.empty() && at->first <= after) continue;
    if (page.tasks.size() == page_size) {
      has_more = true;
      continue;
    }
    page.tasks.push_back(at->second);
    last = at->first;
  }
  if (has_more) {
    page.next_token = std::to_string(-std::get<1>(last)) + "." + std::to_string(-std::get<2>(last));
  }
  return page;
}

}  // namespace ambit::a2a
