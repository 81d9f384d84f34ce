// The attack suite: every attempt of attacker.cpp in real jails, at each level that can hold it, in
// jails made for it and made ahead, with a canary outside as judge, and first outside or in a box
// as a positive control. As root it does all of it again as a plain user, and the attempts once
// more in reduced jails. Prints one JSON line a failure and one a suite.

#include "../sandbox/no_namespaces.h"
#include "attempts.h"
#include "box.h"
#include "sandbox/landlock.h"
#include "sandbox/seccomp.h"
#include "suite.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <optional>
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
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
  }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
  ~Outside() {
    ::close(listener_);
    ::kill(victim_, SIGKILL);
    wait_for(victim_);
  }
  // Whether anybody has arrived since it was asked last.
  [[nodiscard]] bool was_reached() const {
    bool reached = false;
    for (int one = 0; (one = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      ::close(one);
      reached = true;
    }
    return reached;
  }
  [[nodiscard]] std::string aim(Aim at) const {
    if (at == Aim::victim) return std::to_string(victim_);
    if (at == Aim::listener) return std::to_string(port_);
    return at == Aim::canary ? folder_.file("canary") : std::string("x");
  }
  [[nodiscard]] bool unharmed() const {
    return folder_.read("canary") == "do not sing\n" && ::waitpid(victim_, nullptr, WNOHANG) == 0 &&
           !was_reached();
  }
  [[nodiscard]] const std::string& folder() const { return folder_.path(); }

 private:
  WorkFolder folder_;
  pid_t victim_ = 0;
  int listener_ = -1;
  int port_ = 0;
};

// Whether it works where nothing holds it back; nothing: there is no such place for this user.
std::optional<bool> works_outside(const std::string& attacker, const Attempt& attempt,
                                  const Outside& outside) {
  const bool is_root = ::geteuid() == 0;
  const std::string aim = outside.aim(attempt.aim);
  switch (attempt.control) {
    case Control::root:
    case Control::anyone:
      if (attempt.control == Control::root && !is_root) return std::nullopt;
      return run_outside(attacker, attempt, aim, outside.folder()) == escaped;
    case Control::root_box:
    case Control::box: {
      if (attempt.control == Control::root_box && !is_root) return std::nullopt;
      const Box box{attacker, attempt.name, attempt.aim == Aim::victim ? "" : "/work/canary",
                    attempt.control == Control::root_box};
      return run_in_box(box) == escaped;
    }
    case Control::none:
      break;
  }
  return std::nullopt;
}

void try_one(Jails& jails, JailCall call, const Outside& outside, const std::string& what,
             Score& score) {
  const JailOutcome outcome = jails.run(std::move(call));
  const bool ran = outcome.kind == OutcomeKind::ok || outcome.kind == OutcomeKind::policy_violation;
  if (ran && outcome.exit_code == not_here) {
    ++score.skipped;
    return;
  }
  score.count(ran && outcome.exit_code == 0 && outside.unharmed(), what, seen(outcome));
}

void try_all(Jails& jails, const std::string& attacker, const WorkFolder& work, Score& score) {
  const Outside outside;
  for (const Attempt& attempt : attempts) {
    const std::optional<bool> works = works_outside(attacker, attempt, outside);
    if (works == false) {
      // It fails outside as well, so its failing inside says nothing about the jail.
      std::printf(
          "{\"attempt\":\"%s\",\"result\":\"skipped\",\"why\":\"does not work outside either\"}\n",
          attempt.name);
      ++score.skipped;
      continue;
    }
    score.controls += works == true ? 1 : 0;
    (void)outside.was_reached();  // by the control
    for (const char* level : {"fs-read", "fs-write", "asks", "net"}) {
      const bool has_network = std::strcmp(level, "net") == 0;
      if (attempt.at == (has_network ? At::without_network : At::with_network)) continue;
      for (const char* service : {"call", "pooled"}) {
        JailCall call = jailed(attacker, level, work, attempt.name, outside.aim(attempt.aim));
        call.profile.service = service;
        try_one(jails, std::move(call), outside,
                std::string(attempt.name) + " at " + level + ", " + service, score);
      }
    }
  }
}

// The same attempts where nobody can make namespaces, in jails that may then be reduced. That they
// work outside was shown before.
void try_reduced(const std::string& attacker, Score& score) {
  const Outside outside;
  const WorkFolder work;
  Jails jails;
  for (const Attempt& attempt : attempts) {
    const auto named = [&](const NoControl& one) {
      return std::strcmp(one.name, attempt.name) == 0;
    };
    const auto* known =
        std::find_if(std::begin(not_held_when_reduced), std::end(not_held_when_reduced), named);
    if (known != std::end(not_held_when_reduced)) {
      std::printf("{\"attempt\":\"%s\",\"result\":\"not held\",\"why\":\"%s\"}\n", known->name,
                  known->why);
      ++score.skipped;
      continue;
    }
    if (attempt.at == At::with_network) continue;
    for (const char* level : {"fs-read", "fs-write"}) {
      JailCall call = jailed(attacker, level, work, attempt.name, outside.aim(attempt.aim));
      call.profile.isolation = "reduced-if-needed";
      try_one(jails, std::move(call), outside, std::string(attempt.name) + " reduced at " + level,
              score);
    }
  }
  try_limits(jails, attacker, work, score, "reduced-if-needed");
}

