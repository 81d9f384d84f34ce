#include "agents/turn_loop.h"

#include "agents/json_writer.h"
#include "agents/session_recorder.h"
#include "async/interrupt.h"
#include "async/loop.h"

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::string_view unrecorded = "nothing is done that cannot be recorded";

}  // namespace

Task<Result<void>> TurnLoop::start(SessionState& state, const std::string& id,
                                   SessionStarted started) {
  if (parent_ != nullptr) started.parent = parent_->state.id;
  started.definition = agent_.definition;
  Fact fact = std::move(started);
  co_return co_await record(state, id, fact);
}

Task<Result<void>> TurnLoop::run(SessionState& state) {
  const Urgency urgency = urgency_of_session();
  co_await become(urgency);
  Result<void> done = begin(state);
  if (done && state.end == SessionEnd::running) {
    Roster::Entry entry{run_, agent_, state, ledger_};
    introduce(entry);
    const Roster::Listing listing(ports_.roster, entry);
    entry_ = &entry;
    Task<Result<void>> going = steps(state);
    const bool came_to_its_end = co_await interruptible(going, entry.interrupt);
    entry_ = nullptr;
    if (came_to_its_end) done = going.take();
    if (done && state.end == SessionEnd::running) {
      going = end(state, SessionEnd::stopped, "", entry.why);
      co_await going;
      done = going.take();
    }
  }
  if (done) leave(state);
  co_return done;
}

Result<void> TurnLoop::begin(const SessionState& state) {
  if (subject_.empty()) subject_ = state.subject;
  hear_again(state);
  return identify(state);
}

void TurnLoop::introduce(Roster::Entry& entry) const {
  entry.seed = seed_;
  entry.since = Loop::current().now();
  entry.parent = parent_;
  entry.depth =
      parent_ != nullptr ? parent_->depth + 1 : static_cast<int>(outside_->through.size());
  entry.outside = outside_;
}

// Nobody keeps anything of the session.
void TurnLoop::leave(const SessionState& state) {
  tell_models_of_end(state);
  if (ports_.identities != nullptr) ports_.identities->end(run_, state.id);
  if (ports_.quotas != nullptr) ports_.quotas->session_gone(state.id);
  ports_.guard.forget(state.id);
}

// As of who called it, but of its agent's class, and due no later than its own wall time ends.
Urgency TurnLoop::urgency_of_session() const {
  Urgency urgency = Loop::current().urgency();
  if (agent_.latency) urgency.latency = *agent_.latency;
  const Instant now = Loop::current().now();
  const std::int64_t wall_ms = ledger_.left(now).wall_ms;
  if (wall_ms < 0) return urgency;
  const auto due = std::chrono::floor<std::chrono::seconds>(now) +
                   std::chrono::ceil<std::chrono::seconds>(std::chrono::milliseconds(wall_ms));
  urgency.due_s = static_cast<std::int32_t>(std::min<std::int64_t>(urgency.due_s, due.count()));
  return urgency;
}

// A new instance of the agent, with a key of its own; also of a session that goes on after a crash.
Result<void> TurnLoop::identify(const SessionState& state) {
  if (ports_.identities == nullptr || state.end != SessionEnd::running) return {};
  Charge charge{run_,         state.id,        agent_.name,
                state.parent, state.requester, ledger_.left(Loop::current().now())};
  auto identity = ports_.identities->begin(charge);
  if (!identity) return Err(std::move(identity).error().context("agent " + agent_.name));
  instance_ = identity->key;
  Event event{"identity.issued", run_, state.id, agent_.name, "", {}};
  JsonWriter(event.body)
      .begin_object()
      .key("instance")
      .text(instance_)
      .key("tokenHash")
      .text(identity->token_hash)
      .end_object();
  event.subject = subject_;
  event.payloads.push_back({"claims", std::move(identity->claims)});
  event.payloads.push_back({"key", std::move(identity->public_key)});
  return ports_.journal.post(std::move(event));
}

Task<Result<void>> TurnLoop::steps(SessionState& state) {
  Result<void> done;
  Task<Result<void>> one;
  while (done && state.end == SessionEnd::running) {
    if (entry_->paused) co_await pause();
    if (entry_->stopping) break;
    one = step(state);
    co_await one;
    done = one.take();
    one.reset();
    if (done) done = keep_snapshot(state);
  }
  co_return done;
}

Task<void> TurnLoop::pause() {
  while (entry_->paused && !entry_->stopping) {
    const Instant since = Loop::current().now();
    if (!entry_->resumed) entry_->resumed = std::make_unique<Waiters>();
    co_await entry_->resumed->wait();
    ledger_.forgive(Loop::current().now() - since);
  }
}

Task<Result<void>> TurnLoop::step(SessionState& state) {
  if (state.in_doubt() != nullptr) return resolve_doubt(state);
  if (handed_over(state)) return end(state, earned_end(state), "", "");
  if (state.next_call() != nullptr) return tool_call(state);
  if (state.answered()) return conclude(state);
  const std::size_t cut = compaction_cut(state);
  return cut > 0 ? compaction_turn(state, cut) : model_turn(state);
}

