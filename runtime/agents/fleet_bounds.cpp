// What a fleet file says for the whole fleet: quotas, guards, approvals, facts about tools, and
// what the record never gets to hold.

#include "agents/fleet_parser.h"

#include <algorithm>

namespace ambit::agents {

// What holds for the whole fleet beside its limits.
void FleetParser::bounds(Reader& top) {
  Fleet& fleet = file_.fleet;
  fleet.depth_max = static_cast<int>(top.integer("maxDepth", fleet.depth_max, 0, 64));
  if (const Node* node = top.get("quotas", Node::Kind::array)) {
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      Reader reader(file_.problems, node->items[i], "quotas[" + std::to_string(i) + "]");
      quota(reader);
    }
  }
  if (const Node* node = top.get("guards", Node::Kind::object)) {
    Reader reader(file_.problems, *node, "guards");
    Guards& guards = fleet.guards;
    guards.same_calls_max = reader.integer("maxSameCalls", 0, 1, 64);
    guards.same_cycles_max = reader.integer("maxSameCycles", 0, 1, 8);
    guards.failures_max = reader.integer("maxToolFailures", 0, 1, 1'000'000);
    guards.cool_down_ms = reader.quantity("coolDown", guards.cool_down_ms, true, 86'400'000);
    reader.done();
  }
  if (const Node* node = top.get("approvals", Node::Kind::object)) {
    Reader reader(file_.problems, *node, "approvals");
    approvals(reader);
  }
  fleet.evaluate_only = top.flag("evaluateOnly", false);
  tool_facts(top);
  redactions(top);
  if (const Node* node = top.get("toolPins", Node::Kind::string)) {
    fleet.tool_pins = existing(top, "toolPins", *node, node->string);
  }
}

void FleetParser::quota(Reader& reader) {
  QuotaSpec spec;
  reader.require("name");
  spec.name = reader.text("name");
  spec.per = reader.text("per", spec.per);
  reader.known("per", spec.per, {"session", "agent", "tool", "run", "principal", "fleet"}, "reach");
  spec.measure = reader.text("measure", spec.measure);
  reader.known("measure", spec.measure, {"calls", "tokens", "money"}, "measure");
  reader.require("most");
  spec.most = spec.measure == "money"
                  ? static_cast<std::int64_t>(reader.real("most", 0, 0, 1e9) * 1e6)
                  : reader.integer("most", 0, 0, 1'000'000'000'000);
  spec.window_ms = reader.quantity("window", 0, true, 86'400'000LL * 366);
  spec.at_once_most = reader.integer("atOnce", -1, 1, 1'000'000);
  spec.tool = reader.text("tool");
  spec.agent = reader.text("agent");
  if (!spec.agent.empty()) reader.known("agent", spec.agent, agent_names(), "agent");
  reader.done();
  file_.fleet.quotas.push_back(std::move(spec));
}

void FleetParser::approvals(Reader& reader) {
  Fleet& fleet = file_.fleet;
  fleet.approval_ms = reader.quantity("expireAfter", fleet.approval_ms, true, 86'400'000LL * 365);
  if (const Node* levels = reader.get("levels", Node::Kind::array)) {
    std::int64_t before_ms = 0;
    for (std::size_t i = 0; i < levels->items.size(); ++i) {
      Reader level(file_.problems, levels->items[i],
                   reader.at("levels") + "[" + std::to_string(i) + "]");
      level.require("after");
      level.require("people");
      ApprovalLevelSpec made;
      made.after_ms = level.quantity("after", 0, true, fleet.approval_ms);
      made.people = level.texts("people");
      if (made.people.empty() || made.after_ms <= before_ms || made.after_ms >= fleet.approval_ms) {
        level.report(level.node(), level.path(),
                     "each level names people and a time later than the level before, and before "
                     "the request expires");
      }
      before_ms = made.after_ms;
      level.done();
      fleet.approval_levels.push_back(std::move(made));
    }
  }
  if (const Node* node = reader.get("webhook", Node::Kind::object)) {
    Reader hook(file_.problems, *node, reader.at("webhook"));
    hook.require("url");
    hook.require("secretEnv");
    fleet.approval_url = hook.text("url");
    fleet.approval_secret = hook.text("secretEnv");
    const Node* url = hook.get("url", Node::Kind::string);
    if (url != nullptr && !fleet.approval_url.starts_with("https://") &&
        !fleet.approval_url.starts_with("http://")) {
      hook.report(*url, hook.at("url"), "expected a URL that begins with https://");
    }
    const Node* secret = hook.get("secretEnv", Node::Kind::string);
    if (secret != nullptr && context_.environment && !context_.environment(fleet.approval_secret)) {
      hook.report(*secret, hook.at("secretEnv"),
                  "the environment has no variable " + fleet.approval_secret +
                      "; set it to the webhook's secret, 24 to 64 bytes");
    }
    hook.done();
  }
  reader.done();
}

