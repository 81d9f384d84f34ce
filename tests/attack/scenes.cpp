// Attacks that take more than one call or a hand outside: limits, neighbours, races with the
// supervisor, what a call leaves behind, and the death of the zygote.

#include "async/race.h"
#include "attempts.h"
#include "suite.h"

#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <unistd.h>

namespace ambit::sandbox {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

namespace {

// Until nothing runs `program` any more; false after a second.
bool all_gone(const std::string& program) {
  for (int i = 0; i < 100; ++i) {
    if (processes_of(program) == 0) return true;
    ::usleep(10'000);
  }
  return false;
}

void kill_children() {
  std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  for (pid_t child = 0; children >> child;) ::kill(child, SIGKILL);
}

}  // namespace

// 54 to 60: a small share of everything, and afterwards nothing of the jail is left.
void try_limits(Jails& jails, const std::string& attacker, const WorkFolder& work, Score& score,
                const std::string& isolation) {
  for (const LimitAttack& attack : limit_attacks) {
    JailCall call = jailed(attacker, "fs-write", work, "bomb", attack.name);
    call.profile.isolation = isolation;
    call.profile.wall_ms = 1500;
    call.profile.cpu_ms = 400;
    call.profile.memory_bytes = 48 << 20;
    call.profile.processes = 12;
    call.profile.scratch_bytes = 4 << 20;
    call.profile.output_bytes = 100'000;
    const bool alone = attack.number == 54 || attack.number == 57 || attack.number == 60;
    if (!alone) call.profile.cpu_ms = 5000;
    const JailOutcome outcome = jails.run(std::move(call));
    // A reduced jail has no /tmp that could be filled.
    const bool may_be_held = attack.may_be_held || (attack.number == 56 && isolation != "full");
    const bool is_held =
        may_be_held && outcome.kind == OutcomeKind::ok && outcome.exit_code != escaped;
    const bool is_typed = outcome.kind != OutcomeKind::ok &&
                          (outcome.kind == attack.kind || outcome.kind == attack.other);
    const std::string what = "limit " + std::string(attack.name);
    score.count(is_held || is_typed, what, seen(outcome));
    score.count(outcome.output.size() + outcome.errors.size() <= 100'000, what + ": output",
                std::to_string(outcome.output.size()) + " bytes");
    score.count(all_gone(attacker), what + ": end", "processes are left");
  }
}

// 31: the work folder of another session, and the /tmp of another call, while both run.
void try_neighbours(Score& score) {
  const WorkFolder all;
  for (const char* name : {"mine", "theirs"}) {
    std::filesystem::create_directory(all.file(name));
    std::ofstream(all.file(std::string(name) + "/secret")) << name << "\n";
    (void)::chmod(all.file(name).c_str(), 0777);
  }
  RunnerOptions options;
  options.work_root = all.path();
  Jails jails(options);
  const auto at = [&](const char* name, const std::string& script) {
    JailCall call = shell(script, "fs-write");
    call.profile.write_paths = {all.file(name)};
    call.directory = all.file(name);
    return jails.run(std::move(call));
  };
  const JailOutcome own = at("theirs", "cat secret; echo more > secret; cat secret");
  score.count(own.output == "theirs\nmore\n", "a session's own work folder", seen(own));
  const std::string other = all.file("theirs");
  const JailOutcome mine =
      at("mine", "cat ../theirs/secret '" + other + "/secret' /tmp/.work/theirs/secret; ls '" +
                     all.path() + "'; echo x > '" + other + "/secret'; ls /tmp/.work; true");
  score.count(mine.output == "mine\n", "another session's work folder", mine.output);
  score.count(all.read("theirs/secret") == "more\n", "another session's file", "it was changed");
  // Without cgroups each call has a zygote to itself.
  const bool share = jails.runner->limits_by() != "rlimits";
  score.count(!share || jails.runner->zygotes() == 1, "one zygote for both sessions",
              std::to_string(jails.runner->zygotes()));
  // Names that would lead out.
  for (const char* name : {"mine/..", "mine/../theirs", ".", "mine/."}) {
    const JailOutcome outcome = at(name, "true");
    score.count(outcome.kind == OutcomeKind::refused, std::string("work folder ") + name,
                seen(outcome));
  }
}

// 34: the work folder turns into a link and back while jails are made for it.
void try_swapping_the_work_folder(Score& score) {
  const WorkFolder all;
  const WorkFolder outside;
  outside.write("canary", "sings\n");
  (void)::chmod(outside.path().c_str(), 0777);
  const std::string place = all.file("session");
  std::filesystem::create_directory(place);
  std::filesystem::create_symlink(outside.path(), all.file("link"));
  RunnerOptions options;
  options.work_root = all.path();
  options.spares_max = 0;
  Jails jails(options);
  std::atomic<bool> stop{false};
  const auto swap = [&] {
    (void)::syscall(316 /* renameat2 */, -1, place.c_str(), -1, all.file("link").c_str(), 2);
  };
  const auto look = [&] {
    JailCall call = shell("", "fs-write");
    call.profile.write_paths = {place};
    call.directory = "/tmp";
    call.command[2] = "cat '" + place + "/canary'; echo x > '" + place + "/canary'";
    return jails.run(std::move(call));
  };
  std::thread swapper([&] {
    while (!stop) swap();
  });
  bool followed = false;
  for (int i = 0; i < 150; ++i) {
    followed = followed || look().output.find("sings") != std::string::npos;
  }
  stop = true;
  swapper.join();
  if (std::filesystem::is_symlink(place)) swap();
  score.count(!followed && outside.read("canary") == "sings\n", "swapping the work folder",
              "the link was followed");
  const JailOutcome still = look();
  score.count(still.kind == OutcomeKind::ok && outside.read("canary") == "sings\n",
              "swapping the work folder: control", seen(still));
}

// 62: what one call leaves in its process must not meet the next one.
void try_leaving_state(Jails& jails, Score& score) {
  for (int round = 0; round < 3; ++round) {
    JailCall dirty = shell(
        "umask 000; ulimit -n 20; trap '' TERM; cd /; export LEFT=1; "
        "echo x > /tmp/left; sleep 100 & disown; true");
    (void)jails.run(std::move(dirty));
    const JailOutcome clean = jails.run(
        shell("umask; ulimit -n; pwd; echo \"[$LEFT]\"; ls -A /tmp; ls /proc | wc -l; echo $$"));
    score.count(clean.output == "0022\n64\n/tmp\n[]\n0\n2\n", "state of the call before",
                clean.output + clean.errors);
  }
}

// Level compute runs the system's own programs only, so the attacker speaks through them.
void try_compute(Jails& jails, const std::string& canary, Score& score) {
  struct Words {
    const char* what;
    std::vector<std::string> command;
    std::string may_say;
  };
  const Words all[] = {
      {"reads the canary", {"cat", canary}, ""},
      {"reads the passwords", {"cat", "/etc/shadow"}, ""},
      {"lists the homes", {"ls", "/home", "/root", "/sys", "/run"}, ""},
      {"forks", {"sh", "-c", "(echo forked); true"}, ""},
      {"starts a program", {"timeout", "1", "echo", "started"}, ""},
      {"writes to the system", {"touch", "/usr/bin/x"}, ""},
      {"makes a folder", {"mkdir", "/tmp/made"}, ""},
      {"mounts", {"mount", "-t", "tmpfs", "x", "/tmp"}, ""},
      {"makes namespaces", {"unshare", "-U", "echo", "made"}, ""},
      {"works as it should", {"echo", "fine"}, "fine\n"},
  };
  for (const Words& words : all) {
    JailCall call;
    call.profile.level = "compute";
    call.command = words.command;
    const JailOutcome outcome = jails.run(std::move(call));
    const bool good = outcome.kind == OutcomeKind::ok && outcome.output == words.may_say &&
                      (outcome.exit_code == 0) == !words.may_say.empty();
    score.count(good || outcome.kind == OutcomeKind::policy_violation,
                "compute " + std::string(words.what), seen(outcome) + ": " + outcome.output);
  }
}

// 39 and 40 where there is a /proc: a jailed server's.
void try_server(Jails& jails, const std::string& attacker, Score& score) {
  for (const char* attempt : {"proc_tricks", "read_shadow", "trace_init", "mount_tmpfs"}) {
    JailCall call;
    call.profile.level = "fs-read";
    call.profile.read_paths = {std::filesystem::path(attacker).parent_path()};
    call.command = {attacker, attempt, "x"};
    auto server = jails.runner->start(std::move(call));
    if (!server) {
      score.count(false, std::string("server ") + attempt, server.error().message);
      continue;
    }
    const JailOutcome outcome = jails.wait((*server)->wait());
    score.count(outcome.kind == OutcomeKind::ok && outcome.exit_code == 0,
                std::string("server ") + attempt, seen(outcome));
  }
}

// 64: kill -9 of the zygote in the middle of calls, with jails that wait.
void try_killing_the_zygote(const std::string& attacker, Score& score) {
  const WorkFolder work;
  Jails jails;
  for (int round = 0; round < 5; ++round) {
    (void)jails.run(jailed(attacker, "fs-write", work, "bomb", "zombies"));
    std::vector<Task<JailOutcome>> calls;
    for (int i = 0; i < 4; ++i)
      calls.push_back(
          jails.runner->run(jailed(attacker, "fs-write", work, "bomb", "daemon_stays")));
    bool is_over = false;
    const auto sleep_on = [](Task<JailOutcome> call, bool& over) -> Task<JailOutcome> {
      JailOutcome outcome = co_await std::move(call);
      over = true;
      co_return outcome;
    };
    calls.push_back(sleep_on(
        jails.runner->run(jailed(attacker, "fs-write", work, "bomb", "sleep_on")), is_over));
    // Again where the first one came before the call had begun, as on a busy machine.
    const auto kill_soon = [](const bool& over) -> Task<JailOutcome> {
      for (int n = 0; n < 50 && (n == 0 || !over); ++n) {
        co_await delay(std::chrono::milliseconds(60));
        kill_children();
      }
      co_return JailOutcome{};
    };
    calls.push_back(kill_soon(is_over));
    const auto all = [](std::vector<Task<JailOutcome>> some) -> Task<std::vector<JailOutcome>> {
      auto outcomes = co_await join(std::move(some));
      co_return outcomes;
    };
    const std::vector<JailOutcome> outcomes = jails.wait(all(std::move(calls)));
    // It may not have begun by then: nothing ran, and it says so.
    const OutcomeKind kind = outcomes[4].kind;
    score.count(kind == OutcomeKind::crashed || kind == OutcomeKind::refused, "kill the zygote",
                seen(outcomes[4]));
    score.count(all_gone(attacker), "kill the zygote: end", "processes are left");
    // Its own zygote was killed as well; a call that meets it before that is known may have begun,
    // so it says that it crashed and is not tried again.
    JailOutcome next = jails.run(shell("echo again"));
    if (next.kind == OutcomeKind::crashed) next = jails.run(shell("echo again"));
    score.count(next.output == "again\n", "kill the zygote: the next call", seen(next));
  }
}

}  // namespace ambit::sandbox
