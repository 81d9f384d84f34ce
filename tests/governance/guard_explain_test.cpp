// Explanations and differences: which clause of which policy made a verdict, and what a new set
// permits that the old one did not.

#include "governance/action_json.h"
#include "governance/difference.h"
#include "governance/guard.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace ambit;
using namespace ambit::governance;

namespace {

const char* const desk = R"(
@id("tools")
permit (principal in Fleet::"desk", action == Action::"tool_call", resource);
@id("own-folder")
forbid (principal, action, resource == Tool::"read_file")
unless { context.arguments has path && context.arguments.path like "logs/*" && !(context.arguments.path like "*..*") };
@id("ask")
@advice("escalate")
forbid (principal, action, resource == Tool::"refund")
when { context.arguments has amount && context.arguments.amount > 30 };
)";

std::unique_ptr<PolicyGuard> guard(const std::string& text) {
  GuardOptions options;
  options.fleet = "desk";
  auto made = PolicyGuard::create({{"p.cedar", text}}, options);
  if (!made) FAIL(made.error().message);
  return std::move(*made);
}

agents::Action call(const std::string& tool, const std::string& arguments) {
  agents::Action action;
  action.agent = "clerk";
  action.tool = tool;
  action.arguments = arguments;
  return action;
}

std::vector<std::string> clauses(PolicyGuard& of, const agents::Action& action,
                                 const std::string& policy) {
  const auto explained = of.explain(action);
  std::vector<std::string> texts{"no such policy"};
  for (const auto& one : explained.policies) {
    if (one.policy->id != policy) continue;
    texts = {std::string(to_string(one.outcome))};
    for (const auto& clause : one.clauses) texts.push_back(to_text(clause));
  }
  return texts;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a denial names the clause that failed and the value that it failed on", "[explain]") {
  auto made = guard(desk);
  CHECK(clauses(*made, call("read_file", R"({"path":"/etc/shadow"})"), "own-folder") ==
        Texts{"applies",
              "line 6, column 63: `context.arguments.path like \"logs/*\"` is false; "
              "context.arguments.path is \"/etc/shadow\""});
  CHECK(clauses(*made, call("read_file", R"({"path":"logs/../x"})"), "own-folder") ==
        Texts{"applies",
              "line 6, column 105: `context.arguments.path like \"*..*\"` is true; "
              "context.arguments.path is \"logs/../x\""});
  CHECK(clauses(*made, call("read_file", "{}"), "own-folder") ==
        Texts{"applies",
              "line 6, column 28: `context.arguments has path` is false; context.arguments is {}"});
  CHECK(clauses(*made, call("refund", R"({"amount":7})"), "ask") ==
        Texts{"condition",
              "line 10, column 65: `context.arguments.amount > 30` is false; "
              "context.arguments.amount is 7"});
  CHECK(clauses(*made, call("refund", R"({"amount":"7"})"), "ask")[0] == "failed");
  CHECK(clauses(*made, call("grep", "{}"), "ask") ==
        Texts{"scope", "`resource == Tool::\"refund\"` is false; resource is Tool::\"grep\""});
}

TEST_CASE("a scope that does not fit shows what lies above", "[explain]") {
  auto made = guard("@id(\"a\") permit(principal in Fleet::\"other\", action, resource);");
  CHECK(clauses(*made, call("grep", "{}"), "a") ==
        Texts{"scope",
              "`principal in Fleet::\"other\"` is false; principal is Agent::\"clerk\"; above it "
              "is Fleet::\"desk\""});
}

TEST_CASE("every alternative that failed is named", "[explain]") {
  auto made = guard(
      "@id(\"a\") permit(principal, action, resource) when { context.tainted || "
      "context.arguments has x || (if context.tainted then true else resource.readOnly) };");
  const auto texts = clauses(*made, call("grep", "{}"), "a");
  REQUIRE(texts.size() == 4);
  CHECK_THAT(texts[1], Catch::Contains("`context.tainted` is false"));
  CHECK_THAT(texts[2], Catch::Contains("`context.arguments has x` is false"));
  CHECK_THAT(texts[3], Catch::Contains("`resource.readOnly` is false"));
}

