#include "agents/gate.h"

#include "async/loop.h"

#include <utility>

namespace ambit::agents {
namespace {

// How often people may change one action before it is refused.
constexpr int changes_max = 4;

Spending spending_of(const Cost& cost) {
  return {cost.tool_calls, cost.tokens, cost.money_micros};
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

Hold::Hold(Hold&& other) noexcept
    : ledger_(std::exchange(other.ledger_, nullptr)),
      cost_(other.cost_),
      quotas_(std::exchange(other.quotas_, nullptr)),
      id_(other.id_) {}

Hold& Hold::operator=(Hold&& other) noexcept {
  std::swap(ledger_, other.ledger_);
  std::swap(cost_, other.cost_);
  std::swap(quotas_, other.quotas_);
  std::swap(id_, other.id_);
  return *this;
}

Hold::~Hold() {
  settle(cost_, true);
}

Result<void> Hold::add(Quotas& quotas, const Action& action) {
  auto id = quotas.reserve(action, spending_of(cost_));
  if (!id) {
    cancel();
    return Err(std::move(id).error());
  }
  quotas_ = &quotas;
  id_ = *id;
  return {};
}

void Hold::settle(const Cost& spent, bool failed) {
  if (ledger_ != nullptr) std::exchange(ledger_, nullptr)->settle(cost_, spent);
  if (quotas_ != nullptr) std::exchange(quotas_, nullptr)->settle(id_, spending_of(spent), failed);
}

void Hold::cancel() {
  if (ledger_ != nullptr) std::exchange(ledger_, nullptr)->settle(cost_, Cost{});
  if (quotas_ != nullptr) std::exchange(quotas_, nullptr)->cancel(id_);
}

// Errors: exhausted by the session's or the run's own budget; anything else comes from the quotas.
Result<Hold> Gate::reserve(const Action& action, const Cost& cost) {
  TRY(ledger_.reserve(cost, Loop::current().now()));
  Hold hold(ledger_, cost);
  if (ports_.quotas == nullptr) return hold;
  auto held = hold.add(*ports_.quotas, action);
  if (held) return hold;
  // Of a tool the agent may choose another way; without its model it can do nothing more.
  if (action.kind == ActionKind::model_call) return Err(std::move(held).error());
  return Err(Code::denied, held.error().message);
}

Task<Result<Gate::Passage>> Gate::pass(Recorder& recorder, Shared<Action> action, Cost cost,
                                       std::string call, std::string refused) {
  Passage passage;
  Fact fact = decide(std::move(action), cost, std::move(refused), passage);
  std::get<ActionDecided>(fact).call = std::move(call);
  if (ports_.quotas != nullptr) {
    co_await ok(tell(*passage.action, ports_.quotas->take_notices()));
  }
  co_await ok(recorder.record(fact));
  const std::string& changed = passage.decision->arguments;
  if (!changed.empty()) passage.action.edit().arguments = changed;
  co_return passage;
}

ActionDecided Gate::decide(Shared<Action> action, const Cost& cost, std::string refused,
                           Passage& passage) {
  ActionDecided fact;
  Decision decision;
  ports_.guard.trace(action.edit());
  if (refused.empty()) {
    decision = ports_.guard.decide(*action);
  } else {
    decision.reason = std::move(refused);
  }
  if (decision.verdict == Verdict::allow) {
    auto hold = reserve(*action, cost);
    if (hold) {
      passage.hold = std::move(*hold);
    } else {
      passage.in_budget = hold.error().code == Code::denied;
      passage.may_try_another = hold.error().code == Code::unavailable;
      fact.bound = passage.in_budget ? "quota" : "budget";
      decision.verdict = Verdict::deny;
      decision.reason = hold.error().message;
    }
  }
  fact.action = passage.action = std::move(action);
  fact.decision = passage.decision = std::move(decision);
  return fact;
}

Result<void> Gate::conclude(const Action& action, const Decision& decision,
                            const Outcome& outcome) {
  std::vector<Notice> notices = ports_.guard.done(action, decision, outcome);
  if (ports_.quotas != nullptr) {
    for (Notice& notice : ports_.quotas->take_notices()) notices.push_back(std::move(notice));
  }
  return tell(action, std::move(notices));
}

Result<void> Gate::tell(const Action& action, std::vector<Notice> notices) {
  for (Notice& notice : notices) {
    Event event{std::move(notice.type), action.run, action.session, action.agent,
                std::move(notice.body), {}};
    TRY(ports_.journal.post(std::move(event)));
  }
  return {};
}

Task<Result<ApprovalAnswer>> Gate::wait(Recorder& recorder, const std::string& request) {
  const Instant start = Loop::current().now();
  recorder.parked();
  auto answer = co_await ports_.approvals->answered(request);
  co_await recorder.unparked();
  ledger_.forgive(Loop::current().now() - start);
  co_return answer;
}

// A person said yes to other arguments: that is a new action, decided anew. The policies may still
// forbid it; where they only ask, the person has answered already.
Task<Result<Decision>> Gate::supersede(Recorder& recorder, Action& action, Asked& asked,
                                       const std::string& call) {
  ActionDecided fact;
  fact.supersedes = asked.asked_as.empty() ? action.id : asked.asked_as;
  fact.approval = asked.answer->successor;
  action.arguments = asked.answer->arguments;
  action.id = recorder.next_action();
  action.left = ledger_.left(Loop::current().now());
  asked = Asked{fact.approval, fact.supersedes, std::nullopt};
  ports_.guard.trace(action);
  Decision decision = ports_.guard.decide(action);
  fact.action = Shared(action);
  fact.decision = Shared(decision);
  fact.call = call;
  if (!decision.arguments.empty()) action.arguments = decision.arguments;
  Fact decided = std::move(fact);
  co_await ok(recorder.record(decided));
  co_return decision;
}

Task<Result<Gate::Clearance>> Gate::clear(Recorder& recorder, Action action, Cost cost,
                                          std::string call, Asked asked, Decision decision,
                                          bool resumed) {
  Clearance made;
  const std::string reason = decision.reason;
  for (int changes = 0; changes <= changes_max; ++changes) {
    made.action = action;
    made.outcome = refusal(Verdict::escalate, reason);
    if (ports_.approvals == nullptr) co_return made;
    if (asked.request.empty()) {
      auto ticket = co_await ports_.approvals->ask(action, decision);
      if (!ticket) {
        made.outcome.detail = "nobody could be asked: " + ticket.error().message;
        co_return made;
      }
      asked.request = ticket->id;
      Fact requested = ApprovalRequested{action.id, ticket->id, ticket->expires_unix_ms};
      co_await ok(recorder.record(requested));
    }
    if (!asked.answer) {
      auto answer = co_await wait(recorder, asked.request);
      if (!answer) {
        made.outcome.detail = "the answer cannot be read: " + answer.error().message;
        co_return made;
      }
      asked.answer = std::move(*answer);
      Fact answered = ApprovalAnswered{action.id, asked.request, *asked.answer};
      co_await ok(recorder.record(answered));
    }
    if (asked.answer->end != ApprovalEnd::modified) break;
    decision = co_await ok(supersede(recorder, action, asked, call));
    if (decision.verdict != Verdict::deny) continue;
    made.action = action;
    made.outcome = refusal(Verdict::deny, decision.reason);
    co_return made;
  }
  made.action = action;
  const ApprovalEnd end = asked.answer ? asked.answer->end : ApprovalEnd::denied;
  if (end == ApprovalEnd::done) {
    made.outcome = Outcome();
    made.outcome.content = "done already, as " + asked.answer->by + " says";
    made.outcome.detail = made.outcome.content;
    co_return made;
  }
  if (end != ApprovalEnd::approved) {
    const std::string who =
        asked.answer ? "refused by " + asked.answer->by : std::string("nobody (too many changes)");
    made.outcome =
        refusal(Verdict::deny, end == ApprovalEnd::expired ? "nobody approved it in time: " + reason
                                                           : who + ": " + reason);
    co_return made;
  }
  // After a crash it may have been done already; then there is nothing left to reserve for.
  Hold hold;
  if (!resumed) {
    auto held = reserve(action, cost);
    if (!held) {
      made.outcome = refusal(Verdict::deny, held.error().message);
      co_return made;
    }
    hold = std::move(*held);
  }
  Action approved = action;
  if (!asked.asked_as.empty()) approved.id = asked.asked_as;
  auto fresh = co_await ports_.approvals->use(asked.request, std::move(approved), decision);
  if (!fresh) {
    hold.cancel();
    made.outcome = refusal(Verdict::deny, fresh.error().message);
    co_return made;
  }
  if (resumed && *fresh) {
    auto held = reserve(action, cost);
    if (!held) {
      made.outcome = refusal(Verdict::deny, held.error().message);
      co_return made;
    }
    hold = std::move(*held);
  } else if (resumed) {
    ledger_.settle(Cost{}, cost);
  }
  made.kind = *fresh ? Clearance::Kind::go : Clearance::Kind::in_doubt;
  made.hold = std::move(hold);
  co_return made;
}

}  // namespace ambit::agents
