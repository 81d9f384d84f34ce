#include "agents/aside.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::agents {
namespace {

using json = nlohmann::json;

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json body_of(const Action& action, const Decision& decision) {
  json body = {{"action", action.id},
               {"kind", to_string(action.kind)},
               {"tool", action.tool},
               {"arguments", json::parse(action.arguments, nullptr, false)},
               {"onBehalfOf", action.on_behalf_of},
               {"tainted", action.tainted},
               {"verdict", to_string(decision.verdict)},
               {"reason", decision.reason},
               {"policies", decision.policies},
               {"policySet", decision.policy_set}};
  if (!action.requester.empty()) body["requester"] = action.requester;
  if (!action.chain.empty()) body["chain"] = action.chain;
  if (!decision.errors.empty()) body["errors"] = decision.errors;
  if (!decision.would.empty()) {
    body["would"] = decision.would;
    body["wouldReason"] = decision.would_reason;
  }
  return body;
}

}  // namespace

Task<Result<void>> Aside::append(const Action& action, std::string type, std::string body) {
  Event event{std::move(type), action.run, action.session, action.agent, std::move(body), {}};
  auto kept = co_await journal_.append(std::move(event));
  if (kept) co_return Result<void>();
  co_return Err(std::move(kept).error().context("nothing is done that cannot be recorded"));
}

Task<Result<std::string>> Aside::pass(Action action, std::string family) {
  guard_.trace(action);
  const Decision decision = guard_.decide(action);
  co_await ok(append(action, family + ".decided", text_of(body_of(action, decision))));
  std::string refused;
  if (decision.verdict == Verdict::escalate && approvals_ != nullptr) {
    refused = co_await ok(ask_people(action, decision, family));
  } else if (decision.verdict == Verdict::escalate) {
    refused = "waits for an approval, and nobody can be asked: " + decision.reason;
  } else if (decision.verdict == Verdict::deny) {
    refused = "denied by policy: " + decision.reason;
  }
  Outcome outcome;
  if (!refused.empty()) outcome.kind = OutcomeKind::denied;
  for (Notice& notice : guard_.done(action, decision, outcome)) {
    co_await ok(append(action, std::move(notice.type), std::move(notice.body)));
  }
  co_return refused;
}

Task<Result<std::string>> Aside::ask_people(const Action& action, const Decision& decision,
                                            const std::string& family) {
  auto ticket = co_await approvals_->ask(action, decision);
  if (!ticket) co_return "nobody could be asked: " + ticket.error().message;
  const json asked = {
      {"action", action.id}, {"expiresUnixMs", ticket->expires_unix_ms}, {"request", ticket->id}};
  co_await ok(append(action, family + ".requested", text_of(asked)));
  auto answer = co_await approvals_->answered(ticket->id);
  if (!answer) co_return "the answer cannot be read: " + answer.error().message;
  const json said = {{"action", action.id},
                     {"answer", to_string(answer->end)},
                     {"by", answer->by},
                     {"request", ticket->id}};
  co_await ok(append(action, family + ".answered", text_of(said)));
  if (answer->end == ApprovalEnd::expired) {
    co_return "nobody approved it in time: " + decision.reason;
  }
  // With other arguments it would be something else than what was asked for.
  if (answer->end != ApprovalEnd::approved) {
    co_return "refused by " + answer->by + ": " + decision.reason;
  }
  auto fresh = co_await approvals_->use(ticket->id, action, decision);
  if (!fresh) co_return fresh.error().message;
  if (!*fresh) co_return std::string("the approval was used already");
  co_return std::string();
}

}  // namespace ambit::agents
