// The turns of a session's model: what it is asked, what that may cost, who else is asked, and the
// turns that sum up a conversation.

#include "agents/compaction.h"
#include "agents/session_recorder.h"
#include "agents/turn_loop.h"
#include "async/loop.h"
#include "async/race.h"

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

// What is kept of a turn while its model is at it, which is most of a session's time: little.
struct TurnLoop::Attempt {
  explicit Attempt(RouteChoice choice)
      : order(std::move(choice.order)), why(std::move(choice.reason)) {}

  [[nodiscard]] const ModelRoute& by() const { return order[at]; }
  [[nodiscard]] bool has_other() const { return at + 1 < order.size(); }
  [[nodiscard]] bool is_over() const { return at >= order.size(); }
  void end() { at = order.size(); }
  // This model could not answer.
  void go_on() {
    why += (why.empty() ? "" : "; ") + by().spec->name + " could not answer";
    ++at;
  }

  // What tries of this model have cost that came to nothing.
  [[nodiscard]] Cost wasted() const {
    const Usage usage = tried ? tried->usage : Usage();
    Cost spent{0, 0, usage.input_tokens - usage.cached_tokens + usage.output_tokens};
    spent.money_micros = by().spec->price.micros_of(usage);
    return spent;
  }
  // Another one beside it: false, what is left does not pay for both.
  bool hold_more(Ledger& ledger, const Usage& sum) {
    const Cost before = wasted();
    if (!tried) tried = std::make_unique<Tried>();
    tried->usage = sum;
    Cost more = wasted();
    more.tokens -= before.tokens;
    more.money_micros -= before.money_micros;
    if (!ledger.reserve(more, Loop::current().now())) return false;
    tried->holds.emplace_back(ledger, more);
    return true;
  }

  struct Tried {
    Usage usage;
    std::vector<Hold> holds;
  };

  std::vector<ModelRoute> order;  // whom to ask
  std::string why;                // what the record says of the choice
  std::size_t at = 0;
  Hold hold;
  std::string model;  // identity
  Instant asked{};
  std::unique_ptr<Tried> tried;
  Task<Result<Turn>> answer;  // of who is asked; dies before what its model refers to
};

// Asks the model that is its turn's. The task begins with the wait for it.
void TurnLoop::ask(TurnRequest request, Attempt& turn) {
  request.may_retry = [this, &turn](const Usage& usage) { return turn.hold_more(ledger_, usage); };
  turn.asked = Loop::current().now();
  turn.answer = turn.by().model->generate(std::move(request));
}

// What became of it, after the wait.
Result<Turn> TurnLoop::answer_of(Attempt& turn) const {
  Result<Turn> answer = Err(Code::timeout, "no answer within its wall time");
  if (turn.answer.valid()) answer = turn.answer.take();
  turn.answer.reset();
  if (turn.tried) {
    for (Hold& one : turn.tried->holds) one.cancel();
  }
  if (!answer) answer = Err(time_is_up(std::move(answer).error()));
  return answer;
}

// The model could not answer: what its attempts have cost is spent and recorded.
Result<void> TurnLoop::fail_turn(SessionState& state, Attempt& turn, const Error& error) {
  Cost spent = turn.wasted();
  spent.turns = 1;
  turn.hold.settle(spent, true);
  Fact failed =
      TurnFailed{action_id(state, state.actions), turn.model,
                 turn.tried ? turn.tried->usage : Usage(), spent.money_micros, error.message};
  turn.tried.reset();
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
  Attempt turn(choose(state));
  Result<void> done;
  Task<Result<void>> part;
  while (done && !turn.is_over()) {
    part = propose_turn(state, turn);
    co_await part;
    done = part.take();
    part.reset();
    if (!done || !turn.answer.valid()) continue;
    co_await within(wall_left(), turn.answer);
    part = finish_turn(state, turn);
    co_await part;
    done = part.take();
  }
  co_return done;
}

TurnCompleted TurnLoop::completed(const SessionState& state, const Attempt& of, Turn turn) const {
  // Call ids are ours: unique in the session, the same in every replay.
  for (std::size_t i = 0; i < turn.message.tool_calls.size(); ++i) {
    turn.message.tool_calls[i].id =
        "call_" + std::to_string(state.turns + 1) + "_" + std::to_string(i + 1);
  }
  const std::int64_t cost = of.by().spec->price.micros_of(turn.usage);
  return {action_id(state, state.actions), of.model, std::move(turn), cost};
}

