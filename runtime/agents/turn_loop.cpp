#include "agents/turn_loop.h"

#include "agents/artifacts.h"
#include "agents/json_writer.h"
#include "agents/overheard.h"
#include "agents/session_recorder.h"
#include "async/interrupt.h"
#include "async/loop.h"
#include "async/race.h"

#include <algorithm>
#include <optional>

namespace ambit::agents {
namespace {

constexpr std::size_t result_bytes_max = 32 << 10;
// Of a longer result the conversation has at least so much of the beginning.
constexpr std::size_t overheard_bytes_max = result_bytes_max - (1 << 10);
constexpr std::string_view doubtful =
    "in doubt: the run was cut off while this call was under way; doing it again may do it twice";
constexpr std::string_view unrecorded = "nothing is done that cannot be recorded";

std::int64_t us_since(Instant start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Loop::current().now() - start)
      .count();
}

// The model reads at most this much of a result, cut at a character's border.
void bound_result(Outcome& outcome) {
  if (outcome.content.size() <= result_bytes_max) return;
  std::size_t end = result_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(outcome.content[end]) & 0xC0) == 0x80) --end;
  outcome.content.resize(end);
  outcome.content += "\n[cut]";
  outcome.truncated = true;
}

Task<Result<Outcome>> as_result(Task<Outcome> task) {
  Outcome outcome = co_await std::move(task);
  co_return outcome;
}

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
  if (subject_.empty()) subject_ = state.subject;
  hear_again(state);
  co_await ok(identify(state));
  if (ports_.roster == nullptr) {
    co_await ok(steps(state));
  } else if (state.end == SessionEnd::running) {
    Roster::Entry entry{run_, agent_, state, ledger_};
    entry.seed = seed_;
    entry.since = Loop::current().now();
    entry.parent = parent_;
    entry.depth = parent_ != nullptr ? parent_->depth + 1 : static_cast<int>(through_.size());
    entry.person = person_;
    entry.through = through_;
    const Roster::Listing listing(*ports_.roster, entry);
    entry_ = &entry;
    auto done = co_await interruptible(steps(state), entry.interrupt);
    entry_ = nullptr;
    if (done && !*done) co_return std::move(*done);
    if (state.end == SessionEnd::running) {
      co_await ok(end(state, SessionEnd::stopped, "", entry.why));
    }
  }
  tell_models_of_end(state);
  if (ports_.identities != nullptr) ports_.identities->end(run_, state.id);
  if (ports_.quotas != nullptr) ports_.quotas->session_gone(state.id);
  ports_.guard.forget(state.id);
  co_return Result<void>();
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
Task<Result<void>> TurnLoop::identify(const SessionState& state) {
  if (ports_.identities == nullptr || state.end != SessionEnd::running) co_return Result<void>();
  Charge charge{run_,         state.id,        agent_.name,
                state.parent, state.requester, ledger_.left(Loop::current().now())};
  auto identity = ports_.identities->begin(charge);
  if (!identity) co_return Err(std::move(identity).error().context("agent " + agent_.name));
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
  co_return ports_.journal.post(std::move(event));
}

