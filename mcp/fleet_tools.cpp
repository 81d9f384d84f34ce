#include "mcp/fleet_tools.h"

#include "agents/artifacts.h"
#include "mcp/server_replies.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

using agents::Outcome;
using agents::Verdict;
using rpc::Json;

constexpr std::string_view artifact_prefix = "ambit://artifact/";
constexpr std::string_view digest_prefix = "sha256:";

// A server lives as long as its client wants; only the number of calls is bounded.
agents::Limits limits_of(const FleetToolsOptions& options) {
  agents::Limits limits;
  limits.turns = limits.tokens = limits.wall_ms = -1;
  limits.tool_calls = options.is_shared ? -1 : options.agent.limits.tool_calls;
  return limits;
}

}  // namespace

// Its facts belong to no conversation: they are recorded, and nothing is folded from them.
class FleetTools::ClientRecorder final : public agents::Recorder {
 public:
  explicit ClientRecorder(FleetTools& tools) : tools_(tools) {}
  Task<Result<void>> record(agents::Fact& fact) override {
    agents::settle_texts(fact);
    const FleetToolsOptions& options = tools_.options_;
    const agents::Origin origin{options.run, options.session, options.agent.name};
    agents::Event event = agents::to_event(fact, origin);
    co_await ok(tools_.ports_.journal.append(std::move(event)));
    co_return Result<void>();
  }
  std::string next_action() override {
    const FleetToolsOptions& options = tools_.options_;
    return options.run + "/" + options.session + "/" + std::to_string(++tools_.actions_);
  }

 private:
  FleetTools& tools_;
};

// An artifact that a client reads whole: the record of the call names it and does not hold it
// again.
class FleetTools::Given final : public agents::Toolbox {
 public:
  Task<Result<std::vector<agents::ToolSpec>>> list() override {
    co_return std::vector<agents::ToolSpec>();
  }
  Task<Outcome> call(std::string /*session*/, agents::ToolCall /*call*/) override {
    Outcome outcome;
    outcome.detail = "given whole, as a resource";
    co_return outcome;
  }
};

FleetTools::~FleetTools() {
  server_.end_tasks();
}

FleetTools::FleetTools(Server& server, std::vector<agents::Toolbox*> boxes, agents::Ports ports,
                       FleetToolsOptions options)
    : server_(server),
      ports_(std::move(ports)),
      options_(std::move(options)),
      ledger_("MCP client " + options_.session, limits_of(options_), Loop::current().now(),
              nullptr),
      gate_(ports_, ledger_),
      edition_(std::make_shared<const Edition>(Edition{options_.agent, std::move(boxes)})),
      given_(std::make_unique<Given>()) {}

Task<Result<FleetTools::Offers>> FleetTools::list(std::shared_ptr<const Edition> edition) {
  Offers fresh;
  for (agents::Toolbox* box : edition->boxes) {
    const std::vector<agents::ToolSpec> listed = co_await ok(box->list());
    for (const agents::ToolSpec& spec : listed) {
      // Delegating needs a session of ours; a tool that changed since it was pinned is withheld.
      const bool withheld = !spec.agent.empty() || (ports_.check_tool && !ports_.check_tool(spec));
      if (edition->agent.offers(spec.name) && !withheld) {
        fresh.emplace(spec.name, Offered{box, spec, edition});
      }
    }
  }
  co_return fresh;
}

Task<Result<void>> FleetTools::refresh() {
  auto permit = co_await refreshing_.acquire();
  const std::shared_ptr<const Edition> edition = edition_;
  const Offers fresh = co_await ok(list(edition));
  // Another one was put in force beside this listing, with what it lists.
  if (edition != edition_) co_return Result<void>();
  co_return take(fresh);
}

Task<Result<std::function<void()>>> FleetTools::prepare(Edition next) {
  auto edition = std::make_shared<const Edition>(std::move(next));
  Offers listed = co_await ok(list(edition));
  auto fresh = std::make_shared<const Offers>(std::move(listed));
  std::function<void()> adopt = [this, edition, fresh]() {
    edition_ = edition;
    // What is wrong with a definition is wrong again, and told, when a client asks for the list.
    (void)take(*fresh);
  };
  co_return adopt;
}

// Only what has changed is taken away and offered again: clients are told of each change.
Result<void> FleetTools::take(const Offers& fresh) {
  for (auto at = offered_.begin(); at != offered_.end();) {
    const auto still = fresh.find(at->first);
    if (still != fresh.end() && still->second.spec == at->second.spec) {
      at->second = still->second;
      ++at;
      continue;
    }
    server_.remove_tool(at->first);
    at = offered_.erase(at);
  }
  for (const auto& [name, offered] : fresh) {
    if (!offered_.contains(name)) TRY(offer(offered));
  }
  TRY(offer_artifacts());
  return offer_skills();
}

// Once: who sees them is who sees the tool, which comes and goes.
Result<void> FleetTools::offer_artifacts() {
  const std::string tool(agents::artifact_tool);
  if (ports_.artifacts == nullptr || !offered_.contains(tool) || !skills_.insert(tool).second) {
    return {};
  }
  Json definition = {{"uriTemplate", std::string(artifact_prefix) + "{sha256}"},
                     {"name", "artifact"},
                     {"title", "Kept results"},
                     {"description",
                      "What tools gave the agent on your behalf that was too large for its "
                      "conversation, whole, by the SHA-256 of its bytes in hexadecimal."}};
  ServerResource made;
  made.definition = Value(std::move(definition));
  made.tool = tool;
  made.listed = [this](const std::string& principal) { return artifacts_of(principal); };
  made.read = [this](Value where, Call& to) { return read_artifact(std::move(where), to); };
  return server_.add(std::move(made));
}

