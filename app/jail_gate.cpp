#include "app/jail_gate.h"

#include "app/json_text.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::app {
namespace {

using agents::Action;
using agents::Event;
using Json = nlohmann::ordered_json;

constexpr std::size_t sessions_max = 1 << 16;
constexpr std::size_t depth_max = 64;

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
  const Json body = Json::parse(event.body, nullptr, false);
  if (!body.is_object()) return;
  const auto take = [&body](const char* name, std::string& into) {
    const auto said = body.find(name);
    if (said != body.end() && said->is_string()) into = said->get<std::string>();
  };
  take("principal", entry.requester);
  take("onBehalfOf", entry.on_behalf_of);
  take("parent", entry.parent);
  if (const auto tainted = body.find("tainted"); tainted != body.end() && tainted->is_boolean())
    entry.tainted = tainted->get<bool>();
}

Task<Result<std::uint64_t>> SessionBook::append(Event event) {
  note(event);
  auto index = co_await journal_.append(std::move(event));
  co_return index;
}

Result<void> SessionBook::post(Event event) {
  note(event);
  return journal_.post(std::move(event));
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
  action.on_behalf_of = known.on_behalf_of.empty() ? known.requester : known.on_behalf_of;
  action.requester = known.requester;
  std::string above = known.parent;
  for (std::size_t depth = 0; !above.empty() && depth < depth_max; ++depth) {
    const SessionBook::Entry by = book_.find(above);
    action.chain.insert(action.chain.begin(), by.agent.empty() ? above : by.agent);
    above = by.parent;
  }
  action.tainted = known.tainted;
  action.id = action.run + "/" + session + "/jail-" + std::to_string(++asked_);
  return action;
}

Task<Result<void>> JailGate::decide(Action action, std::string family) {
  std::string refused = co_await ok(aside_.pass(std::move(action), std::move(family)));
  if (refused.empty()) co_return Result<void>();
  co_return Err(Code::denied, std::move(refused));
}

Task<Result<void>> JailGate::may_request(sandbox::EgressAsk ask) {
  Action action = propose(ask.agent, ask.session);
  action.kind = agents::ActionKind::egress;
  action.tool = ask.host;
  const Json arguments = {{"method", ask.method},   {"url", ask.url},
                          {"host", ask.host},       {"port", ask.port},
                          {"profile", ask.profile}, {"secrets", ask.secrets},
                          {"bytes", ask.body_bytes}};
  action.arguments = dumped(arguments);
  action.read_only = ask.method == "GET" || ask.method == "HEAD";
  action.destructive = !action.read_only;
  auto decided = co_await decide(std::move(action), "egress");
  co_return decided;
}

Task<void> JailGate::requested(sandbox::EgressAsk ask, sandbox::EgressResult result) {
  const Action action = propose(ask.agent, ask.session);
  const Json body = {{"method", ask.method},
                     {"url", ask.url},
                     {"profile", ask.profile},
                     {"status", result.status},
                     {"tool", ask.host},
                     {"outcome", result.error.empty() ? "ok" : "tool_error"},
                     {"error", result.error},
                     {"sent", result.sent_bytes},
                     {"received", result.received_bytes}};
  Event event{"egress.outcome", action.run, action.session, action.agent, dumped(body), {}};
  // The decision is recorded; that the outcome is not cannot be undone.
  (void)co_await book_.append(std::move(event));
}

Task<Result<void>> JailGate::may_open(sandbox::OpenAsk ask) {
  Action action = propose(ask.agent, ask.session);
  action.kind = agents::ActionKind::tool_call;
  action.tool = "open_path";
  const Json arguments = {{"path", ask.path}, {"writes", ask.writes}, {"profile", ask.profile}};
  action.arguments = dumped(arguments);
  action.read_only = !ask.writes;
  action.destructive = ask.writes;
  auto decided = co_await decide(std::move(action), "open");
  co_return decided;
}

}  // namespace ambit::app
