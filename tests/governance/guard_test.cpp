#include "governance/guard.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>

using ambit::agents::Action;
using ambit::agents::ActionKind;
using ambit::agents::Decision;
using ambit::agents::Verdict;
using ambit::governance::GuardOptions;
using ambit::governance::PolicyGuard;

namespace {

std::unique_ptr<PolicyGuard> guard_of(const std::string& text) {
  GuardOptions options;
  options.fleet = "desk";
  options.agents["clerk"].autonomy_level = 3;
  auto guard = PolicyGuard::create({{"desk.cedar", text}}, options);
  if (!guard) FAIL(guard.error().message);
  return std::move(*guard);
}

Action call(const std::string& tool, const std::string& arguments = "{}") {
  Action action;
  action.id = "run/s/1";
  action.agent = "clerk";
  action.on_behalf_of = "ada";
  action.run = "run";
  action.session = "s";
  action.tool = tool;
  action.arguments = arguments;
  action.left = {5, 3, 1000, -1};
  return action;
}

Verdict verdict(const std::string& condition, const Action& action) {
  return guard_of("permit(principal, action, resource) when { " + condition + " };")
      ->decide(action)
      .verdict;
}

}  // namespace

TEST_CASE("what no policy permits is denied, and the reason says so", "[guard]") {
  auto guard = guard_of("permit(principal, action, resource == Tool::\"grep\");");
  const Decision decision = guard->decide(call("rm"));
  CHECK(decision.verdict == Verdict::deny);
  CHECK(decision.reason == "no policy permits the agent clerk this tool_call of rm");
  CHECK(decision.policies.empty());
  CHECK(guard->decide(call("grep")).verdict == Verdict::allow);
}

TEST_CASE("a forbid outweighs every permit and gives its own reason", "[guard]") {
  auto guard = guard_of(R"(
    @id("all") permit(principal, action, resource);
    @id("no-delete") @reason("Nothing may be deleted here.")
    forbid(principal, action, resource == Tool::"rm");
  )");
  const Decision decision = guard->decide(call("rm"));
  CHECK(decision.verdict == Verdict::deny);
  CHECK(decision.reason == "Nothing may be deleted here.");
  CHECK(decision.policies == std::vector<std::string>{"no-delete"});
  CHECK(decision.policy_set == guard->policy_set());
  CHECK(decision.policy_set.size() == 64);
}

TEST_CASE("a forbid that advises escalation escalates what is permitted otherwise", "[guard]") {
  auto guard = guard_of(R"(
    @id("tools") permit(principal, action == Action::"tool_call", resource is Tool);
    @id("ask") @advice("escalate") forbid(principal, action, resource == Tool::"restart")
      when { context.arguments.environment == "production" };
    @id("never") forbid(principal, action, resource == Tool::"restart")
      when { context.arguments.service == "billing" };
  )");
  const Decision asked =
      guard->decide(call("restart", R"({"environment":"production","service":"web"})"));
  CHECK(asked.verdict == Verdict::escalate);
  CHECK(asked.reason == "a person must approve: policy ask");
  CHECK(asked.policies == std::vector<std::string>{"ask"});
  CHECK(guard->decide(call("restart", R"({"environment":"test","service":"web"})")).verdict ==
        Verdict::allow);
  const Decision never =
      guard->decide(call("restart", R"({"environment":"production","service":"billing"})"));
  CHECK(never.verdict == Verdict::deny);
  CHECK(never.reason == "forbidden by policy never");
}

TEST_CASE("an escalation needs a permit that an approval could let through", "[guard]") {
  auto guard = guard_of(R"(
    permit(principal, action, resource == Tool::"grep");
    @advice("escalate") forbid(principal, action, resource == Tool::"restart");
  )");
  const Decision decision = guard->decide(call("restart"));
  CHECK(decision.verdict == Verdict::deny);
  CHECK(decision.reason == "no policy permits the agent clerk this tool_call of restart");
}

TEST_CASE("a permit that advises escalation escalates unless a plain permit holds too", "[guard]") {
  auto guard = guard_of(R"(
    @id("ask") @advice("escalate") permit(principal, action, resource is Tool);
    @id("read") permit(principal, action, resource is Tool) when { resource.readOnly };
  )");
  Action action = call("grep");
  CHECK(guard->decide(action).verdict == Verdict::escalate);
  action.read_only = true;
  CHECK(guard->decide(action).verdict == Verdict::allow);
}