std::vector<Value> FleetTools::artifacts_of(const std::string& principal) const {
  std::vector<Value> all;
  for (const auto& one : ports_.artifacts->shelf_of(options_.agent.name, principal)) {
    const std::string digest = one.id.substr(digest_prefix.size());
    Json definition = {{"uri", std::string(artifact_prefix) + digest},
                       {"name", digest},
                       {"description", "A result of " + one.tool},
                       {"size", one.bytes}};
    all.emplace_back(std::move(definition));
  }
  return all;
}

Task<Result<Value>> FleetTools::read_artifact(Value where, Call& to) {
  const std::string uri = where.json()["uri"].get<std::string>();
  const std::string id = std::string(digest_prefix) + uri.substr(artifact_prefix.size());
  const auto found = ports_.artifacts->on_shelf(options_.agent.name, to.principal(), id);
  const auto tool = offered_.find(std::string(agents::artifact_tool));
  if (!found || tool == offered_.end()) {
    to.refuse(*no_resource(to.era(), uri).fault);
    co_return Err(Code::not_found, "there is no such artifact");
  }
  Offered offered = tool->second;
  offered.box = given_.get();
  Json arguments = Json::object();
  arguments["artifact"] = id;
  const Outcome outcome =
      co_await ok(walk(std::move(offered), rpc::compact(arguments), to.principal()));
  if (outcome.is_error()) co_return Err(Code::denied, outcome.content);
  const std::string bytes = co_await ok(ports_.artifacts->whole(*found));
  co_return resource_contents(uri, bytes);
}

// Each once: who sees a skill is who sees its tool, which comes and goes.
Result<void> FleetTools::offer_skills() {
  for (const auto& skill : options_.skills) {
    const std::string tool = skill_tool_name(skill->entry.name);
    if (!edition_->agent.offers(tool) || !skills_.insert(tool).second) continue;
    ServerSkill made{skill, {}, tool};
    made.read = [this, skill](Value where, Call& to) { return read(skill, std::move(where), to); };
    TRY(server_.add(std::move(made)));
  }
  return {};
}

// The whole file, once the gate has let the call of its tool through.
Task<Result<Value>> FleetTools::read(std::shared_ptr<const Skill> skill, Value where, Call& to) {
  const std::string uri = where.json()["uri"].get<std::string>();
  const auto at = offered_.find(skill_tool_name(skill->entry.name));
  if (at == offered_.end()) co_return Err(Code::not_found, "there is no resource \"" + uri + "\"");
  Json arguments = Json::object();
  arguments["file"] = skill_path(*skill, uri);
  const Outcome outcome = co_await ok(walk(at->second, rpc::compact(arguments), to.principal()));
  if (outcome.is_error()) co_return Err(Code::denied, outcome.content);
  co_return file_contents(*skill, uri);
}

Result<void> FleetTools::offer(const Offered& offered) {
  const agents::ToolSpec& spec = offered.spec;
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
  // It may wait for people, or run for long.
  tool.tasks = TaskSupport::optional;
  TRY(server_.add(std::move(tool)));
  offered_.emplace(spec.name, offered);
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
  ClientRecorder recorder(*this);
  agents::Action action;
  action.id = recorder.next_action();
  const std::string call_id = "call_" + std::to_string(actions_);
  action.agent = options_.agent.name;
  action.session = options_.session;
  action.run = options_.run;
  action.on_behalf_of = std::move(principal);
  action.tool = offered.spec.name;
  action.arguments = std::move(arguments);
  action.read_only = offered.spec.read_only;
  action.destructive = offered.spec.destructive;
  action.tool_digest = offered.spec.digest;
  action.tainted = true;  // nobody here vouches for what the client says
  action.left = ledger_.left(Loop::current().now());
  const std::string action_id = action.id;
  const std::string name = action.tool;
  Outcome outcome = co_await ok(carry_out(std::move(offered), std::move(action), call_id));
  agents::Fact done = agents::ActionOutcome{action_id, call_id, name, outcome};
  co_await ok(recorder.record(done));
  co_return outcome;
}

Task<Result<Outcome>> FleetTools::carry_out(Offered offered, agents::Action action,
                                            std::string call_id) {
  ClientRecorder recorder(*this);
  std::string refused;
  if (ports_.roster != nullptr) {
    refused = ports_.roster->refuses(action.run, action.agent, action.session);
  }
  const agents::Cost cost{0, 1, 0};
  agents::Gate::Passage passage =
      co_await ok(gate_.pass(recorder, action, cost, call_id, std::move(refused)));
  const Verdict verdict = passage.decision->verdict;
  if (verdict == Verdict::deny) co_return agents::refusal(verdict, passage.decision->reason);
  agents::Hold hold = std::move(passage.hold);
  if (verdict == Verdict::escalate) {
    agents::Gate::Clearance clearance = co_await ok(
        gate_.clear(recorder, *passage.action, cost, call_id, agents::Asked(), *passage.decision));
    if (clearance.kind != agents::Gate::Clearance::Kind::go) co_return clearance.outcome;
    hold = std::move(clearance.hold);
    passage.action = std::move(clearance.action);
  }
  Outcome outcome =
      co_await perform(std::move(offered), passage.action->arguments, std::move(call_id));
  hold.settle(cost, outcome.is_error());
  co_await ok(gate_.conclude(*passage.action, *passage.decision, outcome));
  co_return outcome;
}

Task<Outcome> FleetTools::perform(Offered offered, std::string arguments, std::string call_id) {
  agents::ToolCall call;
  call.id = std::move(call_id);
  call.name = offered.spec.name;
  call.arguments = std::move(arguments);
  co_return co_await offered.box->call(options_.session, std::move(call));
}

}  // namespace ambit::mcp