// The guard follows where every value was read.
void TurnLoop::hear(const SessionState& state, const Message& message) const {
  switch (message.role) {
    case Role::system:
      ports_.guard.heard(state.id, Speaker::instructions, agent_.name, message.content);
      break;
    case Role::user:
      if (state.parent.empty()) {
        ports_.guard.heard(state.id, Speaker::user, agent_.owner, message.content);
      } else {
        ports_.guard.heard(state.id, Speaker::agent, state.parent, message.content);
      }
      break;
    case Role::tool:
      ports_.guard.heard(state.id, Speaker::tool, message.tool_name, message.content);
      break;
    case Role::assistant:
      break;
  }
}

// All that a session has read so far. What a summary replaced was read; the summary itself, like
// all that the model says, is no source of anything.
void TurnLoop::hear_again(const SessionState& state) const {
  for (const Message& message : state.replaced) hear(state, message);
  if (state.has_read_more) ports_.guard.missed(state.id);
  for (std::size_t at = 0; at < state.messages.size(); ++at) {
    if (state.compactions == 0 || at != state.task_at) hear(state, state.messages[at]);
  }
}

// The agent has said its last word.
Task<Result<void>> TurnLoop::conclude(SessionState& state) {
  const bool cut = state.finish == FinishReason::length;
  std::string error = cut ? "the answer was cut at maxTokens" : "";
  const SessionEnd why = cut ? SessionEnd::limit : earned_end(state);
  std::string answer = state.messages.back().content;
  co_return co_await end(state, why, std::move(answer), std::move(error));
}

// `session` names the state, which does not know its name before it has started. Uses the fact up.
Task<Result<void>> TurnLoop::record(SessionState& state, const std::string& session, Fact& fact) {
  settle_texts(fact);
  const Origin origin{run_, session, agent_.name, subject_};
  std::size_t bytes = 0;
  auto index = co_await append(fact, origin, bytes);
  if (!index) co_return Err(std::move(index).error().context(unrecorded));
  co_return apply(state, std::move(fact), origin, bytes);
}

// What has happened, and the session goes on at once: whatever it does next waits for a record that
// is not durable before this one is.
Result<void> TurnLoop::note(SessionState& state, Fact& fact) {
  settle_texts(fact);
  const Origin origin{run_, state.id, agent_.name, subject_};
  Event event = to_event(fact, origin);
  const std::size_t bytes = bytes_of(event);
  auto posted = ports_.journal.post(std::move(event));
  if (!posted) return Err(std::move(posted).error().context(unrecorded));
  return apply(state, std::move(fact), origin, bytes);
}

// Between two steps. Where the record has no room for one now, it is for the next step.
Result<void> TurnLoop::keep_snapshot(SessionState& state) {
  if (!snapshot_due(state, ports_.snapshots)) return {};
  Fact fact = snapshot_of(state, ports_.snapshots);
  auto noted = note(state, fact);
  if (!noted && noted.error().code == Code::exhausted) return {};
  return noted;
}

Task<Result<std::uint64_t>> TurnLoop::append(const Fact& fact, const Origin& origin,
                                             std::size_t& bytes) {
  Event event = to_event(fact, origin);
  bytes = bytes_of(event);
  return ports_.journal.append(std::move(event));
}

std::string TurnLoop::action_id(const SessionState& state, std::int64_t step) const {
  return run_ + "/" + state.id + "/" + std::to_string(step);
}

Action TurnLoop::propose(const SessionState& state, ActionKind kind, std::string tool) const {
  Action action;
  action.id = action_id(state, state.actions + 1);
  action.kind = kind;
  action.agent = agent_.name;
  action.session = state.id;
  action.run = run_;
  action.on_behalf_of = agent_.owner;
  action.tool = std::move(tool);
  action.tainted = state.tainted;
  action.requester = state.requester;
  action.instance = instance_;
  action.left = ledger_.left(Loop::current().now());
  const std::vector<std::string>* through = &outside_->through;
  for (const Roster::Entry* by = parent_; by != nullptr; by = by->parent) {
    action.chain.insert(action.chain.begin(), by->agent.name);
    through = &by->outside->through;
  }
  action.chain.insert(action.chain.begin(), through->begin(), through->end());
  return action;
}

// Absent: without limit.
std::optional<Duration> TurnLoop::wall_left() const {
  const std::int64_t wall_ms = ledger_.left(Loop::current().now()).wall_ms;
  if (wall_ms < 0) return std::nullopt;
  return std::chrono::milliseconds(wall_ms);
}

// Of a timeout when the wall-clock budget has ended: Code::exhausted, naming the limit.
Error TurnLoop::time_is_up(Error error) const {
  if (error.code != Code::timeout) return error;
  auto left = ledger_.reserve(Cost{}, Loop::current().now());
  return left ? error : std::move(left).error();
}

Task<Result<void>> TurnLoop::end(SessionState& state, SessionEnd end, std::string answer,
                                 std::string error) {
  Fact fact = SessionEnded{end,         state.turns,      state.call_count(),
                           state.usage, std::move(error), std::move(answer)};
  co_return co_await record(state, state.id, fact);
}

}  // namespace ambit::agents
