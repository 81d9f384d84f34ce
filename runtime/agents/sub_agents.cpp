#include "agents/sub_agents.h"

#include "agents/fleet_run.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view agent_prefix = "agent__";
constexpr std::string_view handoff_prefix = "handoff__";

ToolSpec tool_of(const AgentSpec& agent, bool hands_over) {
  ToolSpec spec;
  spec.name = std::string(hands_over ? handoff_prefix : agent_prefix) + agent.name;
  spec.agent = agent.name;
  const std::string what = agent.description.empty() ? "" : " " + agent.description;
  if (hands_over) {
    spec.description = "Hand this conversation over to the agent " + agent.name + "." + what;
    spec.input_schema =
        R"({"type":"object","properties":{"message":{"type":"string"}},"additionalProperties":false})";
  } else {
    spec.description = "Give the agent " + agent.name + " a task and get its answer." + what;
    spec.input_schema =
        R"({"type":"object","properties":{"task":{"type":"string"}},"required":["task"],"additionalProperties":false})";
  }
  // What it does, its own calls do, each through the gate; it goes on where it was.
  spec.read_only = false;
  spec.destructive = false;
  spec.idempotent = true;
  spec.ends_session = hands_over;
  spec.stays_here = agent.local_only;
  return spec;
}

Outcome refused(std::string why) {
  return Outcome::failed(OutcomeKind::refused, std::move(why));
}

std::string argument(const std::string& arguments, const char* name) {
  const Json value = Json::parse(arguments, nullptr, false);
  return value.is_object() && value.contains(name) && value[name].is_string()
             ? value[name].get<std::string>()
             : "";
}

}  // namespace

Cost spent_by(const SessionState& state) {
  const auto spent = std::count_if(state.calls.begin(), state.calls.end(), is_spent);
  Cost cost{state.turns, state.earlier_calls.spent + spent,
            state.usage.input_tokens - state.usage.cached_tokens + state.usage.output_tokens};
  cost.money_micros = state.cost_micros;
  return cost;
}

Cost spent_in(const std::map<std::string, SessionState>& restored, const SessionState& state) {
  Cost sum = spent_by(state);
  const std::string prefix = state.id + ".";
  for (auto at = restored.lower_bound(prefix);
       at != restored.end() && at->first.starts_with(prefix); ++at) {
    // A name can begin alike without being a descendant's.
    if (at->second.parent.empty()) continue;
    const Cost one = spent_by(at->second);
    sum.turns += one.turns;
    sum.tool_calls += one.tool_calls;
    sum.tokens += one.tokens;
    sum.money_micros += one.money_micros;
    ++sum.descendants;
  }
  return sum;
}

std::string handed_over_to(const SessionState& state) {
  if (state.calls.empty()) return "";
  const CallRecord& last = state.calls.back();
  const bool is = last.outcome == OutcomeKind::ok && last.call.name.starts_with(handoff_prefix);
  return is ? last.call.name.substr(handoff_prefix.size()) : "";
}

std::string handoff_message(const SessionState& state) {
  std::string said =
      state.calls.empty() ? "" : argument(state.calls.back().call.arguments, "message");
  return said.empty() ? "(handed over without a word)" : said;
}

SubAgents::SubAgents(const Fleet& fleet, std::map<std::string, Model*> models, Ports ports,
                     std::vector<Toolbox*> others)
    : fleet_(fleet),
      models_(std::move(models)),
      ports_(std::move(ports)),
      boxes_(std::move(others)) {
  boxes_.push_back(this);
}

Task<Result<std::vector<ToolSpec>>> SubAgents::list() {
  std::vector<ToolSpec> specs;
  for (const AgentSpec& agent : fleet_.agents) specs.push_back(tool_of(agent, false));
  for (const AgentSpec& agent : fleet_.agents) specs.push_back(tool_of(agent, true));
  co_return specs;
}

Task<Outcome> SubAgents::call(std::string session, ToolCall call) {
  if (call.name.starts_with(handoff_prefix)) {
    Outcome outcome;
    outcome.content = "handed over to " + call.name.substr(handoff_prefix.size());
    co_return outcome;
  }
  const AgentSpec* agent = fleet_.agent(std::string_view(call.name).substr(agent_prefix.size()));
  Roster::Entry* parent = ports_.roster != nullptr ? ports_.roster->find(session) : nullptr;
  if (agent == nullptr || parent == nullptr) {
    co_return refused("the session " + session + " cannot delegate");
  }
  if (parent->depth + 1 > fleet_.depth_max) {
    co_return refused("the limit maxDepth = " + std::to_string(fleet_.depth_max) +
                      " of the fleet: do it yourself");
  }
  const Cost one{0, 0, 0, 0, 1};
  const auto reserved = parent->ledger.reserve(one, Loop::current().now());
  if (!reserved) co_return refused(reserved.error().message);
  Hold hold(parent->ledger, one);
  Outcome outcome =
      co_await delegate(*parent, *agent, session + "." + call.id, argument(call.arguments, "task"));
  hold.settle(one, false);
  co_return outcome;
}

Task<Outcome> SubAgents::delegate(Roster::Entry& parent, const AgentSpec& agent, std::string child,
                                  std::string task) {
  auto state = co_await run_child(parent, agent, std::move(child), std::move(task));
  if (!state) co_return refused(state.error().message);
  Outcome outcome;
  if (state->end == SessionEnd::completed || !state->answer.empty()) {
    outcome.content = state->answer;
  } else {
    outcome = Outcome::failed(OutcomeKind::tool_error,
                              "the agent " + agent.name + " ended as " +
                                  std::string(to_string(state->end)) +
                                  (state->error.empty() ? "" : ": " + state->error));
  }
  co_return outcome;
}

Task<Result<SessionState>> SubAgents::run_child(Roster::Entry& parent, const AgentSpec& agent,
                                                std::string child, std::string task) {
  const Catalogue* catalogue = co_await ok(catalogue_of(agent, parent.run));
  SessionState state;
  auto& restored = ports_.roster->restored;
  Ledger ledger("session " + child, agent.limits, Loop::current().now(), &parent.ledger);
  if (const auto at = restored.find(child); at != restored.end()) {
    state = std::move(at->second);
    restored.erase(at);
    ledger.restore(spent_in(restored, state));
  }
  TurnLoop loop(parent.run, agent, *fleet_.model(agent.model), *models_.at(agent.model), *catalogue,
                ports_, ledger, session_seed(parent.seed, child));
  loop.route_by(routes_of(fleet_, agent, models_));
  loop.descend_from(&parent);
  loop.work_on(parent.state.subject);
  if (state.id.empty()) {
    // The person who asked for the first session asks through all that follow from it.
    const std::string& asked = parent.state.requester;
    SessionStarted started{asked.empty() ? parent.agent.owner : asked, agent.instructions,
                           std::move(task)};
    started.tainted = parent.state.tainted;
    co_await ok(loop.start(state, child, std::move(started)));
  }
  co_await ok(loop.run(state));
  co_return state;
}

Task<Result<const Catalogue*>> SubAgents::catalogue_of(const AgentSpec& agent,
                                                       const std::string& run) {
  const auto known = catalogues_.find(agent.name);
  if (known != catalogues_.end()) co_return &known->second;
  Catalogue listed = co_await ok(list_tools(agent, boxes_, ports_.check_tool));
  for (Event& event : quarantine_events(listed, run, agent.name)) {
    co_await ok(ports_.journal.append(std::move(event)));
  }
  const auto at = catalogues_.emplace(agent.name, std::move(listed)).first;
  co_return &at->second;
}

}  // namespace ambit::agents
