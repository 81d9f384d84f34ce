// Obligations, policies that only watch, autonomy levels, and the schema that policies can be
// checked against.

#include "agents/fact.h"
#include "cedar/validate.h"
#include "governance/action_schema.h"
#include "governance/guard.h"

#include <catch2/catch.hpp>

using namespace ambit;
using namespace ambit::governance;
using agents::Action;
using agents::Decision;
using agents::Outcome;
using agents::OutcomeKind;
using agents::Verdict;

namespace {

const std::string allow_all = "@id(\"all\") permit(principal, action, resource);\n";

std::unique_ptr<PolicyGuard> guard_of(const std::string& text, GuardOptions options = {}) {
  options.fleet = "bank";
  options.agents["clerk"].autonomy_level = 4;
  auto guard = PolicyGuard::create({{"bank.cedar", text}}, options);
  if (!guard) FAIL(guard.error().message);
  return std::move(*guard);
}

std::string fault_of(const std::string& text) {
  auto guard = PolicyGuard::create({{"bank.cedar", text}}, {});
  return guard ? "sound" : guard.error().message;
}

Action payment(const std::string& arguments) {
  Action action;
  action.agent = "clerk";
  action.on_behalf_of = "ada";
  action.session = "s";
  action.tool = "pay";
  action.arguments = arguments;
  return action;
}

std::string obligation(const Decision& decision, const std::string& name) {
  for (const auto& [key, value] : decision.obligations) {
    if (key == name) return value;
  }
  return "none";
}

}  // namespace

TEST_CASE("a cap lowers the amount before the action is done", "[obligations]") {
  const auto guard = guard_of(allow_all + R"(@id("cap") @advice("oblige") @cap("amount 100")
      forbid(principal, action, resource == Tool::"pay");)");
  const Decision high = guard->decide(payment(R"({"amount":2500,"to":"bob"})"));
  CHECK(high.verdict == Verdict::allow);
  CHECK(high.arguments == R"({"amount":100,"to":"bob"})");
  CHECK(obligation(high, "cap") == "amount 100");
  CHECK(high.policies == std::vector<std::string>{"all", "cap"});
  const Decision low = guard->decide(payment(R"({"amount":99.5,"to":"bob"})"));
  CHECK(low.verdict == Verdict::allow);
  CHECK(low.arguments.empty());
  const Decision text = guard->decide(payment(R"({"amount":"2500","to":"bob"})"));
  CHECK(text.verdict == Verdict::deny);
  CHECK(text.reason == "the argument \"amount\" is no number, so it cannot be capped");
}

TEST_CASE("redaction reaches into lists and objects and nothing else", "[obligations]") {
  const auto guard = guard_of(R"(@id("all") @redact("body, to.iban")
      permit(principal, action, resource);)");
  const Decision decision = guard->decide(
      payment(R"({"body":{"a":"x","b":[1,"y"]},"to":[{"iban":"DE1","name":"n"}],"subject":"s"})"));
  CHECK(decision.arguments == R"({"body":{"a":"[redacted]","b":["[redacted]","[redacted]"]},)"
                              R"("to":[{"iban":"[redacted]","name":"n"}],"subject":"s"})");
  CHECK(obligation(decision, "redact") == "body, to.iban");
}

TEST_CASE("an obligation grants nothing", "[obligations]") {
  const auto guard =
      guard_of(R"(@advice("oblige") @warn("seen") forbid(principal, action, resource);)");
  const Decision decision = guard->decide(payment("{}"));
  CHECK(decision.verdict == Verdict::deny);
  CHECK(decision.obligations.empty());
}

TEST_CASE("changed arguments are decided on again", "[obligations]") {
  const auto guard = guard_of(allow_all + R"(
      @id("hide") @advice("oblige") @redact("to") forbid(principal, action, resource);
      @id("known") forbid(principal, action, resource) unless { context.arguments.to == "bob" };)");
  const Decision decision = guard->decide(payment(R"({"to":"bob"})"));
  CHECK(decision.verdict == Verdict::deny);
  CHECK(decision.policies == std::vector<std::string>{"known"});
  CHECK(decision.reason == "with its arguments changed: forbidden by policy known");
  CHECK(decision.arguments.empty());
}

