#pragma once

// JournalTaskStore: the tasks of one agent as a view of the journal. Every change is an event that
// is durable before anybody sees it, and what is in memory is the fold of those events, bounded as
// in MemoryTaskStore; a task that had to make room is folded again when somebody asks for it by its
// id. So a crash loses no task, and there is no second bookkeeping.

#include "a2a/task_store.h"
#include "agents/ports.h"

#include <string>
#include <vector>

namespace ambit::a2a {

class JournalTaskStore final : public TaskStore {
 public:
  // The journal outlives the store; `agent` names whose tasks they are.
  JournalTaskStore(agents::Journal& journal, std::string agent, StoreLimits limits = {})
      : journal_(journal), agent_(std::move(agent)), view_(limits) {}

  // For the start: takes the tasks with these ids (the oldest first) from the journal. Those that
  // have ended are kept as far as there is room. A task that cannot be folded is left out and
  // told of.
  struct Restored {
    std::size_t open = 0;
    std::size_t ended = 0;
    std::size_t gone = 0;  // what was said in them was erased, or has expired
    std::vector<Error> left_out;
  };
  Restored restore(const std::vector<std::string>& ids);

  Task<Result<Ref>> create(TaskRecord record, std::string owner) override;
  Task<Result<void>> append(std::string id, TaskChanges changes) override;
  [[nodiscard]] std::vector<Ref> open_tasks() const override { return view_.open_tasks(); }
  [[nodiscard]] Ref find(const std::string& owner, const std::string& id) const override;
  [[nodiscard]] Ref find_message(const std::string& owner,
                                 const std::string& message_id) const override {
    return view_.find_message(owner, message_id);
  }
  [[nodiscard]] Result<TaskPage> list(const std::string& owner, const TaskFilter& filter,
                                      std::size_t page_size,
                                      const std::string& token) const override {
    return view_.list(owner, filter, page_size, token);
  }
  void on_evicted(std::function<void(const StoredTask& task)> hear) {
    view_.on_evicted(std::move(hear));
  }
  // In memory.
  [[nodiscard]] std::size_t size() const { return view_.size(); }

 private:
  [[nodiscard]] Result<std::optional<StoredTask>> read(const std::string& id) const;

  agents::Journal& journal_;
  std::string agent_;
  MemoryTaskStore view_;
};

}  // namespace ambit::a2a
