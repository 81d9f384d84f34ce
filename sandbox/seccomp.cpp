#include "sandbox/seccomp.h"

#include "sandbox/policy.h"

#include <linux/audit.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <set>
#include <termios.h>
#include <unistd.h>

namespace ambit::sandbox::seccomp {
namespace {

// Arguments are compared on all 64 bits, so that a high half never slips past a check of the low
// one.
constexpr std::uint64_t high_half = 0xffffffff00000000ULL;
constexpr std::uint64_t set_id_bits = 06000;
// SECCOMP_IOCTL_NOTIF_RECV, _SEND, _ID_VALID and _ADDFD, for a jail's init.
constexpr std::uint64_t notify_receive = 0xc0502100;
constexpr std::array<std::uint64_t, 3> notify_answer = {0xc0182101, 0x40082102, 0x40182103};
constexpr std::uint64_t foreign_clone_flags = high_half | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                              CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWNET |
                                              CLONE_PTRACE | CLONE_UNTRACED;

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

std::uint32_t token(Architecture architecture) {
  return architecture == Architecture::x86_64 ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64;
}

// Collects the first failure, so that the lists below read as lists.
class Builder {
 public:
  Builder(std::uint32_t default_action, Architecture architecture)
      : architecture_(architecture), context_(seccomp_init(default_action)) {
    if (!context_) {
      error_ = ENOMEM;
      return;
    }
    if (architecture != native()) {
      keep(seccomp_arch_add(context_.get(), token(architecture)));
      keep(seccomp_arch_remove(context_.get(), token(native())));
    }
    keep(seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
    keep(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
  }

  void add(std::uint32_t action, std::string_view name, std::vector<scmp_arg_cmp> when = {}) {
    if (number_of(name, architecture_) < 0 || error_ != 0) return;
    // libseccomp wants the number of the machine it runs on and translates; below 0 it stands for a
    // call that this machine lacks and the other has.
    const int number = seccomp_syscall_resolve_name(std::string(name).c_str());
    if (number == __NR_SCMP_ERROR) return;
    const auto count = static_cast<unsigned>(when.size());
    const int error = seccomp_rule_add_array(context_.get(), action, number, count,
                                             count == 0 ? nullptr : when.data());
    if (error != -EEXIST) keep(error);
  }

  Result<std::vector<sock_filter>> finish() {
    std::size_t bytes = 0;
    if (error_ == 0) keep(export_to(bytes, nullptr));
    if (error_ != 0)
      return Err(Code::internal,
                 "libseccomp could not build the filter: errno " + std::to_string(error_));
    return program_;
  }

 private:
  void keep(int error) {
    if (error != 0 && error_ == 0) error_ = -error;
  }
  // Debian 12's libseccomp writes to a descriptor only.
  int export_to(std::size_t& /*bytes*/, void* /*unused*/) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
    (void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 17);
    const int error = seccomp_export_bpf(context_.get(), ends[1]);
    close(ends[1]);
    sock_filter one{};
    while (error == 0 && ::read(ends[0], &one, sizeof one) == static_cast<ssize_t>(sizeof one))
      program_.push_back(one);
    close(ends[0]);
    return error;
  }

  Architecture architecture_;
  Context context_;
  std::vector<sock_filter> program_;
  int error_ = 0;
};

scmp_arg_cmp equal(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

std::vector<policy::Name> names_of(Tier tier) {
  std::vector<policy::Name> names(policy::compute.begin(), policy::compute.end());
  if (tier >= Tier::fs_read)
    names.insert(names.end(), policy::fs_read.begin(), policy::fs_read.end());
  if (tier >= Tier::fs_write)
    names.insert(names.end(), policy::fs_write.begin(), policy::fs_write.end());
  if (tier >= Tier::net) names.insert(names.end(), policy::net.begin(), policy::net.end());
  return names;
}

// TCP over IPv4: what reaches a proxy on the loopback, and nothing else.
void add_sockets(Builder& builder) {
  const std::uint32_t allow = SCMP_ACT_ALLOW;
  constexpr std::uint64_t kind = ~std::uint64_t{SOCK_CLOEXEC | SOCK_NONBLOCK};
  for (const std::uint64_t protocol : {std::uint64_t{0}, std::uint64_t{IPPROTO_TCP}})
    builder.add(allow, "socket",
                {equal(0, AF_INET), masked(1, kind, SOCK_STREAM), equal(2, protocol)});
  for (const int option : {SO_KEEPALIVE, SO_REUSEADDR, SO_RCVTIMEO, SO_SNDTIMEO, SO_LINGER,
                           SO_RCVBUF, SO_SNDBUF, SO_ERROR})
    builder.add(allow, "setsockopt",
                {equal(1, SOL_SOCKET), equal(2, static_cast<std::uint64_t>(option))});
  for (const int option : {TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT})
    builder.add(allow, "setsockopt",
                {equal(1, IPPROTO_TCP), equal(2, static_cast<std::uint64_t>(option))});
}

// Those allowed with certain arguments only.
void add_conditional(Builder& builder, Tier tier) {
  const std::uint32_t allow = SCMP_ACT_ALLOW;
  builder.add(allow, "clone", {masked(0, foreign_clone_flags, 0)});
  for (const std::uint64_t command :
       {std::uint64_t{TCGETS}, std::uint64_t{TIOCGWINSZ}, std::uint64_t{FIONREAD},
        std::uint64_t{FIONBIO}, std::uint64_t{FIOCLEX}, std::uint64_t{FIONCLEX}, notify_receive})
    builder.add(allow, "ioctl", {equal(1, command)});
  constexpr std::uint64_t set_vma = 0x53564d41;  // PR_SET_VMA: naming memory, for debuggers
  for (const std::uint64_t option :
       {std::uint64_t{PR_SET_NAME}, std::uint64_t{PR_GET_NAME}, set_vma,
        std::uint64_t{PR_GET_DUMPABLE}, std::uint64_t{PR_CAPBSET_READ},
        std::uint64_t{PR_SET_PDEATHSIG}, std::uint64_t{PR_GET_NO_NEW_PRIVS}})
    builder.add(allow, "prctl", {equal(0, option)});
  for (const int command :
       {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ, F_SETPIPE_SZ})
    builder.add(allow, "fcntl", {equal(1, static_cast<std::uint64_t>(command))});
  // Any memory but shared without a file: that is charged to no process, so no rlimit bounds it.
  for (const std::uint64_t kind :
       {std::uint64_t{MAP_ANONYMOUS}, std::uint64_t{MAP_SHARED}, std::uint64_t{0}})
    builder.add(allow, "mmap", {masked(3, MAP_ANONYMOUS | MAP_SHARED, kind)});
  builder.add(allow, "openat", {masked(3, set_id_bits, 0)});
  builder.add(allow, "open", {masked(2, set_id_bits, 0)});
  // Up to MADV_COLLAPSE: not the ones that poison pages.
  builder.add(allow, "madvise", {{2, SCMP_CMP_LT, 26, 0}});
  builder.add(allow, "personality", {equal(0, 0)});
  builder.add(allow, "personality", {equal(0, 0xffffffff)});
  if (tier >= Tier::fs_read) {
    builder.add(allow, "socketpair", {equal(0, AF_UNIX)});
    // Sending may not connect: Landlock is asked by connect alone.
    builder.add(allow, "sendto", {masked(3, MSG_FASTOPEN, 0)});
    builder.add(allow, "sendmsg", {masked(2, MSG_FASTOPEN, 0)});
  }
  if (tier >= Tier::net) add_sockets(builder);
  if (tier >= Tier::fs_write) {
    builder.add(allow, "chmod", {masked(1, set_id_bits, 0)});
    builder.add(allow, "fchmod", {masked(1, set_id_bits, 0)});
    builder.add(allow, "fchmodat", {masked(2, set_id_bits, 0)});
  }
}

// Before libseccomp's part, which knows no ranges: foreign tables die, numbers that we do not know
// are absent, as on a kernel that is older than the program.
std::vector<sock_filter> prologue(Architecture architecture) {
  const auto statement = [](std::uint16_t code, std::uint32_t k) {
    return sock_filter{code, 0, 0, k};
  };
  const auto jump = [](std::uint16_t code, std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
    return sock_filter{code, yes, no, k};
  };
  constexpr std::uint32_t absent = SECCOMP_RET_ERRNO | ENOSYS;
  return {
      statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, audit_architecture(architecture), 1, 0),
      statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, policy::fchmodat2, 4, 0),
      jump(BPF_JMP | BPF_JGT | BPF_K, policy::last_number, 0, 4),
      jump(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffff, 2, 0),
      jump(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
      statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      statement(BPF_RET | BPF_K, absent),
  };
}

Result<std::vector<sock_filter>> build_first(Tier tier, Architecture architecture,
                                             Variant variant) {
  Builder builder(SCMP_ACT_ERRNO(EPERM), architecture);
  for (const policy::Name name : policy::absent) builder.add(SCMP_ACT_ERRNO(ENOSYS), name);
  for (const policy::Name name : names_of(tier)) builder.add(SCMP_ACT_ALLOW, name);
  for (const policy::Name name : policy::set_up) builder.add(SCMP_ACT_ALLOW, name);
  if (tier >= Tier::net)
    for (const policy::Name name : policy::set_up_net) builder.add(SCMP_ACT_ALLOW, name);
  if (variant.reduced) {
    for (const policy::Name name : policy::set_up_reduced) builder.add(SCMP_ACT_ALLOW, name);
    builder.add(SCMP_ACT_ALLOW, "prctl", {equal(0, PR_SET_CHILD_SUBREAPER)});
  }
  if (variant.asks) {
    for (const policy::Name name : policy::set_up_asks) builder.add(SCMP_ACT_ALLOW, name);
    for (const std::uint64_t command : notify_answer)
      builder.add(SCMP_ACT_ALLOW, "ioctl", {equal(1, command)});
  }
  // The last filter's notice must be able to win: the strictest verdict of both counts.
  for (const policy::Name name : policy::trip_wires) builder.add(SCMP_ACT_ALLOW, name);
  add_conditional(builder, tier);
  const std::vector<sock_filter> body = TRY(builder.finish());
  std::vector<sock_filter> program = prologue(architecture);
  program.insert(program.end(), body.begin(), body.end());
  return program;
}

// What mounts and namespaces refuse elsewhere.
void refuse_unheld(Builder& builder, Tier tier, const std::vector<policy::Name>& own) {
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  builder.add(refuse, "prctl", {equal(0, PR_SET_CHILD_SUBREAPER)});
  for (const policy::Name name : policy::set_up_reduced)
    if (std::find(own.begin(), own.end(), name) == own.end()) builder.add(refuse, name);
  for (const policy::Name name : policy::unheld) builder.add(refuse, name);
  for (const policy::Name name : policy::unheld_attributes)
    builder.add(SCMP_ACT_ERRNO(EOPNOTSUPP), name);
  // Datagrams go to whatever path they name, and no domain keeps those inside.
  constexpr std::uint64_t kind = 0xf;
  if (tier >= Tier::fs_read)
    for (std::uint64_t other = 0; other <= kind; ++other)
      if (other != SOCK_STREAM && other != SOCK_SEQPACKET)
        builder.add(refuse, "socketpair", {masked(1, kind, other)});
}

Result<std::vector<sock_filter>> build_last(Tier tier, Architecture architecture, Variant variant) {
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  Builder builder(SCMP_ACT_ALLOW, architecture);
  for (const policy::Name name : policy::trip_wires) builder.add(SCMP_ACT_NOTIFY, name);
  const std::vector<policy::Name> own = names_of(tier);
  for (const policy::Name name : policy::set_up) {
    const bool kept = std::find(own.begin(), own.end(), name) != own.end();
    if (!kept && name != "prlimit64") builder.add(refuse, name);
  }
  if (tier >= Tier::net)
    for (const policy::Name name : policy::set_up_net) builder.add(refuse, name);
  if (variant.reduced) refuse_unheld(builder, tier, own);
  if (variant.asks) {
    for (const policy::Name name : policy::set_up_asks) builder.add(refuse, name);
    for (const char* name : {"openat", "open"}) builder.add(SCMP_ACT_NOTIFY, name);
  }
  // Only reading one's own limits.
  builder.add(refuse, "prlimit64", {{0, SCMP_CMP_NE, 0, 0}});
  builder.add(refuse, "prlimit64", {{2, SCMP_CMP_NE, 0, 0}});
  builder.add(refuse, "clone", {masked(0, CLONE_NEWPID, CLONE_NEWPID)});
  builder.add(refuse, "clone", {masked(0, CLONE_NEWNS, CLONE_NEWNS)});
  if (tier == Tier::compute) builder.add(refuse, "clone", {masked(0, CLONE_THREAD, 0)});
  return builder.finish();
}

// Our own tools are known to need no more: whatever else they call is not them any longer.
Result<std::vector<sock_filter>> build_worker(Architecture architecture) {
  Builder builder(SCMP_ACT_KILL_PROCESS, architecture);
  for (const policy::Name name : policy::worker)
    if (name != "openat") builder.add(SCMP_ACT_ALLOW, name);
  builder.add(SCMP_ACT_ALLOW, "openat", {masked(3, set_id_bits, 0)});
  return builder.finish();
}

}  // namespace

Architecture native() {
#if defined(__aarch64__)
  return Architecture::aarch64;
#else
  return Architecture::x86_64;
#endif
}

std::uint32_t audit_architecture(Architecture architecture) {
  return architecture == Architecture::x86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64;
}

int number_of(std::string_view name, Architecture architecture) {
  const int number =
      seccomp_syscall_resolve_name_arch(token(architecture), std::string(name).c_str());
  return number < 0 ? -1 : number;
}

std::string name_of(int number, std::uint32_t audit) {
  const Architecture architecture =
      audit == AUDIT_ARCH_AARCH64 ? Architecture::aarch64 : Architecture::x86_64;
  const std::unique_ptr<char, decltype(&std::free)> name(
      seccomp_syscall_resolve_num_arch(token(architecture), number), &std::free);
  return name ? std::string(name.get()) : "system call " + std::to_string(number);
}

Result<Filters> build(Tier tier, Architecture architecture, Variant variant) {
  Filters filters;
  filters.first = TRY(build_first(tier, architecture, variant));
  filters.last = TRY(build_last(tier, architecture, variant));
  filters.worker = TRY(build_worker(architecture));
  return filters;
}

std::vector<std::string> allowed(Tier tier) {
  std::set<std::string> names;
  for (const policy::Name name : names_of(tier)) names.emplace(name);
  for (const char* name : {"clone", "ioctl", "prctl", "fcntl", "mmap", "openat", "open", "madvise",
                           "personality", "prlimit64"})
    names.emplace(name);
  if (tier >= Tier::fs_read) names.insert({"socketpair", "sendto", "sendmsg"});
  if (tier >= Tier::net) names.insert({"socket", "setsockopt"});
  if (tier >= Tier::fs_write) names.insert({"chmod", "fchmod", "fchmodat"});
  return {names.begin(), names.end()};
}

std::vector<std::string> trip_wires() {
  return {policy::trip_wires.begin(), policy::trip_wires.end()};
}

}  // namespace ambit::sandbox::seccomp