TEST_CASE("an advice can be written as the Agent Control Specification has it", "[obligations]") {
  const auto advised = [](const std::string& advice) {
    return guard_of("@id(\"all\") @advice(\"" + advice + "\") permit(principal, action, resource);")
        ->decide(payment(R"({"text":"account 1234","id":7})"));
  };
  const Decision transform = advised(
      R"({\"verdict\":\"transform\",\"reason\":\"pii\",\"transform\":{\"path\":\"$policy_target.text\",\"value\":\"account [x]\"}})");
  CHECK(transform.verdict == Verdict::allow);
  CHECK(transform.reason == "pii");
  CHECK(transform.arguments == R"({"text":"account [x]","id":7})");
  const Decision warn = advised(R"({\"verdict\":\"warn\",\"message\":\"look twice\"})");
  CHECK(warn.verdict == Verdict::allow);
  CHECK(obligation(warn, "warn") == "look twice");
  CHECK(advised(R"({\"verdict\":\"escalate\",\"reason\":\"big\"})").verdict == Verdict::escalate);
}

TEST_CASE("an annotation that is not understood is a fault with its place", "[obligations]") {
  const auto with = [](const std::string& annotations) {
    return fault_of("\n  " + annotations + " permit(principal, action, resource);");
  };
  CHECK(with("@advice(\"maybe\")") ==
        "bank.cedar:2:3: @advice: escalate, oblige or a JSON object: it is neither a word of ours "
        "nor JSON");
  CHECK(with("@cap(\"amount\")") ==
        "bank.cedar:2:3: @cap: it must be PATH NUMBER, such as \"amount 100\"");
  CHECK(with("@cap(\"amount lots\")") == "bank.cedar:2:3: @cap: \"lots\" is no whole number");
  CHECK(with("@redact(\"a..b\")") ==
        "bank.cedar:2:3: @redact: \"a..b\" is no path into the arguments");
  CHECK(with("@autonomy(\"5\")") == "bank.cedar:2:3: @autonomy: it must be 1 to 4");
  CHECK(with("@mode(\"off\")") == "bank.cedar:2:3: @mode: it is enforce or evaluate-only");
  for (
      const char* advice :
      {R"({\"verdict\":\"block\"})", R"({\"verdict\":\"warn\",\"effects\":[]})",
       R"({\"verdict\":\"transform\"})", R"({\"verdict\":\"warn\",\"reason\":\"runtime_error:x\"})",
       R"({\"verdict\":\"transform\",\"transform\":{\"path\":\"$snap.input\",\"value\":1}})",
       R"({\"verdict\":\"transform\",\"transform\":{\"path\":\"$policy_targets\",\"value\":1}})"}) {
    INFO(advice);
    CHECK_THAT(with("@advice(\"" + std::string(advice) + "\")"),
               Catch::Matchers::StartsWith("bank.cedar:2:3: @advice: "));
  }
  CHECK(fault_of(allow_all + "@redact(\"a\") forbid(principal, action, resource);") ==
        "bank.cedar:2:1: a forbid that denies cannot change arguments; add @advice(\"oblige\")");
}

TEST_CASE("a policy that only watches changes no verdict, and the decision says what it would",
          "[shadow]") {
  const auto guard =
      guard_of(allow_all + R"(@id("new") @mode("evaluate-only") @reason("Not to bob.")
      forbid(principal, action, resource) when { context.arguments.to == "bob" };)");
  const Decision bob = guard->decide(payment(R"({"to":"bob"})"));
  CHECK(bob.verdict == Verdict::allow);
  CHECK(bob.policies == std::vector<std::string>{"all"});
  CHECK(bob.would == "deny");
  CHECK(bob.would_reason == "Not to bob.");
  const Decision eve = guard->decide(payment(R"({"to":"eve"})"));
  CHECK(eve.would.empty());
}

TEST_CASE("a guard that only evaluates allows everything that is sound and records the verdict",
          "[shadow]") {
  GuardOptions options;
  options.evaluate_only = true;
  const auto guard = guard_of(R"(@advice("escalate") @redact("to") permit(principal, action,
      resource) when { context.arguments has to };)",
                              options);
  const Decision asked = guard->decide(payment(R"({"to":"bob"})"));
  CHECK(asked.verdict == Verdict::allow);
  CHECK(asked.would == "escalate");
  CHECK(asked.arguments.empty());
  CHECK(obligation(asked, "redact") == "to");
  CHECK(guard->decide(payment("{}")).would == "deny");
  CHECK(guard->decide(payment("[]")).verdict == Verdict::deny);
}

