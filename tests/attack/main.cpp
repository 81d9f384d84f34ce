// The attack suite: every attempt of attacker.cpp in real jails, at each level that can hold it,
// with a canary outside as judge, and outside as a positive control where that harms nobody. As
// root it does all of it again as a plain user. Prints one JSON line a failure and one a suite.

#include "../sandbox/jail_fixture.h"
#include "sandbox/seccomp.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

constexpr uid_t plain_user = 65534;
// Also where another user may not walk to it.
constexpr const char* own_program = "/proc/self/exe";
constexpr int escaped = 42;
constexpr int not_here = 77;

enum class Control { anyone, root, none };
enum class Aim { nothing, canary, victim };

struct Attempt {
  const char* name;
  Control control = Control::none;
  Aim aim = Aim::nothing;
};
constexpr Attempt attempts[] = {
    {"mount_tmpfs"},
    {"remount_root"},
    {"unmount_tmp"},
    {"change_root", Control::root},
    {"pivot"},
    {"open_tree", Control::root},
    {"move_mount"},
    {"set_namespace"},
    {"unshare_any", Control::anyone},
    {"clone_any", Control::anyone},
    {"clone3_any", Control::anyone},
    {"threads_still_work"},
    {"become_root", Control::root},
    {"change_groups", Control::root},
    {"regain_capabilities"},
    {"has_capabilities", Control::anyone},
    {"set_user_id_files_count", Control::anyone},
    {"new_privileges", Control::anyone},
    {"relax_filter"},
    {"no_filter", Control::anyone},
    {"trace_init"},
    {"trace_child", Control::anyone},
    {"read_memory_of_parent", Control::anyone},
    {"pidfd", Control::anyone},
    {"kcmp", Control::anyone},
    {"process_madvise", Control::anyone},
    {"bpf", Control::root},
    {"perf_event", Control::root},
    {"user_faults", Control::anyone},
    {"io_uring", Control::anyone},
    {"io_uring_enter", Control::anyone},
    {"add_key", Control::anyone},
    {"key_control", Control::anyone},
    {"name_to_handle", Control::anyone},
    {"fanotify", Control::root},
    {"move_pages", Control::anyone},
    {"no_randomize", Control::anyone},
    {"kernel_log", Control::root},
    {"shared_memory_segment"},
    {"message_queue"},
    {"memory_file", Control::anyone},
    {"shared_anonymous", Control::anyone},
    {"execute_by_descriptor", Control::anyone},
    {"unknown_numbers"},
    {"high_halves", Control::anyone},
    {"terminal"},
    {"terminal_control"},
    {"kill_outside", Control::none, Aim::victim},
    {"owner_signals", Control::anyone},
    {"better_priority", Control::root},
    {"realtime", Control::root},
    {"io_priority", Control::root},
    {"raise_limits", Control::anyone},
    {"limits_of_init", Control::root},
    {"read_shadow", Control::root},
    {"read_target", Control::anyone, Aim::canary},
    {"list_homes", Control::anyone},
    {"write_target", Control::anyone, Aim::canary},
    {"write_system"},
    {"link_then_read", Control::anyone, Aim::canary},
    {"hard_link_outside", Control::anyone, Aim::canary},
    {"rename_outside", Control::none, Aim::canary},
    {"climb", Control::anyone, Aim::canary},
    {"device_file"},
    {"set_id_bit", Control::anyone},
    {"execute_from_tmp", Control::anyone},
    {"proc_tricks"},
    {"any_proc", Control::anyone},
    {"leaked_descriptors"},
    {"control_groups", Control::anyone},
    {"any_socket", Control::anyone},
    {"foreign_socket_pair"},
    {"send_through_pair", Control::none, Aim::canary},
    {"many_files"},
    {"core_dump"},
    {"locked_memory", Control::root},
    {"old_gate"},
    {"x32_table"},
};

struct Score {
  int passed = 0;
  int failed = 0;
  int skipped = 0;

