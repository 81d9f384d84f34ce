#include "agents/turn_loop.h"

#include "async/loop.h"
#include "async/race.h"

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::size_t result_bytes_max = 32 << 10;

std::int64_t us_since(Instant start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Loop::current().now() - start)
      .count();
}

// A bound on the tokens that the new messages of this turn can be: a token has at least one byte.
std::int64_t new_input_bytes(const SessionState& state) {
  std::int64_t bytes = 0;
  for (auto at = state.messages.rbegin();
       at != state.messages.rend() && at->role != Role::assistant; ++at) {
    bytes += static_cast<std::int64_t>(at->content.size());
  }
  return bytes;
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

Task<Result<void>> TurnLoop::run(SessionState& state) {
  while (state.end == SessionEnd::running) {
    Task<Result<void>> step;
    if (state.in_doubt() != nullptr) {
      step = resolve_doubt(state);
    } else if (state.next_call() != nullptr) {
      step = tool_call(state);
    } else {
      step = model_turn(state);
    }
    co_await ok(std::move(step));
  }
  model_.observe(state.id, agents::SessionEvent::gone);
  co_return Result<void>();
}

Task<Result<void>> TurnLoop::record(SessionState& state, Event event) {
  Event copy = event;
  auto index = co_await ports_.journal.append(std::move(copy));
  if (!index)
    co_return Err(std::move(index).error().context("nothing is done that cannot be recorded"));
  co_return apply(state, event);
}

Action TurnLoop::propose(const SessionState& state, ActionKind kind,
                         const std::string& tool) const {
  Action action;
  action.id = run_ + "/" + state.id + "/" + std::to_string(state.actions + 1);
  action.kind = kind;
  action.agent = agent_.name;
  action.session = state.id;
  action.run = run_;
  action.on_behalf_of = agent_.owner;
  action.tool = tool;
  action.tainted = state.tainted;
  action.left = ledger_.left(Loop::current().now());
  return action;
}

Task<Result<void>> TurnLoop::model_turn(SessionState& state) {
  Action action = propose(state, ActionKind::model_call, model_.identity());
  Decision decision = ports_.guard.decide(action);
  const Cost cost{1, 0, model_spec_.tokens_max + new_input_bytes(state)};
  bool over_budget = false;
  if (decision.verdict == Verdict::allow) {
    const auto reserved = ledger_.reserve(cost, Loop::current().now());
    if (!reserved) {
      over_budget = true;
      decision.verdict = Verdict::deny;
      decision.reason = reserved.error().message;
    }
  }
  Event decided = action_decided(action, decision, "");
  co_await ok(record(state, std::move(decided)));
  if (decision.verdict != Verdict::allow) {
    const SessionEnd why = over_budget ? SessionEnd::limit : SessionEnd::denied;
    co_return co_await end(state, why, "", decision.reason);
  }
  TurnRequest request;
  request.session = state.id;
  request.tools = catalogue_.specs;
  request.messages = state.messages;
  request.sampling = model_spec_.sampling;
  request.sampling.seed = seed_;
  request.tokens_max = model_spec_.tokens_max;
  request.priority = agent_.priority;
  if (catalogue_.specs->empty()) request.tool_choice = ToolChoice::none;
  auto turn = co_await model_.generate(std::move(request));
  if (!turn) {
    ledger_.settle(cost, Cost{1, 0, 0});
    const SessionEnd why =
        turn.error().code == Code::exhausted ? SessionEnd::limit : SessionEnd::failed;
    co_return co_await end(state, why, "",
                           "model " + model_spec_.name + ": " + turn.error().message);
  }
  const Usage& usage = turn->usage;
  ledger_.settle(cost, Cost{1, 0, usage.input_tokens - usage.cached_tokens + usage.output_tokens});
  // Call ids are ours: unique in the session, the same in every replay.
  for (std::size_t i = 0; i < turn->message.tool_calls.size(); ++i) {
    turn->message.tool_calls[i].id =
        "call_" + std::to_string(state.turns + 1) + "_" + std::to_string(i + 1);
  }
  const std::string answer = turn->message.content;
  const bool calls = !turn->message.tool_calls.empty();
  const bool cut = turn->finish == FinishReason::length;
  Event completed = turn_completed(action, *turn);
  co_await ok(record(state, std::move(completed)));
  if (calls) co_return Result<void>();
  if (cut)
    co_return co_await end(state, SessionEnd::limit, answer, "the answer was cut at maxTokens");
  co_return co_await end(state, earned_end(state), answer, "");
}

Task<Result<void>> TurnLoop::tool_call(SessionState& state) {
  const ToolCall call = *state.next_call();
  const auto& specs = *catalogue_.specs;
  const auto at = std::find_if(specs.begin(), specs.end(),
                               [&](const ToolSpec& spec) { return spec.name == call.name; });
  Action action = propose(state, ActionKind::tool_call, call.name);
  action.arguments = call.arguments;
  Decision decision;
  if (at == specs.end()) {
    decision.verdict = Verdict::deny;
    decision.reason = "agent " + agent_.name + " is not offered a tool \"" + call.name + "\"";
  } else {
    action.read_only = at->read_only;
    action.destructive = at->destructive;
    action.tool_digest = at->digest;
    decision = ports_.guard.decide(action);
  }
  const Cost cost{0, 1, 0};
  bool over_budget = false;
  if (decision.verdict == Verdict::allow) {
    const auto reserved = ledger_.reserve(cost, Loop::current().now());
    if (!reserved) {
      over_budget = true;
      decision.verdict = Verdict::deny;
      decision.reason = reserved.error().message;
    }
  }
  Event decided = action_decided(action, decision, call.id);
  co_await ok(record(state, std::move(decided)));
  if (over_budget) co_return co_await end(state, SessionEnd::limit, "", decision.reason);
  Outcome outcome;
  if (decision.verdict == Verdict::deny) {
    outcome.kind = OutcomeKind::denied;
    outcome.content = "error: denied by policy: " + decision.reason;
  } else if (decision.verdict == Verdict::escalate) {
    outcome.kind = OutcomeKind::escalated;
    outcome.content = "error: escalated, waiting for approval: " + decision.reason;
  } else if (const auto good = ports_.check_arguments(at->input_schema, call.arguments); !good) {
    ledger_.settle(cost, Cost{});
    outcome.kind = OutcomeKind::bad_arguments;
    outcome.content = "error: bad arguments: " + good.error().message;
    outcome.detail = good.error().message;
  } else {
    Toolbox* box = catalogue_.boxes[static_cast<std::size_t>(at - specs.begin())];
    model_.observe(state.id, agents::SessionEvent::call_begins);
    const Instant start = Loop::current().now();
    outcome = co_await box->call(state.id, call);
    outcome.duration_us = us_since(start);
    ledger_.settle(cost, cost);
  }
  co_return co_await finish_call(state, std::move(action), call.id, std::move(outcome));
}

Task<Result<void>> TurnLoop::finish_call(SessionState& state, Action action, std::string call_id,
                                         Outcome outcome) {
  bound_result(outcome);
  Event event = action_outcome(action, call_id, outcome);
  co_await ok(record(state, std::move(event)));
  co_return Result<void>();
}

// After a crash: decided, but nobody knows whether it was done. Only what may be done twice is done
// again.
Task<Result<void>> TurnLoop::resolve_doubt(SessionState& state) {
  const CallRecord doubt = *state.in_doubt();
  const auto& specs = *catalogue_.specs;
  const auto at = std::find_if(specs.begin(), specs.end(),
                               [&](const ToolSpec& spec) { return spec.name == doubt.call.name; });
  Action action = propose(state, ActionKind::tool_call, doubt.call.name);
  action.id = doubt.action;
  Outcome outcome;
  if (doubt.verdict == Verdict::deny) {
    outcome.kind = OutcomeKind::denied;
    outcome.content = "error: denied by policy: " + doubt.reason;
  } else if (doubt.verdict == Verdict::escalate) {
    outcome.kind = OutcomeKind::escalated;
    outcome.content = "error: escalated, waiting for approval: " + doubt.reason;
  } else if (at != specs.end() && (at->idempotent || at->read_only)) {
    outcome = co_await catalogue_.boxes[static_cast<std::size_t>(at - specs.begin())]->call(
        state.id, doubt.call);
  } else {
    outcome.kind = OutcomeKind::escalated;
    outcome.content =
        "error: escalated, in doubt: the run was cut off while this call was under way";
    outcome.detail =
        "in doubt: decided before the crash, no outcome recorded, not declared idempotent";
  }
  co_return co_await finish_call(state, std::move(action), doubt.call.id, std::move(outcome));
}

Task<Result<void>> TurnLoop::end(SessionState& state, SessionEnd end, std::string answer,
                                 std::string error) {
  Event event = session_ended(run_, state, end, answer, error);
  co_await ok(record(state, std::move(event)));
  co_return Result<void>();
}

}  // namespace ambit::agents
