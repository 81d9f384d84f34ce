// The soak: many calls, killed at random moments, then the supervisor itself killed in the middle,
// again and again. Counts before and after: processes, descriptors, mounts, control groups. One
// JSON line says what was left, which must be nothing.

#include "async/race.h"
#include "soak_frame.h"
#include "suite.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <random>
#include <unistd.h>

namespace ambit::sandbox {

using agents::JailCall;
using agents::JailOutcome;

namespace {

constexpr int at_once = 16;

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
  const int processes = processes_left(attacker);
  const Left after = look_again(before);
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
  const Left after = look_again(before);
  const int processes = processes_left(attacker);
  std::printf(
      "{\"soak\":\"calls\",\"calls\":%d,\"killed\":%d,\"refused\":%d,\"processes left\":%d,"
      "\"descriptors\":[%zu,%zu],\"mounts\":[%zu,%zu],\"groups\":[%zu,%zu],"
      "\"namespaces\":[%zu,%zu],\"resident KiB\":[%zu,%zu]}\n",
      calls, killed, refused, processes, before.descriptors, after.descriptors, before.mounts,
      after.mounts, before.groups, after.groups, before.namespaces, after.namespaces, before_kib,
      resident_kib());
  return processes == 0 && refused == 0 && after == before;
}

}  // namespace
}  // namespace ambit::sandbox

int main(int count, char** words) {
  using namespace ambit::sandbox;
  return soak(count, words,
              {"ATTACKER [CALLS [SEED]]", 1,
               [](const std::string& attacker) {
                 Jails jails;
                 int for_ever = -1;
                 Soak(jails, attacker, 1).go(for_ever);
               },
               [](const std::string& attacker, int calls, unsigned seed) {
                 const bool zygotes = soak_zygotes(attacker, std::clamp(calls / 500, 3, 40), seed);
                 const bool all = soak_calls(attacker, calls, seed);
                 return soak_supervisors("supervisors", attacker, std::clamp(calls / 200, 3, 100),
                                         seed) &&
                        zygotes && all;
               }});
}