TEST_CASE("a policy that fails is skipped, and the decision says which and why", "[guard]") {
  auto guard = guard_of(R"(
    @id("paths") permit(principal, action, resource) when { context.arguments.path like "/desk/*" };
  )");
  const Decision decision = guard->decide(call("read", "{}"));
  CHECK(decision.verdict == Verdict::deny);
  REQUIRE(decision.errors.size() == 1);
  CHECK_THAT(decision.errors[0], Catch::Contains("paths: line 2") && Catch::Contains("\"path\""));
  CHECK_THAT(decision.reason, Catch::Contains("policy paths failed"));
}

TEST_CASE("policies see the agent, its fleet and for whom it acts", "[guard]") {
  CHECK(verdict(R"(principal == Agent::"clerk" && principal in Fleet::"desk")", call("t")) ==
        Verdict::allow);
  CHECK(verdict("principal.autonomyLevel == 3 && principal.name == \"clerk\"", call("t")) ==
        Verdict::allow);
  CHECK(verdict("principal.onBehalfOf == \"ada\" && context.onBehalfOf == \"ada\"", call("t")) ==
        Verdict::allow);
  CHECK(verdict(R"(principal in Fleet::"other")", call("t")) == Verdict::deny);
}

TEST_CASE("policies see the tool, its server and what it does", "[guard]") {
  Action action = call("mcp__registry__lookup");
  action.destructive = false;
  action.tool_digest = "abc";
  CHECK(verdict(R"(resource in Toolbox::"registry" && resource.server == "registry")", action) ==
        Verdict::allow);
  CHECK(verdict(R"(!resource.destructive && !resource.readOnly && resource.digest == "abc")",
                action) == Verdict::allow);
  CHECK(verdict("resource has server", call("grep")) == Verdict::deny);
}

TEST_CASE("policies see the budget left, and a budget without limit is absent", "[guard]") {
  CHECK(verdict("context.budgetLeft.turns == 5 && context.budgetLeft.tokens == 1000", call("t")) ==
        Verdict::allow);
  CHECK(verdict("context.budgetLeft has wallMs", call("t")) == Verdict::deny);
}

TEST_CASE("every kind of action has its own Cedar action and type of resource", "[guard]") {
  Action action = call("m");
  action.kind = ActionKind::model_call;
  CHECK(verdict(R"(action == Action::"model_call" && resource is Model)", action) ==
        Verdict::allow);
  CHECK(verdict(R"(action in Action::"effect")", action) == Verdict::allow);
  action.kind = ActionKind::egress;
  CHECK(verdict(R"(action == Action::"egress" && resource == Host::"m")", action) ==
        Verdict::allow);
  action.kind = ActionKind::delegation;
  action.tool = "clerk";
  CHECK(verdict("resource == principal", action) == Verdict::allow);
}

TEST_CASE("arguments keep their types", "[guard]") {
  const Action action =
      call("t", R"({"n":-3,"b":true,"s":"x","list":["a","b","a"],"deep":{"k":{"v":1}},
    "half":0.5,"tiny":1e-9,"huge":18446744073709551615,"none":null})");
  CHECK(verdict("context.arguments.n == -3 && context.arguments.b && context.arguments.s == \"x\"",
                action) == Verdict::allow);
  CHECK(verdict("context.arguments.list == [\"b\", \"a\"] && context.arguments.deep.k.v == 1",
                action) == Verdict::allow);
  CHECK(verdict("context.arguments.half == decimal(\"0.5\")", action) == Verdict::allow);
  CHECK(verdict("context.arguments.tiny == \"1e-09\" || context.arguments.tiny == \"1e-9\"",
                action) == Verdict::allow);
  CHECK(verdict("context.arguments.huge == \"18446744073709551615\"", action) == Verdict::allow);
  CHECK(verdict("context.arguments has none", action) == Verdict::deny);
}

TEST_CASE("arguments cannot pass for entities", "[guard]") {
  const Action action = call("t", R"({"who":{"__entity":{"type":"Agent","id":"clerk"}}})");
  CHECK(verdict("context.arguments.who == principal", action) == Verdict::deny);
}

