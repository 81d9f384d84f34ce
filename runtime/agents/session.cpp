#include "agents/session.h"

#include "agents/compaction.h"
#include "agents/memory.h"
#include "agents/snapshot.h"

#include <algorithm>

namespace ambit::agents {
namespace {

Result<void> refuse(const std::string& why) {
  return Err(Code::internal, why);
}

void add(Usage& sum, const Usage& usage) {
  sum.input_tokens += usage.input_tokens;
  sum.cached_tokens += usage.cached_tokens;
  sum.output_tokens += usage.output_tokens;
  sum.forced_tokens += usage.forced_tokens;
  sum.drafted_tokens += usage.drafted_tokens;
  sum.queue_us += usage.queue_us;
  sum.prefill_us += usage.prefill_us;
  sum.decode_us += usage.decode_us;
  sum.energy_uj += usage.energy_uj;
  sum.moved_bytes += usage.moved_bytes;
}

Result<void> start(SessionState& state, SessionStarted& fact, const Origin& origin) {
  if (!state.id.empty()) return refuse("it has started already");
  state.id = origin.session;
  state.agent = origin.agent;
  state.subject = origin.subject;
  state.parent = std::move(fact.parent);
  state.requester = std::move(fact.principal);
  if (!fact.instructions.empty()) {
    state.messages.push_back({Role::system, std::move(fact.instructions), {}, "", ""});
  }
  state.tainted = fact.tainted;
  for (Message& message : fact.earlier) state.messages.push_back(std::move(message));
  state.task_at = state.messages.size();
  state.task_bytes = fact.prompt.size();
  state.messages.push_back({Role::user, std::move(fact.prompt), {}, "", ""});
  return {};
}

Result<void> step(SessionState& state, ActionDecided& fact) {
  const Action& action = *fact.action;
  const Decision& decision = *fact.decision;
  state.actions = std::max(state.actions, step_of(action.id));
  if (action.kind == ActionKind::model_call) return {};
  const ToolCall* call = state.next_call();
  if (call == nullptr) return refuse("no call is open");
  if (call->id != fact.call) return refuse("another call is open");
  CallRecord record;
  record.action = action.id;
  record.call = *call;
  record.verdict = decision.verdict;
  record.reason = decision.reason;
  record.policies = decision.policies;
  record.obligations = decision.obligations;
  record.asked.request = std::move(fact.approval);
  record.asked.asked_as = std::move(fact.supersedes);
  if (!record.asked.asked_as.empty()) record.call.arguments = action.arguments;
  if (!decision.arguments.empty()) record.call.arguments = decision.arguments;
  state.calls.push_back(std::move(record));
  return {};
}

Result<CallRecord*> asked_about(SessionState& state, const std::string& action) {
  const bool open = state.in_doubt() != nullptr && state.calls.back().action == action;
  if (!open) return Err(Code::internal, "no such action is open");
  return &state.calls.back();
}

Result<void> step(SessionState& state, ApprovalRequested& fact) {
  CallRecord* record = TRY(asked_about(state, fact.action));
  record->asked = Asked{std::move(fact.request), "", std::nullopt};
  return {};
}

Result<void> step(SessionState& state, ApprovalAnswered& fact) {
  CallRecord* record = TRY(asked_about(state, fact.action));
  if (record->asked.request != fact.request) return refuse("another request is open");
  record->asked.answer = std::move(fact.answer);
  return {};
}

Result<void> step(SessionState& state, TurnCompleted& fact) {
  if (state.next_call() != nullptr) return refuse("a call is open");
  const Usage& usage = fact.turn.usage;
  ++state.turns;
  state.cost_micros += fact.cost_micros;
  add(state.usage, usage);
  if (fact.compacts > 0 && fact.turn.message.content.empty()) {
    state.uncompacted = state.messages.size();
    return {};
  }
  if (fact.compacts > 0) return compact(state, fact.compacts, fact.turn.message.content);
  state.window_tokens = usage.input_tokens + usage.output_tokens;
  state.messages.push_back(std::move(fact.turn.message));
  state.finish = fact.turn.finish;
  return {};
}

// Nothing was said, and it is paid.
Result<void> step(SessionState& state, TurnFailed& fact) {
  if (state.next_call() != nullptr) return refuse("a call is open");
  state.cost_micros += fact.cost_micros;
  add(state.usage, fact.usage);
  return {};
}

Result<void> step(SessionState& state, ActionOutcome& fact) {
  const ToolCall* call = state.next_call();
  if (call == nullptr || state.calls.empty() || state.calls.back().call.id != call->id) {
    return refuse("no decided call is open");
  }
  const OutcomeKind kind = fact.outcome.kind;
  CallRecord& record = state.calls.back();
  record.outcome = kind;
  record.detail = std::move(fact.outcome.detail);
  Message message;
  message.role = Role::tool;
  message.tool_call_id = call->id;
  message.tool_name = call->name;
  message.content = std::move(fact.outcome.content);
  const bool ran = kind != OutcomeKind::denied && kind != OutcomeKind::escalated &&
                   kind != OutcomeKind::bad_arguments && kind != OutcomeKind::refused;
  state.tainted = state.tainted || (ran && taints(message.tool_name, message.content));
  state.messages.push_back(std::move(message));
  return {};
}

Result<void> step(SessionState& state, SessionEnded& fact) {
  state.end = fact.end;
  state.answer = std::move(fact.answer);
  state.error = std::move(fact.error);
  return {};
}

Result<void> step(SessionState& /*state*/, const SessionStarted& /*fact*/) {
  return refuse("it has started already");
}

Result<void> step(SessionState& /*state*/, const SessionSnapshot& /*fact*/) {
  return refuse("it belongs to no state");
}

// What it holds takes the place of all that was folded; an empty state begins with it.
Result<void> stand_at(SessionState& state, SessionSnapshot& fact, const Origin& origin) {
  if (!fact.state) return refuse("it holds nothing");
  const SessionState& held = *fact.state;
  if (!state.id.empty()) {
    const bool is_same = state.id == origin.session && state.turns == held.turns &&
                         state.actions == held.actions && state.call_count() == held.call_count() &&
                         state.messages.size() == held.messages.size();
    if (!is_same) return refuse("it is of another state");
    if (state.end != SessionEnd::running) return refuse("it has ended");
    if (state.next_call() != nullptr) return refuse("a call is open");
  }
  const std::string id = origin.session;  // which may be the state's own
  if (fact.state.use_count() == 1) {
    state = std::move(*fact.state);
  } else {
    state = held;
  }
  state.id = id;
  state.agent = origin.agent;
  state.subject = origin.subject;
  state.recorded_bytes = 0;
  return {};
}

std::string_view type_of(const Fact& fact) {
  constexpr std::string_view types[] = {"session.started",   "action.decided", "turn.completed",
                                        "action.outcome",    "session.ended",  "approval.requested",
                                        "approval.answered", "turn.failed",    snapshot_type};
  return types[fact.index()];
}

Result<void> apply_checked(SessionState& state, Fact& fact, const Origin& origin) {
  if (auto* started = std::get_if<SessionStarted>(&fact)) {
    return start(state, *started, origin);
  }
  if (auto* snapshot = std::get_if<SessionSnapshot>(&fact)) {
    return stand_at(state, *snapshot, origin);
  }
  if (state.id != origin.session) return refuse("it has not started");
  if (state.end != SessionEnd::running) return refuse("it has ended");
  return std::visit([&](auto& one) { return step(state, one); }, fact);
}

}  // namespace

const ToolCall* SessionState::next_call() const {
  std::size_t answered = 0;
  for (auto at = messages.rbegin(); at != messages.rend(); ++at) {
    if (at->role == Role::tool) {
      ++answered;
    } else if (at->role == Role::assistant && answered < at->tool_calls.size()) {
      return &at->tool_calls[answered];
    } else {
      return nullptr;
    }
  }
  return nullptr;
}

const CallRecord* SessionState::in_doubt() const {
  const ToolCall* call = next_call();
  if (call == nullptr || calls.empty()) return nullptr;
  const CallRecord& last = calls.back();
  return last.call.id == call->id && !last.outcome ? &last : nullptr;
}

bool SessionState::answered() const {
  return turns > 0 && !messages.empty() && messages.back().role == Role::assistant &&
         messages.back().tool_calls.empty();
}

const CallRecord* SessionState::waits() const {
  const CallRecord* record = in_doubt();
  const bool asked = record != nullptr && !record->asked.request.empty();
  return asked && !record->asked.answer ? record : nullptr;
}

bool is_spent(const CallRecord& record) {
  if (record.verdict == Verdict::deny) return false;
  if (!record.outcome) return record.verdict == Verdict::allow;
  if (*record.outcome == OutcomeKind::bad_arguments) return false;
  const bool withheld =
      *record.outcome == OutcomeKind::denied || *record.outcome == OutcomeKind::escalated;
  return !withheld || record.verdict == Verdict::allow;
}

bool is_escalated(const CallRecord& record) {
  const bool asks = record.verdict == Verdict::escalate && !record.outcome;
  return record.outcome == OutcomeKind::escalated || (asks && !record.asked.answer);
}

bool is_denied(const CallRecord& record) {
  return record.verdict == Verdict::deny || record.outcome == OutcomeKind::denied;
}

SessionEnd earned_end(const SessionState& state) {
  const auto& calls = state.calls;
  const EarlierCalls& earlier = state.earlier_calls;
  if (earlier.escalated > 0 || std::any_of(calls.begin(), calls.end(), is_escalated)) {
    return SessionEnd::escalated;
  }
  const bool denied = earlier.denied > 0 || std::any_of(calls.begin(), calls.end(), is_denied);
  return denied ? SessionEnd::denied : SessionEnd::completed;
}

std::size_t bytes_of(const Event& event) {
  std::size_t bytes = event.body.size();
  for (const Payload& payload : event.payloads) bytes += payload.bytes.size();
  return bytes;
}

Result<void> apply(SessionState& state, Fact fact, const Origin& origin, std::size_t bytes) {
  const std::string_view type = type_of(fact);
  const bool is_snapshot = std::holds_alternative<SessionSnapshot>(fact);
  auto applied = apply_checked(state, fact, origin);
  if (applied && !is_snapshot) state.recorded_bytes += bytes;
  if (applied) return applied;
  return Err(Code::internal, "the record of session " + origin.session +
                                 " does not fit together: " + std::string(type) + ": " +
                                 applied.error().message);
}

Result<void> apply(SessionState& state, const Event& event) {
  // Of approvals the people's desk tells more than the session's story holds.
  constexpr std::string_view families[] = {"session.", "turn.", "action.", "approval.requested",
                                           "approval.answered"};
  const bool is_told = std::any_of(std::begin(families), std::end(families),
                                   [&](auto family) { return event.type.starts_with(family); });
  if (!is_told) return {};
  auto fact = fact_of(event);
  if (!fact) return Err(std::move(fact).error());
  return apply(state, std::move(*fact),
               Origin{event.run, event.session, event.agent, event.subject}, bytes_of(event));
}

}  // namespace ambit::agents
