// The system-call policy, read through the user-space evaluator: golden dumps for every level and
// table, and the arguments that matter. Needs no kernel that enforces anything.

#include "sandbox/policy.h"

#include "sandbox/bpf.h"
#include "sandbox/seccomp.h"

#include <catch2/catch.hpp>
#include <linux/audit.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <sstream>

namespace ambit::sandbox {
namespace {

using seccomp::Architecture;
using seccomp::Filters;
using seccomp::Tier;

constexpr std::uint32_t errno_of(int number) {
  return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number);
}

Filters built(Tier tier, Architecture architecture) {
  auto filters = seccomp::build(tier, architecture);
  REQUIRE(filters);
  return std::move(*filters);
}

// What a command meets: the stricter of both filters.
std::uint32_t verdict(const Filters& filters, const seccomp_data& data) {
  const auto first = bpf::evaluate(filters.first, data);
  const auto last = bpf::evaluate(filters.last, data);
  REQUIRE(first);
  REQUIRE(last);
  return bpf::stricter(*first, *last);
}

seccomp_data asking(std::uint32_t table, int number, std::array<std::uint64_t, 6> arguments = {}) {
  seccomp_data data{};
  data.nr = number;
  data.arch = table;
  for (std::size_t i = 0; i < arguments.size(); ++i) data.args[i] = arguments[i];
  return data;
}

std::uint32_t call(const Filters& filters, std::string_view name,
                   std::array<std::uint64_t, 6> arguments = {}) {
  const int number = seccomp::number_of(name, Architecture::x86_64);
  REQUIRE(number >= 0);
  return verdict(filters, asking(AUDIT_ARCH_X86_64, number, arguments));
}

// One line a number whose verdict is not the default, and one a run of numbers without a name.
std::string dump(const Filters& filters, Architecture architecture, std::uint32_t table, int base) {
  const bool own = table == seccomp::audit_architecture(architecture) && base == 0;
  std::array<std::uint64_t, 6> ones{};
  ones.fill(~0ULL);
  std::ostringstream text;
  int from = 0;
  std::string run;
  const auto flush = [&](int end) {
    if (!run.empty()) text << from << "-" << end - 1 << " " << run << "\n";
    run.clear();
  };
  for (int number = 0; number < 1024; ++number) {
    const std::string zero = bpf::to_string(verdict(filters, asking(table, base + number)));
    const std::string one = bpf::to_string(verdict(filters, asking(table, base + number, ones)));
    const std::string both = zero == one ? zero : "with 0: " + zero + ", with ~0: " + one;
    std::string name = own ? seccomp::name_of(number, table) : "";
    if (name.starts_with("system call")) name.clear();
    if (!name.empty()) {
      flush(number);
      if (both != "errno 1") text << number << " " << name << " " << both << "\n";
    } else if (both != run) {
      flush(number);
      from = number;
      run = both;
    }
  }
  flush(1024);
  return text.str();
}

// Where the text differs it is kept beside the temporary files, to be copied over the one on record
// if the change is meant.
void check_against_record(const std::string& name, const std::string& text) {
  std::ostringstream golden;
  golden << std::ifstream(std::string(TEST_DATA) + "/sandbox/" + name).rdbuf();
  const auto kept = std::filesystem::temp_directory_path() / ("ambit-" + name);
  if (golden.str() != text) std::ofstream(kept) << text;
  INFO(name << " is not the one on record; what it is now: " << kept.string());
  CHECK((golden.str() == text));
}

TEST_CASE("the filter of every level and table is the one on record", "[sandbox]") {
  struct Level {
    const char* name;
    Tier tier;
  };
  for (const Level level : {Level{"compute", Tier::compute}, Level{"fs-read", Tier::fs_read},
                            Level{"fs-write", Tier::fs_write}, Level{"net", Tier::net}}) {
    std::string text;
    const Filters here = built(level.tier, Architecture::x86_64);
    const Filters there = built(level.tier, Architecture::aarch64);
    text += "# x86_64\n" + dump(here, Architecture::x86_64, AUDIT_ARCH_X86_64, 0);
    text += "# x86_64, asked through the x32 table\n" +
            dump(here, Architecture::x86_64, AUDIT_ARCH_X86_64, 0x40000000);
    text += "# x86_64, asked through the 32-bit table\n" +
            dump(here, Architecture::x86_64, AUDIT_ARCH_I386, 0);
    text += "# aarch64\n" + dump(there, Architecture::aarch64, AUDIT_ARCH_AARCH64, 0);
    check_against_record(std::string("filter-") + level.name + ".txt", text);
  }
}

TEST_CASE("the filter of a reduced jail allows less than the full one, and is on record",
          "[sandbox]") {
  std::string text;
  for (const Architecture architecture : {Architecture::x86_64, Architecture::aarch64}) {
    const std::uint32_t table = seccomp::audit_architecture(architecture);
    const Filters full = built(Tier::fs_write, architecture);
    auto reduced = seccomp::build(Tier::fs_write, architecture, {false, true});
    REQUIRE(reduced);
    text += "# " + std::string(architecture == Architecture::x86_64 ? "x86_64" : "aarch64") + "\n" +
            dump(*reduced, architecture, table, 0);
    for (int number = 0; number < 1024; ++number) {
      const seccomp_data data = asking(table, number);
      INFO(number);
      CHECK((verdict(*reduced, data) != SECCOMP_RET_ALLOW ||
             verdict(full, data) == SECCOMP_RET_ALLOW));
    }
  }
  check_against_record("filter-fs-write-reduced.txt", text);
  auto reduced = seccomp::build(Tier::fs_write, Architecture::x86_64, {false, true});
  REQUIRE(reduced);
  CHECK(call(*reduced, "socketpair", {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}) == SECCOMP_RET_ALLOW);
  CHECK(call(*reduced, "socketpair", {AF_UNIX, SOCK_DGRAM}) == errno_of(EPERM));
  CHECK(call(*reduced, "fchmod", {0, 0755}) == errno_of(EPERM));
  CHECK(call(*reduced, "utimensat") == errno_of(EPERM));
  CHECK(call(*reduced, "lgetxattr") == errno_of(EOPNOTSUPP));
  CHECK(call(*reduced, "prctl", {36}) == errno_of(EPERM));
}

TEST_CASE("a level allows what the one below allows", "[sandbox]") {
  const std::array tiers = {Tier::compute, Tier::fs_read, Tier::fs_write, Tier::net};
  for (const Architecture architecture : {Architecture::x86_64, Architecture::aarch64})
    for (std::size_t i = 1; i < tiers.size(); ++i) {
      const Filters below = built(tiers[i - 1], architecture);
      const Filters above = built(tiers[i], architecture);
      for (int number = 0; number < 1024; ++number) {
        const seccomp_data data = asking(seccomp::audit_architecture(architecture), number);
        INFO(number);
        CHECK((verdict(below, data) != SECCOMP_RET_ALLOW ||
               verdict(above, data) == SECCOMP_RET_ALLOW));
      }
    }
}

TEST_CASE("a call gets the same answer on both architectures", "[sandbox]") {
  for (const Tier tier : {Tier::compute, Tier::fs_read, Tier::fs_write, Tier::net}) {
    const Filters here = built(tier, Architecture::x86_64);
    const Filters there = built(tier, Architecture::aarch64);
    for (int number = 0; number < 512; ++number) {
      const std::string name = seccomp::name_of(number, AUDIT_ARCH_X86_64);
      const int other = seccomp::number_of(name, Architecture::aarch64);
      if (other < 0) continue;
      INFO(name);
      CHECK(verdict(here, asking(AUDIT_ARCH_X86_64, number)) ==
            verdict(there, asking(AUDIT_ARCH_AARCH64, other)));
    }
  }
}

TEST_CASE("no namespace can be made, not even by high flags", "[sandbox]") {
  const Filters filters = built(Tier::fs_write, Architecture::x86_64);
  for (const int one : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
                        CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_PTRACE}) {
    const auto flag = static_cast<std::uint64_t>(one);
    CHECK(call(filters, "clone", {flag | SIGCHLD}) == errno_of(EPERM));
    CHECK(call(filters, "unshare", {flag}) == errno_of(EPERM));
  }
  CHECK(call(filters, "clone", {(1ULL << 33) | SIGCHLD}) == errno_of(EPERM));
  CHECK(call(filters, "clone", {SIGCHLD}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "clone3") == errno_of(ENOSYS));
}