  void count(bool good, const std::string& what, const std::string& why) {
    ++(good ? passed : failed);
    if (!good)
      std::printf("{\"attempt\":\"%s\",\"result\":\"ESCAPED\",\"why\":\"%s\"}\n", what.c_str(),
                  why.c_str());
  }
};

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_outside(const std::string& attacker, const Attempt& attempt, const std::string& aim,
                const std::string& folder) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child != 0) return wait_for(child);
  if (::chdir(folder.c_str()) != 0) ::_exit(3);
  (void)::close(STDOUT_FILENO);
  ::execl(attacker.c_str(), attacker.c_str(), attempt.name, aim.c_str(), nullptr);
  ::_exit(3);
}

// What must be the same after every attempt.
class Outside {
 public:
  Outside() {
    folder_.write("canary", "do not sing\n");
    victim_ = ::fork();
    if (victim_ == 0)
      for (;;) ::pause();
  }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
  ~Outside() {
    ::kill(victim_, SIGKILL);
    wait_for(victim_);
  }
  [[nodiscard]] std::string aim(Aim at) const {
    if (at == Aim::victim) return std::to_string(victim_);
    return at == Aim::canary ? folder_.file("canary") : std::string("x");
  }
  [[nodiscard]] bool unharmed() const {
    return folder_.read("canary") == "do not sing\n" && ::waitpid(victim_, nullptr, WNOHANG) == 0;
  }
  [[nodiscard]] const std::string& folder() const { return folder_.path(); }

 private:
  WorkFolder folder_;
  pid_t victim_ = 0;
};

JailCall jailed(const std::string& attacker, const std::string& level, const WorkFolder& work,
                const std::string& name, const std::string& aim) {
  JailCall call;
  call.profile.level = level;
  call.profile.read_paths = {std::filesystem::path(attacker).parent_path()};
  if (level == "fs-write") {
    call.profile.write_paths = {work.path()};
    call.directory = work.path();
  }
  call.command = {attacker, name, aim};
  return call;
}

std::string seen(const JailOutcome& outcome) {
  return std::string(agents::to_string(outcome.kind)) + " " + std::to_string(outcome.exit_code) +
         " " + outcome.detail;
}

void try_all(Jails& jails, const std::string& attacker, const WorkFolder& work, Score& score) {
  const Outside outside;
  for (const Attempt& attempt : attempts) {
    const std::string aim = outside.aim(attempt.aim);
    const bool has_control = attempt.control == Control::anyone ||
                             (attempt.control == Control::root && ::geteuid() == 0);
    if (has_control && run_outside(attacker, attempt, aim, outside.folder()) != escaped) {
      // It fails outside as well, so its failing inside says nothing about the jail.
      std::printf(
          "{\"attempt\":\"%s\",\"result\":\"skipped\",\"why\":\"does not work outside either\"}\n",
          attempt.name);
      ++score.skipped;
      continue;
    }
    for (const char* level : {"fs-read", "fs-write"}) {
      const JailOutcome outcome = jails.run(jailed(attacker, level, work, attempt.name, aim));
      const bool ran =
          outcome.kind == OutcomeKind::ok || outcome.kind == OutcomeKind::policy_violation;
      if (ran && outcome.exit_code == not_here) {
        ++score.skipped;
        continue;
      }
      score.count(ran && outcome.exit_code == 0 && outside.unharmed(),
                  std::string(attempt.name) + " at " + level, seen(outcome));
    }
  }
}

// Each trip-wire ends the command, and the outcome names it.
void try_wires(Jails& jails, const std::string& attacker, const WorkFolder& work, Score& score) {
  for (const std::string& wire : seccomp::trip_wires()) {
    const int number = seccomp::number_of(wire, seccomp::native());
    if (number < 0) continue;
    const JailOutcome outcome =
        jails.run(jailed(attacker, "fs-read", work, "wire", std::to_string(number)));
    score.count(outcome.kind == OutcomeKind::policy_violation &&
                    outcome.detail.find(wire) != std::string::npos,
                "wire " + wire, seen(outcome));
  }
  const JailOutcome old = jails.run(jailed(attacker, "fs-read", work, "old_gate", "x"));
  score.count(old.kind == OutcomeKind::policy_violation || old.exit_code == not_here,
              "old_gate is typed", seen(old));
}

