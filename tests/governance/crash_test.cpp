// kill -9 at random moments under load: what was acknowledged is there, and the log verifies.

#include "../support/temporary_folder.h"
#include "log/reader.h"
#include "log/verify.h"
#include "log/writer.h"

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <poll.h>
#include <random>
#include <spawn.h>
#include <unistd.h>

using ambit::TemporaryFolder;
using namespace ambit::log;

namespace {

struct Victim {
  pid_t pid = 0;
  int output = -1;
};

Victim start(const std::string& folder, unsigned seed) {
  int ends[2] = {-1, -1};
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string program = CRASH_WRITER;
  std::string place = folder;
  std::string number = std::to_string(seed);
  char* arguments[] = {program.data(), place.data(), number.data(), nullptr};
  Victim victim;
  REQUIRE(::posix_spawn(&victim.pid, program.c_str(), &actions, nullptr, arguments, environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  victim.output = ends[0];
  return victim;
}

// Lets it live until it has acknowledged something and some more, kills it, and gives the last
// record that it acknowledged.
std::uint64_t kill_in_the_middle(const Victim& victim, unsigned more_us) {
  std::string said(1, '\0');
  REQUIRE(::read(victim.output, said.data(), 1) == 1);
  ::usleep(more_us);
  REQUIRE(::kill(victim.pid, SIGKILL) == 0);
  int status = 0;
  REQUIRE(::waitpid(victim.pid, &status, 0) == victim.pid);
  std::array<char, 65'536> buffer{};
  for (ssize_t count = 0; (count = ::read(victim.output, buffer.data(), buffer.size())) > 0;) {
    said.append(buffer.data(), static_cast<std::size_t>(count));
  }
  ::close(victim.output);
  // A line that the kill cut short does not count.
  said.resize(said.rfind('\n'));
  const std::size_t line = said.rfind('\n');
  return std::stoull(said.substr(line == std::string::npos ? 0 : line + 1));
}

}  // namespace

TEST_CASE("no acknowledged record is lost and no log is damaged by kill -9", "[crash]") {
  // `./check crash record` asks for a thousand. Each log has at most 25, so that verifying it stays
  // cheaper than making it.
  const char* asked = std::getenv("AMBIT_KILLS");
  const unsigned kills = asked != nullptr ? static_cast<unsigned>(std::stoul(asked)) : 20;
  constexpr unsigned kills_of_one_log = 25;
  std::mt19937 random(9);
  std::uint64_t records = 0;
  std::uint64_t all = 0;
  auto folder_of_log = std::make_unique<TemporaryFolder>();
  for (unsigned round = 0; round < kills; ++round) {
    if (round % kills_of_one_log == 0) {
      all += records;
      records = 0;
      folder_of_log = std::make_unique<TemporaryFolder>();
    }
    const TemporaryFolder& folder = *folder_of_log;
    const Victim victim = start(folder.path(), round);
    const std::uint64_t acknowledged =
        kill_in_the_middle(victim, static_cast<unsigned>(random() % 60'000));
    const auto report = verify_log(folder.path());
    REQUIRE(report);
    CAPTURE(round, report->what);
    REQUIRE(report->good());
    CHECK(report->records > acknowledged);
    CHECK(report->records > records);
    records = report->records;
  }
  std::cout << "crash: " << kills << " kills -9, " << all + records
            << " records; acknowledged and lost 0, logs that do not verify 0, effects without a "
               "durable record 0\n";
}

TEST_CASE("a full disk fails the append with a clear error, and the log stays sound", "[crash]") {
  TemporaryFolder folder;
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    // The size that a process may write stands in for the disk.
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{400'000, 400'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(9);
    auto writer = LogWriter::open({folder.path(), "ambit/full", 64U << 20},
                                  [](std::span<std::uint8_t> bytes) {
                                    for (std::uint8_t& byte : bytes) byte = 7;
                                  });
    if (!writer) ::_exit(8);
    for (int i = 0; i < 100; ++i) {
      Prepared one;
      one.event = ambit::agents::Event{"t",     "run", "s",
                                       "clerk", "{}",  {{"result", std::string(20'000, 'x')}}};
      one.salts = {std::string(32, 's')};
      const auto result = (*writer)->append({one});
      if (!result) ::_exit(result.error().code == ambit::Code::exhausted ? 0 : 7);
    }
    ::_exit(6);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  const auto report = verify_log(folder.path());
  REQUIRE(report);
  CAPTURE(report->what);
  CHECK(report->good());
  CHECK(report->records > 3);
}