// Each trip-wire ends the command, and the outcome names it.
void try_wires(Jails& jails, const std::string& attacker, const WorkFolder& work, Score& score) {
  for (const std::string& wire : seccomp::trip_wires()) {
    const int number = seccomp::number_of(wire, seccomp::native());
    if (number < 0) continue;
    // In a user namespace, where the call is made and does nothing.
    const bool works = run_in_box({attacker, "wire", std::to_string(number), false}) == escaped;
    score.controls += works ? 1 : 0;
    score.count(works, "wire " + wire + ": control", "the call does not come back");
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
  std::filesystem::create_symlink("/etc", link);
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

// Every number of the list is attacked, or says why not.
void see_that_none_is_missing(Score& score) {
  for (const NotAttacked& one : not_attacked)
    std::printf("{\"number\":%d,\"result\":\"not attacked\",\"why\":\"%s\"}\n", one.number,
                one.why);
  for (int number = 1; number <= 64; ++number) {
    const auto is_it = [&](const auto& one) { return one.number == number; };
    const bool known = std::any_of(std::begin(attempts), std::end(attempts), is_it) ||
                       std::any_of(std::begin(limit_attacks), std::end(limit_attacks), is_it) ||
                       std::any_of(std::begin(not_attacked), std::end(not_attacked), is_it) ||
                       std::find(std::begin(told_elsewhere), std::end(told_elsewhere), number) !=
                           std::end(told_elsewhere);
    if (!known) score.count(false, std::to_string(number), "nobody attacks it");
  }
}

int supervise(const std::string& folder) {
  Jails jails;
  JailCall call =
      shell("setsid sh -c 'sleep 0.7; touch later' & touch started; sleep 30", "fs-write");
  call.profile.write_paths = {folder};
  call.directory = folder;
  return jails.run(std::move(call)).exit_code;
}

int say(const Score& score, const char* suite) {
  std::printf(
      "{\"suite\":\"%s\",\"attempted\":%d,\"refused\":%d,\"escaped\":%d,\"controls that "
      "worked\":%d,\"skipped\":%d}\n",
      suite, score.passed + score.failed, score.passed, score.failed, score.controls,
      score.skipped);
  std::fflush(stdout);
  return score.failed == 0 ? 0 : 1;
}

int attack(const std::string& attacker) {
  Score score;
  const WorkFolder work;
  {
    RefusingGate gate;
    NoClient nobody;
    RunnerOptions options;
    options.gate = &gate;
    options.egress.client = &nobody;
    Jails jails(options);
    try_all(jails, attacker, work, score);
    try_wires(jails, attacker, work, score);
    try_swapped_path(jails, work, score);
    try_limits(jails, attacker, work, score);
    try_leaving_state(jails, score);
    work.write("canary", "do not sing\n");
    try_compute(jails, work.file("canary"), score);
    try_server(jails, attacker, score);
  }
  try_proxy(score);
  try_secrets(score);
  try_asking(score);
  try_tools(score);
  try_neighbours(score);
  try_swapping_the_work_folder(score);
  try_killing_the_zygote(attacker, score);
  try_killing_the_supervisor(work, score);
  see_that_none_is_missing(score);
  return say(score, ::geteuid() == 0 ? "attack as root" : "attack as a plain user");
}

int attack_reduced(const std::string& attacker) {
  if (!forbid_namespaces()) return 3;
  Score score;
  try_reduced(attacker, score);
  return say(score, "attack in reduced jails");
}

// This program again, by another user or with another word.
int run_again(const std::string& attacker, const char* word, bool as_plain_user) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child != 0) return wait_for(child);
  if (as_plain_user &&
      (::setgroups(0, nullptr) != 0 || ::setgid(plain_user) != 0 || ::setuid(plain_user) != 0))
    ::_exit(3);
  ::execl(own_program, own_program, word, attacker.c_str(), nullptr);
  ::_exit(3);
}

}  // namespace
}  // namespace ambit::sandbox

int main(int count, char** words) {
  using namespace ambit::sandbox;
  if (count == 3 && std::strcmp(words[1], "--supervise") == 0) return supervise(words[2]);
  if (count == 3 && std::strcmp(words[1], "--again") == 0) return attack(words[2]);
  if (count == 3 && std::strcmp(words[1], "--reduced") == 0) return attack_reduced(words[2]);
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
  // Where the box has its root.
  const std::string box = std::string(folder) + "/box";
  if (::mkdir(box.c_str(), 0755) != 0) return 2;
  const bool is_root = ::geteuid() == 0;
  int result = attack(attacker);
  if (is_root) result |= run_again(attacker, "--again", true);
  // Whoever has no right to more: root could not be held to a number of processes without groups.
  if (landlock::abi() >= landlock::abi_of_scopes) {
    result |= run_again(attacker, "--reduced", is_root);
  } else {
    std::printf("{\"suite\":\"attack in reduced jails\",\"skipped\":\"needs kernel 6.12\"}\n");
  }
  std::filesystem::remove_all(folder);
  return result;
}
