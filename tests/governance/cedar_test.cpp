#include "cedar/policy_set.h"

#include <catch2/catch.hpp>

using namespace ambit::cedar;

namespace {

std::string parse_error(const std::string& text) {
  const auto policies = parse_policies(text, "p.cedar");
  return policies ? "no error" : policies.error().message;
}

Entities family() {
  std::vector<Entity> entities(4);
  entities[0].uid = {"User", "ada"};
  entities[0].parents = {{"Team", "desk"}};
  entities[0].attributes.set("level", Value(std::int64_t{5}));
  Record address;
  address.set("city", Value(std::string("Paris")));
  entities[0].attributes.set("address", Value(address));
  entities[0].tags.set("clearance", Value(std::string("high")));
  entities[1].uid = {"Team", "desk"};
  entities[1].parents = {{"Company", "acme"}};
  entities[2].uid = {"Company", "acme"};
  entities[3].uid = {"Action", "read"};
  entities[3].parents = {{"Action", "any"}};
  auto made = Entities::create(std::move(entities));
  REQUIRE(made);
  return *made;
}

Request request() {
  Record context;
  context.set("n", Value(std::int64_t{3}));
  context.set("name", Value(std::string("logs/web.log")));
  return Request::make({"User", "ada"}, {"Action", "read"}, {"File", "a"}, std::move(context));
}

// The value of an expression as text, or "error: ...".
std::string value(const std::string& expression) {
  const auto policies =
      parse_policies("permit(principal, action, resource) when { " + expression + " };", "e");
  if (!policies) return "parse: " + policies.error().message;
  const Entities entities = family();
  const auto result = evaluate((*policies)[0].conditions[0].body, request(), entities);
  return result ? to_text(*result) : "error: " + result.error().message;
}

Answer decide(const std::string& text, const Request& asked) {
  static std::vector<std::unique_ptr<PolicySet>> kept;  // answers point into their sets
  auto policies = parse_policies(text, "p.cedar");
  if (!policies) FAIL(policies.error().message);
  auto set = PolicySet::create(std::move(*policies));
  REQUIRE(set);
  kept.push_back(std::make_unique<PolicySet>(std::move(*set)));
  return kept.back()->decide(asked, family());
}

std::vector<std::string> ids(const std::vector<const Policy*>& policies) {
  std::vector<std::string> names;
  for (const Policy* policy : policies) names.push_back(policy->id);
  return names;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("a parse error says where, what was expected and what was found", "[cedar]") {
  CHECK(parse_error("permit(principal, action, resource)") ==
        "p.cedar:1:36: expected `when`, `unless` or `;`, found the end of the text");
  CHECK(parse_error("\n  allow(principal, action, resource);") ==
        "p.cedar:2:3: expected `permit` or `forbid`, found `allow`");
  CHECK(parse_error("permit(principal = User::\"a\", action, resource);") ==
        "p.cedar:1:18: `=` is no operator: write `==` to compare");
  CHECK(
      parse_error("permit(principal, action, resource) when { foo };") ==
      "p.cedar:1:44: there is no variable `foo`; the variables are principal, action, resource and "
      "context (and strings need quotes)");
  CHECK(parse_error("permit(principal, action == Tool::\"x\", resource);") ==
        "p.cedar:1:29: an action's type must be Action, found Tool::\"x\"");
  CHECK(parse_error("permit(principal, action, resource) when { \"a };") ==
        "p.cedar:1:44: this string has no closing \"");
  CHECK(parse_error("permit(principal, action, resource) when { 1 < 2 < 3 };") ==
        "p.cedar:1:50: comparisons cannot be chained; put parentheses around the first one");
  CHECK(parse_error("permit(principal, action, resource) when { 9223372036854775808 > 1 };") ==
        "p.cedar:1:44: the number 9223372036854775808 does not fit into 64 bits");
  CHECK(parse_error("permit(principal, action, resource) when { principal.isBlue() };") ==
        "p.cedar:1:54: there is no method `isBlue`");
  CHECK(parse_error("permit(principal, action, resource) when { isIpv4(context.a) };") ==
        "p.cedar:1:44: `isIpv4` is a method: write value.isIpv4(...)");
  CHECK(parse_error("permit(principal, action, resource) when { ip() };") ==
        "p.cedar:1:44: `ip` takes 1 argument(s), found 0");
  CHECK(parse_error("permit(principal == ?resource, action, resource);") ==
        "p.cedar:1:21: the slot here is ?principal and nothing else");
  CHECK(parse_error("permit(principal, action, resource) when { ?principal == resource };") ==
        "p.cedar:1:44: a slot (?principal, ?resource) can stand in the scope only");
}

TEST_CASE("columns count characters, not bytes", "[cedar]") {
  CHECK(parse_error("permit(principal, action, resource) when { \"\xC3\xA4\xE2\x82\xAC\" ; };") ==
        "p.cedar:1:49: expected `}` after the condition, found `;`");
}

TEST_CASE("only the action is constrained by a list, and the message says what to write",
          "[cedar]") {
  CHECK_THAT(parse_error("permit(principal, action, resource in [File::\"a\"]);"),
             Catch::StartsWith("p.cedar:1:39:") && Catch::Contains("when { resource in [...] }"));
}

TEST_CASE("texts that are damaged are refused and never crash the reader", "[cedar]") {
  CHECK_THAT(parse_error("permit\xFF(principal, action, resource);"), Catch::Contains("not UTF-8"));
  CHECK_THAT(parse_error("@a(\"1\") @a(\"2\") permit(principal, action, resource);"),
             Catch::Contains("given twice"));
  CHECK_THAT(parse_error("permit(principal, action, resource) when { {a: 1, a: 2} };"),
             Catch::Contains("given twice"));
  CHECK_THAT(parse_error("permit(principal, action, resource) when { \"\\q\" == \"\" };"),
             Catch::Contains("unknown escape"));
  CHECK_THAT(parse_error("permit(principal, action, resource) when { !!!!!true };"),
             Catch::Contains("at most 4"));
  const std::string whole =
      "@id(\"x\") permit(principal is A::B in C::\"d\", action in [Action::\"e\"], resource) "
      "when { if context.a has b.c then [1, -2] else {k: \"v\\u{1F600}\"} };";
  REQUIRE(parse_error(whole) == "no error");
  for (std::size_t length = 1; length < whole.size(); ++length) {
    REQUIRE_THAT(parse_error(whole.substr(0, length)), Catch::StartsWith("p.cedar:1:"));
  }
}

TEST_CASE("nesting, text size and policies are bounded", "[cedar]") {
  const std::string deep(5000, '(');
  CHECK_THAT(parse_error("permit(principal, action, resource) when { " + deep),
             Catch::Contains("nested deeper than 200"));
  std::string sum = "1";
  for (int i = 0; i < 1000; ++i) sum += " + 1";
  CHECK_THAT(parse_error("permit(principal, action, resource) when { " + sum + " == 2 };"),
             Catch::Contains("nested deeper than 200"));
  // As deep as is allowed: read, evaluated and freed without harm.
  CHECK(value(std::string(199, '(') + "true" + std::string(199, ')')) == "true");
  std::string nested = "1";
  for (int i = 0; i < 190; ++i) nested = "[" + nested + "]";
  CHECK(value(nested + " == " + nested) == "true");
  std::string arithmetic = "1";
  for (int i = 0; i < 190; ++i) arithmetic = "(1 + " + arithmetic + ")";
  CHECK(value(arithmetic) == "191");
  std::string conjunction = "true";
  for (int i = 0; i < 5000; ++i) conjunction += " && true";
  CHECK(value(conjunction) == "true");
  Limits limits;
  limits.text_bytes_max = 10;
  CHECK_FALSE(parse_policies("permit(principal, action, resource);", "p", limits));
  limits = {};
  limits.policies_max = 1;
  CHECK_FALSE(parse_policies("permit(principal,action,resource);permit(principal,action,resource);",
                             "p", limits));
}

TEST_CASE("nothing is permitted by default, and one forbid wins", "[cedar]") {
  CHECK_FALSE(decide("", request()).allowed());
  const std::string permits =
      "permit(principal, action, resource); permit(principal, action, resource);";
  CHECK(ids(decide(permits, request()).determining()) == Ids{"policy0", "policy1"});
  const Answer answer = decide(permits + "forbid(principal, action, resource);", request());
  CHECK_FALSE(answer.allowed());
  CHECK(ids(answer.determining()) == Ids{"policy2"});
  CHECK(ids(answer.permits) == Ids{"policy0", "policy1"});
}

TEST_CASE("a policy that fails is skipped and reported", "[cedar]") {
  const Answer answer = decide(
      "permit(principal, action, resource); forbid(principal, action, resource) when { 1 + true == "
      "2 };",
      request());
  CHECK(answer.allowed());
  REQUIRE(answer.errors.size() == 1);
  CHECK(answer.errors[0].policy->id == "policy1");
  CHECK(answer.errors[0].message == "line 1, column 85: expected a long, found the bool true");
}

TEST_CASE("each form of scope finds its policies through the index", "[cedar]") {
  const auto applies = [](const std::string& scope) {
    return decide("permit(" + scope + ");", request()).allowed();
  };
  CHECK(applies("principal == User::\"ada\", action, resource"));
  CHECK_FALSE(applies("principal == User::\"bob\", action, resource"));
  CHECK(applies("principal in Company::\"acme\", action, resource"));
  CHECK_FALSE(applies("principal == Company::\"acme\", action, resource"));
  CHECK(applies("principal is User, action, resource is File"));
  CHECK_FALSE(applies("principal is Team, action, resource"));
  CHECK(applies("principal is User in Team::\"desk\", action, resource"));
  CHECK_FALSE(applies("principal is Bot in Team::\"desk\", action, resource"));
  CHECK(applies("principal, action == Action::\"read\", resource == File::\"a\""));
  CHECK(applies("principal, action in Action::\"any\", resource"));
  CHECK(applies(
      "principal, action in [Action::\"write\", Action::\"any\", Action::\"read\"], resource"));
  CHECK_FALSE(applies("principal, action in [], resource"));
  CHECK_FALSE(applies("principal, action == Action::\"any\", resource"));
}

TEST_CASE("a policy that is reached through two keys counts once", "[cedar]") {
  const Answer answer = decide(
      "permit(principal, action in [Action::\"any\", Action::\"read\", Action::\"any\"], "
      "resource);",
      request());
  CHECK(ids(answer.permits) == Ids{"policy0"});
}

TEST_CASE("the index answers as evaluating every policy does", "[cedar]") {
  // All combinations of scopes, with conditions that hold, do not hold and fail.
  const std::vector<std::string> principals = {"principal", "principal == User::\"ada\"",
                                               "principal in Team::\"desk\"", "principal is User",
                                               "principal == User::\"bob\""};
  const std::vector<std::string> actions = {"action", "action == Action::\"read\"",
                                            "action in [Action::\"any\", Action::\"x\"]"};
  const std::vector<std::string> resources = {"resource", "resource == File::\"a\"",
                                              "resource is File", "resource in File::\"b\""};
  std::string text;
  int number = 0;
  for (const auto& principal : principals) {
    for (const auto& action : actions) {
      for (const auto& resource : resources) {
        const std::vector<std::string> conditions = {
            "", "when { context.n == 3 }", "unless { context.n == 3 }", "when { context.x }"};
        text += (number % 7 == 0 ? "forbid(" : "permit(") + principal + "," + action + "," +
                resource + ")" + conditions[static_cast<std::size_t>(number + number / 4) % 4] +
                ";\n";
        ++number;
      }
    }
  }
  const auto set = PolicySet::create(*parse_policies(text, "p"));
  REQUIRE(set);
  const Entities entities = family();
  const Answer answer = set->decide(request(), entities);
  Ids permits;
  Ids forbids;
  Ids errors;
  for (const Policy& policy : set->policies()) {
    const auto result = evaluate(policy, request(), entities);
    if (!result) errors.push_back(policy.id);
    if (result && *result)
      (policy.effect == Effect::permit ? permits : forbids).push_back(policy.id);
  }
  Ids found;
  for (const auto& error : answer.errors) found.push_back(error.policy->id);
  CHECK(ids(answer.permits) == permits);
  CHECK(ids(answer.forbids) == forbids);
  CHECK(found == errors);
  CHECK(permits.size() > 5);
  CHECK(errors.size() > 3);
}

TEST_CASE("arithmetic is checked at 64 bits", "[cedar]") {
  CHECK(value("1 + 2 * 3 - 4") == "3");
  CHECK(value("-9223372036854775808") == "-9223372036854775808");
  CHECK_THAT(value("9223372036854775807 + 1"), Catch::Contains("64 bits"));
  CHECK_THAT(value("-(-9223372036854775808)"), Catch::Contains("64 bits"));
  CHECK_THAT(value("-9223372036854775807 * 2"), Catch::Contains("64 bits"));
  CHECK(value("- - 5") == "5");
}

TEST_CASE("and, or and if look only at what they need", "[cedar]") {
  CHECK(value("false && context.missing") == "false");
  CHECK(value("true || context.missing") == "true");
  CHECK(value("if true then 1 else context.missing") == "1");
  CHECK_THAT(value("true && 1"), Catch::Contains("expected a bool, found the long 1"));
  CHECK(value("!(1 == 1) || 1 < 2 && 2 >= 2") == "true");
}

TEST_CASE("attributes are read from records and entities, and has looks before", "[cedar]") {
  CHECK(value("principal.level > 4 && principal[\"level\"] != 4") == "true");
  CHECK(value("principal has address.city && principal.address.city == \"Paris\"") == "true");
  CHECK(value("principal has address.street || principal has \"no such\"") == "false");
  CHECK(value("resource has anything") == "false");
  CHECK(value("resource.anything") ==
        "error: line 1, column 52: the entity File::\"a\" is not known");
  CHECK_THAT(value("context.missing"),
             Catch::Contains("has no attribute \"missing\"; test with `has` first"));
  CHECK_THAT(value("context.n.x"),
             Catch::Contains("expected an entity or a record, found the long 3"));
  CHECK(value("principal.hasTag(\"clearance\") && principal.getTag(\"clearance\") == \"high\"") ==
        "true");
  CHECK_THAT(value("principal.getTag(\"x\")"), Catch::Contains("has no tag"));
}

TEST_CASE("in and is follow the hierarchy and the types", "[cedar]") {
  CHECK(value("principal in Company::\"acme\" && principal in principal") == "true");
  CHECK(value("principal in [Team::\"other\", Team::\"desk\"]") == "true");
  CHECK(value("Team::\"desk\" in principal") == "false");
  CHECK(value("principal is User && principal is User in Team::\"desk\"") == "true");
  CHECK(value("principal is Team || principal is User in Team::\"x\"") == "false");
  CHECK_THAT(value("principal in [1]"), Catch::Contains("expected an entity"));
}

TEST_CASE("sets know neither order nor repeats", "[cedar]") {
  CHECK(value("[1, 2, 2] == [2, 1]") == "true");
  CHECK(value("[1, \"a\", [3]].contains([3])") == "true");
  CHECK(value("[1, 2].containsAll([2]) && [1, 2].containsAny([5, 1]) && [].isEmpty()") == "true");
  CHECK(value("[1].containsAll([1, 2]) || [1].containsAny([]) || [1].isEmpty()") == "false");
}

TEST_CASE("like matches with wildcards", "[cedar]") {
  CHECK(value("context.name like \"logs/*\"") == "true");
  CHECK(value("context.name like \"*web*\" && context.name like \"*\" && context.name like "
              "\"l*/*.l*g\"") == "true");
  CHECK(value("context.name like \"logs\" || context.name like \"*logs/web\" || context.name like "
              "\"logs/web.log?\"") == "false");
  CHECK(value("\"a*c\" like \"a\\*c\" && !(\"abc\" like \"a\\*c\")") == "true");
  CHECK(value("\"aXbXa\" like \"a*a*a\"") == "false");
  CHECK(value("\"\" like \"\" && \"\" like \"**\"") == "true");
}

TEST_CASE("strings take every escape", "[cedar]") {
  CHECK(value("\"\\n\\t\\r\\0\\\\\\\"\\'\\x41\\u{e9}\\u{1F600}\" == "
              "\"\\u{a}\\u{9}\\u{d}\\u{0}\\\\\\\"'A\xC3\xA9\xF0\x9F\x98\x80\"") == "true");
  CHECK_THAT(value("\"\\xFF\""), Catch::Contains("unknown escape"));
  CHECK_THAT(value("\"\\u{D800}\""), Catch::Contains("unknown escape"));
}

TEST_CASE("decimals have four digits after the point", "[cedar]") {
  CHECK(value("decimal(\"1.5\") == decimal(\"1.5000\") && "
              "decimal(\"-0.0001\").lessThan(decimal(\"0.0\"))") == "true");
  CHECK(value("decimal(\"922337203685477.5807\").greaterThanOrEqual(decimal(\"-922337203685477."
              "5808\"))") == "true");
  for (const char* bad :
       {"1", "1.", ".5", "1.23456", "922337203685477.5808", "1e5", "", "+1.0", " 1.0"}) {
    CHECK_THAT(value("decimal(\"" + std::string(bad) + "\")"), Catch::Contains("is not a decimal"));
  }
}

TEST_CASE("addresses are compared as ranges", "[cedar]") {
  CHECK(value("ip(\"10.1.2.3\").isInRange(ip(\"10.0.0.0/8\")) && "
              "!ip(\"11.0.0.0\").isInRange(ip(\"10.0.0.0/8\"))") == "true");
  CHECK(value("ip(\"127.0.0.1\").isLoopback() && ip(\"::1\").isLoopback() && "
              "ip(\"ff02::1\").isMulticast()") == "true");
  CHECK(value("ip(\"::ffff\").isIpv6() && ip(\"1.2.3.4\").isIpv4() && ip(\"1.2.3.4\") == "
              "ip(\"1.2.3.4/32\")") == "true");
  CHECK(value("ip(\"1:2:3:4:5:6:7::\") == ip(\"1:2:3:4:5:6:7:0\")") == "true");
  for (const char* bad :
       {"1.2.3", "1.2.3.4.5", "01.2.3.4", "256.0.0.1", "1.2.3.4/33", "1.2.3.4/08",
        "::1::", ":::", "1:2:3:4:5:6:7:8::", "::127.0.0.1", "12345::", "::/129", "1.2.3.4/", ""}) {
    CAPTURE(bad);
    CHECK_THAT(value("ip(\"" + std::string(bad) + "\")"), Catch::Contains("is not an IP address"));
  }
}

TEST_CASE("times and durations are reckoned in milliseconds", "[cedar]") {
  CHECK(value("datetime(\"2024-02-29T12:00:00+0100\") == datetime(\"2024-02-29T11:00:00.000Z\")") ==
        "true");
  CHECK(value("datetime(\"1969-12-31T23:59:59.999Z\").toDate() == datetime(\"1969-12-31\")") ==
        "true");
  CHECK(value("datetime(\"1970-01-02\").durationSince(datetime(\"1970-01-01\")).toHours()") ==
        "24");
  CHECK(value("datetime(\"2024-01-01\").offset(duration(\"-1d1h\")) < datetime(\"2024-01-01\")") ==
        "true");
  CHECK(value("duration(\"1d2h3m4s5ms\").toMilliseconds()") == "93784005");
  CHECK(value("duration(\"-90m\").toHours()") == "-1");
  for (const char* bad :
       {"2024-13-01", "2023-02-29", "24-01-01", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00",
        "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+2400", "2024-01-01T00:00:00.1Z"}) {
    CAPTURE(bad);
    CHECK_THAT(value("datetime(\"" + std::string(bad) + "\")"),
               Catch::Contains("is not a datetime"));
  }
  for (const char* bad : {"", "-", "1", "1m1h", "1x", "1.5h", "9223372036854775808ms", "1d1d"}) {
    CAPTURE(bad);
    CHECK_THAT(value("duration(\"" + std::string(bad) + "\")"),
               Catch::Contains("is not a duration"));
  }
}

TEST_CASE("entities that are their own ancestors or given twice are refused", "[cedar]") {
  std::vector<Entity> entities(2);
  entities[0].uid = {"A", "1"};
  entities[1].uid = {"A", "2"};
  entities[0].parents = {{"A", "2"}};
  entities[1].parents = {{"A", "1"}};
  CHECK_THAT(Entities::create(entities).error().message, Catch::Contains("its own ancestor"));
  entities[1].parents.clear();
  CHECK(Entities::create(entities).has_value());
  entities[1].uid = {"A", "1"};
  CHECK_THAT(Entities::create(entities).error().message, Catch::Contains("given twice"));
}

TEST_CASE("a chain of many parents needs no stack", "[cedar]") {
  std::vector<Entity> entities(1500);
  for (std::size_t i = 0; i < entities.size(); ++i) {
    entities[i].uid = {"G", std::to_string(i)};
    if (i + 1 < entities.size()) entities[i].parents = {{"G", std::to_string(i + 1)}};
  }
  const auto made = Entities::create(std::move(entities));
  REQUIRE(made);
  CHECK(made->is_in({"G", "0"}, {"G", "1499"}));
  CHECK_FALSE(made->is_in({"G", "1499"}, {"G", "0"}));
}

TEST_CASE("entities come from JSON, and mistakes are named with their path", "[cedar]") {
  const auto entities = entities_from_json(
      R"([{"uid":{"type":"U","id":"a"},"attrs":{"boss":{"__entity":{"type":"U","id":"b"}},"at":{"__extn":{"fn":"ip","arg":"::1"}}},
           "parents":[{"type":"T","id":"t"}],"tags":{"k":1}}])");
  REQUIRE(entities);
  CHECK(to_text(*(*entities)[0].attributes.find("boss")) == "U::\"b\"");
  CHECK(to_text(*(*entities)[0].tags.find("k")) == "1");
  const auto error = [](const char* text) { return entities_from_json(text).error().message; };
  CHECK(error("{}") == "the entities must be an array");
  CHECK(error("[{}]") == "/0: needs \"uid\", {\"type\": ..., \"id\": ...}");
  CHECK(error(R"([{"uid":{"type":"U","id":"a"},"attrs":{"x":1.5}}])")
            .starts_with("/0/attrs/x: only whole numbers"));
  CHECK(error(R"([{"uid":{"type":"U","id":"a"},"attrs":{"x":null}}])")
            .starts_with("/0/attrs/x: null is no value"));
  CHECK(error("[") == "this is not JSON");
}
