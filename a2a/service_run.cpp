// The half of Service that works: from a message in the store to its run, the run's events to the
// store, and from there to all who listen.

#include "a2a/service.h"
#include "a2a/service_live.h"
#include "async/race.h"
#include "io/uuid.h"

#include <algorithm>

namespace ambit::a2a {

class Service::Emitter final : public RunEvents {
 public:
  Emitter(Service& service, Live& live) : service_(service), live_(live) {}

  Task<Result<void>> status(TaskState state, std::optional<Message> message) override {
    TaskStatus status = service_.status_of(state, live_.task->record, "");
    if (message) {
      message->role = Role::agent;
      message->task_id = live_.task->record.id;
      message->context_id = live_.task->record.context_id;
      if (message->id.empty()) message->id = io::uuid_v4(service_.world_.entropy);
      status.message = std::move(message);
    }
    RunEvent event(std::move(status));
    co_return co_await live_.events.send(std::move(event));
  }
  Task<Result<void>> artifact(Artifact artifact, bool append, bool last_chunk) override {
    LastChunk chunk;
    chunk.change.artifact = std::move(artifact);
    chunk.change.append = append;
    chunk.last_chunk = last_chunk;
    RunEvent event(std::move(chunk));
    co_return co_await live_.events.send(std::move(event));
  }

