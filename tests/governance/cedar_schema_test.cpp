// Schemas in both forms, and the validator's findings: what, where, and why.

#include "cedar/policy_set.h"
#include "cedar/validate.h"
#include "random_policies.h"

#include <catch2/catch.hpp>

using namespace ambit::cedar;

namespace {

const char* const desk = R"(
type Place = { city: String, zip?: Long };
@doc("who asks")
entity Agent in [Fleet] = { level: Long, place: Place, boss?: Agent } tags String;
entity Fleet;
entity Colour enum ["red", "green"];
entity Tool { readOnly: Bool };
action effect;
action call, "send it" in [effect] appliesTo {
  principal: [Agent], resource: Tool,
  context: { path?: String, amount: Long, from: ipaddr }
};
)";

Schema schema(const std::string& text = desk) {
  auto made = Schema::from_text(text, "s");
  if (!made) FAIL(made.error().message);
  return *made;
}

// The first finding's message, or "valid".
std::string check(const std::string& condition,
                  const std::string& scope = "principal, action, resource") {
  static std::vector<std::vector<Policy>> kept;
  auto policies = parse_policies("permit(" + scope + ") when { " + condition + " };", "p");
  if (!policies) return "parse: " + policies.error().message;
  kept.push_back(std::move(*policies));
  const auto findings = validate(kept.back(), schema());
  for (const Finding& finding : findings) {
    if (finding.error) return finding.message;
  }
  return findings.empty() ? "valid" : "warning: " + findings[0].message;
}

const std::string never_text =
    "warning: the policy can never apply: it takes no request of the schema";

std::string schema_error(const std::string& text) {
  const auto made = Schema::from_text(text, "s");
  return made ? "no error" : made.error().message;
}

}  // namespace

TEST_CASE("the validator knows what may be absent", "[cedar]") {
  CHECK(check("context.amount > 3") == "valid");
  CHECK(check("context.path like \"a*\"") ==
        "the attribute \"path\" may be absent here; test with `has` first");
  CHECK(check("context has path && context.path like \"a*\"") == "valid");
  CHECK(check("context has path || context.path like \"a*\"") ==
        "the attribute \"path\" may be absent here; test with `has` first");
  CHECK(check("if context has path then context[\"path\"] == \"a\" else false") == "valid");
  CHECK(check("principal has boss.place.zip && principal.boss.place.zip == 1") == "valid");
  CHECK(check("principal.hasTag(\"t\") && principal.getTag(\"t\") == \"x\"") == "valid");
  CHECK(check("principal.getTag(\"t\") == \"x\"") ==
        "this tag may be absent here; test with `hasTag` first");
  CHECK(check("resource.hasTag(\"t\") && resource.getTag(\"t\") == \"x\"") == never_text);
}

TEST_CASE("the validator refuses what cannot be compared, called or found", "[cedar]") {
  CHECK(check("context.amount == \"3\"") ==
        "the types Long and String have nothing in common, so they are never equal");
  CHECK(check("context.amonut > 3") ==
        "{amount: Long, from: ipaddr, path?: String} has no attribute \"amonut\"");
  CHECK(check("principal.level") == "expected Bool, found Long");
  CHECK(check("context.amount < principal.place.city") == "expected Long, found String");
  CHECK(check("resource == Toll::\"grep\"") == "the schema knows no Toll::\"grep\"");
  CHECK(check("action == Action::\"cal\"") == "the schema knows no Action::\"cal\"");
  CHECK(check("Colour::\"blue\" == Colour::\"red\"") ==
        "Colour::\"blue\" is none of the entities that the schema lists");
  CHECK(check("[1, \"a\"].contains(1)") == "the types Long and String have nothing in common");
  CHECK(check("[].isEmpty()") == "the type of an empty set is not known");
  CHECK(check("context.from.isInRange(ip(\"10.0.0.0/8\"))") == "valid");
  CHECK_THAT(check("context.from.isInRange(ip(\"10.0.0.0/99\"))"), Catch::Contains("not an IP"));
  CHECK_THAT(check("context.from == ip(principal.place.city)"), Catch::Contains("string literal"));
  CHECK(check("true", "principal is Tool, action, resource") ==
        "warning: no action of the schema takes such a principal and resource");
  CHECK(check("true", "principal, action in [], resource") ==
        "the type of an empty set is not known: `action in []` takes nothing");
}

