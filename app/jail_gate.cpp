#include "app/jail_gate.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::app {
namespace {

using agents::Action;
using agents::Event;
using json = nlohmann::json;

constexpr std::size_t sessions_max = 1 << 16;

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

void SessionBook::note(const Event& event) {
  if (event.session.empty()) return;
  if (event.type == "session.ended") {
    sessions_.erase(event.session);
    return;
  }
  if (event.type != "session.started" && event.type != "action.decided") return;
  if (sessions_.size() >= sessions_max && !sessions_.contains(event.session)) return;
  Entry& entry = sessions_[event.session];
  entry.run = event.run;
  entry.agent = event.agent;
  const json body = json::parse(event.body, nullptr, false);
  if (!body.is_object()) return;
  if (const auto who = body.find("principal"); who != body.end() && who->is_string())
    entry.on_behalf_of = who->get<std::string>();
  if (const auto tainted = body.find("tainted"); tainted != body.end() && tainted->is_boolean())
    entry.tainted = tainted->get<bool>();
}

Task<Result<std::uint64_t>> SessionBook::append(Event event) {
  note(event);
  auto index = co_await journal_.append(std::move(event));
  co_return index;
}

SessionBook::Entry SessionBook::find(const std::string& session) const {
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? Entry{} : at->second;
}

std::string SessionBook::agent_of(const std::string& session) const {
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? session : at->second.agent;
}

Action JailGate::propose(const std::string& agent, const std::string& session) {
  const SessionBook::Entry known = book_.find(session);
  Action action;
  action.run = known.run.empty() ? run_ : known.run;
  action.session = session;
  action.agent = known.agent.empty() ? agent : known.agent;
  action.on_behalf_of = known.on_behalf_of;
  action.tainted = known.tainted;
  action.id = action.run + "/" + session + "/jail-" + std::to_string(++asked_);
  return action;
}

// Recorded before it is told: without a record nothing happens.
Task<Result<void>> JailGate::decide(Action action, std::string type) {
  const agents::Decision decision = guard_.decide(action);
  const json body = {{"id", action.id},
                     {"kind", agents::to_string(action.kind)},
                     {"tool", action.tool},
                     {"arguments", json::parse(action.arguments, nullptr, false)},
                     {"verdict", agents::to_string(decision.verdict)},
                     {"reason", decision.reason},
                     {"policies", decision.policies},
                     {"policy_set", decision.policy_set}};
  Event event{std::move(type), action.run, action.session, action.agent, text_of(body), {}};
  auto kept = co_await book_.append(std::move(event));
  if (!kept)
    co_return Err(std::move(kept).error().context("nothing is done that cannot be recorded"));
  if (decision.verdict == agents::Verdict::allow) co_return Result<void>{};
  const bool waits = decision.verdict == agents::Verdict::escalate;
  co_return Err(Code::denied,
                (waits ? "waits for an approval: " : "denied by policy: ") + decision.reason);
}

Task<Result<void>> JailGate::may_request(sandbox::EgressAsk ask) {
  Action action = propose(ask.agent, ask.session);
  action.kind = agents::ActionKind::egress;
  action.tool = ask.host;
  const json arguments = {{"method", ask.method},   {"url", ask.url},
                          {"host", ask.host},       {"port", ask.port},
                          {"profile", ask.profile}, {"secrets", ask.secrets},
                          {"bytes", ask.body_bytes}};
  action.arguments = text_of(arguments);
  action.read_only = ask.method == "GET" || ask.method == "HEAD";
  action.destructive = !action.read_only;
  auto decided = co_await decide(std::move(action), "egress.decided");
  co_return decided;
}

Task<void> JailGate::requested(sandbox::EgressAsk ask, sandbox::EgressResult result) {
  const Action action = propose(ask.agent, ask.session);
  const json body = {{"method", ask.method},
                     {"url", ask.url},
                     {"profile", ask.profile},
                     {"status", result.status},
                     {"error", result.error},
                     {"sent", result.sent_bytes},
                     {"received", result.received_bytes}};
  Event event{"egress.outcome", action.run, action.session, action.agent, text_of(body), {}};
  // The decision is recorded; that the outcome is not cannot be undone.
  (void)co_await book_.append(std::move(event));
}

Task<Result<void>> JailGate::may_open(sandbox::OpenAsk ask) {
  Action action = propose(ask.agent, ask.session);
  action.kind = agents::ActionKind::tool_call;
  action.tool = "open_path";
  const json arguments = {{"path", ask.path}, {"writes", ask.writes}, {"profile", ask.profile}};
  action.arguments = text_of(arguments);
  action.read_only = !ask.writes;
  action.destructive = ask.writes;
  auto decided = co_await decide(std::move(action), "open.decided");
  co_return decided;
}

}  // namespace ambit::app