Task<Result<void>> TurnLoop::steps(SessionState& state) {
  while (state.end == SessionEnd::running) {
    while (entry_ != nullptr && entry_->paused && !entry_->stopping) {
      const Instant since = Loop::current().now();
      co_await entry_->resumed.wait();
      ledger_.forgive(Loop::current().now() - since);
    }
    if (entry_ != nullptr && entry_->stopping) co_return Result<void>();
    co_await ok(step(state));
    co_await ok(keep_snapshot(state));
  }
  co_return Result<void>();
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

std::string TurnLoop::action_id(const SessionState& state) const {
  return run_ + "/" + state.id + "/" + std::to_string(state.actions + 1);
}

Action TurnLoop::propose(const SessionState& state, ActionKind kind, std::string tool) const {
  Action action;
  action.id = action_id(state);
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
  const std::vector<std::string>* through = &through_;
  for (const Roster::Entry* by = parent_; by != nullptr; by = by->parent) {
    action.chain.insert(action.chain.begin(), by->agent.name);
    through = &by->through;
  }
  action.chain.insert(action.chain.begin(), through->begin(), through->end());
  return action;
}

Action TurnLoop::propose_call(const SessionState& state, const ToolCall& call,
                              std::size_t tool) const {
  Action action = propose(state, ActionKind::tool_call, call.name);
  action.arguments = call.arguments;
  if (tool == catalogue_.specs->size()) return action;
  const ToolSpec& spec = (*catalogue_.specs)[tool];
  if (!spec.agent.empty()) {
    action.kind = ActionKind::delegation;
    action.tool = spec.agent;
  }
  action.read_only = spec.read_only;
  action.destructive = spec.destructive;
  action.tool_digest = spec.digest;
  return action;
}

// Its place in the catalogue; specs->size() if it is not offered.
std::size_t TurnLoop::find_tool(const std::string& name) const {
  const auto& specs = *catalogue_.specs;
  const auto at = std::find_if(specs.begin(), specs.end(),
                               [&](const ToolSpec& spec) { return spec.name == name; });
  return static_cast<std::size_t>(at - specs.begin());
}

// Its last call was one that ends its session, and succeeded.
bool TurnLoop::handed_over(const SessionState& state) const {
  if (state.calls.empty() || state.messages.back().role != Role::tool) return false;
  const CallRecord& last = state.calls.back();
  const std::size_t tool = find_tool(last.call.name);
  return last.outcome == OutcomeKind::ok && tool < catalogue_.specs->size() &&
         (*catalogue_.specs)[tool].ends_session;
}

std::optional<Outcome> TurnLoop::bad_arguments(std::size_t tool, const ToolCall& call) const {
  const auto good = ports_.check_arguments((*catalogue_.specs)[tool].input_schema, call.arguments);
  if (good) return std::nullopt;
  Outcome outcome;
  outcome.kind = OutcomeKind::bad_arguments;
  outcome.content = "error: bad arguments: " + good.error().message;
  outcome.detail = good.error().message;
  return outcome;
}

// Cancels the task when the wall-clock budget ends: Code::exhausted, naming the limit.
template <class T>
Task<Result<T>> TurnLoop::in_wall_time(Task<Result<T>> task) {
  const std::int64_t wall_ms = ledger_.left(Loop::current().now()).wall_ms;
  return wall_ms < 0 ? std::move(task) : ended_by(wall_ms, std::move(task));
}

template <class T>
Task<Result<T>> TurnLoop::ended_by(std::int64_t wall_ms, Task<Result<T>> task) {
  auto result = co_await with_timeout(std::chrono::milliseconds(wall_ms), std::move(task));
  if (!result && result.error().code == Code::timeout) {
    auto left = ledger_.reserve(Cost{}, Loop::current().now());
    if (!left) co_return Err(std::move(left).error());
  }
  co_return result;
}

// For the model's turns (model_turns.cpp).
template Task<Result<Turn>> TurnLoop::in_wall_time(Task<Result<Turn>> task);

Task<Result<void>> TurnLoop::tool_call(SessionState& state) {
  ToolCall call = *state.next_call();
  const std::size_t tool = find_tool(call.name);
  std::string refused;
  if (tool == catalogue_.specs->size()) {
    refused = "agent " + agent_.name + " is not offered a tool \"" + call.name + "\"";
  } else {
    refused = residency_refusal(agent_, (*catalogue_.specs)[tool]);
  }
  Action action = propose_call(state, call, tool);
  SessionRecorder recorder(*this, state);
  const Cost cost{0, 1, 0};
  Gate::Passage passage =
      co_await ok(gate_.pass(recorder, std::move(action), cost, call.id, std::move(refused)));
  const Decision& decision = *passage.decision;
  if (!passage.in_budget) co_return co_await end(state, SessionEnd::limit, "", decision.reason);
  call.arguments = passage.action->arguments;
  if (decision.verdict == Verdict::escalate) {
    co_return co_await approved_call(state, *passage.action, Asked(), decision, std::move(call),
                                     cost, false);
  }
  Outcome outcome;
  if (decision.verdict == Verdict::deny) {
    outcome = refusal(Verdict::deny, decision.reason);
  } else if (auto bad = bad_arguments(tool, call)) {
    passage.hold.cancel();
    outcome = std::move(*bad);
  } else {
    // An obligation could mean the result: then nobody hears it before it is whole.
    const bool is_heard = decision.obligations.empty();
    outcome = co_await perform(state, tool, call, is_heard);
    passage.hold.settle(cost, outcome.is_error());
  }
  co_await ok(gate_.conclude(*passage.action, decision, outcome));
  co_return finish_call(state, passage.action->id, std::move(call), std::move(outcome));
}

// The rest of the way of a call that the policies escalate, from wherever it stands.
Task<Result<void>> TurnLoop::approved_call(SessionState& state, Action action, Asked asked,
                                           Decision decision, ToolCall call, Cost cost,
                                           bool resumed) {
  const std::size_t tool = find_tool(call.name);
  const std::string& name = call.name;
  if (tool == catalogue_.specs->size()) {
    Outcome gone = refusal(Verdict::deny, "there is no tool \"" + name + "\" any more");
    co_return finish_call(state, std::move(action.id), std::move(call), std::move(gone));
  }
  if (auto bad = bad_arguments(tool, call)) {
    co_return finish_call(state, std::move(action.id), std::move(call), std::move(*bad));
  }
  SessionRecorder recorder(*this, state);
  Gate::Clearance clearance = co_await ok(
      gate_.clear(recorder, std::move(action), cost, call.id, std::move(asked), decision, resumed));
  if (clearance.kind == Gate::Clearance::Kind::in_doubt && asks_in_doubt(tool)) {
    decision.reason = doubtful;
    cost = Cost();
    Action again = clearance.action;
    clearance = co_await ok(
        gate_.clear(recorder, std::move(again), cost, call.id, Asked(), decision, true));
  }
  call.arguments = clearance.action.arguments;
  Outcome outcome = std::move(clearance.outcome);
  if (clearance.kind == Gate::Clearance::Kind::go) {
    auto bad = bad_arguments(tool, call);
    if (bad) {
      outcome = std::move(*bad);
    } else {
      outcome = co_await perform(state, tool, call);
    }
    clearance.hold.settle(cost, outcome.is_error());
  } else if (clearance.kind == Gate::Clearance::Kind::in_doubt) {
    outcome = co_await perform_in_doubt(state, tool, call);
    clearance.hold.settle(cost, outcome.is_error());
  }
  co_await ok(gate_.conclude(clearance.action, decision, outcome));
  co_return finish_call(state, std::move(clearance.action.id), std::move(call), std::move(outcome));
}

// `is_heard`: its result comes to the model as the tool says it, so what there is of it may be
// computed ahead.
Task<Outcome> TurnLoop::perform(SessionState& state, std::size_t tool, ToolCall call,
                                bool is_heard) {
  model_.observe(state.id, agents::SessionEvent::call_begins);
  const bool goes_on = !catalogue_.specs->at(tool).ends_session;
  std::optional<Overheard> heard;  // outlives the call
  OnOutput on_output;
  if (goes_on && model_.foresees()) {
    TurnRequest request = request_of(state, model_spec_);
    model_.foresee(request, "");
    if (is_heard) {
      heard.emplace(model_, std::move(request), overheard_bytes_max);
      on_output = [&overheard = *heard](std::string_view piece) { overheard.hear(piece); };
    }
  }
  const Instant start = Loop::current().now();
  Toolbox& box = *catalogue_.boxes[tool];
  Task<Outcome> called = on_output ? box.call_aloud(state.id, std::move(call), std::move(on_output))
                                   : box.call(state.id, std::move(call));
  auto result = co_await in_wall_time(as_result(std::move(called)));
  model_.observe(state.id, agents::SessionEvent::call_ends_soon);  // all but the record of it
  Outcome outcome;
  if (result) {
    outcome = std::move(*result);
  } else {
    outcome.kind = OutcomeKind::timeout;
    outcome.content = "error: timeout: " + result.error().message;
    outcome.detail = std::move(result.error().message);
  }
  outcome.duration_us = us_since(start);
  co_return outcome;
}

Result<void> TurnLoop::finish_call(SessionState& state, std::string action, ToolCall call,
                                   Outcome outcome) {
  if (ports_.artifacts != nullptr && outcome.content.size() > result_bytes_max) {
    const Artifacts::Kept kept = TRY(ports_.artifacts->keep(
        {run_, state.id, agent_.name, subject_, call.name, state.requester}, outcome.content));
    outcome.content = shortened(outcome.content, result_bytes_max, kept);
    outcome.truncated = true;
  }
  bound_result(outcome);
  Fact fact = ActionOutcome{std::move(action), std::move(call.id), std::move(call.name),
                            std::move(outcome)};
  TRY(note(state, fact));
  hear(state, state.messages.back());
  return {};
}

// People can say whether a call in doubt was done, and whether it is to be done again.
bool TurnLoop::asks_in_doubt(std::size_t tool) const {
  const auto& specs = *catalogue_.specs;
  const bool may_repeat = tool < specs.size() && (specs[tool].idempotent || specs[tool].read_only);
  return ports_.approvals != nullptr && !may_repeat;
}

// Nobody knows whether it was done. Only what may be done twice is done again.
Task<Outcome> TurnLoop::perform_in_doubt(SessionState& state, std::size_t tool, ToolCall call) {
  const auto& specs = *catalogue_.specs;
  if (tool < specs.size() && (specs[tool].idempotent || specs[tool].read_only)) {
    co_return co_await perform(state, tool, std::move(call));
  }
  Outcome outcome;
  outcome.kind = OutcomeKind::escalated;
  outcome.content = "error: escalated, in doubt: the run was cut off while this call was under way";
  outcome.detail =
      "in doubt: decided before the crash, no outcome recorded, not declared idempotent";
  co_return outcome;
}

// After a crash: decided, and no outcome in the record.
Task<Result<void>> TurnLoop::resolve_doubt(SessionState& state) {
  CallRecord doubt = *state.in_doubt();
  const std::size_t tool = find_tool(doubt.call.name);
  const bool is_allowed = doubt.verdict == Verdict::allow;
  const bool asked = doubt.verdict == Verdict::escalate || !doubt.asked.request.empty();
  if (doubt.verdict != Verdict::deny && (asked || asks_in_doubt(tool))) {
    Action action = propose_call(state, doubt.call, tool);
    action.id = doubt.action;
    ports_.guard.trace(action);
    Decision decision;
    decision.verdict = doubt.verdict;
    decision.reason = asked ? doubt.reason : std::string(doubtful);
    decision.obligations = doubt.obligations;
    // What was allowed is spent, whether it was done or not.
    const Cost cost{0, is_allowed ? 0 : 1, 0};
    co_return co_await approved_call(state, std::move(action), std::move(doubt.asked),
                                     std::move(decision), std::move(doubt.call), cost, true);
  }
  Outcome outcome;
  if (doubt.verdict == Verdict::deny) {
    outcome = refusal(doubt.verdict, doubt.reason);
  } else {
    outcome = co_await perform_in_doubt(state, tool, doubt.call);
  }
  co_return finish_call(state, std::move(doubt.action), std::move(doubt.call), std::move(outcome));
}

Task<Result<void>> TurnLoop::end(SessionState& state, SessionEnd end, std::string answer,
                                 std::string error) {
  Fact fact = SessionEnded{end,         state.turns,      state.call_count(),
                           state.usage, std::move(error), std::move(answer)};
  co_return co_await record(state, state.id, fact);
}

}  // namespace ambit::agents
