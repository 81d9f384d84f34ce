// Start to exit of one jailed call, ours beside bubblewrap's, alternating in one run on one
// machine: with a jail made ahead, with one made for the call, and 64 calls at once. Beside them
// what the machine takes to start the same program with nothing around it, which nobody can
// undercut.

#include "async/race.h"
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

double ours_us(Jails& jails, ZygoteRunner& runner, const std::string& program) {
  agents::JailCall call;
  call.profile.level = "fs-read";
  call.profile.read_paths = {std::filesystem::path(program).parent_path()};
  if (program.starts_with("/usr/")) call.profile.read_paths.clear();
  call.command = {program};
  const double began = now_us();
  const agents::JailOutcome outcome = jails.wait(runner.run(std::move(call)));
  if (outcome.kind != agents::OutcomeKind::ok || outcome.exit_code != 0) {
    std::fprintf(stderr, "%s\n", outcome.detail.c_str());
    return -1;
  }
  return now_us() - began;
}

void report(const std::string& what, const char* unit, bench::Better better, double ours,
            double theirs, double goal) {
  bench::print({"sandbox", what, unit, better, ours, "bwrap", theirs,
                goal == 0 ? bench::Goal::none : bench::Goal::ratio, goal});
}

std::vector<std::string> in_bubblewrap(const std::string& program) {
  return {"/usr/bin/bwrap",
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
}

void report_both(const std::string& what, const std::vector<double>& ours,
                 const std::vector<double>& theirs, double goal) {
  report(what + " median", "us", bench::Better::less, bench::quantile(ours, 0.5),
         bench::quantile(theirs, 0.5), goal);
  report(what + " p99", "us", bench::Better::less, bench::quantile(ours, 0.99),
         bench::quantile(theirs, 0.99), 0);
}

// `goal`: how many times faster than the peer the median has to be.
bool compare(Jails& ahead, ZygoteRunner& for_the_call, const std::string& name,
             const std::string& program, double goal) {
  std::vector<double> waiting;
  std::vector<double> made;
  std::vector<double> bare;
  std::vector<double> theirs;
  for (int i = 0; i < rounds + warm_up; ++i) {
    const double one = ours_us(ahead, *ahead.runner, program);
    const double other = spawn_us(in_bubblewrap(program));
    const double second = ours_us(ahead, for_the_call, program);
    const double floor = spawn_us({program});
    if (one < 0 || other < 0 || second < 0 || floor < 0) {
      std::fprintf(stderr, "%s: %s did not run\n", name.c_str(),
                   one < 0 || second < 0 ? "ours"
                   : other < 0           ? "bwrap"
                                         : "the program itself");
      return false;
    }
    if (i < warm_up) continue;
    waiting.push_back(one);
    made.push_back(second);
    bare.push_back(floor);
    theirs.push_back(other);
  }
  report_both(name + ", jail made ahead,", waiting, theirs, goal);
  report_both(name + ", jail made for the call,", made, theirs, 0);
  bench::print({"sandbox", name + ", no jail at all, median", "us", bench::Better::less,
                bench::quantile(bare, 0.5)});
  return true;
}

constexpr int at_once = 64;

double theirs_a_second(const std::vector<std::string>& command, int calls) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  char* nothing[] = {nullptr};
  const double began = now_us();
  int running = 0;
  for (int i = 0; i < calls || running > 0;) {
    if (i < calls && running < at_once) {
      pid_t child = 0;
      if (::posix_spawn(&child, words[0], nullptr, nullptr, words.data(), nothing) != 0) return -1;
      ++running;
      ++i;
      continue;
    }
    int status = 0;
    if (::wait(&status) < 0 || status != 0) return -1;
    --running;
  }
  return calls * 1e6 / (now_us() - began);
}

Task<void> caller(ZygoteRunner& runner, const std::string& program, int& left, int& failed) {
  while (left-- > 0) {
    agents::JailCall call;
    call.profile.level = "fs-read";
    call.profile.read_paths = {std::filesystem::path(program).parent_path()};
    call.command = {program};
    const agents::JailOutcome outcome = co_await runner.run(std::move(call));
    if (outcome.kind != agents::OutcomeKind::ok) ++failed;
  }
}

bool compare_many(const std::string& program) {
  Jails jails;
  int failed = 0;
  const auto ours_a_second = [&](int calls) {
    int left = calls;
    int working = at_once;
    Scope scope;
    const auto work = [](Jails& in, const std::string& what, int& more, int& bad,
                         int& busy) -> Task<void> {
      co_await caller(*in.runner, what, more, bad);
      --busy;
      in.world.loop().post_from_thread([] {});
    };
    const double began = now_us();
    for (int i = 0; i < at_once; ++i) scope.spawn(work(jails, program, left, failed, working));
    jails.world.loop().run_until([&] { return working == 0; });
    return calls * 1e6 / (now_us() - began);
  };
  (void)ours_a_second(at_once * 2);
  const double ours = ours_a_second(4000);
  const double theirs = theirs_a_second(in_bubblewrap(program), 400);
  if (failed != 0 || theirs < 0) {
    std::fprintf(stderr, "64 at once: %d of ours failed\n", failed);
    return false;
  }
  report("static program, 64 at once", "calls/s", bench::Better::more, ours, theirs, 0);
  return true;
}

}  // namespace
}  // namespace ambit::sandbox

// "many": only the calls at once.
int main(int count, char** words) {
  using namespace ambit::sandbox;
  const std::string nothing = std::filesystem::canonical(NOTHING_PROGRAM);
  const std::string program = std::filesystem::canonical(IDLE_PROGRAM);
  bool good = true;
  if (count < 2 || std::string(words[1]) != "many") {
    Jails ahead;
    RunnerOptions options;
    options.spares_max = 0;
    auto second = ZygoteRunner::open(ahead.world.world(), options);
    if (!second) return 1;
    ZygoteRunner& for_the_call = **second;
    good = compare(ahead, for_the_call, "smallest program", nothing, 8.0) &&
           compare(ahead, for_the_call, "static program", program, 8.0) &&
           compare(ahead, for_the_call, "/usr/bin/true", "/usr/bin/true", 4.0);
  }
  good = compare_many(program) && good;
  return good ? 0 : 1;
}
