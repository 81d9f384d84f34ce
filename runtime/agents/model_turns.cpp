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
  request.due_s = Loop::current().urgency().due_s;
  request.output_schema = agent_.output_schema;
  if (catalogue_.specs->empty()) request.tool_choice = ToolChoice::none;
  return request;
}

void TurnLoop::tell_to_listener(TurnRequest& request) const {
  if (listener_ == nullptr) return;
  listener_->begins();
  request.on_text = [listener = listener_](const std::string& piece) { listener->hears(piece); };
}

// What attempts have cost that came to nothing, held beside what the next one may cost.
struct TurnLoop::Waste {
  explicit Waste(const Price& of) : price(of) {}

  [[nodiscard]] Cost cost() const {
    Cost spent{0, 0, usage.input_tokens - usage.cached_tokens + usage.output_tokens};
    spent.money_micros = price.micros_of(usage);
    return spent;
  }
  // False: what is left does not pay for it and for another attempt.
  bool hold(Ledger& ledger, const Usage& sum) {
    const Cost before = cost();
    usage = sum;
    Cost more = cost();
    more.tokens -= before.tokens;
    more.money_micros -= before.money_micros;
    if (!ledger.reserve(more, Loop::current().now())) return false;
    holds.emplace_back(ledger, more);
    return true;
  }
  void give_back() {
    for (Hold& one : holds) one.cancel();
  }

  const Price& price;
  Usage usage{};
  std::vector<Hold> holds{};
};

Task<Result<Turn>> TurnLoop::ask(TurnRequest request, Model& model, Waste& waste) {
  request.may_retry = [this, &waste](const Usage& usage) { return waste.hold(ledger_, usage); };
  return in_wall_time(model.generate(std::move(request)));
}

// The model could not answer: what its attempts have cost is spent and recorded.
Result<void> TurnLoop::fail_turn(SessionState& state, Gate::Passage& passage, const Waste& waste,
                                 const Error& error) {
  Cost spent = waste.cost();
  spent.turns = 1;
  passage.hold.settle(spent, true);
  Fact failed = TurnFailed{passage.action->id, passage.action->tool, waste.usage,
                           spent.money_micros, error.message};
  return note(state, failed);
}

// Which models this turn goes to, one after the other.
RouteChoice TurnLoop::choose(const SessionState& state) const {
  if (routes_.all.empty()) return {{ModelRoute{&model_spec_, &model_}}, ""};
  const Budget left = ledger_.left(Loop::current().now());
  std::vector<RouteOffer> offers;
  for (const ModelRoute& by : routes_.all) {
    RouteOffer offer;
    offer.by = by;
    const Cost cost = cost_of_turn(state, *by.spec);
    offer.cost_micros = cost.money_micros;
    offer.in_budget = (left.money_micros < 0 || cost.money_micros <= left.money_micros) &&
                      (left.tokens < 0 || cost.tokens <= left.tokens);
    offer.fits_window = state.window_tokens + by.spec->tokens_max <= by.spec->context_max;
    offers.push_back(std::move(offer));
  }
  return choose_route(routes_.role, offers, ports_.health, Loop::current().now());
}

void TurnLoop::tell_models_of_end(const SessionState& state) {
  if (routes_.all.empty()) model_.observe(state.id, end_event_);
  for (const ModelRoute& by : routes_.all) by.model->observe(state.id, end_event_);
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

// The first of its models, then those that stand in for it: each is an action of its own.
Task<Result<void>> TurnLoop::model_turn(SessionState& state) {
  const RouteChoice choice = choose(state);
  std::string why = choice.reason;
  for (std::size_t i = 0; i < choice.order.size(); ++i) {
    const bool has_other = i + 1 < choice.order.size();
    const ModelRoute by = choice.order[i];
    const bool again = co_await ok(model_turn_by(state, by, has_other, why));
    if (!again) break;
    why += (why.empty() ? "" : "; ") + by.spec->name + " could not answer";
  }
  co_return Result<void>();
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

// True: this model cannot answer now, and another may. `why`: what the record says of the choice.
Task<Result<bool>> TurnLoop::model_turn_by(SessionState& state, ModelRoute by, bool has_other,
                                           std::string why) {
  Action action = propose(state, ActionKind::model_call, by.model->identity());
  SessionRecorder recorder(*this, state);
  const Cost cost = cost_of_turn(state, *by.spec);
  std::string refused = residency_refusal(agent_, *by.spec);
  Gate::Passage passage =
      co_await ok(gate_.pass(recorder, std::move(action), cost, "", std::move(refused)));
  if (passage.decision->verdict != Verdict::allow) {
    if (passage.may_try_another && has_other) co_return true;
    const SessionEnd why_ends = passage.in_budget ? SessionEnd::denied : SessionEnd::limit;
    co_await ok(end(state, why_ends, "", passage.decision->reason));
    co_return false;
  }
  Waste waste(by.spec->price);
  const Instant asked = Loop::current().now();
  TurnRequest request = request_of(state, *by.spec);
  tell_to_listener(request);
  auto turn = co_await ask(std::move(request), *by.model, waste);
  waste.give_back();
  if (!turn) {
    co_await ok(fail_turn(state, passage, waste, turn.error()));
    const Code code = turn.error().code;
    const bool is_passing = code == Code::unavailable || code == Code::timeout;
    if (is_passing && ports_.health != nullptr) {
      ports_.health->failed(by.spec->name, Loop::current().now());
    }
    if (has_other && is_passing) co_return true;
    const SessionEnd why_ends = code == Code::exhausted ? SessionEnd::limit : SessionEnd::failed;
    std::string said = "model " + by.spec->name + ": " + turn.error().message;
    co_await ok(end(state, why_ends, "", std::move(said)));
    co_return false;
  }
  if (ports_.health != nullptr) {
    ports_.health->answered(by.spec->name, Loop::current().now() - asked);
  }
  TurnCompleted done = completed(state, by, *passage.action, std::move(*turn));
  done.route = std::move(why);
  Fact fact = std::move(done);
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
  std::string refused = residency_refusal(agent_, model_spec_);
  Gate::Passage passage =
      co_await ok(gate_.pass(recorder, std::move(action), cost, "", std::move(refused)));
  uncompacted_ = state.messages.size();
  if (passage.decision->verdict != Verdict::allow) {
    if (passage.in_budget) co_return Result<void>();
    co_return co_await end(state, SessionEnd::limit, "", passage.decision->reason);
  }
  TurnRequest request = request_of(state, model_spec_);
  ask_for_summary(request, state, spec, cut);
  Waste waste(model_spec_.price);
  auto turn = co_await ask(std::move(request), model_, waste);
  waste.give_back();
  if (!turn) co_return fail_turn(state, passage, waste, turn.error());
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
