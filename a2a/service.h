#pragma once

// Service: the eleven operations of A2A, of one agent, whatever binding they come by. Each run is a
// task of the service's own: a client that goes away changes nothing. One writer a task applies its
// events to the store and then passes them to the subscribers, all in the same order; a subscriber
// that stays behind for too long is dropped and may subscribe again. Who subscribes to a task that
// waits for its client hears of it once it goes on. Events cost the same however long a task is.

#include "a2a/card.h"
#include "a2a/codec.h"
#include "a2a/rates.h"
#include "a2a/runner.h"
#include "a2a/task_store.h"
#include "async/channel.h"
#include "async/log.h"
#include "async/scope.h"
#include "io/world.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ambit::a2a {

class PushPort;

struct ServiceOptions {
  AgentCard card;
  std::optional<AgentCard> extended_card;
  bool sends_are_idempotent = true;              // a message id that was seen gives its task again
  std::size_t runs_max = 1024;                   // at once
  std::size_t subscribers_max = 64;              // of one task
  std::size_t queue_max = 256;                   // events of one subscriber
  Duration patience = std::chrono::seconds(10);  // with a subscriber whose queue is full
  std::size_t push_configs_max = 16;             // of one task
  PushPort* push = nullptr;                      // outlives the service
  RateLimit rate;                                // of one caller's operations
};

class Update;

// What sends push notifications; without one a card must not promise them.
class PushPort {
 public:
  virtual ~PushPort() = default;
  // Whether a configuration may be kept.
  [[nodiscard]] virtual Answer<void> check(const PushConfig& config) const = 0;
  // Returns at once.
  virtual void notify(const PushConfig& config, std::shared_ptr<const Update> update) = 0;
  virtual void forget(const std::string& task_id, const std::string& config_id) = 0;
};

// Who asks, and under which extensions; the door fills it in.
struct Call {
  std::string caller;
  std::string tenant;
  std::vector<std::string> extensions;
  bool is_0_3 = false;
};

// One event for all subscribers; each wire form of it is written once, by who needs it first.
class Update {
 public:
  explicit Update(StreamEvent event) : event_(std::move(event)) {}
  [[nodiscard]] const StreamEvent& event() const { return event_; }
  [[nodiscard]] const std::string& text() const;

 private:
  StreamEvent event_;
  mutable std::string text_;
};

class Subscription {
 public:
  // `generation` of the task that its first event shows: what led there is not told again.
  Subscription(std::size_t queue_max, std::uint64_t generation)
      : queue_(queue_max), generation_(generation) {}
  // Closed at the end of the stream.
  Channel<std::shared_ptr<const Update>>& queue() { return queue_; }
  // It stayed behind; the end of the queue is not the end of the task.
  [[nodiscard]] bool was_dropped() const { return was_dropped_; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  void drop() {
    was_dropped_ = true;
    queue_.close();
  }

 private:
  Channel<std::shared_ptr<const Update>> queue_;
  std::uint64_t generation_;
  bool was_dropped_ = false;
};

// Leaves the task when it dies.
class SubscriptionHandle {
 public:
  SubscriptionHandle() = default;
  explicit SubscriptionHandle(std::shared_ptr<Subscription> subscription)
      : subscription_(std::move(subscription)) {}
  SubscriptionHandle(SubscriptionHandle&&) noexcept = default;
  SubscriptionHandle& operator=(SubscriptionHandle&&) noexcept = default;
  ~SubscriptionHandle() {
    if (subscription_) subscription_->queue().close();
  }
  Subscription* operator->() const { return subscription_.get(); }

