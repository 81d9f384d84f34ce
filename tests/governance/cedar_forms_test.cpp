// The forms of a policy: text, JSON (EST) and templates; each must mean the same as the other.

#include "cedar/est.h"
#include "cedar/policy_set.h"
#include "cedar/write.h"
#include "random_policies.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace ambit::cedar;
using nlohmann::json;

namespace {

Policy parse_one(const std::string& text) {
  auto policies = parse_policies(text, "p.cedar");
  if (!policies) FAIL(policies.error().message);
  REQUIRE(policies->size() == 1);
  return policies->front();
}

std::string error_of(const std::string& text) {
  const auto policies = parse_policies_json(text, "p.json");
  return policies ? "no error" : policies.error().message;
}

const char* const everything = R"(@id("x")
@reason("a \"b\"")
permit (
  principal is A::B in C::"d",
  action in [Action::"e", Action::"f"],
  resource == R::"\u{0}\n"
)
when { if context.a has b.c then [1, -2] == [] else {"k x": "v", l: -(3)}["k x"] like "a\**" }
unless { !(principal in [C::"d"]) || 1 + 2 * 3 - (4 - 5) < -9223372036854775808 && ip("::1").isInRange(ip("::/0")) }
when { resource.getTag("t").contains(datetime("2026-01-01").offset(duration("1d"))) && (1 == 2) == true }
when { -3.age == (-3).age && --3["a b"] < -3 };)";

}  // namespace

TEST_CASE("a policy that is written and read again is the same", "[cedar]") {
  const Policy first = parse_one(everything);
  const std::string text = to_text(first);
  const Policy second = parse_one(text);
  CHECK(to_text(second) == text);
  CHECK(to_json(second) == to_json(first));
  CHECK(second.annotations == first.annotations);
  // A sign before a number is the number's own, unless something is asked of the number.
  CHECK_THAT(to_json(first),
             Catch::Contains(R"({"neg":{"arg":{".":{"attr":"age","left":{"Value":3}}}}})"));
}

TEST_CASE("random policies mean the same in every form, and with the index as without", "[cedar]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    RandomPolicies random(seed);
    std::vector<Policy> policies;
    for (std::size_t i = 0; i < 8; ++i) policies.push_back(random.policy(i));
    auto list = random.entities();
    const auto entities = Entities::create(std::move(list));
    REQUIRE(entities);
    std::string text;
    for (const Policy& policy : policies) text += policy.text + "\n";
    auto from_text = parse_policies(text, "text");
    if (!from_text) FAIL(from_text.error().message << "\n" << text);
    auto from_json = parse_policies_json(to_json(policies), "json");
    if (!from_json) FAIL(from_json.error().message);
    const auto direct = PolicySet::create(policies);
    const auto by_text = PolicySet::create(std::move(*from_text));
    const auto by_json = PolicySet::create(std::move(*from_json));
    REQUIRE((direct && by_text && by_json));
    for (int k = 0; k < 20; ++k) {
      const Request request = random.request();
      const Answer answer = direct->decide(request, *entities);
      std::size_t satisfied = 0;
      std::size_t failed = 0;
      for (const Policy& policy : policies) {
        const auto alone = evaluate(policy, request, *entities);
        satisfied += alone && *alone ? 1 : 0;
        failed += alone ? 0 : 1;
      }
      REQUIRE(answer.permits.size() + answer.forbids.size() == satisfied);
      REQUIRE(answer.errors.size() == failed);
      for (const PolicySet* set : {&*by_text, &*by_json}) {
        const Answer other = set->decide(request, *entities);
        REQUIRE(other.allowed() == answer.allowed());
        REQUIRE(other.errors.size() == failed);
        REQUIRE(other.permits.size() == answer.permits.size());
        REQUIRE(other.forbids.size() == answer.forbids.size());
      }
    }
  }
}

