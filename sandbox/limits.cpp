#include "limits.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <unistd.h>

namespace ambit::sandbox::limits {
namespace {

// Never above the hard limit that we run under: raising it needs a right that nobody here has.
int set(__rlimit_resource resource, std::uint64_t soft, std::uint64_t hard) {
  rlimit now{};
  if (getrlimit(resource, &now) != 0) return errno;
  const rlimit wanted{std::min<rlim_t>(soft, now.rlim_max), std::min<rlim_t>(hard, now.rlim_max)};
  return setrlimit(resource, &wanted) == 0 ? 0 : errno;
}

}  // namespace

int apply_processes(const protocol::Limits& limits) {
  if (limits.processes == 0) return 0;  // a cgroup counts them
  const std::uint64_t all = limits.processes + limits.others;
  return set(RLIMIT_NPROC, all, all);
}

int apply_shared(const protocol::Limits& limits) {
  struct Wanted {
    __rlimit_resource resource;
    std::uint64_t bound;
  };
  const Wanted all[] = {
      {RLIMIT_FSIZE, limits.file_bytes},
      {RLIMIT_CORE, 0},
      {RLIMIT_MEMLOCK, 0},
      {RLIMIT_MSGQUEUE, 0},
      {RLIMIT_NICE, 0},
      {RLIMIT_RTPRIO, 0},
      {RLIMIT_SIGPENDING, 1024},
      {RLIMIT_STACK, 8UL << 20},
  };
  for (const Wanted& one : all)
    if (const int error = set(one.resource, one.bound, one.bound)) return error;
  return 0;
}

int apply(const protocol::Limits& limits) {
  if (const int error = set(RLIMIT_NOFILE, limits.open_files, limits.open_files)) return error;
  const std::uint64_t cpu_s = (limits.cpu_ms + 999) / 1000;
  if (cpu_s != 0)
    if (const int error = set(RLIMIT_CPU, cpu_s, cpu_s + 1)) return error;
  if (limits.address_space_bytes != 0)
    if (const int error = set(RLIMIT_AS, limits.address_space_bytes, limits.address_space_bytes))
      return error;
  if (limits.data_bytes != 0)
    if (const int error = set(RLIMIT_DATA, limits.data_bytes, limits.data_bytes)) return error;
  return apply_processes(limits);
}

int clear_bounding_set() {
  for (int capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return 0;  // past the last one that this kernel knows
    return errno;
  }
  return 0;
}

int lock_secure_bits() {
  const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                             SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                             SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) == 0 ? 0 : errno;
}

int drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  return syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

int set_no_new_privileges() {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
}

int die_with_parent(int signal) {
  return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) == 0 ? 0 : errno;
}

bool has_ended(int pidfd) {
  pollfd process{pidfd, POLLIN, 0};
  const timespec at_once{};
  return ppoll(&process, 1, &at_once, nullptr) > 0;
}

}  // namespace ambit::sandbox::limits
