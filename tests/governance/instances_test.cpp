// Instances: each session of an agent has a key and a token of its own, and delegation narrows.

#include "governance/instances.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <set>

using namespace ambit;
using namespace ambit::governance;
using nlohmann::json;

namespace {

struct Office {
  Office() : instances(options()) {}
  InstanceOptions options() {
    InstanceOptions made;
    made.issuer = "ambit:office";
    made.now_s = [this] { return now_s; };
    made.level_of = [this](const std::string& agent) { return levels[agent]; };
    made.instances_max = 4;
    return made;
  }
  Result<agents::Identity> begin(const std::string& agent, const std::string& session,
                                 const std::string& parent = "", agents::Budget left = budget()) {
    return instances.begin({"run-1", session, agent, parent, "ann", left});
  }
  static agents::Budget budget() { return {10, 5, 1000, -1, -1}; }

  std::int64_t now_s = 1'795'219'200;
  std::map<std::string, std::int64_t> levels = {{"planner", 2}, {"worker", 4}};
  Instances instances;
};

}  // namespace

TEST_CASE("each session has a key of its own, and a token that says for whom", "[identity]") {
  Office office;
  const auto one = office.begin("planner", "s1");
  const auto two = office.begin("planner", "s2");
  REQUIRE(one);
  REQUIRE(two);
  CHECK(one->key != two->key);
  CHECK(one->token_hash != two->token_hash);
  const json claims = json::parse(one->claims);
  CHECK(claims["sub"] == "ann");
  CHECK(claims["iss"] == "ambit:office");
  CHECK(claims["act"]["sub"] == "planner");
  CHECK(claims["agent_instance"] == "run-1/s1");
  CHECK(claims["autonomy_level"] == 2);
  CHECK(claims["budget"] == json({{"turns", 10}, {"toolCalls", 5}, {"tokens", 1000}}));
  // Whoever has the record can check the token's key: its thumbprint is the instance.
  const auto keys = keys_from_jwks(one->public_key, "ambit:office");
  REQUIRE(keys);
  CHECK(keys->at(0).id == one->key);
  const std::string* token = office.instances.token_of("run-1", "s1");
  REQUIRE(token != nullptr);
  TokenOptions options;
  options.audience = "ambit:office";
  options.lifetime_max_s = 31 * 86'400;
  auto verifier = TokenVerifier::create(*keys, options);
  REQUIRE(verifier);
  CHECK(verifier->verify(*token, office.now_s));
  CHECK_FALSE(verifier->verify(*office.instances.token_of("run-1", "s2"), office.now_s));
}

TEST_CASE("who is delegated to acts for the same person, at no higher level", "[identity]") {
  Office office;
  REQUIRE(office.begin("planner", "s1"));
  const auto child = office.begin("worker", "s1.call_1_1", "s1", {4, 2, 300, -1, -1});
  REQUIRE(child);
  const json claims = json::parse(child->claims);
  CHECK(claims["sub"] == "ann");
  CHECK(claims["act"]["sub"] == "worker");
  CHECK(claims["act"]["act"]["sub"] == "planner");
  CHECK(claims["autonomy_level"] == 2);
  CHECK(claims["budget"]["tokens"] == 300);
}

TEST_CASE("a delegation that would widen the budget does not begin", "[identity]") {
  Office office;
  REQUIRE(office.begin("planner", "s1"));
  const auto wider = office.begin("worker", "s1.call_1_1", "s1", {10, 5, 1001, -1, -1});
  REQUIRE_FALSE(wider);
  CHECK(wider.error().code == Code::denied);
  CHECK_THAT(wider.error().message, Catch::Contains("the budget of tokens"));
  const auto without = office.begin("worker", "s1.call_1_1", "s1", {10, 5, -1, -1, -1});
  CHECK_FALSE(without);
}

TEST_CASE("an instance's key goes with its session", "[identity]") {
  Office office;
  REQUIRE(office.begin("planner", "s1"));
  office.instances.end("run-1", "s1");
  CHECK(office.instances.size() == 0);
  const auto orphan = office.begin("worker", "s1.call_1_1", "s1");
  REQUIRE_FALSE(orphan);
  CHECK(orphan.error().code == Code::denied);
  // A session that goes on after a crash is another instance.
  const auto first = office.begin("planner", "s1");
  const auto again = office.begin("planner", "s1");
  CHECK(first->key != again->key);
}

TEST_CASE("there are never more instances than were allowed", "[identity]") {
  Office office;
  for (const char* name : {"a", "b", "c", "d"}) REQUIRE(office.begin("planner", name));
  const auto fifth = office.begin("planner", "e");
  REQUIRE_FALSE(fifth);
  CHECK(fifth.error().code == Code::exhausted);
}

TEST_CASE("a token that has expired cannot be handed on", "[identity]") {
  Office office;
  REQUIRE(office.begin("planner", "s1"));
  office.now_s += 31 * 86'400;
  const auto late = office.begin("worker", "s1.call_1_1", "s1", {1, 1, 1, -1, -1});
  REQUIRE_FALSE(late);
  CHECK_THAT(late.error().message, Catch::Contains("has expired"));
}
