// Jails where nobody can make namespaces: refused unless the profile says in words that Landlock,
// the filter and rlimits may do alone; then they hold what those can hold, and say so.

#include "jail_fixture.h"
#include "no_namespaces.h"
#include "sandbox/doctor.h"
#include "sandbox/landlock.h"
#include "sandbox/profile.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <csignal>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

JailCall reduced(const std::string& script, const std::string& level = "fs-read") {
  JailCall call = shell(script, level);
  call.profile.isolation = "reduced-if-needed";
  return call;
}

std::string told(const JailOutcome& outcome) {
  return std::string(agents::to_string(outcome.kind)) + "|" + outcome.detail + "|" +
         outcome.isolation + "|" + outcome.output + "|" + outcome.errors;
}

bool is_testable() {
  if (landlock::abi() >= landlock::abi_of_scopes) return true;
  WARN("skipped: this kernel's Landlock keeps no signals inside");
  return false;
}

TEST_CASE("a machine without namespaces refuses a jail whose profile does not say otherwise",
          "[sandbox]") {
  const std::string said = said_without_namespaces([] {
    Jails jails;
    return told(jails.run(shell("echo ran")));
  });
  INFO(said);
  CHECK(said.starts_with("refused|"));
  CHECK(said.find("ambit doctor") != std::string::npos);
  CHECK(said.find("ran") == std::string::npos);
}

TEST_CASE("a machine without namespaces runs a reduced jail where the profile says so, and says it",
          "[sandbox]") {
  if (!is_testable()) return;
  const std::string said = said_without_namespaces([] {
    Jails jails;
    return told(jails.run(reduced("echo ran; pwd")));
  });
  INFO(said);
  CHECK(said.starts_with("ok|"));
  CHECK(said.find("reduced jail: Landlock, system call filter and rlimits alone") !=
        std::string::npos);
  CHECK(said.find("user namespace: Operation not permitted") != std::string::npos);
  CHECK(said.find("|ran\n/\n|") != std::string::npos);
}

TEST_CASE("where every layer can be made, a jail has them all whatever the profile allows",
          "[sandbox]") {
  Jails jails;
  const JailOutcome outcome = jails.run(reduced("echo $$"));
  CHECK(outcome.output == "2\n");
  CHECK(outcome.isolation.empty());
}

TEST_CASE("a reduced jail reads and writes what its profile names and nothing else", "[sandbox]") {
  if (!is_testable()) return;
  const WorkFolder all;
  const WorkFolder outside;
  outside.write("canary", "sings\n");
  (void)::chmod(outside.path().c_str(), 0777);
  for (const char* name : {"mine", "theirs"}) {
    std::filesystem::create_directory(all.file(name));
    std::ofstream(all.file(std::string(name) + "/facts")) << name << "\n";
  }
  const std::string said = said_without_namespaces([&] {
    RunnerOptions options;
    options.work_root = all.path();
    Jails jails(options);
    JailCall call = reduced(
        "cat facts; echo new > made; cat '" + outside.file("canary") + "' '" +
            all.file("theirs/facts") + "' /etc/passwd /proc/self/status; ls /root '" +
            outside.path() + "'; echo x > '" + outside.file("canary") +
            "'; echo x > /tmp/x; "
            "mv made '" +
            outside.file("made") + "'; ln '" + outside.file("canary") + "' linked; ln -s '" +
            outside.file("canary") + "' soft; cat soft; chmod 700 facts; true",
        "fs-write");
    call.profile.write_paths = {all.file("mine")};
    call.directory = all.file("mine");
    return jails.run(std::move(call)).output;
  });
  CHECK(said == "mine\n");
  CHECK(all.read("mine/made") == "new\n");
  CHECK(outside.read("canary") == "sings\n");
  CHECK(!std::filesystem::exists(outside.file("made")));
  CHECK(!std::filesystem::exists(all.file("mine/linked")));
}

TEST_CASE("no signal of a reduced jail reaches anybody outside, and nothing of it stays",
          "[sandbox]") {
  if (!is_testable()) return;
  const WorkFolder work;
  const pid_t victim = ::fork();
  if (victim == 0)
    for (;;) ::pause();
  const std::string said = said_without_namespaces([&] {
    Jails jails;
    JailCall call =
        reduced("kill -9 " + std::to_string(victim) +
                    " 2>/dev/null && echo killed; "
                    "kill -9 -1 2>/dev/null; (setsid sh -c 'sleep 0.5; touch later' &); "
                    "(sleep 100 &); kill -0 $PPID 2>/dev/null && echo init; echo done",
                "fs-write");
    call.profile.write_paths = {work.path()};
    call.directory = work.path();
    const JailOutcome outcome = jails.run(std::move(call));
    const auto pause = []() -> Task<int> {
      co_await delay(std::chrono::milliseconds(700));
      co_return 0;
    };
    jails.wait(pause());
    return outcome.output;
  });
  CHECK(said == "done\n");
  CHECK(::waitpid(victim, nullptr, WNOHANG) == 0);
  CHECK(::access(work.file("later").c_str(), F_OK) != 0);
  ::kill(victim, SIGKILL);
  ::waitpid(victim, nullptr, 0);
}

TEST_CASE("a reduced jail keeps its limits, and its tools are the same", "[sandbox]") {
  if (!is_testable()) return;
  const std::string said = said_without_namespaces([] {
    Jails jails;
    JailCall slow = reduced("sleep 30");
    slow.profile.wall_ms = 100;
    JailCall forks = reduced("while :; do sleep 30 & done");
    JailCall wire = reduced("unshare -U true; true");
    JailCall tool = reduced("");
    tool.command = {"@read", "/usr/share/doc/libc6/copyright", "0", "4"};
    std::string all;
    for (const JailCall& call : {slow, forks, wire, tool}) {
      const JailOutcome outcome = jails.run(call);
      all += std::string(agents::to_string(outcome.kind)) + (outcome.isolation.empty() ? "!" : "") +
             " ";
    }
    return all;
  });
  CHECK(said == "timeout process_limit ok ok ");
}

TEST_CASE("level net has no reduced jail", "[sandbox]") {
  agents::Profile profile = *preset("net");
  profile.isolation = "reduced-if-needed";
  const auto valid = validate(profile, {});
  REQUIRE(!valid);
  CHECK(valid.error().message.find("network of its own") != std::string::npos);
  profile = *preset("fs-read");
  profile.isolation = "none";
  CHECK(!validate(profile, {}));
}

TEST_CASE("the doctor tells full jails and reduced ones apart", "[sandbox]") {
  CHECK(missing_for_full_jails().empty());
  if (!is_testable()) return;
  const std::string said = said_without_namespaces(
      [] { return missing_for_full_jails() + "|" + missing_for_reduced_jails() + "|"; });
  CHECK(said == "user namespace: Operation not permitted||");
}

}  // namespace
}  // namespace ambit::sandbox
