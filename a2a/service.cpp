#include "a2a/service.h"

#include "a2a/service_live.h"
#include "io/uuid.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

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
  if (text_.empty()) text_ = to_text(event_);
  return text_;
}

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

Service::Service(io::World& world, TaskStore& store, TaskRunner& runner, ServiceOptions options,
                 Log log)
    : world_(world),
      store_(store),
      runner_(runner),
      options_(std::move(options)),
      log_(std::move(log)),
      rates_(options_.rate) {}

Service::~Service() {
  runs_.cancel();
  for (const auto& [id, live] : live_) live->close_subscribers();
  for (const auto& [id, listeners] : waiting_) {
    for (const auto& listener : listeners) {
      if (const auto subscription = listener.lock()) subscription->queue().close();
    }
  }
}

Answer<void> Service::admit(const Call& call) {
  if (rates_.take(call.caller, Loop::current().now())) return {};
  log_.warn("a2a.too_often", {{"caller", std::string_view(call.caller)}});
  return Fail(Fault::exhausted, "this caller asks too often; try again in a moment");
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
  if (!task) return Fail(Fault::task_not_found, "task not found: " + id);
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
  if (!request.push) co_return std::move(*created);
  PushConfig config = *request.push;
  config.task_id = run.task_id;
  auto push = checked_push(call, created->get(), std::move(config));
  if (!push) co_return tl::unexpected<Failure>(push.error());
  TaskChanges changes;
  changes.emplace_back(PushChange{std::move(*push), false});
  auto kept = co_await store_.append(run.task_id, std::move(changes));
  if (!kept) co_return tl::unexpected<Failure>(to_failure(kept.error()));
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
  TaskChanges changes;
  changes.emplace_back(std::move(message));
  if (request.push) {
    auto push = checked_push(call, task->get(), *request.push);
    if (!push) co_return tl::unexpected<Failure>(push.error());
    changes.emplace_back(PushChange{std::move(*push), false});
  }
  auto appended = co_await store_.append(record.id, std::move(changes));
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
    co_return launch(std::move(*task), std::move(run), subscribes, false);
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
  co_return launch(std::move(*task), std::move(run), subscribes, false);
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

std::shared_ptr<Subscription> Service::subscription_of(const TaskStore::Ref& task) const {
  auto subscription = std::make_shared<Subscription>(options_.queue_max, task->generation);
  subscription->queue().try_send(std::make_shared<const Update>(task->record));
  return subscription;
}

SubscriptionHandle Service::subscribe_to(const TaskStore::Ref& task) {
  auto subscription = subscription_of(task);
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
  if (live != live_.end()) {
    if (live->second->subscribers.size() < options_.subscribers_max) return subscribe_to(*task);
    return Fail(Fault::exhausted, "task " + request.id + " has as many subscribers as it may");
  }
  // Nothing is at work: what comes next begins when its client answers.
  auto& listeners = waiting_[request.id];
  std::erase_if(listeners, [](const auto& one) { return one.expired(); });
  if (listeners.size() >= options_.subscribers_max) {
    return Fail(Fault::exhausted, "task " + request.id + " has as many subscribers as it may");
  }
  auto subscription = subscription_of(*task);
  listeners.emplace_back(subscription);
  return SubscriptionHandle(std::move(subscription));
}

// The last word on a task that nothing is at work on.
void Service::tell_waiting(const TaskStore::Ref& task, TaskStatus last) {
  StatusUpdate told;
  told.task_id = task->record.id;
  told.context_id = task->record.context_id;
  told.status = std::move(last);
  const auto update = std::make_shared<const Update>(std::move(told));
  for (const auto& [id, config] : task->push) {
    if (options_.push != nullptr) options_.push->notify(config, update);
  }
  const auto at = waiting_.find(task->record.id);
  if (at == waiting_.end()) return;
  for (const auto& listener : at->second) {
    const auto subscription = listener.lock();
    if (!subscription) continue;
    if (!subscription->queue().try_send(update)) subscription->drop();
    subscription->queue().close();
  }
  waiting_.erase(at);
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
    const TaskStatus canceled = status_of(TaskState::canceled, (*task)->record, "");
    TaskChanges changes;
    changes.emplace_back(canceled);
    auto appended = co_await store_.append(request.id, std::move(changes));
    if (appended) {
      tell_waiting(*task, canceled);
    } else if (appended.error().code != Code::conflict) {
      co_return tl::unexpected<Failure>(to_failure(appended.error()));
    }
  }
  if (had_ended || (*task)->record.status.state != TaskState::canceled) {
    co_return Fail(Fault::task_not_cancelable, "task " + request.id + " has ended");
  }
  co_return TaskView{std::move(*task), TaskDetail()};
}

Answer<PushConfig> Service::checked_push(const Call& call, const StoredTask* task,
                                         PushConfig config) const {
  if (options_.push != nullptr) {
    auto checked = options_.push->check(config);
    if (!checked) return tl::unexpected<Failure>(checked.error());
  }
  if (config.id.empty()) config.id = io::uuid_v4(world_.entropy);
  if (!task->push.contains(config.id) && task->push.size() >= options_.push_configs_max) {
    return Fail(Fault::exhausted, "a task has at most " +
                                      std::to_string(options_.push_configs_max) +
                                      " push configurations; delete one first");
  }
  config.task_id = task->record.id;
  config.is_0_3 = call.is_0_3;
  return config;
}

Task<Answer<PushConfig>> Service::create_push(Call call, PushConfig config) {
  if (!options_.card.has_push_notifications) {
    co_return Fail(Fault::push_not_supported, "this agent sends no push notifications");
  }
  auto task = owned(call, config.task_id);
  if (!task) co_return tl::unexpected<Failure>(task.error());
  auto checked = checked_push(call, task->get(), std::move(config));
  if (!checked) co_return checked;
  TaskChanges changes;
  changes.emplace_back(PushChange{*checked, false});
  auto kept = co_await store_.append((*task)->record.id, std::move(changes));
  if (!kept) co_return tl::unexpected<Failure>(to_failure(kept.error()));
  co_return checked;
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
  for (const auto& [id, config] : (*task)->push) configs.push_back(config);
  return configs;
}

Task<Answer<void>> Service::delete_push(Call call, TaskRequest request) {
  auto known = get_push(call, request);
  const bool is_gone = !known && known.error().fault == Fault::task_not_found;
  auto task = owned(call, request.id);
  if (is_gone && task) co_return Answer<void>();
  if (!known) co_return tl::unexpected<Failure>(known.error());
  PushChange change;
  change.config.id = request.config_id;
  change.is_removed = true;
  TaskChanges changes;
  changes.emplace_back(std::move(change));
  auto removed = co_await store_.append(request.id, std::move(changes));
  if (!removed) co_return tl::unexpected<Failure>(to_failure(removed.error()));
  if (options_.push != nullptr) options_.push->forget(request.id, request.config_id);
  co_return Answer<void>();
}

void Service::forget(const StoredTask& task) {
  waiting_.erase(task.record.id);
  for (const auto& [id, config] : task.push) {
    if (options_.push != nullptr) options_.push->forget(task.record.id, id);
  }
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
