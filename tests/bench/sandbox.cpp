// Jails beside those of others, in one run on one machine: start to exit of a static program
// (sequential, alternating, and 64 at once), built-in tools in each class of service, and what ten
// thousand idle jails cost. Beside them what the machine takes to start the same program with
// nothing around it, which nobody can undercut. A peer that is not there is skipped aloud.

#include "async/scope.h"
#include "bench/figure.h"
#include "sandbox/image.h"
#include "sandbox/jail_fixture.h"
#include "sandbox/seccomp.h"
#include "sandbox/zygote_link.h"
#include "sandbox_peers.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

using bench::Better;
using bench::Goal;

constexpr int rounds = 300;
constexpr int warm_up = 20;
constexpr int at_once = 64;
constexpr const char* read_file = "/usr/share/doc/libc6/copyright";

double now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

agents::JailCall call_of(const std::string& program) {
  agents::JailCall call;
  call.profile.level = "fs-read";
  if (!program.starts_with("/usr/"))
    call.profile.read_paths = {std::filesystem::path(program).parent_path()};
  call.command = {program};
  return call;
}

// Reads a small file of the system: what a tool of an agent does most.
agents::JailCall tool_of(const std::string& service) {
  agents::JailCall call;
  call.profile.level = "fs-read";
  call.profile.service = service;
  call.command = {"@read", read_file, "0", "200"};
  call.agent = "bench";
  return call;
}

double ours_us(Jails& jails, ZygoteRunner& runner, agents::JailCall call) {
  const double began = now_us();
  const agents::JailOutcome outcome = jails.wait(runner.run(std::move(call)));
  const double took = now_us() - began;
  if (outcome.kind == agents::OutcomeKind::ok && outcome.exit_code == 0) return took;
  std::fprintf(stderr, "%s %s\n", outcome.detail.c_str(), outcome.errors.c_str());
  return -1;
}

void report(const std::string& what, const char* unit, Better better, double ours,
            const std::string& peer, double theirs, Goal goal_on = Goal::none, double goal = 0) {
  bench::print({"sandbox", what, unit, better, ours, peer, theirs, goal_on, goal});
}

// Against each peer, alternating; slow ones get fewer rounds.
bool compare(Jails& ahead, ZygoteRunner& for_the_call, std::vector<Peer>& peers,
             const std::string& name, const std::string& program, double goal) {
  std::vector<double> waiting;
  std::vector<double> made;
  std::vector<double> bare;
  std::vector<std::vector<double>> theirs(peers.size());
  for (int i = 0; i < rounds + warm_up; ++i) {
    const double one = ours_us(ahead, *ahead.runner, call_of(program));
    const double second = ours_us(ahead, for_the_call, call_of(program));
    const double floor = spawn_us({program});
    if (one < 0 || second < 0 || floor < 0) return false;
    for (std::size_t peer = 0; peer < peers.size(); ++peer) {
      if (i % peers[peer].every != 0) continue;
      const double other = spawn_us(peers[peer].command(program));
      if (other < 0) {
        std::fprintf(stderr, "%s: %s did not run\n", name.c_str(), peers[peer].name.c_str());
        return false;
      }
      if (i >= warm_up || peers[peer].every > 1) theirs[peer].push_back(other);
    }
    if (i < warm_up) continue;
    waiting.push_back(one);
    made.push_back(second);
    bare.push_back(floor);
  }
  for (std::size_t peer = 0; peer < peers.size(); ++peer) {
    const double median = bench::quantile(theirs[peer], 0.5);
    const double tail = bench::quantile(theirs[peer], 0.99);
    const Goal on = peer == 0 && goal != 0 ? Goal::ratio : Goal::none;
    report(name + ", jail made ahead, median", "us", Better::less, bench::quantile(waiting, 0.5),
           peers[peer].name, median, on, goal);
    report(name + ", jail made ahead, p99", "us", Better::less, bench::quantile(waiting, 0.99),
           peers[peer].name, tail);
    report(name + ", jail made for the call, median", "us", Better::less,
           bench::quantile(made, 0.5), peers[peer].name, median);
    report(name + ", jail made for the call, p99", "us", Better::less, bench::quantile(made, 0.99),
           peers[peer].name, tail);
  }
  report(name + ", no jail at all, median", "us", Better::less, bench::quantile(bare, 0.5), "", 0);
  return true;
}

// One call after the other, as the task of an agent makes them. False: one failed.
Task<bool> call_many(ZygoteRunner& runner, const agents::JailCall& what, int calls, Duration pause,
                     std::vector<double>& took) {
  for (int i = 0; i < calls + warm_up; ++i) {
    agents::JailCall call = what;
    const double began = now_us();
    const agents::JailOutcome outcome = co_await runner.run(std::move(call));
    const double one = now_us() - began;
    if (outcome.kind != agents::OutcomeKind::ok || outcome.exit_code != 0) {
      std::fprintf(stderr, "%s %s\n", outcome.detail.c_str(), outcome.errors.c_str());
      co_return false;
    }
    if (i >= warm_up) took.push_back(one);
    if (pause > Duration::zero()) co_await delay(pause);
  }
  co_return true;
}

