#include "sandbox/cgroup.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <memory>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

// Which group it is: that of the file one joins it by.
ino_t group_of(const CgroupPool::Lease& lease) {
  struct stat file{};
  REQUIRE(::fstat(lease.members().back(), &file) == 0);
  return file.st_ino;
}

// A process in the group, until it is killed.
pid_t join(const CgroupPool::Lease& lease) {
  int pipe[2] = {-1, -1};
  REQUIRE(::pipe(pipe) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    for (const int member : lease.members())
      if (::write(member, "0", 1) != 1) ::_exit(1);
    (void)!::write(pipe[1], "", 1);
    for (;;) ::pause();
  }
  ::close(pipe[1]);
  char in = 0;
  const bool joined = ::read(pipe[0], &in, 1) == 1;
  ::close(pipe[0]);
  REQUIRE(joined);
  return child;
}

TEST_CASE("a control group is used again once nobody is left in it", "[sandbox]") {
  const std::unique_ptr<CgroupPool> pool = CgroupPool::open();
  if (!pool) {
    WARN("skipped: this process may not make control groups");
    return;
  }
  constexpr std::int64_t memory_bytes = 64 << 20;
  auto first = pool->lease(memory_bytes, 2);
  REQUIRE(first);
  const ino_t of_first = group_of(**first);
  const pid_t dying = join(**first);
  first->reset();

  auto second = pool->lease(memory_bytes, 2);
  REQUIRE(second);
  CHECK(group_of(**second) != of_first);

  ::kill(dying, SIGKILL);
  ::waitpid(dying, nullptr, 0);
  auto third = pool->lease(memory_bytes, 2);
  REQUIRE(third);
  CHECK(group_of(**third) == of_first);
}

}  // namespace
}  // namespace ambit::sandbox
