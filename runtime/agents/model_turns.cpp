// The turns of a session's model: what it is asked, what that may cost, who else is asked, and the
// turns that sum up a conversation.

#include "agents/compaction.h"
#include "agents/session_recorder.h"
#include "agents/turn_loop.h"
#include "async/loop.h"

#include <algorithm>

namespace ambit::agents {
namespace {

// A bound on the tokens that the new messages of this turn can be: a token has at least one byte.
std::int64_t new_input_bytes(const SessionState& state) {
  std::int64_t bytes = 0;
  for (auto at = state.messages.rbegin();
       at != state.messages.rend() && at->role != Role::assistant; ++at) {
    bytes += static_cast<std::int64_t>(at->content.size());
  }
  return bytes;
}

std::int64_t bytes_of(const std::vector<Message>& messages) {
  std::int64_t bytes = 0;
  for (const Message& message : messages) {
    bytes += static_cast<std::int64_t>(message.content.size());
    for (const ToolCall& call : message.tool_calls) {
      bytes += static_cast<std::int64_t>(call.name.size() + call.arguments.size());
    }
  }
  return bytes;
}

// In a model's batch: beyond what the priorities of agents can make up for.
int priority_of(LatencyClass latency) {
  constexpr int step = 1000;
  return step * (static_cast<int>(LatencyClass::normal) - static_cast<int>(latency));
}

Cost cost_of(const TurnCompleted& turn) {
  const Usage& usage = turn.turn.usage;
  Cost spent{1, 0, usage.input_tokens - usage.cached_tokens + usage.output_tokens};
  spent.money_micros = turn.cost_micros;
  return spent;
}

}  // namespace

TurnRequest TurnLoop::request_of(const SessionState& state, const ModelSpec& spec) const {
  TurnRequest request;
  request.session = state.id;
  request.tools = catalogue_.specs;
  request.messages = state.messages;
  request.sampling = spec.sampling;
  request.sampling.seed = seed_;
  request.tokens_max = spec.tokens_max;
  request.priority = agent_.priority + priority_of(Loop::current().latency());
  request.output_schema = agent_.output_schema;
  if (catalogue_.specs->empty()) request.tool_choice = ToolChoice::none;
  return request;
}

void TurnLoop::tell_to_listener(TurnRequest& request) const {
  if (listener_ == nullptr) return;
  listener_->begins();
  request.on_text = [listener = listener_](const std::string& piece) { listener->hears(piece); };
}

Task<Result<Turn>> TurnLoop::ask(const SessionState& state, ModelRoute by) {
  TurnRequest request = request_of(state, *by.spec);
  tell_to_listener(request);
  return in_wall_time(by.model->generate(std::move(request)));
}

// The most that a turn can cost. A token has at least one byte.
Cost TurnLoop::cost_of_turn(const SessionState& state, const ModelSpec& spec) {
  Cost cost{1, 0, spec.tokens_max + new_input_bytes(state)};
  if (!spec.price.is_free()) {
    Usage most;
    most.input_tokens = bytes_of(state.messages);
    most.output_tokens = spec.tokens_max;
    cost.money_micros = spec.price.micros_of(most);
  }
  return cost;
}

// The agent's model, then its fallbacks: each is an action of its own.
Task<Result<void>> TurnLoop::model_turn(SessionState& state) {
  for (std::size_t route = 0;; ++route) {
    const bool last = route >= fallbacks_.size();
    const ModelRoute by = route == 0 ? ModelRoute{&model_spec_, &model_} : fallbacks_[route - 1];
    const bool again = co_await ok(model_turn_by(state, by, !last));
    if (!again) co_return Result<void>();
  }
}

TurnCompleted TurnLoop::completed(const SessionState& state, ModelRoute by, const Action& action,
                                  Turn turn) {
  // Call ids are ours: unique in the session, the same in every replay.
  for (std::size_t i = 0; i < turn.message.tool_calls.size(); ++i) {
    turn.message.tool_calls[i].id =
        "call_" + std::to_string(state.turns + 1) + "_" + std::to_string(i + 1);
  }
  return {action.id, action.tool, std::move(turn), by.spec->price.micros_of(turn.usage)};
}

// True: this model cannot answer now, and another may.
Task<Result<bool>> TurnLoop::model_turn_by(SessionState& state, ModelRoute by, bool has_other) {
  Action action = propose(state, ActionKind::model_call, by.model->identity());
  SessionRecorder recorder(*this, state);
  const Cost cost = cost_of_turn(state, *by.spec);
  Gate::Passage passage = co_await ok(gate_.pass(recorder, std::move(action), cost, ""));
  if (passage.decision->verdict != Verdict::allow) {
    if (passage.may_try_another && has_other) co_return true;
    const SessionEnd why = passage.in_budget ? SessionEnd::denied : SessionEnd::limit;
    co_await ok(end(state, why, "", passage.decision->reason));
    co_return false;
  }
  auto turn = co_await ask(state, by);
  if (!turn) {
    passage.hold.settle(Cost{1, 0, 0}, true);
    const Code code = turn.error().code;
    if (has_other && (code == Code::unavailable || code == Code::timeout)) co_return true;
    const SessionEnd why = code == Code::exhausted ? SessionEnd::limit : SessionEnd::failed;
    std::string said = "model " + by.spec->name + ": " + turn.error().message;
    co_await ok(end(state, why, "", std::move(said)));
    co_return false;
  }
  Fact fact = completed(state, by, *passage.action, std::move(*turn));
  passage.hold.settle(cost_of(std::get<TurnCompleted>(fact)), false);
  co_await ok(note(state, fact));
  co_return false;
}

std::size_t TurnLoop::compaction_cut(const SessionState& state) const {
  const std::size_t tried = std::max(uncompacted_, state.uncompacted);
  if (!agent_.compaction || state.messages.size() <= tried) return 0;
  return compaction_due(state, *agent_.compaction, model_spec_);
}

// The model sums up what it has said and read. Where it cannot, the conversation goes on as it is.
Task<Result<void>> TurnLoop::compaction_turn(SessionState& state, std::size_t cut) {
  const CompactionSpec& spec = *agent_.compaction;
  const ModelRoute by{&model_spec_, &model_};
  ModelSpec summing = model_spec_;
  summing.tokens_max = spec.tokens_max;
  Cost cost = cost_of_turn(state, summing);
  cost.tokens += static_cast<std::int64_t>(spec.instructions.size());
  Action action = propose(state, ActionKind::model_call, model_.identity());
  SessionRecorder recorder(*this, state);
  Gate::Passage passage = co_await ok(gate_.pass(recorder, std::move(action), cost, ""));
  uncompacted_ = state.messages.size();
  if (passage.decision->verdict != Verdict::allow) {
    if (passage.in_budget) co_return Result<void>();
    co_return co_await end(state, SessionEnd::limit, "", passage.decision->reason);
  }
  TurnRequest request = request_of(state, model_spec_);
  ask_for_summary(request, state, spec, cut);
  auto turn = co_await in_wall_time(model_.generate(std::move(request)));
  if (!turn) {
    passage.hold.settle(Cost{1, 0, 0}, true);
    co_return Result<void>();
  }
  turn->message.tool_calls.clear();
  TurnCompleted summary = completed(state, by, *passage.action, std::move(*turn));
  summary.compacts = cut;
  passage.hold.settle(cost_of(summary), false);
  Fact fact = std::move(summary);
  co_await ok(note(state, fact));
  uncompacted_ = 0;
  co_return Result<void>();
}

}  // namespace ambit::agents
