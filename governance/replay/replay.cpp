#include "replay/replay.h"

#include "agents/compaction.h"
#include "agents/fact.h"
#include "agents/fleet_run.h"
#include "agents/message.h"
#include "agents/route.h"

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

// Why this agent may not give the task to the agent that the action names; empty: it may.
std::string refusal_to_delegate(const agents::AgentSpec& agent,
                                const std::vector<agents::ToolSpec>& tools, const Action& action) {
  for (const agents::ToolSpec& tool : tools) {
    if (tool.agent.empty() || tool.agent != action.tool) continue;
    return agents::residency_refusal(agent, tool);
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

// The facts that it was decided by, as they are recorded. A definition of its tool that changed
// since then is a difference that the policies may see.
Action action_of(Action recorded, const std::vector<agents::ToolSpec>& tools) {
  for (const agents::ToolSpec& tool : tools) {
    if (recorded.kind == agents::ActionKind::model_call || tool.name != recorded.tool) continue;
    recorded.read_only = tool.read_only;
    recorded.destructive = tool.destructive;
    recorded.tool_digest = tool.digest;
  }
  return recorded;
}

// Something that was said in the session is not in this record any more.
bool is_clouded(const agents::Event& event) {
  if (event.body.find("\"redacted\"") == std::string::npos) return false;
  const json body = json::parse(event.body, nullptr, false);
  return body.is_object() && body.contains("redacted");
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
    const std::string& type = stored.event.type;
    if (type == "run.started" || type == "session.started") {
      const json body = json::parse(stored.event.body, nullptr, false);
      if (body.is_object() && body.contains("seed") && body["seed"].is_number_unsigned()) {
        seed_ = body["seed"].get<std::uint64_t>();
      }
      if (body.is_object() && body.contains("parent") && body["parent"].is_string()) {
        parents_[stored.event.session] = body["parent"].get<std::string>();
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

// A session that was delegated to is seeded by the one that delegated.
std::uint64_t Replay::seed_of(const std::string& session) const {
  std::vector<const std::string*> chain{&session};
  for (auto at = parents_.find(session); at != parents_.end(); at = parents_.find(at->second)) {
    if (chain.size() > parents_.size()) break;
    chain.push_back(&at->second);
  }
  std::uint64_t seed = seed_;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) seed = agents::session_seed(seed, **at);
  return seed;
}

Result<void> Replay::begin(Walk& walk, const StoredEvent& first) {
  const std::string& name = first.event.agent;
  walk.agent = setting_.fleet.agent(name);
  const auto tools = setting_.tools.find(name);
  if (walk.agent == nullptr || tools == setting_.tools.end()) {
    return Err(Code::invalid, "the run has sessions of the agent " + name +
                                  ", whom this fleet does not have; is it the run's fleet file?");
  }
  walk.tools = tools->second;
  walk.seed = seed_of(first.event.session);
  walk.output_schema = walk.agent->output_schema;
  return {};
}

Task<Result<void>> Replay::session(const Events& events) {
  Walk walk;
  co_await ok(begin(walk, events.front()));
  ++report_.sessions;
  for (std::size_t at = 0; at < events.size() && !enough(); ++at) {
    const StoredEvent& stored = events[at];
    const std::string& type = stored.event.type;
    if (type == "session.started") {
      const std::string held = payload(stored.event, "outputSchema");
      if (!held.empty()) walk.output_schema = held;
    }
    if (type == "turn.completed") {
      if (options_.decode) co_await ok(turn(walk, stored));
      walk.attempts = 0;
    }
    if (type == "action.decided") co_await ok(decision(walk, events, at));
    walk.clouded = walk.clouded || is_clouded(stored.event);
    co_await ok(agents::apply(walk.state, stored.event));
  }
  co_return Result<void>();
}

void Replay::differs(const SessionState& state, const StoredEvent& stored, std::string what) {
  if (enough()) return;
  // A tool's call belongs to the turn that said it, which is complete.
  const std::int64_t turn = state.next_call() != nullptr ? state.turns : state.turns + 1;
  report_.differences.push_back({stored.index, stored.event.session, turn, std::move(what)});
}

// Which of the agent's models a turn was asked of: the one of that name, else, where models are
// others now, by how many were asked before it.
const agents::ModelSpec* Replay::route_of(const Walk& walk) const {
  const std::vector<std::string> names = setting_.fleet.models_of(*walk.agent);
  if (names.empty()) return nullptr;
  for (const std::string& name : names) {
    const auto model = setting_.models.find(name);
    if (model != setting_.models.end() && model->second->identity() == walk.asked) {
      return setting_.fleet.model(name);
    }
  }
  const std::size_t place = walk.attempts > 0 ? walk.attempts - 1 : 0;
  return setting_.fleet.model(names[std::min(place, names.size() - 1)]);
}

Task<Result<void>> Replay::turn(Walk& walk, const StoredEvent& stored) {
  const SessionState& state = walk.state;
  const agents::ModelSpec* spec = route_of(walk);
  const auto model = spec != nullptr ? setting_.models.find(spec->name) : setting_.models.end();
  if (model == setting_.models.end()) {
    co_return Err(Code::invalid, "agent " + walk.agent->name + " has no model in this fleet");
  }
  // A model elsewhere is not asked again: it promises nothing, and would be paid for.
  if (!spec->base_url.empty()) {
    ++report_.elsewhere;
    co_return Result<void>();
  }
  if (walk.clouded || is_clouded(stored.event)) {
    ++report_.unreadable;
    co_return Result<void>();
  }
  const json body = json::parse(stored.event.body, nullptr, false);
  agents::TurnRequest request;
  request.session = state.id;
  request.tools = walk.tools;
  request.messages = state.messages;
  request.sampling = spec->sampling;
  request.sampling.seed = walk.seed;
  request.tokens_max = spec->tokens_max;
  request.priority = walk.agent->priority;
  request.output_schema = walk.output_schema;
  if (walk.tools->empty()) request.tool_choice = agents::ToolChoice::none;
  const std::int64_t compacts = body.is_object() ? body.value("compacts", std::int64_t{0}) : 0;
  if (compacts > 0) {
    const auto cut = static_cast<std::size_t>(compacts);
    const auto& compaction = walk.agent->compaction;
    if (!compaction || cut > state.messages.size()) {
      differs(state, stored, "a summary that this fleet's agent would not have written");
      co_return Result<void>();
    }
    agents::ask_for_summary(request, state, *compaction, cut);
  }
  auto turn = co_await model->second->generate(std::move(request));
  if (!turn) {
    differs(state, stored, "the model did not answer now: " + turn.error().message);
    co_return Result<void>();
  }
  for (std::size_t i = 0; i < turn->message.tool_calls.size(); ++i) {
    turn->message.tool_calls[i].id =
        "call_" + std::to_string(state.turns + 1) + "_" + std::to_string(i + 1);
  }
  if (compacts > 0) turn->message.tool_calls.clear();
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

Result<void> Replay::decision(Walk& walk, const Events& events, std::size_t at) {
  const StoredEvent& stored = events[at];
  const agents::Fact fact = TRY(agents::fact_of(stored.event));
  const auto& decided = std::get<agents::ActionDecided>(fact);
  const Decision& recorded = *decided.decision;
  const bool is_turn = decided.action->kind == agents::ActionKind::model_call;
  if (is_turn) {
    walk.asked = decided.action->tool;
    ++walk.attempts;
  }
  if (is_clouded(stored.event)) {
    ++report_.unreadable;
    return {};
  }
  const Action action = action_of(*decided.action, *walk.tools);
  Decision now;
  const bool offered =
      is_turn ||
      std::any_of(walk.tools->begin(), walk.tools->end(), [&action](const agents::ToolSpec& tool) {
        return (tool.agent.empty() ? tool.name : tool.agent) == action.tool;
      });
  std::string refusal;
  if (!is_turn) refusal = refusal_to_delegate(*walk.agent, *walk.tools, action);
  if (!refusal.empty()) {
    now.verdict = agents::Verdict::deny;
    now.reason = std::move(refusal);
  } else if (offered) {
    now = setting_.guard.decide(action);
  } else {
    now.verdict = agents::Verdict::deny;
    now.reason = "agent " + walk.agent->name + " is not offered a tool \"" + action.tool + "\"";
  }
  if (now.verdict == agents::Verdict::allow && is_limit(events, at, recorded)) {
    ++report_.limited;
    ++report_.decisions;
    return {};
  }
  const SessionState& state = walk.state;
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
  } else if (now.arguments != recorded.arguments) {
    differs(state, stored,
            action.tool + ": other obligations: recorded " + excerpt(recorded.arguments, 0) +
                ", now " + excerpt(now.arguments, 0));
  } else if (options_.decode && offered && now.policy_set != recorded.policy_set) {
    differs(state, stored,
            "the same decision under another set of policies: recorded " + recorded.policy_set +
                ", now " + now.policy_set);
  } else {
    ++report_.decisions;
  }
  return {};
}

}  // namespace ambit::replay
