// Our client against official servers from npm, as real processes. They are not part of the build:
// put them where NPM_FOLDER points (npm i --ignore-scripts @modelcontextprotocol/server-filesystem
// @modelcontextprotocol/server-everything); without them or without node these tests say so.

#include "io/uv_world.h"
#include "mcp/toolbox.h"
#include "support/run_task.h"
#include "support/temporary_folder.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace ambit::mcp {
namespace {

using agents::OutcomeKind;

Task<Result<Connection>> spawn_node(io::World& world, std::vector<std::string> command) {
  io::ProcessOptions options;
  options.command = std::move(command);
  options.environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", "/nonexistent"}};
  auto process = world.processes.spawn(std::move(options));
  if (!process) co_return Err(std::move(process).error());
  std::shared_ptr<io::Process> owner = std::move(*process);
  Connection connection;
  connection.input = &owner->input();
  connection.output = &owner->output();
  connection.errors = &owner->errors();
  connection.owner = std::move(owner);
  co_return connection;
}

struct Npm {
  std::string script;
  explicit Npm(const std::string& package)
      : script(std::string(NPM_FOLDER) + "/node_modules/@modelcontextprotocol/" + package +
               "/dist/index.js") {}
  [[nodiscard]] bool there() const {
    const bool found = std::filesystem::exists(script) && std::filesystem::exists("/usr/bin/node");
    if (!found) WARN("SKIPPED: node or " << script << " is not there");
    return found;
  }
};

agents::ToolCall call_of(std::string name, std::string arguments) {
  agents::ToolCall call;
  call.id = "call_1";
  call.name = std::move(name);
  call.arguments = std::move(arguments);
  return call;
}

}  // namespace

TEST_CASE("the official filesystem server is listed and called", "[mcp]") {
  const Npm npm("server-filesystem");
  if (!npm.there()) return;
  const TemporaryFolder folder;
  std::ofstream(folder.path() + "/a.log") << "pool exhausted\n";
  io::UvWorld world;
  McpToolbox box("files", [&] {
    return spawn_node(world.world(), {"/usr/bin/node", npm.script, folder.path()});
  });
  const auto list = run_task(world.loop(), box.list());
  REQUIRE(list.has_value());
  CHECK(list->size() >= 10);
  for (const std::string& problem : box.problems()) WARN(problem);
  const auto arguments = [&](const std::string& file) {
    return R"({"path":")" + folder.path() + "/" + file + "\"}";
  };
  const auto read = run_task(
      world.loop(), box.call("s", call_of("mcp__files__read_text_file", arguments("a.log"))));
  CHECK(read.kind == OutcomeKind::ok);
  CHECK(read.content == "pool exhausted\n");
  const auto outside =
      run_task(world.loop(),
               box.call("s", call_of("mcp__files__read_text_file", R"({"path":"/etc/passwd"})")));
  CHECK(outside.kind == OutcomeKind::tool_error);
  CHECK(outside.content.find("root:") == std::string::npos);
}

TEST_CASE("the official everything server is listed and called, with progress", "[mcp]") {
  const Npm npm("server-everything");
  if (!npm.there()) return;
  io::UvWorld world;
  int progress = 0;
  ToolboxOptions options;
  options.call.on_progress = [&](const ProgressParams&) { ++progress; };
  McpToolbox box(
      "every", [&] { return spawn_node(world.world(), {"/usr/bin/node", npm.script, "stdio"}); },
      options);
  const auto list = run_task(world.loop(), box.list());
  REQUIRE(list.has_value());
  CHECK(list->size() >= 8);
  const auto sum =
      run_task(world.loop(), box.call("s", call_of("mcp__every__get-sum", R"({"a":2,"b":3})")));
  CHECK(sum.kind == OutcomeKind::ok);
  CHECK(sum.content.find('5') != std::string::npos);
  const auto slow =
      run_task(world.loop(), box.call("s", call_of("mcp__every__trigger-long-running-operation",
                                                   R"({"duration":1,"steps":4})")));
  CHECK(slow.kind == OutcomeKind::ok);
  CHECK(progress >= 3);
  const auto image =
      run_task(world.loop(), box.call("s", call_of("mcp__every__get-tiny-image", "{}")));
  CHECK(image.content.find("[image image/png") != std::string::npos);
}

}  // namespace ambit::mcp