// Of command tools by name, of servers' tools by the server.
std::vector<std::string> FleetParser::known_tools() const {
  std::vector<std::string> names;
  for (const CommandToolSpec& tool : file_.fleet.tools) names.push_back(tool.spec.name);
  for (const McpServerSpec& server : file_.fleet.mcp_servers) {
    names.push_back("mcp__" + server.name + "__*");
  }
  for (const SkillSpec& skill : file_.fleet.skills) names.push_back("skill__" + skill.name);
  append_memory_tools(file_.fleet, names);
  if (file_.fleet.artifacts) names.emplace_back(artifact_tool);
  return names;
}

// What the operator says of tools: whom to believe, what cannot be undone, how much is at stake.
void FleetParser::tool_facts(Reader& top) {
  const Node* node = top.get("toolFacts", Node::Kind::object);
  if (node == nullptr) return;
  const std::vector<std::string> known = known_tools();
  for (const Node::Member& member : node->members) {
    const std::string path = "toolFacts." + member.key;
    const bool is_there = std::any_of(known.begin(), known.end(), [&](const std::string& name) {
      const bool pattern = name.ends_with('*');
      return name == member.key ||
             (pattern && member.key.starts_with(name.substr(0, name.size() - 1)));
    });
    if (!is_there) {
      const auto near = suggestion(member.key, known);
      file_.problems.push_back(problem_at(
          member, path,
          "there is no tool \"" + member.key + "\"" +
              (near ? "; did you mean \"" + *near + "\"?" : "; there are: " + list_of(known))));
    }
    if (member.value.kind != Node::Kind::object) {
      file_.problems.push_back(problem_at(
          member, path, R"(expected an object such as {"reversibility": "reversible"})"));
      continue;
    }
    Reader reader(file_.problems, member.value, path);
    ToolFactsSpec facts;
    facts.tool = member.key;
    facts.trusted = reader.flag("trusted", false);
    facts.trusted_fields = reader.texts("trustedFields");
    facts.reversibility = reader.text("reversibility");
    if (!facts.reversibility.empty()) {
      reader.known("reversibility", facts.reversibility,
                   {"none", "reversible", "compensable", "irreversible"}, "reversibility");
    }
    facts.risk = reader.text("risk", facts.risk);
    reader.known("risk", facts.risk, {"low", "medium", "high"}, "risk");
    facts.effect = reader.text("effect", facts.effect);
    reader.known("effect", facts.effect,
                 {"tool_call", "message", "memory_write", "spawn", "egress"}, "effect");
    reader.done();
    file_.fleet.tool_facts.push_back(std::move(facts));
  }
}

// What the record never gets to hold.
void FleetParser::redactions(Reader& top) {
  const Node* node = top.get("record", Node::Kind::object);
  if (node == nullptr) return;
  Reader record(file_.problems, *node, "record");
  const Node* rules = record.get("redact", Node::Kind::array);
  for (std::size_t i = 0; rules != nullptr && i < rules->items.size(); ++i) {
    Reader reader(file_.problems, rules->items[i], "record.redact[" + std::to_string(i) + "]");
    RedactionSpec rule;
    reader.require("of");
    rule.of = reader.text("of");
    reader.known("of", rule.of, {"prompt", "instructions", "message", "arguments", "result", "*"},
                 "part of a record");
    rule.tool = reader.text("tool", "*");
    rule.paths = reader.texts("paths");
    rule.patterns = reader.texts("patterns");
    const Node* patterns = reader.get("patterns");
    for (std::size_t k = 0; k < rule.patterns.size() && k < patterns->items.size(); ++k) {
      reader.known(patterns->items[k], reader.at("patterns") + "[" + std::to_string(k) + "]",
                   rule.patterns[k], {"email", "number", "secret"}, "pattern");
    }
    if (rule.paths.empty() == rule.patterns.empty()) {
      reader.report(reader.node(), reader.path(),
                    R"(say either "paths" (members of JSON) or "patterns" (kinds of text))");
    }
    if (!rule.paths.empty() && rule.of != "arguments" && rule.of != "result") {
      reader.report(reader.node(), reader.path(),
                    R"(paths are members of JSON: they are "of" arguments or of a result)");
    }
    reader.done();
    file_.fleet.redactions.push_back(std::move(rule));
  }
  record.done();
}

}  // namespace ambit::agents
