#pragma once

// The official SDK from npm as a process of its own. It is not part of the build: without it, or
// without node, the tests say so (./check fetches it).

#include "io/uv_world.h"
#include "run_task.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace ambit::a2a {

inline bool is_there(const std::string& package = "@a2a-js/sdk") {
  const std::string file = std::string(NPM_FOLDER) + "/node_modules/" + package + "/package.json";
  const bool found = std::filesystem::exists(file) && std::filesystem::exists("/usr/bin/node");
  if (!found) WARN("SKIPPED: node or " << file << " is not there");
  return found;
}

inline std::unique_ptr<io::Process> node(io::World& world, std::vector<std::string> arguments) {
  io::ProcessOptions options;
  options.command = {"/usr/bin/node"};
  options.command.insert(options.command.end(), arguments.begin(), arguments.end());
  options.command[1] = std::string(PROJECT_ROOT) + "/tests/a2a/interop/" + options.command[1];
  options.environment = {{"PATH", "/usr/bin:/bin"}, {"NPM_FOLDER", NPM_FOLDER}};
  return std::move(*world.processes.spawn(std::move(options)));
}

inline Task<std::string> read_all(io::Stream& stream) {
  std::string all;
  while (true) {
    auto part = co_await stream.read(1 << 16);
    if (!part || part->empty()) co_return all;
    all += *part;
  }
}

inline Task<std::string> read_line(io::Stream& stream) {
  std::string all;
  while (all.find('\n') == std::string::npos) {
    auto part = co_await stream.read(1 << 10);
    if (!part || part->empty()) break;
    all += *part;
  }
  co_return all.substr(0, all.find('\n'));
}

}  // namespace ambit::a2a