// A path that turned into a symbolic link is not followed.
void try_swapped_path(Jails& jails, const WorkFolder& work, Score& score) {
  const std::string link = work.file("swapped");
  (void)::symlink("/etc", link.c_str());
  JailCall call = shell("cat '" + link + "/shadow'");
  call.profile.read_paths = {link};
  const JailOutcome outcome = jails.run(std::move(call));
  score.count(outcome.kind == OutcomeKind::refused, "swapped path", seen(outcome));
  (void)::unlink(link.c_str());
}

// kill -9 of the supervisor in the middle of a call: nothing of the jail goes on.
void try_killing_the_supervisor(const WorkFolder& work, Score& score) {
  std::fflush(stdout);
  const pid_t supervisor = ::fork();
  if (supervisor == 0) {
    ::execl(own_program, own_program, "--supervise", work.path().c_str(), nullptr);
    ::_exit(3);
  }
  const auto exists = [&](const char* name) {
    return ::access(work.file(name).c_str(), F_OK) == 0;
  };
  for (int i = 0; i < 1000 && !exists("started"); ++i) ::usleep(10'000);
  const bool started = exists("started");
  ::kill(supervisor, SIGKILL);
  wait_for(supervisor);
  ::usleep(1'500'000);
  score.count(started && !exists("later"), "kill the supervisor",
              started ? "the jail went on" : "it never started");
}

int supervise(const std::string& folder) {
  Jails jails;
  JailCall call =
      shell("setsid sh -c 'sleep 0.7; touch later' & touch started; sleep 30", "fs-write");
  call.profile.write_paths = {folder};
  call.directory = folder;
  return jails.run(std::move(call)).exit_code;
}

int attack(const std::string& attacker) {
  Score score;
  const WorkFolder work;
  {
    Jails jails;
    try_all(jails, attacker, work, score);
    try_wires(jails, attacker, work, score);
    try_swapped_path(jails, work, score);
  }
  try_killing_the_supervisor(work, score);
  std::printf("{\"suite\":\"attack as %s\",\"passed\":%d,\"failed\":%d,\"skipped\":%d}\n",
              ::geteuid() == 0 ? "root" : "a plain user", score.passed, score.failed,
              score.skipped);
  std::fflush(stdout);
  return score.failed == 0 ? 0 : 1;
}

int attack_as_plain_user(const std::string& attacker) {
  const pid_t child = ::fork();
  if (child != 0) return wait_for(child);
  if (::setgroups(0, nullptr) != 0 || ::setgid(plain_user) != 0 || ::setuid(plain_user) != 0)
    ::_exit(3);
  ::execl(own_program, own_program, attacker.c_str(), nullptr);
  ::_exit(3);
}

}  // namespace
}  // namespace ambit::sandbox

int main(int count, char** words) {
  using namespace ambit::sandbox;
  if (count == 3 && std::strcmp(words[1], "--supervise") == 0) return supervise(words[2]);
  if (count != 2) {
    std::fprintf(stderr, "usage: %s ATTACKER\n", words[0]);
    return 2;
  }
  // A copy in a folder of its own: where the build lies must not change what a jail shows, and a
  // plain user may not be let into it.
  char folder[] = "/tmp/ambit-attack-XXXXXX";
  if (::mkdtemp(folder) == nullptr || ::chmod(folder, 0755) != 0) return 2;
  const std::string attacker = std::string(folder) + "/attacker";
  std::filesystem::copy_file(words[1], attacker);
  int result = attack(attacker);
  if (::geteuid() == 0) result |= attack_as_plain_user(attacker);
  std::filesystem::remove_all(folder);
  return result;
}
