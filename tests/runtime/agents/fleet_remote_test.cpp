// Agents of a fleet file that live elsewhere.

#include "agents/fleet_remote.h"

#include <catch2/catch.hpp>

namespace ambit::agents {
namespace {

FleetFile parse(const std::string& far, const std::string& clerk = R"("subAgents": ["far"])") {
  FleetContext context;
  context.directory = "/fleet";
  context.file_exists = [](const std::string& path) { return path != "/fleet/none.jwks"; };
  context.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "FAR_TOKEN") return "secret";
    return std::nullopt;
  };
  return parse_fleet(R"({
    "models": {"m": {"provider": "scripted", "model": "script.json"}},
    "agents": {
      "clerk": {"model": "m", )" +
                         clerk + R"(},
      "far": )" + far + R"(},
    "policies": ["open.cedar"],
    "workflow": {"prompt": "hi", "agent": "clerk"}})",
                     context);
}

std::string problem_of(const FleetFile& file) {
  return file.problems.size() == 1 ? file.problems[0].path + ": " + file.problems[0].message
                                   : std::to_string(file.problems.size()) + " problems";
}

}  // namespace

TEST_CASE("an agent with a card is one elsewhere, and others may give it tasks", "[agents]") {
  const FleetFile file = parse(
      R"({"card": "https://agents.example.com/far", "tokenEnv": "FAR_TOKEN", "trust": "far.jwks"})");
  CHECK(file.problems.empty());
  REQUIRE(file.fleet.remote_agents.size() == 1);
  CHECK(file.fleet.remote_agents[0] ==
        RemoteAgentSpec{"far", "https://agents.example.com/far", "FAR_TOKEN", "/fleet/far.jwks"});
  CHECK(file.fleet.agents.size() == 1);
  CHECK(file.fleet.agents[0].offers("agent__far"));
  CHECK(parse(R"({"card": "http://127.0.0.1:8080/x", "tokenEnv": "FAR_TOKEN"})").problems.empty());
  CHECK(parse(R"({"card": "http://[::1]:80/x", "tokenEnv": "FAR_TOKEN"})").problems.empty());
}

TEST_CASE("what is wrong with an agent elsewhere is named with its place", "[agents]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"card": "ftp://x"})", "agents.far.card: expected an http or https URL"},
      {R"({"card": 7})", "agents.far.card: expected"},
      {R"({"card": "https://x", "tokenEnv": "NONE"})", "agents.far.tokenEnv: the environment has"},
      {R"({"card": "http://x.example", "tokenEnv": "FAR_TOKEN"})", "unencrypted; use https"},
      {R"({"card": "http://127.0.0.1@x.example", "tokenEnv": "FAR_TOKEN"})", "unencrypted"},
      {R"({"card": "http://localhost.x.example", "tokenEnv": "FAR_TOKEN"})", "unencrypted"},
      {R"({"card": "https://x", "trust": "none.jwks"})", "agents.far.trust: there is no file"},
      {R"({"card": "https://x", "model": "m"})", "agents.far.model: unknown key"},
      {R"({"card": "https://${NOBODY}/"})", "NOBODY"},
  };
  for (const auto& [far, message] : cases) {
    INFO(far);
    CHECK_THAT(problem_of(parse(far)), Catch::Contains(message));
  }
}

TEST_CASE("an agent elsewhere takes no session over and sees no data that stays here", "[agents]") {
  const char* far = R"({"card": "https://x"})";
  CHECK_THAT(problem_of(parse(far, R"("handoffs": ["far"])")),
             Catch::Contains("agents.clerk.handoffs[0]: the agent \"far\" is elsewhere"));
  CHECK_THAT(problem_of(parse(far, R"("dataResidency": "local", "subAgents": ["far"])")),
             Catch::Contains("must not leave this machine"));
  CHECK(parse(far, R"("description": "x")").problems.empty());
}

}  // namespace ambit::agents
