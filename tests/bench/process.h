#pragma once

// What /proc says of another process while it is measured, and starting one that says where it
// listens.

#include "async/scope.h"
#include "io/uv_world.h"

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace ambit::bench {

// User and system time in seconds, in steps of 10 ms.
inline double cpu_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  text.erase(0, text.rfind(')') + 2);
  char state = 0;
  double skip = 0;
  double user = 0;
  double system = 0;
  std::istringstream in(text);
  in >> state;
  for (int n = 0; n < 10; ++n) in >> skip;
  in >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

inline double resident_kib_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  double value = 0;
  while (file >> word) {
    if (word == "VmRSS:") file >> value;
  }
  return value;
}

inline io::ProcessOptions process_options(std::vector<std::string> command) {
  io::ProcessOptions options;
  options.command = std::move(command);
  options.environment = {{"PATH", "/usr/bin:/bin"}, {"NODE_ENV", "production"}};
  return options;
}

// The first line that the process prints; empty if it ends without one.
inline std::string first_line(Loop& loop, io::Stream& output) {
  std::string said;
  Scope scope;
  scope.spawn([](io::Stream& from, std::string& text) -> Task<void> {
    while (text.find('\n') == std::string::npos) {
      auto part = co_await from.read(256);
      if (!part || part->empty()) co_return;
      text += *part;
    }
  }(output, said));
  loop.run_until([&] { return scope.size() == 0; });
  return said.find('\n') == std::string::npos ? "" : said.substr(0, said.find('\n'));
}

}  // namespace ambit::bench
