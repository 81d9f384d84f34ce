#include "suite.h"

#include <sys/wait.h>

#include <cstdio>
#include <utility>

namespace ambit::sandbox {

using agents::JailCall;
using agents::JailOutcome;

void Score::count(bool good, const std::string& what, const std::string& why) {
  ++(good ? passed : failed);
  if (!good)
    std::printf("{\"attempt\":\"%s\",\"result\":\"ESCAPED\",\"why\":\"%s\"}\n", what.c_str(),
                why.c_str());
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string seen(const JailOutcome& outcome) {
  return std::string(agents::to_string(outcome.kind)) + " " + std::to_string(outcome.exit_code) +
         " " + outcome.detail;
}

JailCall jailed(const std::string& attacker, const std::string& level, const WorkFolder& work,
                const std::string& name, const std::string& aim) {
  JailCall call;
  call.profile.level = level == "asks" ? "fs-read" : level;
  call.profile.asks = level == "asks";
  if (level != "compute") call.profile.read_paths = {std::filesystem::path(attacker).parent_path()};
  if (level == "fs-write") {
    call.profile.write_paths = {work.path()};
    call.directory = work.path();
  }
  call.command = {attacker, name, aim};
  return call;
}

int processes_of(const std::string& program) {
  int count = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos)
      continue;
    std::ifstream words(entry.path() / "cmdline");
    std::string first;
    if (std::getline(words, first, '\0') && first == program) ++count;
  }
  return count;
}

}  // namespace ambit::sandbox