TEST_CASE("compute makes threads and no processes", "[sandbox]") {
  const Filters filters = built(Tier::compute, Architecture::x86_64);
  const std::uint64_t thread =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  CHECK(call(filters, "clone", {thread}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "clone", {SIGCHLD}) == errno_of(EPERM));
  CHECK(call(filters, "clone", {CLONE_VM | CLONE_VFORK | SIGCHLD}) == errno_of(EPERM));
  CHECK(call(filters, "fork") == errno_of(EPERM));
  CHECK(call(filters, "vfork") == errno_of(EPERM));
}

TEST_CASE("arguments are compared on all 64 bits", "[sandbox]") {
  const Filters filters = built(Tier::fs_write, Architecture::x86_64);
  const std::uint64_t high = 1ULL << 32;
  CHECK(call(filters, "ioctl", {0, TIOCSTI}) == errno_of(EPERM));
  CHECK(call(filters, "ioctl", {0, high | TIOCSTI}) == errno_of(EPERM));
  CHECK(call(filters, "ioctl", {0, high | FIONREAD}) == errno_of(EPERM));
  CHECK(call(filters, "ioctl", {0, FIONREAD}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "socketpair", {AF_UNIX, SOCK_STREAM}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "socketpair", {high | AF_UNIX, SOCK_STREAM}) == errno_of(EPERM));
  CHECK(call(filters, "socket", {AF_UNIX, SOCK_STREAM}) == errno_of(EPERM));
  CHECK(call(filters, "prlimit64", {0, 7, 0}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "prlimit64", {0, 7, 0x1000}) == errno_of(EPERM));
  CHECK(call(filters, "prlimit64", {1, 7, 0}) == errno_of(EPERM));
  CHECK(call(filters, "prlimit64", {high, 7, 0}) == errno_of(EPERM));
}