TEST_CASE("a template decides nothing until its slots are filled", "[cedar]") {
  const Policy plan = parse_one(
      "@id(\"t\") permit(principal == ?principal, action, resource is File in ?resource);");
  CHECK(plan.is_template());
  const Request request = Request::make({"User", "ada"}, {"Action", "read"}, {"File", "a"});
  Entity file;
  file.uid = {"File", "a"};
  file.parents = {{"Folder", "f"}};
  const auto entities = Entities::create({file});
  REQUIRE(entities);
  const EntityUid ada{"User", "ada"};
  const EntityUid folder{"Folder", "f"};
  CHECK_FALSE(link(plan, "l", &ada, nullptr));
  CHECK_FALSE(link(parse_one("permit(principal, action, resource);"), "l", &ada, nullptr));
  auto linked = link(plan, "l", &ada, &folder);
  REQUIRE(linked);
  const auto alone = PolicySet::create({plan});
  REQUIRE(alone);
  CHECK_FALSE(alone->decide(request, *entities).allowed());
  const auto both = PolicySet::create({plan, *linked});
  REQUIRE(both);
  const Answer answer = both->decide(request, *entities);
  REQUIRE(answer.permits.size() == 1);
  CHECK(answer.permits[0]->id == "l");
}

TEST_CASE("a set in JSON brings its policies, templates and links", "[cedar]") {
  const Policy plan = parse_one("forbid(principal in ?principal, action, resource);");
  json set = {{"staticPolicies",
               {{"open", json::parse(to_json(parse_one("permit(principal,action,resource);")))}}},
              {"templates", {{"ban", json::parse(to_json(plan))}}},
              {"templateLinks",
               {{{"templateId", "ban"},
                 {"newId", "ban-ada"},
                 {"values", {{"?principal", {{"type", "User"}, {"id", "ada"}}}}}}}}};
  auto policies = parse_policies_json(set.dump(), "set.json");
  if (!policies) FAIL(policies.error().message);
  REQUIRE(policies->size() == 3);
  const auto made = PolicySet::create(std::move(*policies));
  REQUIRE(made);
  const auto ask = [&](const char* who) {
    return made->decide(Request::make({"User", who}, {"Action", "a"}, {"R", "r"}), Entities{})
        .allowed();
  };
  CHECK(ask("bob"));
  CHECK_FALSE(ask("ada"));
  set["templateLinks"][0]["templateId"] = "other";
  CHECK(error_of(set.dump()) == "p.json: /templateLinks/0: there is no template \"other\"");
}

TEST_CASE("mistakes in the JSON form are named with their path", "[cedar]") {
  const std::string scope =
      R"("principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"})";
  CHECK(error_of("{") == "p.json: this is not JSON");
  CHECK_THAT(error_of("{}"), Catch::Contains("expected a policy"));
  CHECK(error_of(R"({"effect":"allow",)" + scope + "}") ==
        "p.json: /effect: must be \"permit\" or \"forbid\"");
  CHECK(error_of(R"({"effect":"permit","principal":{"op":"All"},"action":{"op":"All"}})") ==
        "p.json: /: needs \"resource\"");
  CHECK(error_of(R"([{"effect":"permit",)" + scope +
                 R"(,"conditions":[{"kind":"when","body":{"~":1}}]}])") ==
        "p.json: /0/conditions/0/body/~: there is no operator or function \"~\"");
  CHECK(error_of(R"({"effect":"permit",)" + scope +
                 R"(,"conditions":[{"kind":"when","body":{"Value":1.5}}]})")
            .starts_with("p.json: /conditions/0/body/Value: only whole numbers"));
  CHECK(
      error_of(
          R"({"effect":"permit","principal":{"op":"==","slot":"?resource"},"action":{"op":"All"},"resource":{"op":"All"}})")
          .starts_with("p.json: /principal/slot:"));
  std::string deep = R"({"Value":true})";
  for (int i = 0; i < 300; ++i) deep = R"({"!":{"arg":)" + deep + "}}";
  CHECK_THAT(error_of(R"({"effect":"permit",)" + scope +
                      R"(,"conditions":[{"kind":"when","body":)" + deep + "}]}"),
             Catch::Contains("nested deeper than 200"));
}
