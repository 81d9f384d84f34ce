// The calls of a session's tools: through the gate, past people where they must say yes, and back
// into the conversation; also of a call that was under way when the process ended.

#include "agents/artifacts.h"
#include "agents/overheard.h"
#include "agents/session_recorder.h"
#include "agents/turn_loop.h"
#include "async/loop.h"
#include "async/race.h"

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::size_t result_bytes_max = 32 << 10;
// Of a longer result the conversation has at least so much of the beginning.
constexpr std::size_t overheard_bytes_max = result_bytes_max - (1 << 10);
constexpr std::string_view doubtful =
    "in doubt: the run was cut off while this call was under way; doing it again may do it twice";
constexpr Cost one_call{0, 1, 0};

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

}  // namespace

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

// What is under way while the tool works is kept small, like that of a model's turn.
Task<Result<void>> TurnLoop::tool_call(SessionState& state) {
  const std::size_t tool = find_tool(state.next_call()->name);
  Gate::Passage passage;
  Result<void> done = co_await propose_tool(state, tool, passage);
  if (!done) co_return done;
  if (!passage.in_budget || passage.decision->verdict == Verdict::escalate) {
    co_return co_await held_up(state, passage);
  }
  ToolCall call = *state.next_call();
  call.arguments = passage.action->arguments;
  Outcome outcome;
  if (passage.decision->verdict == Verdict::deny) {
    outcome = refusal(Verdict::deny, passage.decision->reason);
  } else if (auto bad = bad_arguments(tool, call)) {
    passage.hold.cancel();
    outcome = std::move(*bad);
  } else {
    // An obligation could mean the result: then nobody hears it before it is whole.
    const bool is_heard = passage.decision->obligations.empty();
    outcome = co_await perform(state, tool, call, is_heard);
    passage.hold.settle(one_call, outcome.is_error());
  }
  done = gate_.conclude(*passage.action, *passage.decision, outcome);
  if (!done) co_return done;
  co_return finish_call(state, passage.action->id, std::move(call), std::move(outcome));
}

// The session's next call, through the gate.
Task<Result<void>> TurnLoop::propose_tool(SessionState& state, std::size_t tool,
                                          Gate::Passage& passage) {
  const ToolCall& call = *state.next_call();
  std::string refused;
  if (tool == catalogue_.specs->size()) {
    refused = "agent " + agent_.name + " is not offered a tool \"" + call.name + "\"";
  } else {
    refused = residency_refusal(agent_, (*catalogue_.specs)[tool]);
  }
  Shared<Action> action = propose_call(state, call, tool);
  SessionRecorder recorder(*this, state);
  passage =
      co_await ok(gate_.pass(recorder, std::move(action), one_call, call.id, std::move(refused)));
  co_return Result<void>();
}

// It is beyond the budget, or people must say yes.
Task<Result<void>> TurnLoop::held_up(SessionState& state, const Gate::Passage& passage) {
  if (!passage.in_budget) return end(state, SessionEnd::limit, "", passage.decision->reason);
  ToolCall call = *state.next_call();
  call.arguments = passage.action->arguments;
  return approved_call(state, *passage.action, Asked(), *passage.decision, std::move(call),
                       one_call, false);
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
Task<Outcome> TurnLoop::perform(SessionState& state, std::size_t tool, const ToolCall& call,
                                bool is_heard) {
  std::unique_ptr<Overheard> heard;  // outlives the call
  const Instant start = Loop::current().now();
  Task<Outcome> called = begin_call(state, tool, call, is_heard, heard);
  co_await within(wall_left(), called);
  co_return outcome_of(state, called, start);
}

Task<Outcome> TurnLoop::begin_call(const SessionState& state, std::size_t tool, ToolCall call,
                                   bool is_heard, std::unique_ptr<Overheard>& heard) {
  model_.observe(state.id, agents::SessionEvent::call_begins);
  const bool goes_on = !catalogue_.specs->at(tool).ends_session;
  Toolbox& box = *catalogue_.boxes[tool];
  if (!goes_on || !model_.foresees()) return box.call(state.id, std::move(call));
  TurnRequest request = request_of(state, model_spec_);
  model_.foresee(request, "");
  if (!is_heard) return box.call(state.id, std::move(call));
  heard = std::make_unique<Overheard>(model_, std::move(request), overheard_bytes_max);
  return box.call_aloud(state.id, std::move(call),
                        [&overheard = *heard](std::string_view piece) { overheard.hear(piece); });
}

Outcome TurnLoop::outcome_of(const SessionState& state, Task<Outcome>& called,
                             Instant start) const {
  model_.observe(state.id, agents::SessionEvent::call_ends_soon);  // all but the record of it
  Outcome outcome;
  if (called.valid()) {
    outcome = called.take();
  } else {
    Error late = time_is_up({Code::timeout, "no result within its wall time"});
    outcome.kind = OutcomeKind::timeout;
    outcome.content = "error: timeout: " + late.message;
    outcome.detail = std::move(late.message);
  }
  outcome.duration_us = us_since(start);
  return outcome;
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
    co_return co_await perform(state, tool, call);
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

}  // namespace ambit::agents
