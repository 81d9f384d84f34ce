#include "agents/session.h"

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
}

Result<void> start(SessionState& state, SessionStarted fact, const Origin& origin) {
  if (!state.id.empty()) return refuse("it has started already");
  state.id = origin.session;
  state.agent = origin.agent;
  if (!fact.instructions.empty()) {
    state.messages.push_back({Role::system, std::move(fact.instructions), {}, "", ""});
  }
  state.tainted = fact.tainted;
  for (Message& message : fact.earlier) state.messages.push_back(std::move(message));
  state.messages.push_back({Role::user, std::move(fact.prompt), {}, "", ""});
  return {};
}

Result<void> step(SessionState& state, ActionDecided fact) {
  state.actions = std::max(state.actions, step_of(fact.action.id));
  if (fact.action.kind != ActionKind::tool_call) return {};
  const ToolCall* call = state.next_call();
  if (call == nullptr) return refuse("no call is open");
  if (call->id != fact.call) return refuse("another call is open");
  CallRecord record;
  record.action = std::move(fact.action.id);
  record.call = *call;
  record.verdict = fact.decision.verdict;
  record.reason = std::move(fact.decision.reason);
  record.policies = std::move(fact.decision.policies);
  state.calls.push_back(std::move(record));
  return {};
}

Result<void> step(SessionState& state, TurnCompleted fact) {
  if (state.next_call() != nullptr) return refuse("a call is open");
  state.messages.push_back(std::move(fact.turn.message));
  ++state.turns;
  add(state.usage, fact.turn.usage);
  return {};
}

Result<void> step(SessionState& state, ActionOutcome fact) {
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
  state.messages.push_back(std::move(message));
  const bool ran = kind != OutcomeKind::denied && kind != OutcomeKind::escalated &&
                   kind != OutcomeKind::bad_arguments && kind != OutcomeKind::refused;
  state.tainted = state.tainted || ran;
  return {};
}

Result<void> step(SessionState& state, SessionEnded fact) {
  state.end = fact.end;
  state.answer = std::move(fact.answer);
  state.error = std::move(fact.error);
  return {};
}

Result<void> step(SessionState& /*state*/, const SessionStarted& /*fact*/) {
  return refuse("it has started already");
}

std::string_view type_of(const Fact& fact) {
  constexpr std::string_view types[] = {"session.started", "action.decided", "turn.completed",
                                        "action.outcome", "session.ended"};
  return types[fact.index()];
}

Result<void> apply_checked(SessionState& state, Fact fact, const Origin& origin) {
  if (auto* started = std::get_if<SessionStarted>(&fact)) {
    return start(state, std::move(*started), origin);
  }
  if (state.id != origin.session) return refuse("it has not started");
  if (state.end != SessionEnd::running) return refuse("it has ended");
  return std::visit([&](auto& one) { return step(state, std::move(one)); }, fact);
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

SessionEnd earned_end(const SessionState& state) {
  bool escalated = false;
  bool denied = false;
  for (const CallRecord& record : state.calls) {
    escalated = escalated || record.verdict == Verdict::escalate ||
                record.outcome == OutcomeKind::escalated;
    denied = denied || record.verdict == Verdict::deny;
  }
  if (escalated) return SessionEnd::escalated;
  return denied ? SessionEnd::denied : SessionEnd::completed;
}

Result<void> apply(SessionState& state, Fact fact, const Origin& origin) {
  const std::string_view type = type_of(fact);
  auto applied = apply_checked(state, std::move(fact), origin);
  if (applied) return applied;
  return Err(Code::internal, "the record of session " + origin.session +
                                 " does not fit together: " + std::string(type) + ": " +
                                 applied.error().message);
}

Result<void> apply(SessionState& state, const Event& event) {
  auto fact = fact_of(event);
  if (!fact) return Err(std::move(fact).error());
  return apply(state, std::move(*fact), Origin{event.run, event.session, event.agent});
}

}  // namespace ambit::agents
