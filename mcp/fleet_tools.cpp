#include "mcp/fleet_tools.h"

#include "agents/turn_loop.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

using agents::Outcome;
using agents::OutcomeKind;
using agents::Verdict;
using rpc::Json;

// A server lives as long as its client wants; only the number of calls is bounded.
agents::Limits limits_of(const agents::AgentSpec& agent) {
  agents::Limits limits;
  limits.turns = limits.tokens = limits.wall_ms = -1;
  limits.tool_calls = agent.limits.tool_calls;
  return limits;
}

}  // namespace

FleetTools::FleetTools(Server& server, std::vector<agents::Toolbox*> boxes, agents::Guard& guard,
                       agents::Journal& journal, FleetToolsOptions options)
    : server_(server),
      boxes_(std::move(boxes)),
      guard_(guard),
      journal_(journal),
      options_(std::move(options)),
      ledger_("MCP client " + options_.session, limits_of(options_.agent), Loop::current().now(),
              nullptr) {}

Task<Result<void>> FleetTools::refresh() {
  auto permit = co_await refreshing_.acquire();
  std::map<std::string, Offered> fresh;
  for (agents::Toolbox* box : boxes_) {
    const std::vector<agents::ToolSpec> listed = co_await ok(box->list());
    for (const agents::ToolSpec& spec : listed) {
      if (options_.agent.offers(spec.name)) fresh.emplace(spec.name, Offered{box, spec});
    }
  }
  // Only what has changed is taken away and offered again: clients are told of each change.
  for (auto at = offered_.begin(); at != offered_.end();) {
    const auto still = fresh.find(at->first);
    if (still != fresh.end() && still->second.spec == at->second.spec) {
      ++at;
      continue;
    }
    server_.remove_tool(at->first);
    at = offered_.erase(at);
  }
  for (const auto& [name, offered] : fresh) {
    if (!offered_.contains(name)) co_await ok(offer(offered.box, offered.spec));
  }
  co_return Result<void>();
}

Result<void> FleetTools::offer(agents::Toolbox* box, const agents::ToolSpec& spec) {
  const Value schema = TRY(Value::parse(spec.input_schema));
  Json definition = {{"name", spec.name},
                     {"description", spec.description},
                     {"inputSchema", schema.json()},
                     {"annotations",
                      {{"readOnlyHint", spec.read_only},
                       {"destructiveHint", spec.destructive},
                       {"idempotentHint", spec.idempotent}}}};
  ServerTool tool;
  tool.definition = Value(std::move(definition));
  tool.run = [this, name = spec.name](Value arguments, Call& to) {
    return call(name, std::move(arguments), to);
  };
  TRY(server_.add(std::move(tool)));
  offered_.emplace(spec.name, Offered{box, spec});
  return {};
}

Task<Result<Value>> FleetTools::call(std::string name, Value arguments, Call& to) {
  const auto at = offered_.find(name);
  if (at == offered_.end()) co_return Err(Code::not_found, "there is no tool \"" + name + "\"");
  const Outcome outcome = co_await ok(walk(at->second, arguments.text(), to.principal()));
  Value result = text_result(outcome.content);
  if (outcome.is_error()) result.edit()["isError"] = true;
  co_return result;
}

// An error: the journal failed, so nothing may happen.
Task<Result<Outcome>> FleetTools::walk(Offered offered, std::string arguments,
                                       std::string principal) {
  agents::Action action;
  action.id = options_.run + "/" + options_.session + "/" + std::to_string(++actions_);
  action.agent = options_.agent.name;
  action.session = options_.session;
  action.run = options_.run;
  action.on_behalf_of = std::move(principal);
  action.tool = offered.spec.name;
  action.arguments = arguments;
  action.read_only = offered.spec.read_only;
  action.destructive = offered.spec.destructive;
  action.tool_digest = offered.spec.digest;
  action.tainted = true;  // nobody here vouches for what the client says
  action.left = ledger_.left(Loop::current().now());
  const std::string call_id = "call_" + std::to_string(actions_);
  agents::Decision decision = guard_.decide(action);
  const agents::Cost cost{0, 1, 0};
  if (decision.verdict == Verdict::allow) {
    const auto reserved = ledger_.reserve(cost, Loop::current().now());
    if (!reserved) {
      decision.verdict = Verdict::deny;
      decision.reason = reserved.error().message;
    }
  }
  const Verdict verdict = decision.verdict;
  const std::string reason = decision.reason;
  const std::string action_id = action.id;
  agents::Fact decided = agents::ActionDecided{std::move(action), std::move(decision), call_id};
  co_await ok(record(std::move(decided)));
  Outcome outcome;
  if (verdict != Verdict::allow) {
    outcome = agents::refusal(verdict, reason);
  } else {
    agents::ToolCall call;
    call.id = call_id;
    call.name = offered.spec.name;
    call.arguments = std::move(arguments);
    outcome = co_await offered.box->call(options_.session, std::move(call));
    ledger_.settle(cost, cost);
  }
  agents::Fact done = agents::ActionOutcome{action_id, call_id, offered.spec.name, outcome};
  co_await ok(record(std::move(done)));
  co_return outcome;
}

Task<Result<void>> FleetTools::record(agents::Fact fact) {
  agents::settle_texts(fact);
  const agents::Origin origin{options_.run, options_.session, options_.agent.name};
  agents::Event event = agents::to_event(fact, origin);
  co_await ok(journal_.append(std::move(event)));
  co_return Result<void>();
}

}  // namespace ambit::mcp