TEST_CASE("no set-id bit and no memory that nobody is charged for", "[sandbox]") {
  const Filters filters = built(Tier::fs_write, Architecture::x86_64);
  CHECK(call(filters, "fchmodat", {0, 0, 0755}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "fchmodat", {0, 0, 04755}) == errno_of(EPERM));
  CHECK(call(filters, "chmod", {0, 02755}) == errno_of(EPERM));
  CHECK(call(filters, "openat", {0, 0, 0101, 04755}) == errno_of(EPERM));
  CHECK(call(filters, "mmap", {0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "mmap", {0, 4096, 1, MAP_SHARED, 3}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "mmap", {0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS}) == errno_of(EPERM));
  CHECK(call(filters, "memfd_create") == errno_of(EPERM));
}

TEST_CASE("foreign tables die and unknown numbers do not exist", "[sandbox]") {
  const Filters filters = built(Tier::fs_write, Architecture::x86_64);
  CHECK(verdict(filters, asking(AUDIT_ARCH_I386, 1)) == SECCOMP_RET_KILL_PROCESS);
  CHECK(verdict(filters, asking(AUDIT_ARCH_AARCH64, 1)) == SECCOMP_RET_KILL_PROCESS);
  CHECK(verdict(filters, asking(AUDIT_ARCH_X86_64, 0x40000000 | 39)) == SECCOMP_RET_KILL_PROCESS);
  const auto last = static_cast<int>(policy::last_number);
  CHECK(verdict(filters, asking(AUDIT_ARCH_X86_64, last)) == errno_of(EPERM));
  CHECK(verdict(filters, asking(AUDIT_ARCH_X86_64, last + 1)) == errno_of(ENOSYS));
  CHECK(verdict(filters, asking(AUDIT_ARCH_X86_64, 100'000)) == errno_of(ENOSYS));
}

TEST_CASE("trip-wires are noticed and set-up calls are gone", "[sandbox]") {
  for (const Tier tier : {Tier::compute, Tier::fs_read, Tier::fs_write, Tier::net}) {
    const Filters filters = built(tier, Architecture::x86_64);
    for (const std::string& wire : seccomp::trip_wires()) {
      if (seccomp::number_of(wire, Architecture::x86_64) < 0) continue;
      INFO(wire);
      CHECK(call(filters, wire) == SECCOMP_RET_USER_NOTIF);
    }
    for (const char* name : {"mount", "umount2", "open_tree", "move_mount", "capset", "seccomp",
                             "setrlimit", "landlock_restrict_self", "pidfd_send_signal"}) {
      INFO(name);
      CHECK(call(filters, name) == errno_of(EPERM));
    }
  }
}

TEST_CASE("level net makes TCP sockets over IPv4 and no other", "[sandbox]") {
  const Filters filters = built(Tier::net, Architecture::x86_64);
  CHECK(call(filters, "socket", {AF_INET, SOCK_STREAM}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "socket", {AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 6}) ==
        SECCOMP_RET_ALLOW);
  const std::uint64_t high = 1ULL << 32;
  for (const std::array<std::uint64_t, 6> other :
       std::initializer_list<std::array<std::uint64_t, 6>>{{AF_INET, SOCK_DGRAM},
                                                           {AF_INET, SOCK_RAW, 1},
                                                           {AF_INET, SOCK_STREAM, 132},
                                                           {AF_INET, SOCK_STREAM, 262},
                                                           {AF_INET6, SOCK_STREAM},
                                                           {AF_UNIX, SOCK_STREAM},
                                                           {AF_NETLINK, SOCK_RAW},
                                                           {AF_VSOCK, SOCK_STREAM},
                                                           {high | AF_INET, SOCK_STREAM},
                                                           {AF_INET, high | SOCK_STREAM}}) {
    INFO(other[0] << " " << other[1] << " " << other[2]);
    CHECK(call(filters, "socket", other) == errno_of(EPERM));
  }
  CHECK(call(filters, "connect") == SECCOMP_RET_ALLOW);
  for (const char* name : {"bind", "listen", "accept4", "accept", "sendmmsg"}) {
    INFO(name);
    CHECK(call(filters, name) == errno_of(EPERM));
  }
  // Sending with this flag would connect past Landlock.
  CHECK(call(filters, "sendto", {0, 0, 0, MSG_FASTOPEN}) == errno_of(EPERM));
  CHECK(call(filters, "sendmsg", {0, 0, MSG_FASTOPEN}) == errno_of(EPERM));
  CHECK(call(filters, "sendto", {0, 0, 0, MSG_NOSIGNAL}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "setsockopt", {0, 6, 1}) == SECCOMP_RET_ALLOW);
  CHECK(call(filters, "setsockopt", {0, 6, 30}) == errno_of(EPERM));
  CHECK(call(built(Tier::fs_write, Architecture::x86_64), "socket", {AF_INET, SOCK_STREAM}) ==
        errno_of(EPERM));
}

TEST_CASE("a jail that may ask tells of each file that is opened", "[sandbox]") {
  auto asks = seccomp::build(Tier::fs_read, Architecture::x86_64, {true, false});
  REQUIRE(asks);
  CHECK(call(*asks, "openat", {0, 0, 0, 0}) == SECCOMP_RET_USER_NOTIF);
  CHECK(call(*asks, "openat", {0, 0, 0101, 04755}) == errno_of(EPERM));
  CHECK(call(*asks, "process_vm_readv") == errno_of(EPERM));
  CHECK(call(built(Tier::fs_read, Architecture::x86_64), "openat") == SECCOMP_RET_ALLOW);
}

TEST_CASE("a worker dies at whatever its tools do not call", "[sandbox]") {
  for (const Architecture architecture : {Architecture::x86_64, Architecture::aarch64}) {
    const Filters filters = built(Tier::fs_write, architecture);
    const std::uint32_t table = seccomp::audit_architecture(architecture);
    for (int number = 0; number < 1024; ++number) {
      const auto seen = bpf::evaluate(filters.worker, asking(table, number));
      REQUIRE(seen);
      const std::string name = seccomp::name_of(number, table);
      const bool known =
          std::find(policy::worker.begin(), policy::worker.end(), name) != policy::worker.end();
      INFO(name);
      CHECK(*seen == (known ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS));
    }
  }
}

TEST_CASE("the evaluator refuses programs that seccomp refuses", "[sandbox]") {
  const seccomp_data data{};
  const std::vector<sock_filter> no_return = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}};
  const std::vector<sock_filter> far_load = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 64},
                                             {BPF_RET | BPF_K, 0, 0, 0}};
  const std::vector<sock_filter> far_jump = {{BPF_JMP | BPF_JA, 0, 0, 0xffffffff},
                                             {BPF_RET | BPF_K, 0, 0, 0}};
  const std::vector<sock_filter> by_zero = {{BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0},
                                            {BPF_RET | BPF_K, 0, 0, 0}};
  for (const auto& program : {no_return, far_load, far_jump, by_zero})
    CHECK(!bpf::evaluate(program, data));
  CHECK(!bpf::evaluate({}, data));
}

}  // namespace
}  // namespace ambit::sandbox
