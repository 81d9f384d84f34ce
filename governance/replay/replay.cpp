#include "replay/replay.h"

#include "agents/fleet_run.h"
#include "agents/message.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::replay {
namespace {

using agents::Action;
using agents::Decision;
using agents::SessionState;
using agents::StoredEvent;
using nlohmann::json;

std::string payload(const agents::Event& event, std::string_view name) {
  for (const agents::Payload& item : event.payloads) {
    if (item.name == name) return item.bytes;
  }
  return "";
}

std::string excerpt(const std::string& text, std::size_t at) {
  const std::size_t begin = at < 30 ? 0 : at - 30;
  return json(text.substr(begin, 60)).dump(-1, ' ', false, json::error_handler_t::replace);
}

// Where two texts part, with what is around it on both sides.
std::string parting(const std::string& recorded, const std::string& now) {
  const auto place = std::mismatch(recorded.begin(), recorded.end(), now.begin(), now.end());
  const auto at = static_cast<std::size_t>(place.first - recorded.begin());
  return "recorded " + excerpt(recorded, at) + ", now " + excerpt(now, at);
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text.empty() ? "none" : text;
}

Decision decision_of(const json& body) {
  Decision decision;
  const std::string verdict = body.value("verdict", "");
  for (const agents::Verdict each :
       {agents::Verdict::allow, agents::Verdict::deny, agents::Verdict::escalate}) {
    if (to_string(each) == verdict) decision.verdict = each;
  }
  decision.reason = body.value("reason", "");
  decision.policies = body.value("policies", std::vector<std::string>{});
  decision.policy_set = body.value("policySet", "");
  return decision;
}

Action action_of(const agents::Event& event, const json& body,
                 const std::vector<agents::ToolSpec>& tools) {
  Action action;
  action.id = body.value("action", "");
  action.kind = agents::ActionKind::tool_call;
  for (const agents::ActionKind each :
       {agents::ActionKind::model_call, agents::ActionKind::delegation}) {
    if (body.value("kind", "") == to_string(each)) action.kind = each;
  }
  action.agent = event.agent;
  action.session = event.session;
  action.run = event.run;
  action.on_behalf_of = body.value("onBehalfOf", "");
  action.tool = body.value("tool", "");
  action.arguments = payload(event, "arguments");
  action.tainted = body.value("tainted", false);
  action.tool_digest = body.value("toolDigest", "");
  const json left = body.value("left", json::object());
  action.left = {left.value("turns", std::int64_t{0}), left.value("toolCalls", std::int64_t{0}),
                 left.value("tokens", std::int64_t{0}), left.value("wallMs", std::int64_t{0})};
  for (const agents::ToolSpec& tool : tools) {
    if (action.kind != agents::ActionKind::tool_call || tool.name != action.tool) continue;
    action.read_only = tool.read_only;
    action.destructive = tool.destructive;
    // A definition that changed since then is a difference that the policies may see.
    action.tool_digest = tool.digest;
  }
  return action;
}

// The verdict of a budget or a quota: recorded as a denial that names its bound; in older records a
// denial after which the session ended with its limit for the same reason.
bool is_limit(const std::vector<StoredEvent>& events, std::size_t at, const Decision& recorded) {
  if (recorded.verdict != agents::Verdict::deny) return false;
  const json decided = json::parse(events[at].event.body, nullptr, false);
  if (decided.is_object() && decided.contains("bound")) return true;
  if (at + 1 >= events.size()) return false;
  const agents::Event& next = events[at + 1].event;
  if (next.type != "session.ended") return false;
  const json body = json::parse(next.body, nullptr, false);
  return body.is_object() && body.value("state", "") == "limit" &&
         body.value("error", "") == recorded.reason.substr(0, 1000);
}

}  // namespace

Result<void> Replay::read(agents::Journal& journal, const std::string& run) {
  TRY(journal.read(run, [this](const StoredEvent& stored) {
    found_ = true;
    if (stored.event.type == "run.started") {
      const json body = json::parse(stored.event.body, nullptr, false);
      if (body.is_object() && body.contains("seed") && body["seed"].is_number_unsigned()) {
        seed_ = body["seed"].get<std::uint64_t>();
      }
    }
    if (!stored.event.session.empty()) sessions_[stored.event.session].push_back(stored);
    return true;
  }));
  if (!found_) return Err(Code::not_found, "there is no run " + run + " in this record");
  return {};
}

Task<Result<Report>> Replay::run(agents::Journal& journal, std::string run) {
  co_await ok(read(journal, run));
  places_ = std::make_unique<Semaphore>(options_.concurrency);
  for (const auto& [id, events] : sessions_) scope_.spawn(admitted(events));
  co_await scope_.join();
  if (!failure_) co_return Err(std::move(failure_).error());
  std::sort(report_.differences.begin(), report_.differences.end(),
            [](const Difference& a, const Difference& b) { return a.index < b.index; });
  co_return std::move(report_);
}