TEST_CASE("the record keeps the verdict that would have been, origins, and changed arguments",
          "[shadow]") {
  agents::ActionDecided fact;
  fact.action = payment(R"({"to":"bob"})");
  fact.action.edit().id = "r/s/4";
  fact.action.edit().read_only = true;
  fact.action.edit().destructive = false;
  fact.action.edit().run = "r";
  fact.action.edit().chain = {"boss"};
  fact.action.edit().origins = {{"to", agents::Trust::untrusted, true, {"tool:read_mail"}}};
  fact.decision.edit().verdict = Verdict::allow;
  fact.decision.edit().arguments = R"({"to":"[redacted]"})";
  fact.decision.edit().would = "deny";
  fact.decision.edit().would_reason = "Not to bob.";
  const std::string run = "r";
  const std::string session = "s";
  const std::string agent = "clerk";
  const auto event = agents::to_event(fact, {run, session, agent});
  const auto read = agents::fact_of(event);
  REQUIRE(read);
  const auto& again = std::get<agents::ActionDecided>(*read);
  CHECK(again.action->origins == fact.action->origins);
  CHECK(again.action->chain == fact.action->chain);
  CHECK(again.action->read_only);
  CHECK_FALSE(again.action->destructive);
  CHECK(again.decision == fact.decision);
}

TEST_CASE("policies can be replaced while the guard decides, and every decision names its set",
          "[guard]") {
  const auto guard = guard_of(allow_all);
  const Decision before = guard->decide(payment("{}"));
  const auto notice = guard->reload({{"new.cedar", "forbid(principal, action, resource);"}});
  REQUIRE(notice);
  CHECK(notice->type == "policy.loaded");
  const Decision after = guard->decide(payment("{}"));
  CHECK(before.verdict == Verdict::allow);
  CHECK(after.verdict == Verdict::deny);
  CHECK(before.policy_set != after.policy_set);
  CHECK_THAT(notice->body, Catch::Matchers::Contains(before.policy_set) &&
                               Catch::Matchers::Contains(after.policy_set));
  CHECK_FALSE(guard->reload({{"bad.cedar", "permit("}}));
  CHECK(guard->decide(payment("{}")).policy_set == after.policy_set);
}

TEST_CASE("policies see reversibility, risk, the autonomy level and who delegated", "[guard]") {
  GuardOptions options;
  options.tools["pay"] = {false, {}, "compensable", "high"};
  const auto guard = guard_of(R"(permit(principal, action, resource) when {
      resource.reversibility == "compensable" && resource.risk == "high" &&
      principal.autonomyLevel == 4 && context.chain.contains("boss") && context.depth == 1 };)",
                              options);
  Action action = payment("{}");
  CHECK(guard->decide(action).verdict == Verdict::deny);
  action.chain = {"boss"};
  CHECK(guard->decide(action).verdict == Verdict::allow);
}

TEST_CASE("a level falls by policy, by refusals in a row and by a jail's end", "[autonomy]") {
  std::vector<std::string> kept;
  GuardOptions options;
  options.keep_levels = [&kept](const std::string& levels) { kept.push_back(levels); };
  const auto guard = guard_of(allow_all + R"(@autonomy("1") @reason("Never.")
      forbid(principal, action, resource) when { context.arguments has never };)",
                              options);
  const auto ended = [](OutcomeKind kind) {
    Outcome outcome;
    outcome.kind = kind;
    return outcome;
  };
  const Action good = payment("{}");
  const Decision fine = guard->decide(good);
  for (int i = 0; i < 4; ++i) CHECK(guard->done(good, fine, ended(OutcomeKind::denied)).empty());
  CHECK(guard->done(good, fine, ended(OutcomeKind::ok)).empty());
  CHECK(guard->autonomy().of("clerk") == 4);
  for (int i = 0; i < 4; ++i) CHECK(guard->done(good, fine, ended(OutcomeKind::denied)).empty());
  const auto fifth = guard->done(good, fine, ended(OutcomeKind::denied));
  REQUIRE(fifth.size() == 1);
  CHECK(fifth[0].type == "autonomy.lowered");
  CHECK(fifth[0].body ==
        R"({"agent":"clerk","from":4,"reason":"5 actions in a row were refused","to":3})");
  CHECK(guard->done(good, fine, ended(OutcomeKind::policy_violation)).size() == 1);
  CHECK(guard->autonomy().of("clerk") == 2);
  const Action never = payment(R"({"never":1})");
  const Decision denied = guard->decide(never);
  CHECK(denied.verdict == Verdict::deny);
  CHECK(guard->done(never, denied, ended(OutcomeKind::denied)).size() == 1);
  CHECK(guard->autonomy().of("clerk") == 1);
  CHECK(kept.back() == R"({"certificates":[],"levels":{"clerk":1}})");
  const auto next = guard_of(allow_all);
  next->take_levels(*AutonomyLevels::from_json(kept.back()));
  CHECK(next->autonomy().of("clerk") == 1);
  CHECK(guard->done(never, denied, ended(OutcomeKind::denied)).empty());
}