TEST_CASE("what can never hold is a warning and is not looked into", "[cedar]") {
  CHECK(check("principal is Tool && principal.nothing") == never_text);
  CHECK(check("resource in Fleet::\"f\"") == never_text);
  // Truth values alone are one truth value, as the public engine's parser reads them.
  CHECK(check("(true || true || false) == \"ada\"") == never_text);
  CHECK(check("(false && true) != \"ada\"") == "valid");
  CHECK_THAT(check("(true || context.amount > 1) == \"ada\""), Catch::Contains("never equal"));
  CHECK_THAT(check("(!true) == \"ada\""), Catch::Contains("never equal"));
  CHECK(check("action == Action::\"send it\" && action in Action::\"effect\"") == "valid");
}

TEST_CASE("a schema in JSON is the same schema", "[cedar]") {
  const auto json = Schema::from_json(R"({"": {
    "commonTypes": {"Place": {"type": "Record", "attributes": {
      "city": {"type": "String"}, "zip": {"type": "Long", "required": false}}}},
    "entityTypes": {
      "Agent": {"memberOfTypes": ["Fleet"], "tags": {"type": "String"}, "shape": {"type": "Record", "attributes": {
        "level": {"type": "Long"}, "place": {"type": "Place"},
        "boss": {"type": "Entity", "name": "Agent", "required": false}}}},
      "Fleet": {}, "Colour": {"enum": ["red", "green"]},
      "Tool": {"shape": {"type": "Record", "attributes": {"readOnly": {"type": "EntityOrCommon", "name": "Bool"}}}}},
    "actions": {
      "effect": {},
      "call": {"memberOf": [{"id": "effect"}], "appliesTo": {"principalTypes": ["Agent"], "resourceTypes": ["Tool"],
        "context": {"type": "Record", "attributes": {"path": {"type": "String", "required": false},
          "amount": {"type": "Long"}, "from": {"type": "Extension", "name": "ipaddr"}}}}},
      "send it": {"memberOf": [{"id": "effect", "type": "Action"}], "appliesTo": {"principalTypes": ["Agent"],
        "resourceTypes": ["Tool"], "context": {"type": "Record", "attributes": {"path": {"type": "String", "required": false},
          "amount": {"type": "Long"}, "from": {"type": "Extension", "name": "ipaddr"}}}}}}}})",
                                      "s.json");
  if (!json) FAIL(json.error().message);
  const Schema text = schema();
  REQUIRE(json->entity_types().size() == text.entity_types().size());
  for (const auto& [name, type] : text.entity_types()) {
    const EntityType* other = json->entity_type(name);
    REQUIRE(other != nullptr);
    CHECK(other->attributes == type.attributes);
    CHECK(other->ancestors == type.ancestors);
    CHECK(other->tags == type.tags);
    CHECK(other->choices == type.choices);
  }
  REQUIRE(json->actions().size() == text.actions().size());
  for (const auto& [uid, action] : text.actions()) {
    REQUIRE(json->action(uid) != nullptr);
    CHECK(json->action(uid)->context == action.context);
    CHECK(json->action(uid)->ancestors == action.ancestors);
    CHECK(json->action(uid)->principals == action.principals);
  }
  CHECK(Schema::from_json(R"({"": {"entityTypes": {"A": {"memberOfTypes": ["B"]}}}})", "s.json")
            .error()
            .message == "s.json: //entityTypes/A: there is no entity type B");
}

