// Start to exit of one jailed call, ours beside bubblewrap's, alternating in one run on one
// machine.

#include "bench/figure.h"
#include "sandbox/jail_fixture.h"

#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

constexpr int rounds = 300;
constexpr int warm_up = 20;

double now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double spawn_us(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  char* nothing[] = {nullptr};
  const double began = now_us();
  pid_t child = 0;
  if (::posix_spawn(&child, words[0], nullptr, nullptr, words.data(), nothing) != 0) return -1;
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? now_us() - began : -1;
}

double ours_us(Jails& jails, const std::string& program) {
  agents::JailCall call;
  call.profile.level = "fs-read";
  call.profile.read_paths = {std::filesystem::path(program).parent_path()};
  if (program.starts_with("/usr/")) call.profile.read_paths.clear();
  call.command = {program};
  const double began = now_us();
  const agents::JailOutcome outcome = jails.run(std::move(call));
  if (outcome.kind != agents::OutcomeKind::ok || outcome.exit_code != 0) {
    std::fprintf(stderr, "%s\n", outcome.detail.c_str());
    return -1;
  }
  return now_us() - began;
}

void report(const char* name, const char* which, double ours, double theirs, double goal) {
  bench::print({"sandbox", std::string(name) + " " + which, "us", bench::Better::less, ours,
                "bwrap", theirs, bench::Goal::ratio, goal});
}

// `goal`: how many times faster than the peer the median has to be.
bool compare(Jails& jails, const char* name, const std::string& program, double goal) {
  const std::vector<std::string> peer = {"/usr/bin/bwrap",
                                         "--unshare-all",
                                         "--die-with-parent",
                                         "--new-session",
                                         "--ro-bind",
                                         "/",
                                         "/",
                                         "--tmpfs",
                                         "/tmp",
                                         "--ro-bind",
                                         program,
                                         program,
                                         program};
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int i = 0; i < rounds + warm_up; ++i) {
    const double one = ours_us(jails, program);
    const double other = spawn_us(peer);
    if (one < 0 || other < 0) {
      std::fprintf(stderr, "%s: %s did not run\n", name, one < 0 ? "ours" : "bwrap");
      return false;
    }
    if (i < warm_up) continue;
    ours.push_back(one);
    theirs.push_back(other);
  }
  report(name, "median", bench::quantile(ours, 0.5), bench::quantile(theirs, 0.5), goal);
  report(name, "p99", bench::quantile(ours, 0.99), bench::quantile(theirs, 0.99), goal);
  return true;
}

}  // namespace
}  // namespace ambit::sandbox

int main() {
  using namespace ambit::sandbox;
  Jails jails;
  const std::string program = std::filesystem::canonical(IDLE_PROGRAM);
  const bool static_done = compare(jails, "static program", program, 8.0);
  const bool dynamic_done = compare(jails, "/usr/bin/true", "/usr/bin/true", 4.0);
  return static_done && dynamic_done ? 0 : 1;
}
