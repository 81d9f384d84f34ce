#pragma once

// What happens to a task as events of the journal, in the run that has the task's id:
// "task.created" with the task as it was made, "task.changed" with changes in their order. What
// people said lies in payloads, so that it can be erased with them; the body says who, and what
// state it came to.

#include "a2a/task_store.h"
#include "agents/ports.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace ambit::a2a {

// `agent` is the name in the fleet file.
agents::Event created_event(const TaskRecord& record, const std::string& owner,
                            const std::string& agent);
agents::Event changed_event(const std::string& id, const TaskChanges& changes,
                            const std::string& agent);

// Applies an event to the task that it folds into; others than these two are nothing to it. Errors
// (internal): the journal is not ours or damaged, or what it held was erased.
Result<void> fold(std::optional<StoredTask>& task, const agents::Event& event,
                  const StoreLimits& limits);

// Which of an agent's tasks a new process begins with: all that are open, and of those that have
// ended the newest, as many as a store holds. It reads types and bodies, no payload: what ended
// long ago costs a start nothing.
class TaskRoll {
 public:
  explicit TaskRoll(const StoreLimits& limits = {}) : ended_max_(limits.tasks_max) {}
  // All of the agent's events, in order.
  void follow(const std::string& id, std::string_view type, std::string_view body);
  // The oldest first.
  [[nodiscard]] std::vector<std::string> ids() const;

 private:
  std::size_t ended_max_;
  std::uint64_t made_ = 0;
  std::unordered_map<std::string, std::uint64_t> open_;  // when they were made
  std::map<std::uint64_t, std::string> ended_;
};

}  // namespace ambit::a2a