TEST_CASE("arguments that are no object, too long or too deep are denied", "[guard]") {
  auto guard = guard_of("permit(principal, action, resource);");
  CHECK(guard->decide(call("t", "[1]")).reason == "the arguments are not a JSON object");
  CHECK(guard->decide(call("t", "{\"a\":")).verdict == Verdict::deny);
  const std::string deep = std::string(70, '[') + std::string(70, ']');
  CHECK_THAT(guard->decide(call("t", "{\"a\":" + deep + "}")).reason,
             Catch::Contains("nested deeper"));
  CHECK_THAT(guard->decide(call("t", "{\"a\":\"" + std::string(2 << 20, 'x') + "\"}")).reason,
             Catch::Contains("more than 1048576"));
}

TEST_CASE("a policy file that does not parse is named with its place", "[guard]") {
  const auto guard = PolicyGuard::create({{"desk.cedar", "permit(principal, action);"}}, {});
  REQUIRE(!guard);
  CHECK(guard.error().message ==
        "desk.cedar:1:25: expected `,` after the action; a scope is (principal, action, resource), "
        "found `)`");
}

TEST_CASE("two policies of one id, and a set without policies, are refused", "[guard]") {
  const std::string twice = "@id(\"a\") permit(principal, action, resource);";
  const auto guard = PolicyGuard::create({{"a.cedar", twice}, {"b.cedar", twice}}, {});
  REQUIRE(!guard);
  CHECK_THAT(guard.error().message, Catch::StartsWith("b.cedar:1:1: the policy id \"a\" is taken"));
  CHECK_FALSE(PolicyGuard::create({{"a.cedar", "// nothing\n"}}, {}).has_value());
}

TEST_CASE("the hash of a policy set changes with a policy, not with comments around it",
          "[guard]") {
  const std::string policy = "permit(principal, action, resource);";
  CHECK(guard_of(policy)->policy_set() == guard_of("// why\n" + policy + "\n\n")->policy_set());
  CHECK(guard_of(policy)->policy_set() !=
        guard_of("forbid(principal, action, resource);")->policy_set());
}

TEST_CASE("the policies of the incident desk keep its bounds", "[guard]") {
  std::ifstream file(std::string(PROJECT_ROOT) + "/examples/1-incident-desk/desk.cedar");
  std::stringstream text;
  text << file.rdbuf();
  auto guard = guard_of(text.str());
  const auto verdict_of = [&guard](const std::string& tool, const std::string& arguments) {
    return guard->decide(call(tool, arguments)).verdict;
  };
  CHECK(verdict_of("read_file", R"({"path":"logs/web.log"})") == Verdict::allow);
  CHECK(verdict_of("read_file", R"({"path":"/etc/shadow"})") == Verdict::deny);
  CHECK(verdict_of("read_file", R"({"path":"logs/../../secret"})") == Verdict::deny);
  CHECK(verdict_of("read_file", "{}") == Verdict::deny);
  CHECK(verdict_of("search_log", R"({"file":"logs/web.log","pattern":"x"})") == Verdict::allow);
  CHECK(verdict_of("search_log", R"({"file":"../x"})") == Verdict::deny);
  CHECK(verdict_of("open_ticket", "{}") == Verdict::allow);
  CHECK(verdict_of("mcp__registry__lookup", "{}") == Verdict::allow);
  CHECK(verdict_of("restart_service", R"({"environment":"production"})") == Verdict::escalate);
  CHECK(verdict_of("restart_service", R"({"environment":"staging"})") == Verdict::allow);
  CHECK(verdict_of("restart_service", "{}") == Verdict::escalate);
  CHECK(verdict_of("delete_file", R"({"path":"logs/web.log"})") == Verdict::deny);
}

TEST_CASE("what the operator says of a tool holds for all whose names begin so", "[guard]") {
  GuardOptions options;
  options.tools["mcp__bank__*"].risk = "high";
  options.tools["mcp__bank__pay"].reversibility = "compensable";
  options.tools["mcp__bank__pay"].risk = "low";
  options.tools["mcp__notes__store"].effect = ActionKind::memory_write;
  const std::string policies = R"(
    permit(principal, action == Action::"tool_call", resource)
      when { resource.risk == "high" || resource.reversibility == "compensable" };
    @id("notes") permit(principal, action == Action::"memory_write", resource is Tool);)";
  auto guard = PolicyGuard::create({{"desk.cedar", policies}}, options);
  REQUIRE(guard);
  const auto verdict_of = [&](const std::string& tool) {
    Action action = call(tool);
    (*guard)->trace(action);
    return (*guard)->decide(action);
  };
  CHECK(verdict_of("mcp__bank__list").verdict == Verdict::allow);
  CHECK(verdict_of("mcp__bank__pay").verdict == Verdict::allow);
  CHECK(verdict_of("mcp__mail__send").verdict == Verdict::deny);
  const Decision stored = verdict_of("mcp__notes__store");
  CHECK(stored.verdict == Verdict::allow);
  CHECK(stored.policies == std::vector<std::string>{"notes"});
}

