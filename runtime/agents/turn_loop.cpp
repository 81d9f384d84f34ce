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

Task<Result<Outcome>> as_result(Task<Outcome> task) {
  Outcome outcome = co_await std::move(task);
  co_return outcome;
}

}  // namespace

Outcome refusal(Verdict verdict, const std::string& reason) {
  Outcome outcome;
  const bool denied = verdict == Verdict::deny;
  outcome.kind = denied ? OutcomeKind::denied : OutcomeKind::escalated;
  outcome.content =
      (denied ? "error: denied by policy: " : "error: escalated, waiting for approval: ") + reason;
  return outcome;
}

Task<Result<Catalogue>> list_tools(const AgentSpec& agent, std::vector<Toolbox*> toolboxes) {
  Catalogue catalogue;
  auto specs = std::make_shared<std::vector<ToolSpec>>();
  for (Toolbox* box : toolboxes) {
    const std::vector<ToolSpec> listed = co_await ok(box->list());
    for (const ToolSpec& spec : listed) {
      if (!agent.offers(spec.name)) continue;
      specs->push_back(spec);
      catalogue.boxes.push_back(box);
    }
  }
  for (const std::string& name : agent.tools) {
    const bool there =
        name.ends_with('*') || std::any_of(specs->begin(), specs->end(),
                                           [&](const ToolSpec& spec) { return spec.name == name; });
    if (!there)
      co_return Err(Code::not_found,
                    "agent " + agent.name + ": no server offers the tool \"" + name + "\"");
  }
  catalogue.specs = std::move(specs);
  co_return catalogue;
}

Task<Result<void>> TurnLoop::start(SessionState& state, const std::string& id,
                                   SessionStarted started) {
  return record(state, id, std::move(started));
}

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

// `session` names the state, which does not know its name before it has started.
Task<Result<void>> TurnLoop::record(SessionState& state, const std::string& session, Fact fact) {
  settle_texts(fact);
  const Origin origin{run_, session, agent_.name};
  Event event = to_event(fact, origin);
  auto index = co_await ports_.journal.append(std::move(event));
  if (!index)
    co_return Err(std::move(index).error().context("nothing is done that cannot be recorded"));
  co_return apply(state, std::move(fact), origin);
}

Action TurnLoop::propose(const SessionState& state, ActionKind kind, std::string tool) const {
  Action action;
  action.id = run_ + "/" + state.id + "/" + std::to_string(state.actions + 1);
  action.kind = kind;
  action.agent = agent_.name;
  action.session = state.id;
  action.run = run_;
  action.on_behalf_of = agent_.owner;
  action.tool = std::move(tool);
  action.tainted = state.tainted;
  action.left = ledger_.left(Loop::current().now());
  return action;
}

// Takes `cost` for an action that is allowed. False: the budget turns the decision into a denial.
bool TurnLoop::reserve(Decision& decision, const Cost& cost) {
  if (decision.verdict != Verdict::allow) return true;
  const auto reserved = ledger_.reserve(cost, Loop::current().now());
  if (reserved) return true;
  decision.verdict = Verdict::deny;
  decision.reason = reserved.error().message;
  return false;
}

// Its place in the catalogue; specs->size() if it is not offered.
std::size_t TurnLoop::find_tool(const std::string& name) const {
  const auto& specs = *catalogue_.specs;
  const auto at = std::find_if(specs.begin(), specs.end(),
                               [&](const ToolSpec& spec) { return spec.name == name; });
  return static_cast<std::size_t>(at - specs.begin());
}

// Cancels the task when the wall-clock budget ends: Code::exhausted, naming the limit.
template <class T>
Task<Result<T>> TurnLoop::in_wall_time(Task<Result<T>> task) {
  const std::int64_t wall_ms = ledger_.left(Loop::current().now()).wall_ms;
  if (wall_ms < 0) co_return co_await std::move(task);
  auto result = co_await with_timeout(std::chrono::milliseconds(wall_ms), std::move(task));
  if (!result && result.error().code == Code::timeout) {
    auto left = ledger_.reserve(Cost{}, Loop::current().now());
    if (!left) co_return Err(std::move(left).error());
  }
  co_return result;
}

