// The client against our own example server: a real process over real pipes.

#include "io/uv_world.h"
#include "mcp/toolbox.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>
#include <string>

namespace ambit::mcp {
namespace {

using agents::OutcomeKind;

Connect registry_server(io::World& world, std::string file) {
  return [&world, file = std::move(file)]() -> Task<Result<Connection>> {
    return [](io::World& outside, std::string data) -> Task<Result<Connection>> {
      io::ProcessOptions options;
      options.command = {REGISTRY_SERVER, std::move(data)};
      auto process = outside.processes.spawn(std::move(options));
      if (!process) co_return Err(std::move(process).error());
      std::shared_ptr<io::Process> owner = std::move(*process);
      Connection connection;
      connection.input = &owner->input();
      connection.output = &owner->output();
      connection.errors = &owner->errors();
      connection.owner = std::move(owner);
      co_return connection;
    }(world, file);
  };
}

std::string data_file() {
  return std::string(PROJECT_ROOT) + "/examples/1-incident-desk/registry.json";
}

agents::ToolCall call_of(std::string name, std::string arguments) {
  agents::ToolCall call;
  call.id = "call_1";
  call.name = std::move(name);
  call.arguments = std::move(arguments);
  return call;
}

struct Desk {
  explicit Desk(EraChoice era, std::string file = data_file()) {
    ToolboxOptions options;
    options.client.era = era;
    toolbox = std::make_unique<McpToolbox>(
        "registry", registry_server(world.world(), std::move(file)), options);
  }
  io::UvWorld world;
  std::unique_ptr<McpToolbox> toolbox;

  agents::Outcome call(const std::string& name, const std::string& arguments) {
    return run_task(world.loop(), toolbox->call("s1", call_of(name, arguments)));
  }
};

}  // namespace

TEST_CASE("the registry server lists its tools in both eras", "[mcp]") {
  for (const auto& [choice, era] :
       {std::pair(EraChoice::automatic, Era::modern), std::pair(EraChoice::legacy, Era::legacy)}) {
    Desk desk(choice);
    auto list = run_task(desk.world.loop(), desk.toolbox->list());
    REQUIRE(list.has_value());
    REQUIRE(list->size() == 4);
    CHECK(list->at(3).name == "mcp__registry__lookup_service");
    CHECK(list->at(3).read_only);
    CHECK_FALSE(list->at(3).destructive);
    CHECK(list->at(3).digest.size() == 64);
    CHECK(desk.toolbox->problems().empty());
    REQUIRE(desk.toolbox->server() != nullptr);
    CHECK(desk.toolbox->server()->era == era);
  }
}

TEST_CASE("a lookup gives key and value lines", "[mcp]") {
  Desk desk(EraChoice::automatic);
  const auto outcome = desk.call("mcp__registry__lookup_service", R"({"service":"checkout"})");
  CHECK(outcome.kind == OutcomeKind::ok);
  CHECK(outcome.content ==
        "service: checkout\nowner: team-blue\nenvironment: production\nhost: web-03\nrunbook: "
        "restart checkout");
  const auto host = desk.call("mcp__registry__lookup_host", R"({"host":"stage-01"})");
  CHECK(host.content ==
        "host: stage-01\nenvironment: staging\nowner: team-blue\nservices: reports, catalog");
  const auto runbook =
      desk.call("mcp__registry__get_runbook", R"({"service":"search","symptom":"out of memory"})");
  CHECK(runbook.content == "service: search\nrunbook: restart search");
  CHECK(desk.call("mcp__registry__list_runbooks", "{}").content.find("mailer: restart mailer") !=
        std::string::npos);
}

TEST_CASE("an unknown service is an error of the tool that the model can read", "[mcp]") {
  Desk desk(EraChoice::automatic);
  const auto outcome = desk.call("mcp__registry__lookup_service", R"({"service":"nothing"})");
  CHECK(outcome.kind == OutcomeKind::tool_error);
  CHECK(outcome.content == "error: not found: service nothing");
}

TEST_CASE("arguments that do not fit are refused before anything is sent", "[mcp]") {
  Desk desk(EraChoice::automatic);
  const auto outcome = desk.call("mcp__registry__lookup_service", R"({"service":7})");
  CHECK(outcome.kind == OutcomeKind::bad_arguments);
  CHECK(outcome.detail == "$.service: must be of type string, is number");
}

TEST_CASE("a server that cannot start is a protocol error with what it printed", "[mcp]") {
  Desk desk(EraChoice::automatic, "/nowhere/registry.json");
  const auto outcome = desk.call("mcp__registry__lookup_service", R"({"service":"checkout"})");
  CHECK(outcome.kind == OutcomeKind::protocol_error);
  CHECK(outcome.detail.find("cannot open /nowhere/registry.json") != std::string::npos);
}

}  // namespace ambit::mcp