TEST_CASE("names are looked for in their namespace first", "[cedar]") {
  const Schema made = schema(R"(
type Long = String;
entity User;
namespace A {
  entity User = { age: Long };
  entity Item in [User];
  action go appliesTo { principal: User, resource: [Item] };
  action run in [go, A::Action::"go"] appliesTo { principal: [A::User], resource: [Item], context: {} };
})");
  REQUIRE(made.entity_type("A::User") != nullptr);
  CHECK(to_text(made.entity_type("A::User")->attributes) == "{age: String}");
  CHECK(made.can_be_in("A::Item", "A::User"));
  CHECK_FALSE(made.can_be_in("A::Item", "User"));
  CHECK(made.is_in({"A::Action", "run"}, {"A::Action", "go"}));
}

TEST_CASE("a schema's mistakes are named with their place", "[cedar]") {
  CHECK(schema_error("entity A in [B];") == "s:1:8: there is no entity type B");
  CHECK(schema_error("entity A; entity A;") == "s:1:18: the entity type A is given twice");
  CHECK(schema_error("entity A = { x: Lnog };") == "s:1:17: there is no type Lnog");
  CHECK(schema_error("type T = { t: T }; entity A = T;")
            .ends_with("the types are nested too deep, or into themselves"));
  CHECK(schema_error("entity A") ==
        "s:1:9: expected `;` after the entity type, found the end of the text");
  CHECK(schema_error("action a in [b]; action b in [a];").ends_with("is its own ancestor"));
  CHECK(schema_error("action a appliesTo { principal: [X], resource: [X] };") ==
        "s:1:8: there is no entity type X");
  std::string deep = "entity A = ";
  for (int i = 0; i < 500; ++i) deep += "{ a: ";
  CHECK_THAT(schema_error(deep), Catch::Contains("nested too deep"));
}

TEST_CASE("values are checked against their types", "[cedar]") {
  const Schema made = schema();
  const Type& context = made.action({"Action", "call"})->context;
  Record record;
  record.set("amount", Value(std::int64_t{1}));
  record.set("from", Value(*parse_ip("::1")));
  CHECK(conforms(Value(record), context, made));
  record.set("path", Value(std::int64_t{1}));
  CHECK(conforms(Value(record), context, made).error().message ==
        "/path: expected String, found the long 1");
  record.set("path", Value(std::string("x")));
  record.set("more", Value(true));
  CHECK(conforms(Value(record), context, made).error().message ==
        "/more: the schema knows no such attribute");
}

TEST_CASE("what the validator passes fails only by an overflow or an unknown entity", "[cedar]") {
  const auto made = Schema::from_text(RandomPolicies::schema(), "s");
  if (!made) FAIL(made.error().message);
  std::size_t sound = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    RandomPolicies random(seed);
    std::vector<Policy> policies;
    for (std::size_t i = 0; i < 6; ++i) policies.push_back(random.policy(i));
    const auto entities = Entities::create(random.entities());
    REQUIRE(entities);
    const auto findings = validate(policies, *made);
    for (const Policy& policy : policies) {
      const bool faulty = std::any_of(findings.begin(), findings.end(), [&](const Finding& one) {
        return one.error && one.policy == &policy;
      });
      if (faulty) continue;
      ++sound;
      for (int k = 0; k < 10; ++k) {
        const Request request = random.request();
        const auto* action = made->action(*request.action.as<EntityUid>());
        const bool fits = request.principal.as<EntityUid>()->type == "User" &&
                          request.resource.as<EntityUid>()->type == "Item" &&
                          conforms(request.context, action->context, *made);
        if (!fits) continue;
        const auto result = evaluate(policy, request, *entities);
        if (result) continue;
        const std::string& why = result.error().message;
        INFO(policy.text << "\n" << why);
        CHECK((why.find("is not known") != std::string::npos ||
               why.find("does not fit into 64 bits") != std::string::npos ||
               why.find("range") != std::string::npos));
      }
    }
  }
  CHECK(sound > 100);
}