// The nearest that a peer has to a built-in tool: the system's program for it in a jail.
std::vector<double> tool_of_peer(const std::vector<Peer>& peers) {
  std::vector<double> all;
  if (peers.empty() || peers[0].name != "bwrap") return all;
  std::vector<std::string> command = peers[0].command("/usr/bin/head");
  for (const char* word : {"-c", "200", read_file}) command.emplace_back(word);
  for (int i = 0; i < 200; ++i)
    if (const double took = spawn_us(command); took > 0) all.push_back(took);
  return all;
}

// A jail made ahead is there when the last call is some time ago, as between the turns of an agent;
// one call after the other, each waits for a jail to be made.
bool measure_tools(Jails& jails, const std::vector<Peer>& peers) {
  struct Class {
    const char* service;
    const char* how;
    std::chrono::milliseconds pause;
    double goal_us;
  };
  const std::vector<double> theirs = tool_of_peer(peers);
  const std::string peer = theirs.empty() ? "" : "bwrap head";
  using std::chrono::milliseconds;
  for (const Class one : {Class{"call", "", milliseconds(0), 200},
                          Class{"pooled", ", a call every 2 ms", milliseconds(2), 60},
                          Class{"pooled", ", one after the other", milliseconds(0), 0},
                          Class{"warm", "", milliseconds(0), 15}}) {
    std::vector<double> all;
    const agents::JailCall call = tool_of(one.service);
    if (!jails.wait(call_many(*jails.runner, call, 2000, one.pause, all))) return false;
    const std::string name = std::string("built-in tool, class ") + one.service + one.how;
    report(name + ", median", "us", Better::less, bench::quantile(all, 0.5), peer,
           theirs.empty() ? 0 : bench::quantile(theirs, 0.5),
           one.goal_us > 0 ? Goal::ours : Goal::none, one.goal_us);
    report(name + ", p99", "us", Better::less, bench::quantile(all, 0.99), peer,
           theirs.empty() ? 0 : bench::quantile(theirs, 0.99));
  }
  return true;
}

// ---- 64 at once
// ----------------------------------------------------------------------------------------

Task<void> caller(ZygoteRunner& runner, const agents::JailCall& what, int& left, int& failed,
                  std::vector<double>& took, int& working, Loop& loop) {
  while (left-- > 0) {
    const double began = now_us();
    agents::JailCall call = what;
    const agents::JailOutcome outcome = co_await runner.run(std::move(call));
    took.push_back(now_us() - began);
    if (outcome.kind != agents::OutcomeKind::ok) ++failed;
  }
  --working;
  loop.post_from_thread([] {});
}

// Calls a second, and how long each took.
double ours_a_second(Jails& jails, const agents::JailCall& what, int calls, int& failed,
                     std::vector<double>& took) {
  took.clear();
  int left = calls;
  int working = at_once;
  Scope scope;
  const double began = now_us();
  for (int i = 0; i < at_once; ++i)
    scope.spawn(caller(*jails.runner, what, left, failed, took, working, jails.world.loop()));
  jails.world.loop().run_until([&] { return working == 0; });
  return calls * 1e6 / (now_us() - began);
}

bool compare_many(std::vector<Peer>& peers, const std::string& program) {
  const double cores = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
  Jails jails;
  int failed = 0;
  std::vector<double> took;
  (void)ours_a_second(jails, call_of(program), at_once * 2, failed, took);
  const double ours = ours_a_second(jails, call_of(program), 4000, failed, took);
  for (const Peer& peer : peers) {
    const double theirs = many_a_second(peer, program, 400 / peer.every + 10, at_once);
    if (theirs > 0)
      report("static program, 64 at once", "calls/s", Better::more, ours, peer.name, theirs);
  }
  report("static program, 64 at once, p99 of a call", "us", Better::less,
         bench::quantile(took, 0.99), "", 0);
  for (const char* service : {"call", "pooled", "warm"}) {
    const agents::JailCall tool = tool_of(service);
    (void)ours_a_second(jails, tool, at_once * 2, failed, took);
    const double rate = ours_a_second(jails, tool, 8000, failed, took) / cores;
    report(std::string("built-in tool, class ") + service + ", 64 at once", "calls/s/core",
           Better::more, rate, "", 0, Goal::ours, 4000);
  }
  if (failed != 0) std::fprintf(stderr, "64 at once: %d of ours failed\n", failed);
  return failed == 0;
}

// ---- idle jails
// ----------------------------------------------------------------------------------------

std::int64_t number_in(const char* path, const char* key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (*key != '\0' && word != key) continue;
    std::int64_t value = 0;
    if (*key == '\0') return std::atoll(word.c_str());
    file >> value;
    return value;
  }
  return 0;
}

// What this machine can hold: processes, descriptors, memory.
std::size_t holdable(std::size_t wanted) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const std::int64_t available_kib = number_in("/proc/meminfo", "MemAvailable:");
  const std::int64_t pids = number_in("/proc/sys/kernel/pid_max", "");
  std::size_t count = std::min<std::size_t>(wanted, static_cast<std::size_t>(files.rlim_cur) - 500);
  count = std::min(count, static_cast<std::size_t>(pids) / 2);
  return std::min(count, static_cast<std::size_t>(available_kib / 2 / 300));
}