Task<Result<void>> TurnLoop::model_turn(SessionState& state) {
  Action action = propose(state, ActionKind::model_call, model_.identity());
  Decision decision = ports_.guard.decide(action);
  const Cost cost{1, 0, model_spec_.tokens_max + new_input_bytes(state)};
  const bool in_budget = reserve(decision, cost);
  const Verdict verdict = decision.verdict;
  std::string reason = verdict == Verdict::allow ? "" : decision.reason;
  TurnCompleted completed{action.id, action.tool, {}};
  Fact decided = ActionDecided{std::move(action), std::move(decision), ""};
  co_await ok(record(state, state.id, std::move(decided)));
  if (verdict != Verdict::allow) {
    const SessionEnd why = in_budget ? SessionEnd::denied : SessionEnd::limit;
    co_return co_await end(state, why, "", std::move(reason));
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
  auto turn = co_await in_wall_time(model_.generate(std::move(request)));
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
  const bool calls = !turn->message.tool_calls.empty();
  const bool cut = turn->finish == FinishReason::length;
  completed.turn = std::move(*turn);
  Fact fact = std::move(completed);
  co_await ok(record(state, state.id, std::move(fact)));
  if (calls) co_return Result<void>();
  std::string answer = state.messages.back().content;
  if (cut) {
    co_return co_await end(state, SessionEnd::limit, std::move(answer),
                           "the answer was cut at maxTokens");
  }
  co_return co_await end(state, earned_end(state), std::move(answer), "");
}

Task<Result<void>> TurnLoop::tool_call(SessionState& state) {
  ToolCall call = *state.next_call();
  const std::size_t tool = find_tool(call.name);
  Action action = propose(state, ActionKind::tool_call, call.name);
  action.arguments = call.arguments;
  Decision decision;
  if (tool == catalogue_.specs->size()) {
    decision.verdict = Verdict::deny;
    decision.reason = "agent " + agent_.name + " is not offered a tool \"" + call.name + "\"";
  } else {
    const ToolSpec& spec = (*catalogue_.specs)[tool];
    action.read_only = spec.read_only;
    action.destructive = spec.destructive;
    action.tool_digest = spec.digest;
    decision = ports_.guard.decide(action);
  }
  const Cost cost{0, 1, 0};
  const bool in_budget = reserve(decision, cost);
  const Verdict verdict = decision.verdict;
  std::string reason = verdict == Verdict::allow ? "" : decision.reason;
  std::string id = action.id;
  Fact decided = ActionDecided{std::move(action), std::move(decision), call.id};
  co_await ok(record(state, state.id, std::move(decided)));
  if (!in_budget) co_return co_await end(state, SessionEnd::limit, "", std::move(reason));
  Outcome outcome;
  if (verdict != Verdict::allow) {
    outcome = refusal(verdict, reason);
  } else if (const auto good =
                 ports_.check_arguments((*catalogue_.specs)[tool].input_schema, call.arguments);
             !good) {
    ledger_.settle(cost, Cost{});
    outcome.kind = OutcomeKind::bad_arguments;
    outcome.content = "error: bad arguments: " + good.error().message;
    outcome.detail = good.error().message;
  } else {
    outcome = co_await perform(state, tool, call);
    ledger_.settle(cost, cost);
  }
  co_return co_await finish_call(state, std::move(id), std::move(call), std::move(outcome));
}

Task<Outcome> TurnLoop::perform(SessionState& state, std::size_t tool, ToolCall call) {
  model_.observe(state.id, agents::SessionEvent::call_begins);
  const Instant start = Loop::current().now();
  Task<Outcome> called = catalogue_.boxes[tool]->call(state.id, std::move(call));
  auto result = co_await in_wall_time(as_result(std::move(called)));
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

Task<Result<void>> TurnLoop::finish_call(SessionState& state, std::string action, ToolCall call,
                                         Outcome outcome) {
  bound_result(outcome);
  Fact fact = ActionOutcome{std::move(action), std::move(call.id), std::move(call.name),
                            std::move(outcome)};
  co_return co_await record(state, state.id, std::move(fact));
}

// After a crash: decided, but nobody knows whether it was done. Only what may be done twice is done
// again.
Task<Result<void>> TurnLoop::resolve_doubt(SessionState& state) {
  CallRecord doubt = *state.in_doubt();
  const auto& specs = *catalogue_.specs;
  const std::size_t tool = find_tool(doubt.call.name);
  Outcome outcome;
  if (doubt.verdict != Verdict::allow) {
    outcome = refusal(doubt.verdict, doubt.reason);
  } else if (tool < specs.size() && (specs[tool].idempotent || specs[tool].read_only)) {
    outcome = co_await perform(state, tool, doubt.call);
  } else {
    outcome.kind = OutcomeKind::escalated;
    outcome.content =
        "error: escalated, in doubt: the run was cut off while this call was under way";
    outcome.detail =
        "in doubt: decided before the crash, no outcome recorded, not declared idempotent";
  }
  co_return co_await finish_call(state, std::move(doubt.action), std::move(doubt.call),
                                 std::move(outcome));
}

Task<Result<void>> TurnLoop::end(SessionState& state, SessionEnd end, std::string answer,
                                 std::string error) {
  Fact fact =
      SessionEnded{end,         state.turns,      static_cast<std::int64_t>(state.calls.size()),
                   state.usage, std::move(error), std::move(answer)};
  co_return co_await record(state, state.id, std::move(fact));
}

}  // namespace ambit::agents