namespace {

log::SignerKey person(const std::string& name) {
  std::array<std::uint8_t, 32> seed{};
  seed[0] = static_cast<std::uint8_t>(name[0]);
  return *log::SignerKey::from_seed(name, seed);
}

}  // namespace

TEST_CASE("a level rises by a certificate of two people, once", "[autonomy]") {
  const std::vector<log::VerifierKey> keys = {person("ada").verifier(), person("eve").verifier(),
                                              person("max").verifier()};
  auto desk = ApprovalDesk::create(keys, {});
  auto levels = AutonomyLevels::create({{"clerk", 2}});
  REQUIRE(desk);
  REQUIRE(levels);
  const auto request = desk->ask(autonomy_action("clerk", 4, "ada", "raise/1"),
                                 "a quarter without a fault", 2, std::string(32, 'a'), 1000);
  REQUIRE(request);
  const auto yes = [&](const std::string& who) {
    return sign({request->id, request->hash, Answer::approve, "agreed", "", 2000}, person(who));
  };
  const auto why = [&](const std::string& certificate) {
    const auto raised = levels->raise(certificate, keys);
    return raised ? raised->type : raised.error().message;
  };
  const std::string start = "the level is not raised: ";
  CHECK(why(autonomy_certificate(*request, {yes("eve")})) ==
        start + "too few people have approved it");
  CHECK(why(autonomy_certificate(*request, {yes("eve"), yes("eve")})) ==
        start + "eve has answered this already");
  CHECK(why(autonomy_certificate(*request, {yes("eve"), yes("ada")})) ==
        start + "ada asked for this and cannot answer it too");
  ApprovalRequest alone = *request;
  alone.needed = 1;
  CHECK(why(autonomy_certificate(alone, {yes("eve")})) == start + "two people must approve it");
  ApprovalRequest more = *request;
  more.action.arguments = R"({"agent":"clerk","level":5})";
  CHECK(why(autonomy_certificate(more, {yes("eve"), yes("max")})) ==
        "the request's hash is not that of its action");
  CHECK(levels->of("clerk") == 2);
  const std::string good = autonomy_certificate(*request, {yes("eve"), yes("max")});
  CHECK(why(good) == "autonomy.raised");
  CHECK(levels->of("clerk") == 4);
  const auto again = AutonomyLevels::from_json(levels->to_json());
  REQUIRE(again);
  CHECK(again->of("clerk") == 4);
  REQUIRE(levels->lower("clerk", 2, "anomaly"));
  CHECK(why(good) == start + "the certificate was used before");
  for (const char* bad : {"", "{}", "[]", R"({"request":{}})", R"({"request":1,"answers":[]})"}) {
    CHECK_THAT(why(bad), Catch::Matchers::StartsWith(start));
  }
}

TEST_CASE("every kind of action fits the published schema", "[schema]") {
  const auto schema = cedar::Schema::from_text(action_schema(), "ambit.cedarschema");
  if (!schema) FAIL(schema.error().message);
  using agents::ActionKind;
  for (const ActionKind kind :
       {ActionKind::model_call, ActionKind::tool_call, ActionKind::delegation, ActionKind::message,
        ActionKind::memory_write, ActionKind::spawn, ActionKind::egress}) {
    Action action = payment(R"({"to":"bob","amount":3})");
    action.kind = kind;
    action.tool_digest = "ab";
    action.chain = {"boss"};
    action.origins = {{"to", agents::Trust::untrusted, false, {"tool:mail"}}};
    const auto fits = check_action(action, {}, *schema);
    INFO(to_string(kind));
    CHECK((fits ? "fits" : fits.error().message) == "fits");
    action.left = {-1, -1, -1, -1};
    action.tool = "mcp__desk__pay";
    CHECK(check_action(action, {}, *schema));
  }
}