 private:
  std::shared_ptr<Subscription> subscription_;
};

struct TaskView {
  TaskStore::Ref task;
  TaskDetail detail;
};
using SendResult = std::variant<TaskView, Message>;

class Service {
 public:
  // The world, the store and the runner must outlive the service. Destroying it cancels all runs.
  Service(io::World& world, TaskStore& store, TaskRunner& runner, ServiceOptions options,
          Log log = Log());
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Whether the caller may ask anything now; every binding asks it first.
  Answer<void> admit(const Call& call);
  Task<Answer<SendResult>> send(Call call, SendRequest request);
  Task<Answer<SubscriptionHandle>> stream(Call call, SendRequest request);
  Answer<TaskView> get(const Call& call, const GetRequest& request) const;
  Answer<TaskPage> list(const Call& call, const ListRequest& request) const;
  Task<Answer<TaskView>> cancel(Call call, TaskRequest request);
  Answer<SubscriptionHandle> subscribe(const Call& call, const TaskRequest& request);
  Task<Answer<PushConfig>> create_push(Call call, PushConfig config);
  Answer<PushConfig> get_push(const Call& call, const TaskRequest& request) const;
  Answer<std::vector<PushConfig>> list_push(const Call& call, const TaskRequest& request) const;
  Task<Answer<void>> delete_push(Call call, TaskRequest request);
  Answer<const AgentCard*> extended_card(const Call& call) const;

  [[nodiscard]] const ServiceOptions& options() const { return options_; }
  [[nodiscard]] std::size_t runs() const { return live_.size(); }
  // For the store: forgets what belongs to a task that is gone.
  void forget(const StoredTask& task);
  // After a restart: goes on with the tasks of the store that were at work. Returns their number.
  std::size_t recover();

 private:
  struct RunEnded {
    Result<void> outcome;
  };
  struct Canceled {};
  struct LastChunk {
    ArtifactChange change;
    bool last_chunk = false;
  };
  using RunEvent = std::variant<TaskStatus, LastChunk, RunEnded, Canceled>;
  struct Live;
  class Emitter;
  class Mark;
  struct Started {
    TaskStore::Ref task;
    std::optional<Message> message;
    SubscriptionHandle subscription;
  };

  Answer<void> check(const Call& call, const SendRequest& request) const;
  Answer<PushConfig> checked_push(const Call& call, const StoredTask* task,
                                  PushConfig config) const;
  Task<Answer<Started>> start(Call call, SendRequest request, bool subscribes);
  Task<Answer<Started>> begin(Call call, SendRequest request, bool subscribes);
  Answer<Started> repeated(TaskStore::Ref task, const SendRequest& request, bool subscribes);
  Started launch(TaskStore::Ref task, Run run, bool subscribes, bool is_resumed);
  Task<Answer<TaskStore::Ref>> begin_task(const Call& call, const SendRequest& request,
                                          const Run& run);
  Task<Answer<TaskStore::Ref>> continue_task(const Call& call, const SendRequest& request);
  Answer<TaskStore::Ref> owned(const Call& call, const std::string& id) const;
  SubscriptionHandle subscribe_to(const TaskStore::Ref& task);
  std::shared_ptr<Subscription> subscription_of(const TaskStore::Ref& task) const;
  void tell_waiting(const TaskStore::Ref& task, TaskStatus last);
  Task<void> settled(std::string id);
  Task<void> drive(std::shared_ptr<Live> live, Run run, bool is_resumed);
  Task<Result<void>> run_guarded(Run run, std::optional<TaskRecord> so_far, RunEvents& events);
  Task<void> write(std::shared_ptr<Live> live);
  Task<void> record(std::shared_ptr<Live> live, std::vector<RunEvent> events);
  std::optional<StreamEvent> told_of(const Live& live, RunEvent event, TaskState state);
  Task<bool> store_events(std::shared_ptr<Live> live, std::vector<StreamEvent>& told);
  Task<void> publish(std::shared_ptr<Live> live, StreamEvent event, std::uint64_t generation);
  TaskStatus status_of(TaskState state, const TaskRecord& record, const std::string& words);
  [[nodiscard]] std::string owner_of(const Call& call) const;

  io::World& world_;
  TaskStore& store_;
  TaskRunner& runner_;
  ServiceOptions options_;
  Log log_;
  CallerRates rates_;
  std::map<std::string, std::shared_ptr<Live>> live_;
  // Of a task that waits for its client: who listens until its next run, or its end.
  std::map<std::string, std::vector<std::weak_ptr<Subscription>>> waiting_;
  std::set<std::string> arriving_;    // owner and id of messages on their way to the store
  std::set<std::string> continuing_;  // tasks that a message is about to continue
  Waiters arrived_;
  Scope runs_;
};

}  // namespace ambit::a2a
