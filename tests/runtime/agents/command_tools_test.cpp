#include "agents/command_tools.h"

#include "scripted.h"

#include <catch2/catch.hpp>

namespace ambit::agents {
namespace {

Fleet with_tool() {
  Fleet fleet = small_fleet();
  Profile profile;
  profile.name = profile.level = "fs-write";
  profile.name = "desk";
  profile.read_paths = {"/fleet/logs"};
  profile.write_paths = {"${workdir}"};
  fleet.profiles.push_back(profile);
  CommandToolSpec tool;
  tool.spec.name = "ticket";
  tool.spec.input_schema =
      R"({"type":"object","properties":{"id":{"type":"string"},"count":{"type":"integer"}},"required":["id"]})";
  tool.command = {"ticket", "${workdir}", "--", "${id}", "n=${count}"};
  tool.input = "${arguments}";
  tool.profile = "desk";
  fleet.tools.push_back(tool);
  return fleet;
}

}  // namespace

TEST_CASE("a tool call becomes one command line, one argument a placeholder", "[agents]") {
  const Fleet fleet = with_tool();
  const std::string arguments = R"({"id":"INC 7; rm -rf /","count":3})";
  const auto call = jail_call(fleet, fleet.tools[0], arguments, "/work/s1");
  REQUIRE(call);
  CHECK(call->command ==
        std::vector<std::string>{"ticket", "/work/s1", "--", "INC 7; rm -rf /", "n=3"});
  CHECK(call->input == arguments);
  CHECK(call->profile.write_paths == std::vector<std::string>{"/work/s1"});
  CHECK(call->directory == "/work/s1");
}

TEST_CASE("an argument that was left out is empty, a broken one is refused", "[agents]") {
  const Fleet fleet = with_tool();
  CHECK(jail_call(fleet, fleet.tools[0], R"({"id":"a"})", "/w")->command.back() == "n=");
  CHECK_FALSE(jail_call(fleet, fleet.tools[0], "[]", "/w"));
  CHECK_FALSE(jail_call(fleet, fleet.tools[0], R"({"id":"a\u0000b"})", "/w"));
}

}  // namespace ambit::agents
