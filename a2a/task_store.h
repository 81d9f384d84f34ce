#pragma once

// The tasks of an A2A server as folded events: apply() is the pure rule, TaskStore the place. The
// one here keeps them in memory, bounded, and evicts the oldest that have ended; journal_store.h is
// a view of the journal and folds the same changes. A task belongs to an owner (caller and tenant),
// and nobody else learns that it exists.

#include "a2a/protocol.h"
#include "async/task.h"

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace ambit::a2a {

struct StoredTask {
  TaskRecord record;
  std::string owner;
  std::uint64_t generation = 0;            // counts changes
  std::size_t bytes = 0;                   // about what the parts take
  std::map<std::string, PushConfig> push;  // by id
};

struct StoreLimits {
  std::size_t tasks_max = 10'000;
  std::size_t task_bytes_max = 16 << 20;  // of all parts of one task
  std::size_t total_bytes_max = 256 << 20;
  std::size_t history_max = 1000;  // messages of one task
};

// What happens to a task after it was made.
struct ArtifactChange {
  Artifact artifact;
  bool append = false;
};
// A push configuration is set or, with `is_removed`, taken away by its id; also after the end.
struct PushChange {
  PushConfig config;
  bool is_removed = false;
};
using TaskChange = std::variant<Message, TaskStatus, ArtifactChange, PushChange>;
// In their order, all of them or none.
using TaskChanges = std::vector<TaskChange>;

// Whether the changes may be applied, one after the other. Code::conflict: the task has ended.
// Code::exhausted: it would be too large.
Result<void> check(const StoredTask& task, const TaskChanges& changes, const StoreLimits& limits);
// Applies a change: a message of the client joins the history; a new status moves the old one's
// message there; an artifact is replaced or made longer. An error (as above) changes nothing.
Result<void> apply(StoredTask& task, const TaskChange& change, const StoreLimits& limits);

struct TaskFilter {
  std::string context_id;
  TaskState state = TaskState::unspecified;
  std::int64_t after_ns = 0;
};

struct TaskPage {
  std::vector<std::shared_ptr<const StoredTask>> tasks;
  std::string next_token;  // empty at the end
  std::size_t total = 0;
};

class TaskStore {
 public:
  using Ref = std::shared_ptr<const StoredTask>;
  virtual ~TaskStore() = default;
  // Both return when the change is as durable as the store makes it. What a Ref shows changes with
  // its task.
  virtual Task<Result<Ref>> create(TaskRecord record, std::string owner) = 0;
  virtual Task<Result<void>> append(std::string id, TaskChanges changes) = 0;
  // Those that have not ended.
  [[nodiscard]] virtual std::vector<Ref> open_tasks() const = 0;
  // Null if there is no such task of this owner.
  [[nodiscard]] virtual Ref find(const std::string& owner, const std::string& id) const = 0;
  // The task that a message of its client's began or continued.
  [[nodiscard]] virtual Ref find_message(const std::string& owner,
                                         const std::string& message_id) const = 0;
  // The latest status first. Code::invalid: no token of ours.
  [[nodiscard]] virtual Result<TaskPage> list(const std::string& owner, const TaskFilter& filter,
                                              std::size_t page_size,
                                              const std::string& token) const = 0;
};

class MemoryTaskStore final : public TaskStore {
 public:
  explicit MemoryTaskStore(StoreLimits limits = {}) : limits_(limits) {}

  Task<Result<Ref>> create(TaskRecord record, std::string owner) override;
  Task<Result<void>> append(std::string id, TaskChanges changes) override;
  [[nodiscard]] std::vector<Ref> open_tasks() const override;
  [[nodiscard]] Ref find(const std::string& owner, const std::string& id) const override;
  [[nodiscard]] Ref find_message(const std::string& owner,
                                 const std::string& message_id) const override;
  [[nodiscard]] Result<TaskPage> list(const std::string& owner, const TaskFilter& filter,
                                      std::size_t page_size,
                                      const std::string& token) const override;
  // create() and append() in two halves, for who has something to do between them: admit() checks
  // and makes room, put() cannot fail. A task that is gone by then takes no changes.
  Result<void> admit(const TaskRecord& record);
  Result<void> admit(const std::string& id, const TaskChanges& changes);
  Ref put(TaskRecord record, std::string owner);
  void put(const std::string& id, const TaskChanges& changes);
  // A task as it was folded elsewhere.
  Ref put(StoredTask task);
  // Hears of each task that is forgotten to make room.
  void on_evicted(std::function<void(const StoredTask& task)> hear) {
    on_evicted_ = std::move(hear);
  }
  [[nodiscard]] const StoreLimits& limits() const { return limits_; }
  [[nodiscard]] std::size_t size() const { return tasks_.size(); }

 private:
  // Newest first: owner, then status time and number, both counted down.
  using Order = std::tuple<std::string, std::int64_t, std::int64_t>;
  struct Entry {
    std::shared_ptr<StoredTask> task;
    Order order;
    std::list<std::string>::iterator ended;  // in ended_, if the task has ended
    bool has_ended = false;
  };

  bool make_room(std::size_t tasks, std::size_t bytes);
  void forget(const std::string& id);
  void reorder(Entry& entry);

  StoreLimits limits_;
  std::map<std::string, Entry> tasks_;
  std::map<Order, Ref> order_;
  std::map<std::pair<std::string, std::string>, std::string> messages_;  // (owner, message) -> task
  std::list<std::string> ended_;                                         // the first to go in front
  std::int64_t sequence_ = 0;
  std::size_t bytes_ = 0;
  std::function<void(const StoredTask&)> on_evicted_;
};

}  // namespace ambit::a2a