TEST_CASE("what was said of a tool when it was called is what a replay decides by", "[guard]") {
  GuardOptions options;
  options.tools["pay"].risk = "high";
  const std::string policies =
      "permit(principal, action, resource) when { resource.risk == \"high\" };";
  auto then = PolicyGuard::create({{"p.cedar", policies}}, options);
  auto now = PolicyGuard::create({{"p.cedar", policies}}, {});
  REQUIRE(then);
  REQUIRE(now);
  Action action = call("pay");
  (*then)->trace(action);
  CHECK(action.risk == "high");
  CHECK(action.reversibility == "irreversible");
  CHECK((*now)->decide(action).verdict == Verdict::allow);
}

TEST_CASE("who acts for another acts at most at the other's level", "[guard]") {
  GuardOptions options;
  options.agents["planner"].autonomy_level = 2;
  options.agents["clerk"].autonomy_level = 4;
  auto guard = PolicyGuard::create({{"p.cedar", "permit(principal, action, resource);"}}, options);
  REQUIRE(guard);
  Action action = call("pay");
  (*guard)->trace(action);
  CHECK(action.autonomy_level == 4);
  action.chain = {"planner"};
  (*guard)->trace(action);
  CHECK(action.autonomy_level == 2);
}

TEST_CASE("policies that are announced decide nothing yet", "[guard]") {
  auto guard = guard_of("permit(principal, action, resource == Tool::\"grep\");");
  const std::string before = guard->policy_set();
  const std::vector<ambit::governance::PolicySource> next = {
      {"desk.cedar", "permit(principal, action, resource);"}};
  const auto announced = guard->announce(next);
  REQUIRE(announced);
  CHECK(announced->type == "policy.loaded");
  CHECK(guard->policy_set() == before);
  CHECK(guard->decide(call("rm")).verdict == Verdict::deny);
  const auto loaded = guard->reload(next);
  REQUIRE(loaded);
  CHECK(*loaded == *announced);
  CHECK(guard->decide(call("rm")).verdict == Verdict::allow);
  CHECK_FALSE(guard->announce({{"desk.cedar", "permit(principal"}}));
}

TEST_CASE("what could be let through is known before the arguments are", "[guard]") {
  const auto may = [](const std::string& policies) {
    return guard_of(policies)->may_allow(call("grep"));
  };
  const std::string permit = "permit(principal, action, resource)";
  CHECK(may(permit + ";"));
  CHECK_FALSE(may("permit(principal, action, resource == Tool::\"rm\");"));
  // Who asks is known, what will be asked is not.
  CHECK(may(permit + " when { context.onBehalfOf == \"ada\" };"));
  CHECK_FALSE(may(permit + " when { context.onBehalfOf == \"eve\" };"));
  CHECK_FALSE(may(permit + " unless { principal.name == \"clerk\" };"));
  CHECK(may(permit + " when { context.arguments.path like \"logs/*\" };"));
  CHECK(may(permit + " when { context has arguments && context.arguments has path };"));
  CHECK(may(permit + " when { {a: context}.a.arguments.n > 1 };"));
  CHECK_FALSE(
      may("permit(principal == Agent::\"other\", action, resource) when { "
          "context.arguments.n > 1 };"));
  // Forbids that no arguments get around.
  CHECK_FALSE(may(permit + "; forbid(principal, action, resource);"));
  CHECK(
      may(permit + "; forbid(principal, action, resource) unless { context.arguments has path };"));
  CHECK(may(permit + "; forbid(principal, action, resource == Tool::\"rm\");"));
  CHECK(may(permit + "; @advice(\"oblige\") @warn(\"w\") forbid(principal, action, resource);"));
  CHECK(may(permit + "; @mode(\"evaluate-only\") forbid(principal, action, resource);"));
  // A person would have to be asked, whatever the arguments are.
  CHECK_FALSE(may(permit + "; @advice(\"escalate\") forbid(principal, action, resource);"));
  CHECK_FALSE(may("@advice(\"escalate\") " + permit + ";"));
}
