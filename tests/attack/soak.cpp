// The soak: many calls, killed at random moments, then the supervisor itself killed in the middle,
// again and again. Counts before and after: processes, descriptors, mounts, control groups. One
// JSON line says what was left, which must be nothing.

#include "async/race.h"
#include "suite.h"

#include <sys/wait.h>

#include <algorithm>
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
  std::size_t namespaces = 0;  // of this machine's processes
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

// Different ones that are descended from ours; a jail's are none of ours.
std::size_t namespaces_of_jails(const std::set<pid_t>& some) {
  std::set<std::string> all;
  for (const pid_t one : some)
    for (const char* kind : {"mnt", "pid", "net", "user", "ipc", "uts"}) {
      std::error_code gone;
      const auto link =
          std::filesystem::read_symlink("/proc/" + std::to_string(one) + "/ns/" + kind, gone);
      if (!gone) all.insert(link.string());
    }
  return all.size();
}

void add_descendants(pid_t parent, std::set<pid_t>& all);

Left look() {
  std::set<pid_t> ours;
  add_descendants(::getpid(), ours);
  return {entries("/proc/self/fd"), lines("/proc/self/mountinfo"), groups_of(::getpid()),
          namespaces_of_jails(ours)};
}

std::size_t resident_kib() {
  std::ifstream file("/proc/self/status");
  std::string word;
  std::size_t value = 0;
  while (file >> word)
    if (word == "VmRSS:" && file >> value) return value;
  return 0;
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
      const auto dice = static_cast<unsigned>(random_() % 10);
      if (dice >= 8) {
        co_await use_tool(dice == 8 ? "warm" : "pooled");
        continue;
      }
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
  // A built-in tool, one in four killed in the middle of it.
  Task<void> use_tool(const char* service) {
    JailCall call;
    call.profile.level = "fs-read";
    call.profile.service = service;
    call.command = {"@grep", "root", "/etc"};
    call.agent = "soak";
    if (random_() % 4 == 0) {
      const Duration moment = std::chrono::microseconds(random_() % 1000);
      co_await race(run(std::move(call)), delay_task(moment));
      ++killed_;
    } else {
      co_await run(std::move(call));
    }
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

// kill -9 of zygotes that have calls running and jails waiting. Such calls end as crashed, or as
// refused if they had not begun; afterwards the next one works, and nothing is left.
bool soak_zygotes(const std::string& attacker, int rounds, unsigned seed) {
  std::minstd_rand random(seed);
  int killed = 0;
  int worked = 0;
  {  // the event loop keeps two descriptors for ever once it has started a process
    Jails jails;
    const WorkFolder work;
    (void)jails.run(jailed(attacker, "fs-read", work, "bomb", "zombies"));
  }
  const Left before = look();
  for (int round = 0; round < rounds; ++round) {
    Jails jails;
    const WorkFolder work;
    std::vector<Task<JailOutcome>> calls;
    for (int i = 0; i < 24; ++i)
      calls.push_back(jails.runner->run(
          jailed(attacker, i % 2 == 0 ? "fs-read" : "fs-write", work, "bomb", "zombies")));
    const auto kill_soon = [](Duration moment, int& count) -> Task<JailOutcome> {
      co_await delay(moment);
      std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
      for (pid_t child = 0; children >> child;)
        if (::kill(child, SIGKILL) == 0) ++count;
      co_return JailOutcome{};
    };
    calls.push_back(kill_soon(std::chrono::microseconds(random() % 20'000), killed));
    const auto all = [](std::vector<Task<JailOutcome>> some) -> Task<std::vector<JailOutcome>> {
      auto outcomes = co_await join(std::move(some));
      co_return outcomes;
    };
    (void)jails.wait(all(std::move(calls)));
    for (int tries = 0; tries < 3; ++tries) {
      if (jails.run(jailed(attacker, "fs-read", work, "bomb", "zombies")).kind !=
          agents::OutcomeKind::ok)
        continue;
      ++worked;
      break;
    }
  }
  Left after = look();
  for (int i = 0; i < 200 && (after != before || processes_of(attacker) != 0); ++i) {
    ::usleep(10'000);
    after = look();
  }
  const int processes = processes_of(attacker);
  std::printf(
      "{\"soak\":\"zygotes\",\"killed\":%d,\"rounds\":%d,\"next call worked\":%d,"
      "\"processes left\":%d,\"descriptors\":[%zu,%zu],\"namespaces\":[%zu,%zu]}\n",
      killed, rounds, worked, processes, before.descriptors, after.descriptors, before.namespaces,
      after.namespaces);
  return worked == rounds && killed > 0 && processes == 0 && after == before;
}

bool soak_calls(const std::string& attacker, int calls, unsigned seed) {
  {
    Jails warm_up;
    Soak(warm_up, attacker, seed).go(at_once);
  }
  const Left before = look();
  const std::size_t before_kib = resident_kib();
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
      "\"descriptors\":[%zu,%zu],\"mounts\":[%zu,%zu],\"groups\":[%zu,%zu],"
      "\"namespaces\":[%zu,%zu],\"resident KiB\":[%zu,%zu]}\n",
      calls, killed, refused, processes, before.descriptors, after.descriptors, before.mounts,
      after.mounts, before.groups, after.groups, before.namespaces, after.namespaces, before_kib,
      resident_kib());
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
  const bool zygotes_good = soak_zygotes(attacker, std::clamp(calls / 500, 3, 40), seed);
  const bool calls_good = soak_calls(attacker, calls, seed);
  const bool kills_good =
      soak_supervisors(words[0], attacker, std::clamp(calls / 200, 3, 100), seed);
  std::filesystem::remove_all(folder);
  return calls_good && zygotes_good && kills_good ? 0 : 1;
}