TEST_CASE("an explanation agrees with the decision", "[explain]") {
  auto made = guard(desk);
  for (const char* arguments : {"{}", R"({"path":"logs/a"})", R"({"amount":31})", "nonsense"}) {
    for (const char* tool : {"read_file", "refund", "grep"}) {
      const auto explained = made->explain(call(tool, arguments));
      CHECK(explained.decision == made->decide(call(tool, arguments)));
      for (const std::string& id : explained.decision.policies) {
        const auto& first = explained.policies;
        CHECK(std::any_of(first.begin(), first.end(), [&](const auto& one) {
          return one.policy->id == id && one.outcome == cedar::Explanation::Outcome::applies;
        }));
      }
    }
  }
}

TEST_CASE("a new set that permits more is found out, with an action that shows it",
          "[difference]") {
  auto before = guard(desk);
  CHECK(compare(*before, *guard(desk)).wider.empty());
  std::string text = desk;
  text.replace(text.find("> 30"), 4, "> 31");
  auto report = compare(*before, *guard(text));
  REQUIRE(report.wider.size() >= 1);
  CHECK(report.exhaustive);
  CHECK(report.wider[0].action.tool == "refund");
  CHECK(nlohmann::json::parse(report.wider[0].action.arguments)["amount"] == 31);
  CHECK(report.wider[0].before.verdict == agents::Verdict::escalate);
  CHECK(report.wider[0].after.verdict == agents::Verdict::allow);
  CHECK(report.narrower.empty());
  // The other way round the same is narrower.
  report = compare(*guard(text), *before);
  CHECK(report.wider.empty());
  CHECK(report.narrower.size() >= 1);
  // A guard against `..` that is left out.
  text = desk;
  const std::string dots = " && !(context.arguments.path like \"*..*\")";
  text.erase(text.find(dots), dots.size());
  report = compare(*before, *guard(text));
  REQUIRE(report.wider.size() >= 1);
  CHECK(report.wider[0].action.tool == "read_file");
  // A tool that nobody named before.
  report =
      compare(*before, *guard(std::string(desk) + "permit(principal == Agent::\"x\", action == "
                                                  "Action::\"spawn\", resource == Agent::\"y\");"));
  REQUIRE(report.wider.size() == 1);
  CHECK(report.wider[0].action.kind == agents::ActionKind::spawn);
  CHECK(report.wider[0].action.agent == "x");
}

TEST_CASE("too many combinations are drawn by lot, and the report says so", "[difference]") {
  std::string text = "permit(principal, action, resource) when { true";
  for (int i = 0; i < 12; ++i) {
    text += " && context.arguments.a" + std::to_string(i) + " != \"x\"";
  }
  text += " };";
  DifferenceOptions options;
  options.per_target_max = 20;
  const auto report = compare(*guard(text), *guard(text), options);
  CHECK_FALSE(report.exhaustive);
  CHECK(report.actions <= 20 * 8);
  CHECK(report.wider.empty());
}

TEST_CASE("policies in JSON and text make one set; a template is refused", "[guard]") {
  const auto both = PolicyGuard::create(
      {{"a.cedar", "permit(principal, action, resource);"},
       {"b.cedar.json",
        R"({"staticPolicies":{"no":{"effect":"forbid","principal":{"op":"All"},"action":{"op":"All"},
            "resource":{"op":"==","entity":{"type":"Tool","id":"rm"}},"conditions":[]}}})"}},
      {});
  if (!both) FAIL(both.error().message);
  CHECK((*both)->decide(call("grep", "{}")).verdict == agents::Verdict::allow);
  CHECK((*both)->decide(call("rm", "{}")).policies == std::vector<std::string>{"no"});
  const auto plan =
      PolicyGuard::create({{"t.cedar", "permit(principal == ?principal, action, resource);"}}, {});
  REQUIRE_FALSE(plan);
  CHECK_THAT(plan.error().message, Catch::StartsWith("t.cedar:1:1: a template"));
}

TEST_CASE("an action comes from JSON, and mistakes are named", "[guard]") {
  using nlohmann::json;
  const auto action = action_from_json(
      json::parse(R"({"agent":"a","kind":"spawn","tool":"b","arguments":{"x":1},"tainted":true})"));
  REQUIRE(action);
  CHECK(action->kind == agents::ActionKind::spawn);
  CHECK(action->arguments == R"({"x":1})");
  CHECK(to_json(*action_from_json(to_json(*action))) == to_json(*action));
  CHECK_FALSE(action_from_json(json::parse(R"({"agnet":"a"})")));
  CHECK_FALSE(action_from_json(json::parse(R"({"kind":"fly"})")));
  CHECK_FALSE(action_from_json(json::parse(R"({"arguments":[]})")));
  CHECK_FALSE(action_from_json(json::parse("[]")));
}
