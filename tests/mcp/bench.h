#pragma once

// A toolbox and its scripted server on a loop whose clock jumps: waiting for an hour takes no time.

#include "runtime/async/fake_poller.h"
#include "scripted_server.h"
#include "support/run_task.h"

#include <memory>
#include <string>

namespace ambit::mcp {

struct Bench {
  FakePoller poller;
  Loop loop{poller};
  ScriptedServer server;
  ToolboxOptions options;
  std::unique_ptr<McpToolbox> toolbox;

  McpToolbox& box() {
    if (!toolbox) toolbox = std::make_unique<McpToolbox>("desk", server.connect(), options);
    return *toolbox;
  }
  Result<std::vector<agents::ToolSpec>> list() { return run_task(loop, box().list()); }
  Task<agents::Outcome> call_task(std::string tool, std::string arguments) {
    agents::ToolCall call;
    call.id = "call_1";
    call.name = std::move(tool);
    call.arguments = std::move(arguments);
    return box().call("s1", std::move(call));
  }
  agents::Outcome call(const std::string& tool = "mcp__desk__echo",
                       const std::string& arguments = R"({"text":"hi"})") {
    return run_task(loop, call_task(tool, arguments));
  }
  void settle() { run_task(loop, a_moment()); }
  static Task<int> a_moment() {
    co_await delay(std::chrono::milliseconds(10));
    co_return 0;
  }
};

}  // namespace ambit::mcp