// Jails that are ready and wait, with nothing of a call in them.
bool hold(std::size_t wanted) {
  constexpr std::size_t in_one = 250;
  const std::size_t count = holdable(wanted);
  Jails jails;
  auto image = ZygoteImage::open();
  const agents::Profile profile = tool_of("pooled").profile;
  const auto filters = seccomp::build(seccomp::Tier::fs_read, seccomp::native());
  if (!image || !filters) return false;
  SpecOptions spec;
  spec.cgroups = true;
  const auto frame = encode_spec(profile, *filters, spec);
  std::vector<std::shared_ptr<ZygoteProcess>> zygotes;
  std::vector<std::unique_ptr<ZygoteCall>> held;
  for (int i = 0; i < 50; ++i)
    if (ours_us(jails, *jails.runner, tool_of("pooled")) < 0) return false;
  const std::int64_t before_kib = number_in("/proc/meminfo", "MemAvailable:");
  const double began = now_us();
  while (held.size() < count) {
    if (held.size() % in_one == 0) {
      auto zygote = ZygoteProcess::start(jails.world.world(), image->path(), *frame, profile);
      if (!zygote) return false;
      zygotes.push_back(std::move(*zygote));
    }
    auto jail = zygotes.back()->prepare({0, JailUse::worker, false, 0, {}}, {}, nullptr);
    if (jail) {
      held.push_back(std::move(*jail));
    } else if (jail.error().code == Code::unavailable) {
      ::usleep(1000);  // it has too much to do
    } else {
      std::fprintf(stderr, "%s\n", jail.error().message.c_str());
      return false;
    }
  }
  // A jail of the same zygote that answers has been made after all others.
  for (int i = 0; i < 100; ++i) (void)ours_us(jails, *jails.runner, tool_of("pooled"));
  ::usleep(2'000'000);
  const double made_us = now_us() - began - 2e6;
  const std::int64_t after_kib = number_in("/proc/meminfo", "MemAvailable:");
  std::vector<double> took;
  for (int i = 0; i < 500; ++i) took.push_back(ours_us(jails, *jails.runner, tool_of("pooled")));
  const auto each = static_cast<double>(before_kib - after_kib) / static_cast<double>(count);
  const std::string name = std::to_string(count) + " idle jails";
  report(name + ", memory each", "KiB", Better::less, each, "", 0, Goal::ours, 150);
  report(name + ", to make each", "us", Better::less, made_us / static_cast<double>(count), "", 0);
  report(name + ", built-in tool while held, median", "us", Better::less,
         bench::quantile(took, 0.5), "", 0);
  report(name + ", built-in tool while held, p99", "us", Better::less, bench::quantile(took, 0.99),
         "", 0);
  const double ended = now_us();
  std::vector<int> pids;
  for (const auto& zygote : zygotes) pids.push_back(static_cast<int>(zygote->pid()));
  held.clear();
  zygotes.clear();
  for (const int pid : pids)
    while (::kill(pid, 0) == 0 && now_us() - ended < 60e6) {
      bool passed = false;
      Scope scope;
      scope.spawn([](bool& done, Loop& loop) -> Task<void> {
        co_await delay(std::chrono::milliseconds(2));
        done = true;
        loop.post_from_thread([] {});
      }(passed, jails.world.loop()));
      jails.world.loop().run_until([&] { return passed; });
    }
  report(name + ", to tear all down", "s", Better::less, (now_us() - ended) / 1e6, "", 0);
  return true;
}

}  // namespace
}  // namespace ambit::sandbox

// Without a word all of it; else "program", "tools", "many" or "hold [N]".
int main(int count, char** words) {
  using namespace ambit::sandbox;
  const std::string nothing = std::filesystem::canonical(NOTHING_PROGRAM);
  const std::string program = std::filesystem::canonical(IDLE_PROGRAM);
  const std::string only = count > 1 ? words[1] : "";
  bool good = true;
  std::vector<Peer> peers = find_peers(program);
  if (only.empty() || only == "program") {
    Jails ahead;
    RunnerOptions options;
    options.spares_max = 0;
    auto second = ZygoteRunner::open(ahead.world.world(), options);
    if (!second) return 1;
    std::vector<Peer> first_alone;
    if (!peers.empty()) first_alone.push_back(peers[0]);
    good = compare(ahead, **second, peers, "static program", program, 8.0) &&
           compare(ahead, **second, first_alone, "smallest program", nothing, 8.0) &&
           compare(ahead, **second, first_alone, "/usr/bin/true", "/usr/bin/true", 4.0);
  }
  if (only.empty() || only == "tools") {
    Jails jails;
    good = measure_tools(jails, peers) && good;
  }
  if (only.empty() || only == "many") good = compare_many(peers, program) && good;
  if (only.empty() || only == "hold")
    good = hold(count > 2 ? static_cast<std::size_t>(std::atoi(words[2])) : 10'000) && good;
  return good ? 0 : 1;
}