Task<void> Replay::admitted(const Events& events) {
  const auto permit = co_await places_->acquire();
  if (!failure_ || enough()) co_return;
  auto done = co_await session(events);
  if (!done && failure_) failure_ = std::move(done);
}

Task<Result<void>> Replay::session(const Events& events) {
  SessionState state;
  ++report_.sessions;
  for (std::size_t at = 0; at < events.size() && !enough(); ++at) {
    const StoredEvent& stored = events[at];
    if (stored.event.type == "turn.completed" && options_.decode) {
      co_await ok(turn(state, stored));
    }
    if (stored.event.type == "action.decided") co_await ok(decision(state, events, at));
    co_await ok(agents::apply(state, stored.event));
  }
  co_return Result<void>();
}

void Replay::differs(const SessionState& state, const StoredEvent& stored, std::string what) {
  if (enough()) return;
  // A tool's call belongs to the turn that said it, which is complete.
  const std::int64_t turn = state.next_call() != nullptr ? state.turns : state.turns + 1;
  report_.differences.push_back({stored.index, stored.event.session, turn, std::move(what)});
}

Task<Result<void>> Replay::turn(const SessionState& state, const StoredEvent& stored) {
  const json body = json::parse(stored.event.body, nullptr, false);
  agents::TurnRequest request;
  request.session = state.id;
  request.tools = setting_.tools;
  request.messages = state.messages;
  request.sampling = setting_.model_spec.sampling;
  request.sampling.seed = agents::session_seed(seed_, state.id);
  request.tokens_max = setting_.model_spec.tokens_max;
  request.priority = setting_.agent.priority;
  if (setting_.tools->empty()) request.tool_choice = agents::ToolChoice::none;
  auto turn = co_await setting_.model->generate(std::move(request));
  if (!turn) {
    differs(state, stored, "the model did not answer now: " + turn.error().message);
    co_return Result<void>();
  }
  for (std::size_t i = 0; i < turn->message.tool_calls.size(); ++i) {
    turn->message.tool_calls[i].id =
        "call_" + std::to_string(state.turns + 1) + "_" + std::to_string(i + 1);
  }
  const std::string recorded = payload(stored.event, "message");
  const std::string now = agents::to_json(turn->message);
  const json usage = body.is_object() ? body.value("usage", json::object()) : json::object();
  const std::int64_t tokens = usage.value("outputTokens", std::int64_t{0});
  if (recorded != now) {
    differs(state, stored, "the model said something else: " + parting(recorded, now));
  } else if (tokens != turn->usage.output_tokens) {
    differs(state, stored,
            "the same text in " + std::to_string(turn->usage.output_tokens) +
                " tokens, recorded in " + std::to_string(tokens));
  } else {
    ++report_.turns;
    report_.tokens += static_cast<std::uint64_t>(tokens);
  }
  co_return Result<void>();
}

Result<void> Replay::decision(const SessionState& state, const Events& events, std::size_t at) {
  const StoredEvent& stored = events[at];
  const json body = json::parse(stored.event.body, nullptr, false);
  if (!body.is_object()) return Err(Code::invalid, "a decision without a body");
  const Decision recorded = decision_of(body);
  const Action action = action_of(stored.event, body, *setting_.tools);
  Decision now;
  const bool offered =
      action.kind == agents::ActionKind::model_call ||
      std::any_of(setting_.tools->begin(), setting_.tools->end(),
                  [&action](const agents::ToolSpec& tool) {
                    return (tool.agent.empty() ? tool.name : tool.agent) == action.tool;
                  });
  if (offered) {
    now = setting_.guard.decide(action);
  } else {
    now.verdict = agents::Verdict::deny;
    now.reason = "agent " + setting_.agent.name + " is not offered a tool \"" + action.tool + "\"";
  }
  if (now.verdict == agents::Verdict::allow && is_limit(events, at, recorded)) {
    ++report_.limited;
    ++report_.decisions;
    return {};
  }
  if (now.verdict != recorded.verdict) {
    differs(state, stored,
            action.tool + ": recorded " + std::string(to_string(recorded.verdict)) + " (" +
                joined(recorded.policies) + "), now " + std::string(to_string(now.verdict)) + " (" +
                joined(now.policies) + "): " + now.reason);
  } else if (now.policies != recorded.policies) {
    differs(state, stored,
            action.tool + ": " + std::string(to_string(now.verdict)) +
                " by other policies: recorded " + joined(recorded.policies) + ", now " +
                joined(now.policies));
  } else if (options_.decode && now.policy_set != recorded.policy_set) {
    differs(state, stored,
            "the same decision under another set of policies: recorded " + recorded.policy_set +
                ", now " + now.policy_set);
  } else {
    ++report_.decisions;
  }
  return {};
}

}  // namespace ambit::replay
