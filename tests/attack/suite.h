#pragma once

// What the parts of the attack suite share: the score, and how an attacker is put into a jail.

#include "../sandbox/jail_fixture.h"
#include "http/service.h"

#include <sys/types.h>

#include <string>

namespace ambit::sandbox {

constexpr int escaped = 42;
constexpr int not_here = 77;

struct Score {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  int controls = 0;  // attempts that were first seen to work where nothing holds them back

  void count(bool good, const std::string& what, const std::string& why);
};

// Grants nothing.
class RefusingGate final : public Gate {
 public:
  Task<Result<void>> may_request(EgressAsk /*ask*/) override {
    co_return Err(Code::denied, "nobody may");
  }
  Task<void> requested(EgressAsk /*ask*/, EgressResult /*result*/) override { co_return; }
  Task<Result<void>> may_open(OpenAsk /*ask*/) override {
    co_return Err(Code::denied, "nobody may");
  }
};
class NoClient final : public http::Client {
 public:
  Task<Result<http::Response>> send(http::Request /*request*/) override {
    co_return Err(Code::denied, "nobody may");
  }
  Task<Result<http::Reply>> open(http::Request /*request*/) override {
    co_return Err(Code::denied, "nobody may");
  }
};

int wait_for(pid_t child);
std::string seen(const agents::JailOutcome& outcome);
agents::JailCall jailed(const std::string& attacker, const std::string& level,
                        const WorkFolder& work, const std::string& name, const std::string& aim);
// Processes on this machine that run `program`.
int processes_of(const std::string& program);

// scenes.cpp: attacks that take more than one call, or a hand outside.
void try_limits(Jails& jails, const std::string& attacker, const WorkFolder& work, Score& score,
                const std::string& isolation = "full");
void try_neighbours(Score& score);
void try_swapping_the_work_folder(Score& score);
void try_leaving_state(Jails& jails, Score& score);
void try_compute(Jails& jails, const std::string& canary, Score& score);
void try_server(Jails& jails, const std::string& attacker, Score& score);
void try_killing_the_zygote(const std::string& attacker, Score& score);

// doors.cpp: attacks on what a jail may ask for, and on jails that are used again.
void try_proxy(Score& score);
void try_secrets(Score& score);
void try_asking(Score& score);
void try_tools(Score& score);

}  // namespace ambit::sandbox
