// The soak: many calls, killed at random moments, then the supervisor itself killed in the middle,
// again and again. Counts before and after: processes, descriptors, mounts, control groups. One
// JSON line says what was left, which must be nothing.

#include "async/race.h"
#include "suite.h"

#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <unistd.h>

namespace ambit::sandbox {

using agents::JailCall;
using agents::JailOutcome;

namespace {

constexpr int at_once = 16;

struct Left {
  std::size_t descriptors = 0;
  std::size_t mounts = 0;
  std::size_t groups = 0;
  friend bool operator==(const Left&, const Left&) = default;
};

std::size_t entries(const std::string& folder) {
  std::error_code ignored;
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    (void)entry;
    ++count;
  }
  return count;
}

std::size_t lines(const char* path) {
  std::ifstream file(path);
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

// Groups of ours that are still there, wherever the hierarchies are mounted.
std::size_t groups_of(pid_t owner) {
  const std::string wanted = "ambit-" + std::to_string(owner) + "-";
  std::size_t count = 0;
  std::error_code ignored;
  for (std::filesystem::recursive_directory_iterator at(
           "/sys/fs/cgroup", std::filesystem::directory_options::skip_permission_denied, ignored),
       end;
       at != end; at.increment(ignored))
    if (at->path().filename().string().starts_with(wanted)) ++count;
  return count;
}

Left look() {
  return {entries("/proc/self/fd"), lines("/proc/self/mountinfo"), groups_of(::getpid())};
}

void add_descendants(pid_t parent, std::set<pid_t>& all) {
  std::ifstream children("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                         "/children");
  for (pid_t child = 0; children >> child;) {
    if (all.insert(child).second) add_descendants(child, all);
  }
}

std::size_t alive(const std::set<pid_t>& some) {
  std::size_t count = 0;
  for (const pid_t one : some)
    if (::kill(one, 0) == 0 || errno == EPERM) ++count;
  return count;
}

class Soak {
 public:
  Soak(Jails& jails, std::string attacker, unsigned seed)
      : jails_(jails), attacker_(std::move(attacker)), random_(seed) {}

  // One after the other until `calls` are spent or, below 0, for ever.
  Task<void> worker(int& calls) {
    while (calls != 0) {
      if (calls > 0) --calls;
      const unsigned dice = random_() % 8;
      JailCall call = jailed(attacker_, dice % 2 == 0 ? "fs-read" : "fs-write", work_, "bomb",
                             dice < 2   ? "sleep_on"
                             : dice < 4 ? "daemon_stays"
                                        : "zombies");
      if (dice < 3) {
        const Duration moment = std::chrono::microseconds(random_() % 4000);
        co_await race(run(std::move(call)), delay_task(moment));
        ++killed_;
      } else {
        call.profile.wall_ms = 200;
        co_await run(std::move(call));
      }
    }
    --working_;
    jails_.world.loop().post_from_thread([] {});
  }
  Task<void> run(JailCall call) {
    const JailOutcome outcome = co_await jails_.runner->run(std::move(call));
    if (outcome.kind == agents::OutcomeKind::refused) {
      ++refused_;
      std::printf("{\"refused\":\"%s\"}\n", outcome.detail.c_str());
    }
  }
  void go(int calls) {
    Scope scope;
    working_ = at_once;
    for (int i = 0; i < at_once; ++i) scope.spawn(worker(calls));
    jails_.world.loop().run_until([&] { return working_ == 0; });
  }
  [[nodiscard]] int killed() const { return killed_; }
  [[nodiscard]] int refused() const { return refused_; }

 private:
  Jails& jails_;
  std::string attacker_;
  std::minstd_rand random_;
  WorkFolder work_;
  int working_ = 0;
  int killed_ = 0;
  int refused_ = 0;
};

bool soak_calls(const std::string& attacker, int calls, unsigned seed) {
  {
    Jails warm_up;
    Soak(warm_up, attacker, seed).go(at_once);
  }
  const Left before = look();
  int killed = 0;
  int refused = 0;
  {
    Jails jails;
    Soak soak(jails, attacker, seed);
    soak.go(calls);
    killed = soak.killed();
    refused = soak.refused();
  }
  Left after = look();
  // A group whose last process is dying stays busy for a moment.
  for (int i = 0; i < 100 && after != before; ++i) {
    ::usleep(10'000);
    after = look();
  }
  int processes = processes_of(attacker);
  for (int i = 0; i < 100 && processes != 0; ++i) {
    ::usleep(10'000);
    processes = processes_of(attacker);
  }
  std::printf(
      "{\"soak\":\"calls\",\"calls\":%d,\"killed\":%d,\"refused\":%d,\"processes left\":%d,"
      "\"descriptors\":[%zu,%zu],\"mounts\":[%zu,%zu],\"groups\":[%zu,%zu]}\n",
      calls, killed, refused, processes, before.descriptors, after.descriptors, before.mounts,
      after.mounts, before.groups, after.groups);
  return processes == 0 && refused == 0 && after == before;
}

// kill -9 of a supervisor that has calls running, jails waiting and others being made.
bool soak_supervisors(const char* program, const std::string& attacker, int rounds, unsigned seed) {
  std::minstd_rand random(seed);
  std::size_t seen = 0;
  std::size_t left = 0;
  for (int round = 0; round < rounds; ++round) {
    std::fflush(stdout);
    const pid_t supervisor = ::fork();
    if (supervisor == 0) {
      ::execl("/proc/self/exe", program, "--supervise", attacker.c_str(), nullptr);
      ::_exit(3);
    }
    ::usleep(static_cast<useconds_t>(60'000 + random() % 200'000));
    std::set<pid_t> descendants;
    add_descendants(supervisor, descendants);
    ::kill(supervisor, SIGKILL);
    ::waitpid(supervisor, nullptr, 0);
    for (int i = 0; i < 200 && alive(descendants) != 0; ++i) ::usleep(10'000);
    seen += descendants.size();
    left += alive(descendants);
  }
  int processes = processes_of(attacker);
  for (int i = 0; i < 100 && processes != 0; ++i) {
    ::usleep(10'000);
    processes = processes_of(attacker);
  }
  std::printf(
      "{\"soak\":\"supervisors\",\"killed\":%d,\"processes seen\":%zu,\"left\":%zu,"
      "\"processes left\":%d}\n",
      rounds, seen, left, processes);
  // A zygote has a jail and a jail a command: fewer seen means that nothing was tried.
  return left == 0 && processes == 0 && seen > static_cast<std::size_t>(rounds);
}

}  // namespace
}  // namespace ambit::sandbox

int main(int count, char** words) {
  using namespace ambit::sandbox;
  if (count == 3 && std::strcmp(words[1], "--supervise") == 0) {
    Jails jails;
    int for_ever = -1;
    Soak(jails, words[2], 1).go(for_ever);
    return 0;
  }
  if (count < 2 || count > 4) {
    std::fprintf(stderr, "usage: %s ATTACKER [CALLS [SEED]]\n", words[0]);
    return 2;
  }
  const int calls = count > 2 ? std::max(1, std::atoi(words[2])) : 400;
  const unsigned seed = count > 3 ? static_cast<unsigned>(std::atoi(words[3])) : 1;
  char folder[] = "/tmp/ambit-soak-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return 2;
  const std::string attacker = std::string(folder) + "/attacker";
  std::filesystem::copy_file(words[1], attacker);
  const bool calls_good = soak_calls(attacker, calls, seed);
  const bool kills_good = soak_supervisors(words[0], attacker, std::max(3, calls / 200), seed);
  std::filesystem::remove_all(folder);
  return calls_good && kills_good ? 0 : 1;
}
