#pragma once

// What happens to a task as events of the journal, in the run that has the task's id:
// "task.created" with the task as it was made, "task.changed" with changes in their order. What
// people said lies in payloads, so that it can be erased with them; the body says who, and what
// state it came to.

#include "a2a/task_store.h"
#include "agents/ports.h"

#include <optional>
#include <string>

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

}  // namespace ambit::a2a
