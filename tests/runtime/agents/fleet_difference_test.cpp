// What changed between two fleet files, and what of it waits for a restart.

#include "agents/fleet_difference.h"

#include <catch2/catch.hpp>

#include <map>

namespace ambit::agents {
namespace {

const std::string base = R"({
  // A comment is no difference.
  "$schema": "a.json", "name": "desk",
  "models": {"m": {"model": "m.gguf", "maxTokens": 64, "contextLength": 4096}},
  "mcpServers": {"s": {"command": "s"}},
  "tools": {"look": {"description": "Look", "command": ["cat", "a"]}},
  "agents": {
    "clerk": {"model": "m", "instructions": "Be brief.", "limits": {"maxTurns": 8}, "a2a": {}},
    "helper": {"model": "m", "tools": ["look"]}
  },
  "policies": ["a.cedar"],
  "workflow": {"agent": "clerk", "prompt": "Go."}
})";

// Path to words; those that need a restart with a '!'.
std::map<std::string, std::string> changes(const std::string& from, const std::string& to,
                                           std::string text = base) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  const auto all = fleet_difference(base, text.replace(at, from.size(), to));
  REQUIRE(all);
  std::map<std::string, std::string> found;
  for (const FleetChange& one : *all) {
    found[one.path] = (one.restart_for.empty() ? "" : "!") + one.words;
  }
  return found;
}

using Found = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("a change is told by its path and its values", "[agents]") {
  CHECK(changes("\"maxTurns\": 8", "\"maxTurns\": 12") ==
        Found{{"agents.clerk.limits.maxTurns", "8 -> 12"}});
  CHECK(changes("Be brief.", "Be " + std::string(80, 'x')) ==
        Found{{"agents.clerk.instructions", "changed"}});
  CHECK(changes("[\"look\"]", "[\"look\", \"mcp__s__*\"]") ==
        Found{{"agents.helper.tools", R"(["look"] -> ["look","mcp__s__*"])"}});
  CHECK(changes(", \"limits\": {\"maxTurns\": 8}", "") ==
        Found{{"agents.clerk.limits", "removed"}});
  CHECK(changes("\"a\"]", "\"b\"]") ==
        Found{{"tools.look.command", R"(["cat","a"] -> ["cat","b"])"}});
  CHECK(changes("\"maxTokens\": 64", "\"maxTokens\": 64, \"temperature\": 0.5") ==
        Found{{"models.m.temperature", "added"}});
  CHECK(changes("a.cedar", "b.cedar") == Found{{"policies", R"(["a.cedar"] -> ["b.cedar"])"}});
  CHECK(changes("\"helper\": {\"model\": \"m\"", "\"other\": {\"model\": \"m\"") ==
        Found{{"agents.helper", "removed"}, {"agents.other", "added"}});
}

TEST_CASE("what says the same is no change, in whatever form", "[agents]") {
  CHECK(changes("// A comment is no difference.", "").empty());
  CHECK(changes("a.json", "b.json").empty());
  CHECK(changes("\"name\": \"desk\",", "\"name\":    \"desk\",").empty());
}

TEST_CASE("what is open already needs a restart, by name", "[agents]") {
  CHECK(changes("m.gguf", "n.gguf") == Found{{"models.m.model", "!\"m.gguf\" -> \"n.gguf\""}});
  CHECK(changes("4096", "8192") == Found{{"models.m.contextLength", "!4096 -> 8192"}});
  CHECK(changes("\"command\": \"s\"", "\"command\": \"t\"") ==
        Found{{"mcpServers.s.command", "!\"s\" -> \"t\""}});
  CHECK(changes("\"policies\"", "\"memory\": {\"notes\": {}}, \"policies\"") ==
        Found{{"memory.notes", "!added"}});
  CHECK(changes("\"policies\"", "\"limits\": {\"maxTurns\": 1}, \"policies\"") ==
        Found{{"limits.maxTurns", "!added"}});
  CHECK(changes("\"Go.\"", "\"Stop.\"") == Found{{"workflow.prompt", "!\"Go.\" -> \"Stop.\""}});
  CHECK(changes(", \"a2a\": {}", "") == Found{{"agents.clerk.a2a", "!removed"}});
  CHECK(changes("\"helper\": {", "\"helper\": {\"a2a\": {}, ") ==
        Found{{"agents.helper.a2a", "!added"}});
  CHECK(changes("\"helper\": {", "\"new\": {\"model\": \"m\", \"a2a\": {}}, \"helper\": {") ==
        Found{{"agents.new", "!added"}});
  CHECK(changes("\"helper\": {", "\"far\": {\"card\": \"https://x\"}, \"helper\": {") ==
        Found{{"agents.far", "!added"}});
  CHECK(changes("\"instructions\"", "\"description\": \"New\", \"instructions\"") ==
        Found{{"agents.clerk.description", "!added"}});
  CHECK(changes("\"helper\": {", "\"helper\": {\"description\": \"New\", ") ==
        Found{{"agents.helper.description", "added"}});
  CHECK(changes("\"helper\": {", "\"helper\": {\"autonomyLevel\": 5, ") ==
        Found{{"agents.helper.autonomyLevel", "!added"}});
  CHECK_FALSE(fleet_difference(base, "[]"));
  CHECK_FALSE(fleet_difference(base, "{\"a\": }"));
}

}  // namespace ambit::agents
