#include "a2a/service.h"

#include "async/race.h"
#include "io/uuid.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

constexpr std::size_t events_max = 16;  // of one run, not yet written

Failure to_failure(const Error& error) {
  if (error.code == Code::invalid) return {Fault::invalid_params, error.message, ""};
  if (error.code == Code::exhausted || error.code == Code::unavailable) {
    return {Fault::exhausted, error.message, ""};
  }
  return {Fault::internal, error.message, ""};
}

bool names(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

const std::string& Update::text() const {
  if (text_.empty()) text_ = rpc::compact(to_json(event_));
  return text_;
}

// A task with a run: its events on their way to the store, and those who listen.
struct Service::Live {
  TaskStore::Ref task;
  Channel<RunEvent> events{events_max};
  bool is_cancelled = false;
  Waiters cancelled;
  bool is_settled = false;  // a blocking call need not wait any longer
  Waiters settled;
  std::vector<std::shared_ptr<Subscription>> subscribers;

  // Ends the run, by destroying its coroutine.
  void stop() {
    is_cancelled = true;
    cancelled.wake_all();
  }
  void settle() {
    is_settled = true;
    settled.wake_all();
  }
  void close_subscribers() {
    for (const auto& subscriber : subscribers) subscriber->queue().close();
    subscribers.clear();
  }
  static Task<void> wait_for_cancel(std::shared_ptr<Live> live) {
    while (!live->is_cancelled) co_await live->cancelled.wait();
  }
};

// Holds a key in a set while it lives.
class Service::Mark {
 public:
  Mark(std::set<std::string>& all, Waiters& changed, std::string key)
      : all_(all), changed_(changed), key_(std::move(key)) {
    all_.insert(key_);
  }
  ~Mark() {
    all_.erase(key_);
    changed_.wake_all();
  }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;

 private:
  std::set<std::string>& all_;
  Waiters& changed_;
  std::string key_;
};

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

Service::Service(io::World& world, TaskStore& store, TaskRunner& runner, ServiceOptions options,
                 Log log)
    : world_(world),
      store_(store),
      runner_(runner),
      options_(std::move(options)),
      log_(std::move(log)) {}

Service::~Service() {
  runs_.cancel();
  for (const auto& [id, live] : live_) live->close_subscribers();
}

std::string Service::owner_of(const Call& call) const {
  // A caller's name holds no zero byte, so no two pairs give one owner.
  return call.caller + std::string(1, '\0') + call.tenant;
}

TaskStatus Service::status_of(TaskState state, const TaskRecord& record, const std::string& words) {
  TaskStatus status;
  status.state = state;
  status.timestamp_ns = world_.clock.unix_ns();
  if (!words.empty()) {
    Message message;
    message.id = io::uuid_v4(world_.entropy);
    message.role = Role::agent;
    message.task_id = record.id;
    message.context_id = record.context_id;
    message.parts.push_back(text_part(words));
    status.message = std::move(message);
  }
  return status;
}

Answer<TaskStore::Ref> Service::owned(const Call& call, const std::string& id) const {
  auto task = store_.find(owner_of(call), id);
  if (!task) return Fail(Fault::task_not_found, "there is no task " + id);
  return task;
}

Answer<void> Service::check(const Call& call, const SendRequest& request) const {
  for (const Extension& extension : options_.card.extensions) {
    if (extension.is_required && !names(call.extensions, extension.uri)) {
      return Fail(Fault::extension_required, "this agent needs the extension " + extension.uri +
                                                 "; name it in the A2A-Extensions header");
    }
  }
  for (std::size_t n = 0; n < request.message.parts.size(); ++n) {
    const std::string& type = request.message.parts[n].media_type;
    if (!type.empty() && !accepts(options_.card.input_modes, type)) {
      return Fail(Fault::content_type_not_supported, "this agent does not read " + type,
                  "message.parts[" + std::to_string(n) + "].mediaType");
    }
  }
  if (request.push && !options_.card.has_push_notifications) {
    return Fail(Fault::push_not_supported, "this agent sends no push notifications");
  }
  if (request.push && options_.push != nullptr) return options_.push->check(*request.push);
  return {};
}

Task<Answer<TaskStore::Ref>> Service::begin_task(const Call& call, const SendRequest& request,
                                                 const Run& run) {
  TaskRecord record;
  record.id = run.task_id;
  record.context_id = run.context_id;
  record.metadata = request.metadata;
  record.status = status_of(TaskState::submitted, record, "");
  Message message = request.message;
  message.task_id = record.id;
  message.context_id = record.context_id;
  record.history.push_back(std::move(message));
  auto created = co_await store_.create(std::move(record), owner_of(call));
  if (!created) co_return tl::unexpected<Failure>(to_failure(created.error()));
  co_return std::move(*created);
}

Task<Answer<TaskStore::Ref>> Service::continue_task(const Call& call, const SendRequest& request) {
  auto task = owned(call, request.message.task_id);
  if (!task) co_return task;
  const TaskRecord& record = (*task)->record;
  if (!request.message.context_id.empty() && request.message.context_id != record.context_id) {
    co_return Fail(Fault::invalid_params, "message.contextId: is not the context of the task",
                   "message.contextId");
  }
  if (is_terminal(record.status.state)) {
    co_return Fail(Fault::unsupported_operation,
                   "task " + record.id + " has ended; send the message without a taskId");
  }
  if (live_.contains(record.id)) {
    co_return Fail(Fault::unsupported_operation,
                   "task " + record.id + " is at work; wait until it asks for input");
  }
  Message message = request.message;
  message.context_id = record.context_id;
  TaskChange change(std::move(message));
  auto appended = co_await store_.append(record.id, std::move(change));
  if (!appended) co_return tl::unexpected<Failure>(to_failure(appended.error()));
  co_return task;
}

// A message that was seen gives its task again, and does nothing else.
Answer<Service::Started> Service::repeated(TaskStore::Ref task, const SendRequest& request,
                                           bool subscribes) {
  const auto& history = task->record.history;
  const auto at = std::find_if(history.begin(), history.end(), [&](const Message& message) {
    return message.id == request.message.id;
  });
  if (at == history.end() || at->parts != request.message.parts) {
    return Fail(Fault::invalid_params, "message.messageId: was used for another message",
                "message.messageId");
  }
  Started started;
  if (subscribes) started.subscription = subscribe_to(task);
  started.task = std::move(task);
  return started;
}

Task<Answer<Service::Started>> Service::start(Call call, SendRequest request, bool subscribes) {
  auto checked = check(call, request);
  if (!checked) co_return tl::unexpected<Failure>(checked.error());
  if (!options_.sends_are_idempotent) {
    co_return co_await begin(std::move(call), std::move(request), subscribes);
  }
  // The same message may be on its way already: its sender did not wait for our answer.
  const std::string key = owner_of(call) + std::string(1, '\0') + request.message.id;
  while (arriving_.contains(key)) co_await arrived_.wait();
  auto known = store_.find_message(owner_of(call), request.message.id);
  if (known) co_return repeated(std::move(known), request, subscribes);
  const Mark mark(arriving_, arrived_, key);
  co_return co_await begin(std::move(call), std::move(request), subscribes);
}

Task<Answer<Service::Started>> Service::begin(Call call, SendRequest request, bool subscribes) {
  if (live_.size() >= options_.runs_max) {
    co_return Fail(Fault::exhausted, "this agent has as many tasks at work as it may; try later");
  }
  Run run;
  run.caller = call.caller;
  run.tenant = call.tenant;
  run.message = request.message;
  run.metadata = request.metadata;
  run.accepted_output_modes = request.accepted_output_modes;
  run.extensions = call.extensions;
  if (!request.message.task_id.empty()) {
    const std::string id = request.message.task_id;
    if (continuing_.contains(id)) {
      co_return Fail(Fault::unsupported_operation, "task " + id + " is being continued");
    }
    const Mark mark(continuing_, arrived_, id);
    auto task = co_await continue_task(call, request);
    if (!task) co_return tl::unexpected<Failure>(task.error());
    if (is_terminal((*task)->record.status.state)) {
      co_return Fail(Fault::unsupported_operation, "task " + id + " has just ended");
    }
    co_return launch(call, std::move(*task), std::move(request), std::move(run), subscribes);
  }
  run.context_id =
      request.message.context_id.empty() ? io::uuid_v4(world_.entropy) : request.message.context_id;
  auto direct = co_await runner_.answer(run);
  if (!direct) co_return tl::unexpected<Failure>(to_failure(direct.error()));
  if (*direct) {
    Started started;
    started.message = std::move(**direct);
    started.message->role = Role::agent;
    started.message->context_id = run.context_id;
    if (started.message->id.empty()) started.message->id = io::uuid_v4(world_.entropy);
    co_return started;
  }
  run.task_id = io::uuid_v7(world_.clock, world_.entropy);
  auto task = co_await begin_task(call, request, run);
  if (!task) co_return tl::unexpected<Failure>(task.error());
  co_return launch(call, std::move(*task), std::move(request), std::move(run), subscribes);
}

// From the message in the store to its run, without a pause.
Service::Started Service::launch(const Call& call, TaskStore::Ref task, SendRequest request,
                                 Run run, bool subscribes) {
  run.task_id = task->record.id;
  run.context_id = task->record.context_id;
  auto live = std::make_shared<Live>();
  live->task = task;
  live_[run.task_id] = live;
  if (request.push) {
    request.push->task_id = run.task_id;
    auto kept = create_push(call, std::move(*request.push));
    if (!kept) log_.warn("a2a.push_config_refused", {{"task", std::string_view(run.task_id)}});
  }
  Started started;
  if (subscribes) started.subscription = subscribe_to(task);
  started.task = std::move(task);
  runs_.spawn(write(live));
  runs_.spawn(drive(live, std::move(run)));
  return started;
}

Task<void> Service::settled(std::string id) {
  const auto at = live_.find(id);
  if (at == live_.end()) co_return;
  const std::shared_ptr<Live> live = at->second;
  while (!live->is_settled) co_await live->settled.wait();
}

Task<Answer<SendResult>> Service::send(Call call, SendRequest request) {
  const bool returns_immediately = request.return_immediately;
  TaskDetail detail;
  detail.history_length = request.history_length;
  auto started = co_await start(std::move(call), std::move(request), false);
  if (!started) co_return tl::unexpected<Failure>(started.error());
  if (started->message) co_return SendResult(std::move(*started->message));
  if (!returns_immediately) co_await settled(started->task->record.id);
  co_return SendResult(TaskView{started->task, detail});
}

Task<Answer<SubscriptionHandle>> Service::stream(Call call, SendRequest request) {
  if (!options_.card.has_streaming) {
    co_return Fail(Fault::unsupported_operation, "this agent does not stream; use SendMessage");
  }
  auto started = co_await start(std::move(call), std::move(request), true);
  if (!started) co_return tl::unexpected<Failure>(started.error());
  if (!started->message) co_return std::move(started->subscription);
  auto only = std::make_shared<Subscription>(1, 0);
  only->queue().try_send(std::make_shared<const Update>(std::move(*started->message)));
  only->queue().close();
  co_return SubscriptionHandle(std::move(only));
}

SubscriptionHandle Service::subscribe_to(const TaskStore::Ref& task) {
  auto subscription = std::make_shared<Subscription>(options_.queue_max, task->generation);
  subscription->queue().try_send(std::make_shared<const Update>(task->record));
  const auto live = live_.find(task->record.id);
  if (live == live_.end() || is_terminal(task->record.status.state)) {
    subscription->queue().close();
  } else {
    live->second->subscribers.push_back(subscription);
  }
  return SubscriptionHandle(std::move(subscription));
}

Answer<SubscriptionHandle> Service::subscribe(const Call& call, const TaskRequest& request) {
  if (!options_.card.has_streaming) {
    return Fail(Fault::unsupported_operation, "this agent does not stream; use GetTask");
  }
  auto task = owned(call, request.id);
  if (!task) return tl::unexpected<Failure>(task.error());
  if (is_terminal((*task)->record.status.state)) {
    return Fail(Fault::unsupported_operation, "task " + request.id + " has ended; use GetTask");
  }
  const auto live = live_.find(request.id);
  if (live != live_.end() && live->second->subscribers.size() >= options_.subscribers_max) {
    return Fail(Fault::exhausted, "task " + request.id + " has as many subscribers as it may");
  }
  return subscribe_to(*task);
}

Answer<TaskView> Service::get(const Call& call, const GetRequest& request) const {
  auto task = owned(call, request.id);
  if (!task) return tl::unexpected<Failure>(task.error());
  TaskDetail detail;
  detail.history_length = request.history_length;
  return TaskView{std::move(*task), detail};
}

Answer<TaskPage> Service::list(const Call& call, const ListRequest& request) const {
  TaskFilter filter;
  filter.context_id = request.context_id;
  filter.state = request.status;
  filter.after_ns = request.status_after_ns;
  const auto size = static_cast<std::size_t>(request.page_size.value_or(50));
  auto page = store_.list(owner_of(call), filter, size, request.page_token);
  if (!page) return Fail(Fault::invalid_params, page.error().message, "pageToken");
  return std::move(*page);
}

Task<Answer<TaskView>> Service::cancel(Call call, TaskRequest request) {
  auto task = owned(call, request.id);
  if (!task) co_return tl::unexpected<Failure>(task.error());
  const auto at = live_.find(request.id);
  const bool had_ended = is_terminal((*task)->record.status.state);
  if (!had_ended && at != live_.end()) {
    const std::shared_ptr<Live> live = at->second;
    live->stop();
    while (!is_terminal((*task)->record.status.state) && live_.contains(request.id)) {
      co_await live->settled.wait();
    }
  } else if (!had_ended) {
    TaskChange change(status_of(TaskState::canceled, (*task)->record, ""));
    auto appended = co_await store_.append(request.id, std::move(change));
    if (!appended && appended.error().code != Code::conflict) {
      co_return tl::unexpected<Failure>(to_failure(appended.error()));
    }
  }
  if (had_ended || (*task)->record.status.state != TaskState::canceled) {
    co_return Fail(Fault::task_not_cancelable, "task " + request.id + " has ended");
  }
  co_return TaskView{std::move(*task), TaskDetail()};
}

Task<Result<void>> Service::run_guarded(Run run, RunEvents& events) {
  std::string what;
  try {
    co_return co_await runner_.run(std::move(run), events);
  } catch (const std::exception& fault) {
    what = fault.what();
  }
  log_.error("a2a.run_failed", {{"what", std::string_view(what)}});
  co_return Err(Code::internal, "the agent failed");
}

Task<void> Service::drive(std::shared_ptr<Live> live, Run run) {
  Emitter events(*this, *live);
  auto first = co_await race(run_guarded(std::move(run), events), Live::wait_for_cancel(live));
  RunEvent last = Canceled{};
  if (first.index() == 0) last = RunEnded{std::move(std::get<0>(first))};
  co_await live->events.send(std::move(last));
  live->events.close();
}

Task<void> Service::write(std::shared_ptr<Live> live) {
  while (true) {
    auto event = co_await live->events.receive();
    if (!event) break;
    co_await record(live, std::move(*event));
  }
  live_.erase(live->task->record.id);
  live->close_subscribers();
  live->settle();
}

// Writes one event and tells it. What comes after the end of the task is dropped.
Task<void> Service::record(std::shared_ptr<Live> live, RunEvent event) {
  const TaskRecord& now = live->task->record;
  if (is_terminal(now.status.state)) co_return;
  if (std::holds_alternative<Canceled>(event)) {
    event = status_of(TaskState::canceled, now, "");
  } else if (const auto* ended = std::get_if<RunEnded>(&event)) {
    if (ended->outcome && is_interrupted(now.status.state)) co_return;
    if (ended->outcome) {
      event = status_of(TaskState::completed, now, "");
    } else {
      const bool is_denied = ended->outcome.error().code == Code::denied;
      event = status_of(is_denied ? TaskState::rejected : TaskState::failed, now,
                        ended->outcome.error().message);
    }
  }
  TaskChange change;
  StreamEvent told;
  if (auto* chunk = std::get_if<LastChunk>(&event)) {
    ArtifactUpdate update;
    update.task_id = now.id;
    update.context_id = now.context_id;
    update.artifact = chunk->change.artifact;
    update.append = chunk->change.append;
    update.last_chunk = chunk->last_chunk;
    change = std::move(chunk->change);
    told = std::move(update);
  } else {
    StatusUpdate update;
    update.task_id = now.id;
    update.context_id = now.context_id;
    update.status = std::get<TaskStatus>(event);
    change = update.status;
    told = std::move(update);
  }
  auto appended = co_await store_.append(now.id, std::move(change));
  if (!appended) {
    log_.warn("a2a.event_refused", {{"task", std::string_view(now.id)},
                                    {"why", std::string_view(appended.error().message)}});
    // The task cannot go on without what it said: it ends here, in words if they fit.
    TaskStatus failed = status_of(TaskState::failed, now, "");
    StatusUpdate update;
    update.task_id = now.id;
    update.context_id = now.context_id;
    update.status = failed;
    told = std::move(update);
    TaskChange end(std::move(failed));
    auto ended = co_await store_.append(now.id, std::move(end));
    if (!ended) {
      live->stop();
      co_return;
    }
  }
  co_await publish(live, std::move(told), live->task->generation);
  if (is_terminal(now.status.state)) {
    live->stop();
    live->close_subscribers();
    live->settle();
  } else if (now.status.state == TaskState::auth_required) {
    live->settle();
  }
}

Task<void> Service::publish(std::shared_ptr<Live> live, StreamEvent event,
                            std::uint64_t generation) {
  auto& subscribers = live->subscribers;
  std::erase_if(subscribers, [](const auto& one) { return one->queue().closed(); });
  const auto hooks = push_configs_.find(live->task->record.id);
  const bool has_hooks = options_.push != nullptr && hooks != push_configs_.end();
  if (subscribers.empty() && !has_hooks) co_return;
  const auto update = std::make_shared<const Update>(std::move(event));
  if (has_hooks) {
    for (const auto& [id, config] : hooks->second) options_.push->notify(config, update);
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

Answer<PushConfig> Service::create_push(const Call& call, PushConfig config) {
  if (!options_.card.has_push_notifications) {
    return Fail(Fault::push_not_supported, "this agent sends no push notifications");
  }
  auto task = owned(call, config.task_id);
  if (!task) return tl::unexpected<Failure>(task.error());
  if (options_.push != nullptr) {
    auto checked = options_.push->check(config);
    if (!checked) return tl::unexpected<Failure>(checked.error());
  }
  if (config.id.empty()) config.id = io::uuid_v4(world_.entropy);
  auto& configs = push_configs_[config.task_id];
  if (!configs.contains(config.id) && configs.size() >= options_.push_configs_max) {
    return Fail(Fault::exhausted, "a task has at most " +
                                      std::to_string(options_.push_configs_max) +
                                      " push configurations; delete one first");
  }
  config.is_0_3 = call.is_0_3;
  configs[config.id] = config;
  return config;
}

Answer<PushConfig> Service::get_push(const Call& call, const TaskRequest& request) const {
  auto all = list_push(call, request);
  if (!all) return tl::unexpected<Failure>(all.error());
  for (const PushConfig& config : *all) {
    if (config.id == request.config_id) return config;
  }
  return Fail(Fault::task_not_found,
              "task " + request.id + " has no push configuration " + request.config_id);
}

Answer<std::vector<PushConfig>> Service::list_push(const Call& call,
                                                   const TaskRequest& request) const {
  if (!options_.card.has_push_notifications) {
    return Fail(Fault::push_not_supported, "this agent sends no push notifications");
  }
  auto task = owned(call, request.id);
  if (!task) return tl::unexpected<Failure>(task.error());
  std::vector<PushConfig> configs;
  const auto at = push_configs_.find(request.id);
  if (at == push_configs_.end()) return configs;
  for (const auto& [id, config] : at->second) configs.push_back(config);
  return configs;
}

Answer<void> Service::delete_push(const Call& call, const TaskRequest& request) {
  auto all = list_push(call, request);
  if (!all) return tl::unexpected<Failure>(all.error());
  const auto at = push_configs_.find(request.id);
  if (at == push_configs_.end()) return {};
  at->second.erase(request.config_id);
  if (options_.push != nullptr) options_.push->forget(request.id, request.config_id);
  if (at->second.empty()) push_configs_.erase(at);
  return {};
}

void Service::forget(const std::string& task_id) {
  const auto at = push_configs_.find(task_id);
  if (at == push_configs_.end()) return;
  for (const auto& [id, config] : at->second) {
    if (options_.push != nullptr) options_.push->forget(task_id, id);
  }
  push_configs_.erase(at);
}

Answer<const AgentCard*> Service::extended_card(const Call& /*call*/) const {
  if (!options_.card.has_extended_card) {
    return Fail(Fault::unsupported_operation, "this agent has no extended card");
  }
  if (!options_.extended_card) {
    return Fail(Fault::extended_card_not_configured, "the extended card is not configured");
  }
  return &*options_.extended_card;
}

}  // namespace ambit::a2a