TEST_CASE("the schema has the arguments of the tools where Cedar can type them", "[schema]") {
  agents::ToolSpec pay;
  pay.input_schema = R"({"type":"object","properties":{"to":{"type":"string"},
      "amount":{"type":"number"},"tags":{"type":"array","items":{"type":"string"}},
      "order":{"type":"object","properties":{"id":{"type":"integer"}}},"x-y":{"type":"boolean"}}})";
  agents::ToolSpec mail;
  mail.input_schema = R"({"type":"object","properties":{"to":{"type":"array"}}})";
  const auto findings = [](const std::vector<agents::ToolSpec>& tools, const std::string& policy) {
    const auto schema = cedar::Schema::from_text(action_schema(tools), "ambit.cedarschema");
    if (!schema) FAIL(schema.error().message);
    auto policies = cedar::parse_policies(policy, "p");
    if (!policies) FAIL(policies.error().message);
    return cedar::validate(*policies, *schema).size();
  };
  const std::string start = "permit(principal, action == Action::\"tool_call\", resource) when { ";
  const std::string sound = start + R"(context.arguments has to && context.arguments.to == "bob" &&
      context.arguments has order.id && context.arguments.order.id > 3 &&
      context.arguments has tags && context.arguments.tags.contains("a") &&
      context.provenance has to && context.provenance.to.trust == "user" };)";
  CHECK(findings({pay}, sound) == 0);
  CHECK(findings({pay, mail},
                 start + "context.arguments has to && context.arguments.to == \"bob\" };") > 0);
  CHECK(findings({pay}, start + "context.arguments.to == \"bob\" };") > 0);
  CHECK(findings({pay}, start + "resource.risk == 3 };") > 0);
}

TEST_CASE("a policy names who may approve, how many of them, and until when", "[obligations]") {
  const auto guard = guard_of(allow_all + R"(
      @id("ask") @advice("escalate") @approvers("2 of eve, mia, tom") @deadline("10m")
      forbid(principal, action, resource == Tool::"pay");)");
  const Decision decision = guard->decide(payment("{}"));
  CHECK(decision.verdict == Verdict::escalate);
  CHECK(obligation(decision, "approvers") == "2 of eve, mia, tom");
  CHECK(obligation(decision, "deadline") == "600000 ms");
  const ApprovalTerms terms = approval_terms(decision.obligations);
  CHECK(terms.needed == 2);
  CHECK(terms.people == std::vector<std::string>{"eve", "mia", "tom"});
  CHECK(terms.deadline_ms == 600'000);
  CHECK(approval_terms({}).needed == 1);
  CHECK(approval_terms({}).people.empty());
}

TEST_CASE("of two policies that ask for people the stricter holds in each respect",
          "[obligations]") {
  const auto guard = guard_of(allow_all + R"(
      @id("a") @advice("escalate") @approvers("1 of eve, mia") @deadline("1h")
      forbid(principal, action, resource == Tool::"pay");
      @id("b") @advice("escalate") @approvers("2 of mia, tom, eve") @deadline("90s")
      forbid(principal, action, resource == Tool::"pay");)");
  const ApprovalTerms terms = approval_terms(guard->decide(payment("{}")).obligations);
  CHECK(terms.needed == 2);
  CHECK(terms.people == std::vector<std::string>{"eve", "mia"});
  CHECK(terms.deadline_ms == 90'000);
}

TEST_CASE("people and deadlines that make no sense are faults of the file", "[obligations]") {
  const auto fault = [](const std::string& annotation) {
    return fault_of(allow_all + annotation + R"( @advice("escalate")
        forbid(principal, action, resource);)");
  };
  CHECK_THAT(fault(R"(@approvers("3 of eve, mia"))"), Catch::Contains("fewer people"));
  CHECK_THAT(fault(R"(@approvers("2 of eve, eve"))"), Catch::Contains("fewer people"));
  CHECK_THAT(fault(R"(@approvers("2 of eve, "))"), Catch::Contains("a name is missing"));
  CHECK_THAT(fault(R"(@deadline("soon"))"), Catch::Contains("such as 90s"));
  CHECK_THAT(fault(R"(@deadline("0m"))"), Catch::Contains("1 to 10000"));
}
