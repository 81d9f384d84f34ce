#include "rpc/schema.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <string>

namespace ambit::rpc {
namespace {

std::string fault_of(const std::string& schema, const std::string& value) {
  const auto compiled = Schema::parse(schema);
  REQUIRE(compiled.has_value());
  const auto fits = compiled->validate(Value::parse(value)->json());
  return fits ? "fits" : fits.error().message;
}
Error schema_fault(const std::string& schema) {
  const auto compiled = Schema::parse(schema);
  REQUIRE_FALSE(compiled.has_value());
  return compiled.error();
}

constexpr const char* ticket =
    R"({"type":"object","required":["id","severity"],"additionalProperties":false,
  "properties":{"id":{"type":"string","pattern":"^INC-[0-9]+$"},"severity":{"enum":["low","high"]},
  "hosts":{"type":"array","maxItems":2,"items":{"type":"object","properties":{"port":{"type":"integer","maximum":65535}}}}}})";

}  // namespace

TEST_CASE("a fault names its place in the value", "[rpc]") {
  CHECK(fault_of(ticket, R"({"id":"INC-1","severity":"low"})") == "fits");
  CHECK(fault_of(ticket, R"({"id":"INC-1"})") == "$.severity: is missing");
  CHECK(fault_of(ticket, R"([])") == "$: must be of type object, is array");
  CHECK(fault_of(ticket, R"({"id":"x","severity":"low"})") ==
        "$.id: must match the pattern \"^INC-[0-9]+$\"");
  CHECK(fault_of(ticket, R"({"id":"INC-1","severity":"huge"})") ==
        "$.severity: must be one of [\"low\",\"high\"], is \"huge\"");
  CHECK(fault_of(ticket, R"({"id":"INC-1","severity":"low","host":1})") ==
        "$.host: is unknown here; known are id, severity, hosts");
  CHECK(fault_of(ticket, R"({"id":"INC-1","severity":"low","hosts":[{},{"port":70000}]})") ==
        "$.hosts[1].port: must be at most 65535");
  CHECK(fault_of(ticket, R"({"id":"INC-1","severity":"low","hosts":[1,2,3]})") ==
        "$.hosts: must have at most 2 items");
}

TEST_CASE("alternatives say what the first one missed", "[rpc]") {
  const char* schema = R"({"anyOf":[{"type":"string"},{"type":"integer","minimum":3}]})";
  CHECK(fault_of(schema, "3") == "fits");
  CHECK(fault_of(schema, "2") ==
        "$: fits none of the alternatives of anyOf; the first says $: must be of type string, is "
        "number");
  CHECK(fault_of(R"({"oneOf":[{"minimum":1},{"minimum":2}]})", "5") ==
        "$: fits 2 alternatives of oneOf, must fit one");
}

TEST_CASE("a schema that is itself wrong is refused with the place", "[rpc]") {
  CHECK(schema_fault(R"({"type":"strnig"})").message.rfind("schema #/type: must name", 0) == 0);
  CHECK(schema_fault(R"({"properties":{"a":7}})").message ==
        "schema #/properties/a: a schema must be an object, true or false");
  CHECK(schema_fault(R"({"required":"a"})").message ==
        "schema #/required: must be an array of strings");
  CHECK(schema_fault(R"({"minLength":-1})").message ==
        "schema #/minLength: must be a whole number, not negative");
  CHECK(schema_fault(R"({"multipleOf":0})").message == "schema #/multipleOf: must be above 0");
  CHECK(schema_fault(R"({"$ref":"#/$defs/none"})").message ==
        "schema #/$ref: #/$defs/none leads nowhere");
  CHECK(schema_fault("[]").code == Code::invalid);
  std::string deep = "{}";
  for (int i = 0; i < 20; ++i) deep = R"({"items":)" + deep + "}";
  CHECK(Schema::parse(deep).has_value());
}

TEST_CASE("what cannot be checked is listed, never silent", "[rpc]") {
  const auto schema = Schema::parse(R"x({"properties":{"a":{"$ref":"https://example.org/a.json"},
    "b":{"pattern":"(?=x)"},"c":{"$dynamicRef":"#x"}}})x");
  REQUIRE(schema.has_value());
  REQUIRE(schema->unchecked().size() == 3);
  CHECK(schema->unchecked()[0] ==
        "#/properties/b/pattern: a lookahead at character 1 is not supported");
  CHECK(schema->unchecked()[1] == "#/properties/c/$dynamicRef: this keyword is not supported");
  CHECK(schema->unchecked()[2] ==
        "#/properties/a/$ref: https://example.org/a.json is not in this schema, and nothing is "
        "fetched");
}

TEST_CASE("a schema that leads to itself or grows without end is given up", "[rpc]") {
  CHECK(fault_of(R"({"$ref":"#"})", "1").find("takes too much work") != std::string::npos);
  // Each level doubles the work.
  std::string defs = R"("l0":{"type":"integer"})";
  for (int i = 1; i <= 60; ++i) {
    const std::string below = R"({"$ref":"#/$defs/l)" + std::to_string(i - 1) + "\"}";
    defs += ",\"l" + std::to_string(i) + R"(":{"anyOf":[)" + below + "," + below + "]}";
  }
  CHECK(fault_of(R"({"$ref":"#/$defs/l60","$defs":{)" + defs + "}}", "\"x\"")
            .find("takes too much work") != std::string::npos);
  CHECK(fault_of(R"({"pattern":"^([a-z]{100}){30}$"})", '"' + std::string(100000, 'a') + '"')
            .find("a long text and a large pattern") != std::string::npos);
}

TEST_CASE("one definition of a larger schema can be asked for", "[rpc]") {
  const auto schema = Schema::parse(
      R"({"$defs":{"Port":{"type":"integer"},"Host":{"properties":{"p":{"$ref":"#/$defs/Port"}}}}})");
  CHECK(schema->validate_as("#/$defs/Host", Json{{"p", 1}}).has_value());
  CHECK_FALSE(schema->validate_as("#/$defs/Host", Json{{"p", "x"}}).has_value());
  CHECK(schema->validate_as("#/$defs/None", Json(1)).error().code == Code::not_found);
}

TEST_CASE("draft-07 spellings are understood", "[rpc]") {
  const char* tuple =
      R"({"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}],"additionalItems":false,
    "dependencies":{"a":["b"]},"definitions":{"x":{"type":"null"}}})";
  CHECK(fault_of(tuple, R"(["a"])") == "fits");
  CHECK(fault_of(tuple, R"(["a",1])") == "$[1]: is not allowed here");
  CHECK(fault_of(tuple, R"({"a":1})") == "$.b: is missing; a asks for it");
  CHECK(fault_of(R"({"minimum":3,"exclusiveMinimum":true})", "3") == "$: must be above 3");
}

}  // namespace ambit::rpc