// Through the gate, and the model is asked; or the next one is to be, or the session ends.
Task<Result<void>> TurnLoop::propose_turn(SessionState& state, Attempt& turn) {
  const ModelSpec& spec = *turn.by().spec;
  turn.model = turn.by().model->identity();
  Shared<Action> action = propose(state, ActionKind::model_call, turn.model);
  SessionRecorder recorder(*this, state);
  const Cost cost = cost_of_turn(state, spec);
  std::string refused = residency_refusal(agent_, spec);
  Gate::Passage passage =
      co_await ok(gate_.pass(recorder, std::move(action), cost, "", std::move(refused)));
  if (passage.decision->verdict == Verdict::allow) {
    turn.hold = std::move(passage.hold);
    TurnRequest request = request_of(state, spec);
    tell_to_listener(request);
    ask(std::move(request), turn);
    co_return Result<void>();
  }
  if (passage.may_try_another && turn.has_other()) {
    turn.go_on();
    co_return Result<void>();
  }
  turn.end();
  const SessionEnd why_ends = passage.in_budget ? SessionEnd::denied : SessionEnd::limit;
  co_return co_await end(state, why_ends, "", passage.decision->reason);
}

// Notes what it said. Where it could not answer, the next one is to be asked, or the session ends.
Task<Result<void>> TurnLoop::finish_turn(SessionState& state, Attempt& turn) {
  Result<Turn> answer = answer_of(turn);
  if (answer) co_return keep_turn(state, turn, std::move(*answer));
  co_await ok(fail_turn(state, turn, answer.error()));
  const std::string& name = turn.by().spec->name;
  const Code code = answer.error().code;
  const bool is_passing = code == Code::unavailable || code == Code::timeout;
  if (is_passing && ports_.health != nullptr) {
    ports_.health->failed(name, Loop::current().now());
  }
  if (turn.has_other() && is_passing) {
    turn.go_on();
    co_return Result<void>();
  }
  turn.end();
  const SessionEnd why_ends = code == Code::exhausted ? SessionEnd::limit : SessionEnd::failed;
  std::string said = "model " + name + ": " + answer.error().message;
  co_return co_await end(state, why_ends, "", std::move(said));
}

Result<void> TurnLoop::keep_turn(SessionState& state, Attempt& turn, Turn answer) {
  if (ports_.health != nullptr) {
    ports_.health->answered(turn.by().spec->name, Loop::current().now() - turn.asked);
  }
  TurnCompleted done = completed(state, turn, std::move(answer));
  done.route = std::move(turn.why);
  turn.hold.settle(cost_of(done), false);
  turn.end();
  Fact fact = std::move(done);
  return note(state, fact);
}

std::size_t TurnLoop::compaction_cut(const SessionState& state) const {
  const std::size_t tried = std::max(uncompacted_, state.uncompacted);
  if (!agent_.compaction || state.messages.size() <= tried) return 0;
  return compaction_due(state, *agent_.compaction, model_spec_);
}

// The model sums up what it has said and read. Where it cannot, the conversation goes on as it is.
Task<Result<void>> TurnLoop::compaction_turn(SessionState& state, std::size_t cut) {
  const CompactionSpec& spec = *agent_.compaction;
  Attempt summary({{ModelRoute{&model_spec_, &model_}}, ""});
  ModelSpec summing = model_spec_;
  summing.tokens_max = spec.tokens_max;
  Cost cost = cost_of_turn(state, summing);
  cost.tokens += static_cast<std::int64_t>(spec.instructions.size());
  summary.model = model_.identity();
  Shared<Action> action = propose(state, ActionKind::model_call, summary.model);
  SessionRecorder recorder(*this, state);
  std::string refused = residency_refusal(agent_, model_spec_);
  Gate::Passage passage =
      co_await ok(gate_.pass(recorder, std::move(action), cost, "", std::move(refused)));
  uncompacted_ = state.messages.size();
  if (passage.decision->verdict != Verdict::allow) {
    if (passage.in_budget) co_return Result<void>();
    co_return co_await end(state, SessionEnd::limit, "", passage.decision->reason);
  }
  summary.hold = std::move(passage.hold);
  TurnRequest request = request_of(state, model_spec_);
  ask_for_summary(request, state, spec, cut);
  ask(std::move(request), summary);
  co_await within(wall_left(), summary.answer);
  co_return keep_summary(state, summary, cut);
}

Result<void> TurnLoop::keep_summary(SessionState& state, Attempt& summary, std::size_t cut) {
  Result<Turn> answer = answer_of(summary);
  if (!answer) return fail_turn(state, summary, answer.error());
  answer->message.tool_calls.clear();
  TurnCompleted done = completed(state, summary, std::move(*answer));
  done.compacts = cut;
  summary.hold.settle(cost_of(done), false);
  Fact fact = std::move(done);
  TRY(note(state, fact));
  uncompacted_ = 0;
  return {};
}

}  // namespace ambit::agents