 private:
  Service& service_;
  Live& live_;
};

// From the message in the store to its run, without a pause.
Service::Started Service::launch(TaskStore::Ref task, Run run, bool subscribes, bool is_resumed) {
  run.task_id = task->record.id;
  run.context_id = task->record.context_id;
  auto live = std::make_shared<Live>();
  live->task = task;
  live_[run.task_id] = live;
  if (const auto waiting = waiting_.find(run.task_id); waiting != waiting_.end()) {
    for (const auto& listener : waiting->second) {
      if (auto subscription = listener.lock()) live->subscribers.push_back(std::move(subscription));
    }
    waiting_.erase(waiting);
  }
  Started started;
  if (subscribes) started.subscription = subscribe_to(task);
  started.task = std::move(task);
  runs_.spawn(write(live));
  runs_.spawn(drive(live, std::move(run), is_resumed));
  return started;
}

std::size_t Service::recover() {
  std::size_t resumed = 0;
  for (const TaskStore::Ref& task : store_.open_tasks()) {
    const TaskRecord& record = task->record;
    // Who waits for an approval may have it by now; who waits for words gets them by a message.
    if (record.status.state == TaskState::input_required || live_.contains(record.id)) continue;
    const auto last = std::find_if(record.history.rbegin(), record.history.rend(),
                                   [](const Message& one) { return one.role == Role::user; });
    if (last == record.history.rend()) continue;
    Run run;
    const std::size_t zero = task->owner.find('\0');
    run.caller = task->owner.substr(0, zero);
    if (zero != std::string::npos) run.tenant = task->owner.substr(zero + 1);
    run.message = *last;
    run.metadata = record.metadata;
    launch(task, std::move(run), false, true);
    ++resumed;
  }
  return resumed;
}

Task<void> Service::settled(std::string id) {
  const auto at = live_.find(id);
  if (at == live_.end()) co_return;
  const std::shared_ptr<Live> live = at->second;
  while (!live->is_settled) co_await live->settled.wait();
}

Task<Result<void>> Service::run_guarded(Run run, std::optional<TaskRecord> so_far,
                                        RunEvents& events) {
  std::string what;
  try {
    if (so_far) co_return co_await runner_.resume(std::move(run), std::move(*so_far), events);
    co_return co_await runner_.run(std::move(run), events);
  } catch (const std::exception& fault) {
    what = fault.what();
  }
  log_.error("a2a.run_failed", {{"what", std::string_view(what)}});
  co_return Err(Code::internal, "the agent failed");
}

Task<void> Service::drive(std::shared_ptr<Live> live, Run run, bool is_resumed) {
  Emitter events(*this, *live);
  std::optional<TaskRecord> so_far;
  if (is_resumed) so_far = live->task->record;
  auto first = co_await race(run_guarded(std::move(run), std::move(so_far), events),
                             Live::wait_for_cancel(live));
  RunEvent last = Canceled{};
  if (first.index() == 0) last = RunEnded{std::move(std::get<0>(first))};
  co_await live->events.send(std::move(last));
  live->events.close();
}

Task<void> Service::write(std::shared_ptr<Live> live) {
  while (true) {
    auto event = co_await live->events.receive();
    if (!event) break;
    // What came meanwhile is written with it: one record for many chunks.
    std::vector<RunEvent> events;
    events.push_back(std::move(*event));
    while (events.size() < run_events_max) {
      auto more = live->events.try_receive();
      if (!more) break;
      events.push_back(std::move(*more));
    }
    co_await record(live, std::move(events));
  }
  live_.erase(live->task->record.id);
  live->close_subscribers();
  live->settle();
}

// What an event means for a task in `state`; none: nothing any more.
std::optional<StreamEvent> Service::told_of(const Live& live, RunEvent event, TaskState state) {
  const TaskRecord& now = live.task->record;
  if (std::holds_alternative<Canceled>(event)) {
    event = status_of(TaskState::canceled, now, "");
  } else if (const auto* ended = std::get_if<RunEnded>(&event)) {
    if (ended->outcome && is_interrupted(state)) return std::nullopt;
    if (ended->outcome) {
      event = status_of(TaskState::completed, now, "");
    } else {
      const bool is_denied = ended->outcome.error().code == Code::denied;
      event = status_of(is_denied ? TaskState::rejected : TaskState::failed, now,
                        ended->outcome.error().message);
    }
  }
  if (auto* chunk = std::get_if<LastChunk>(&event)) {
    ArtifactUpdate update;
    update.task_id = now.id;
    update.context_id = now.context_id;
    update.artifact = std::move(chunk->change.artifact);
    update.append = chunk->change.append;
    update.last_chunk = chunk->last_chunk;
    return update;
  }
  StatusUpdate update;
  update.task_id = now.id;
  update.context_id = now.context_id;
  update.status = std::move(std::get<TaskStatus>(event));
  return update;
}

namespace {

TaskChange change_of(const StreamEvent& told) {
  if (const auto* chunk = std::get_if<ArtifactUpdate>(&told)) {
    return ArtifactChange{chunk->artifact, chunk->append};
  }
  return std::get<StatusUpdate>(told).status;
}

}  // namespace

// Leaves in `told` what was stored. False: the task cannot even end.
Task<bool> Service::store_events(std::shared_ptr<Live> live, std::vector<StreamEvent>& told) {
  const TaskRecord& now = live->task->record;
  TaskChanges all;
  for (const StreamEvent& event : told) all.push_back(change_of(event));
  auto appended = co_await store_.append(now.id, std::move(all));
  if (appended) co_return true;
  // What fits of it, one by one.
  std::size_t stored = 0;
  while (told.size() > 1 && stored < told.size()) {
    TaskChanges one;
    one.push_back(change_of(told[stored]));
    appended = co_await store_.append(now.id, std::move(one));
    if (!appended) break;
    ++stored;
  }
  told.resize(stored);
  if (appended) co_return true;
  log_.warn("a2a.event_refused", {{"task", std::string_view(now.id)},
                                  {"why", std::string_view(appended.error().message)}});
  // The task cannot go on without what it said: it ends here.
  StatusUpdate update;
  update.task_id = now.id;
  update.context_id = now.context_id;
  update.status = status_of(TaskState::failed, now, "");
  TaskChanges end;
  end.emplace_back(update.status);
  auto ended = co_await store_.append(now.id, std::move(end));
  if (ended) told.emplace_back(std::move(update));
  co_return ended.has_value();
}

// Writes events and tells them. What comes after the end of the task is dropped.
Task<void> Service::record(std::shared_ptr<Live> live, std::vector<RunEvent> events) {
  const TaskRecord& now = live->task->record;
  TaskState state = now.status.state;
  std::vector<StreamEvent> told;
  bool waits_for_login = false;
  for (RunEvent& event : events) {
    if (is_terminal(state)) break;
    auto one = told_of(*live, std::move(event), state);
    if (!one) continue;
    if (const auto* status = std::get_if<StatusUpdate>(&*one)) state = status->status.state;
    waits_for_login = waits_for_login || state == TaskState::auth_required;
    told.push_back(std::move(*one));
  }
  if (told.empty()) co_return;
  const bool is_stored = co_await store_events(live, told);
  const std::uint64_t generation = live->task->generation;
  const std::size_t count = told.size();
  for (std::size_t n = 0; n < count; ++n) {
    co_await publish(live, std::move(told[n]), generation - (count - 1 - n));
  }
  if (!is_stored) {
    live->stop();
  } else if (is_terminal(now.status.state)) {
    live->stop();
    live->close_subscribers();
    live->settle();
  } else if (waits_for_login) {
    live->settle();
  }
}

Task<void> Service::publish(std::shared_ptr<Live> live, StreamEvent event,
                            std::uint64_t generation) {
  auto& subscribers = live->subscribers;
  std::erase_if(subscribers, [](const auto& one) { return one->queue().closed(); });
  const auto& hooks = live->task->push;
  const bool has_hooks = options_.push != nullptr && !hooks.empty();
  if (subscribers.empty() && !has_hooks) co_return;
  const auto update = std::make_shared<const Update>(std::move(event));
  if (has_hooks) {
    for (const auto& [id, config] : hooks) options_.push->notify(config, update);
  }
  std::vector<std::shared_ptr<Subscription>> behind;
  for (const auto& subscriber : subscribers) {
    // One that came while the event was being stored has it in its first event.
    if (subscriber->generation() >= generation) continue;
    if (!subscriber->queue().try_send(update)) behind.push_back(subscriber);
  }
  for (const auto& subscriber : behind) {
    auto sent = co_await with_timeout(options_.patience, subscriber->queue().send(update));
    if (sent || sent.error().code != Code::timeout) continue;
    subscriber->drop();
    log_.warn("a2a.subscriber_dropped", {{"task", std::string_view(live->task->record.id)}});
  }
}

}  // namespace ambit::a2a
