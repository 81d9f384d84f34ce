#include "a2a/journal_store.h"

#include "a2a/task_fact.h"

namespace ambit::a2a {

Result<std::optional<StoredTask>> JournalTaskStore::read(const std::string& id) const {
  std::optional<StoredTask> task;
  Result<void> folded;
  TRY(journal_.read(id, [&](const agents::StoredEvent& stored) {
    // What one agent was asked, another does not know.
    if (!stored.event.type.starts_with("task.") || stored.event.agent != agent_) return true;
    folded = fold(task, stored.event, view_.limits());
    return folded.has_value();
  }));
  TRY(folded);
  return task;
}

JournalTaskStore::Restored JournalTaskStore::restore(const std::vector<std::string>& ids) {
  Restored restored;
  for (const std::string& id : ids) {
    auto task = read(id);
    if (!task && task.error().code == Code::not_found) {
      ++restored.gone;
      continue;
    }
    if (!task) {
      restored.left_out.push_back(std::move(task).error());
      continue;
    }
    if (!*task) continue;
    const bool has_ended = is_terminal((*task)->record.status.state);
    const auto admitted = view_.admit((*task)->record);
    if (!admitted) {
      restored.left_out.push_back(admitted.error());
      continue;
    }
    ++(has_ended ? restored.ended : restored.open);
    view_.put(std::move(**task));
  }
  return restored;
}

Task<Result<TaskStore::Ref>> JournalTaskStore::create(TaskRecord record, std::string owner) {
  co_await ok(view_.admit(record));
  agents::Event event = created_event(record, owner, agent_);
  co_await ok(journal_.append(std::move(event)));
  co_return view_.put(std::move(record), std::move(owner));
}

Task<Result<void>> JournalTaskStore::append(std::string id, TaskChanges changes) {
  co_await ok(view_.admit(id, changes));
  agents::Event event = changed_event(id, changes, agent_);
  co_await ok(journal_.append(std::move(event)));
  view_.put(id, changes);
  co_return Result<void>();
}

TaskStore::Ref JournalTaskStore::find(const std::string& owner, const std::string& id) const {
  if (auto known = view_.find(owner, id)) return known;
  auto task = read(id);
  if (!task || !*task || (*task)->owner != owner) return nullptr;
  // One that is not in memory has ended, or was never ours to go on with.
  if (!is_terminal((*task)->record.status.state)) return nullptr;
  return std::make_shared<const StoredTask>(std::move(**task));
}

}  // namespace ambit::a2a
