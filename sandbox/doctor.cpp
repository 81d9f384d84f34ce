#include "sandbox/doctor.h"

#include "sandbox/cgroup.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"
#include "sandbox/namespaces.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

// A trial gives 0 or an errno. It runs in a forked child, where only system calls are safe.
using Trial = int (*)();

int in_child(Trial trial) {
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(trial() & 0xff);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

int user_namespace() {
  const unsigned uid = ::geteuid();
  const unsigned gid = ::getegid();
  if (const int error = namespaces::enter_user()) return error;
  return namespaces::write_id_maps(uid, gid);
}

template <int flag>
int one_namespace() {
  if (const int error = user_namespace()) return error;
  return ::unshare(flag) == 0 ? 0 : errno;
}

int pid_namespace() {
  if (const int error = one_namespace<CLONE_NEWPID>()) return error;
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(::getpid() == 1 ? 0 : EINVAL);
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

int private_mounts() {
  if (const int error = one_namespace<CLONE_NEWNS>()) return error;
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
}

int new_mount_calls() {
  if (const int error = private_mounts()) return error;
  constexpr unsigned flags = 1 | O_CLOEXEC | 0x8000;  // OPEN_TREE_CLONE, AT_RECURSIVE
  const long tree = ::syscall(SYS_open_tree, AT_FDCWD, "/usr", flags);
  if (tree < 0) return errno;
  struct {
    std::uint64_t set, clear, propagation, userns;
  } read_only{1, 0, 0, 0};
  return ::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | 0x8000, &read_only,
                   sizeof read_only) == 0
             ? 0
             : errno;
}

int bounded_tmpfs() {
  if (const int error = private_mounts()) return error;
  if (::mount("trial", "/tmp", "tmpfs", 0, "size=65536,nr_inodes=16") != 0) return errno;
  const int file = ::open("/tmp/full", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return errno;
  static const std::array<char, 4096> block{};
  for (int i = 0; i < 64; ++i)
    if (::write(file, block.data(), block.size()) < 0) return errno == ENOSPC ? 0 : errno;
  return EFBIG;  // no bound was met
}

int pivot() {
  if (const int error = private_mounts()) return error;
  if (::mount("trial", "/tmp", "tmpfs", 0, "size=65536") != 0) return errno;
  if (::chdir("/tmp") != 0) return errno;
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return errno;
  return ::umount2(".", MNT_DETACH) == 0 ? 0 : errno;
}

int no_new_privileges() {
  return limits::set_no_new_privileges();
}

// A filter that refuses getppid with a number of its own.
int load_trial_filter(unsigned flags, std::uint32_t verdict) {
  std::array<sock_filter, 4> code{{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid},
      {BPF_RET | BPF_K, 0, 0, verdict},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog program{code.size(), code.data()};
  if (const int error = limits::set_no_new_privileges()) return error;
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) >= 0 ? 0 : errno;
}

int filter() {
  if (const int error = load_trial_filter(0, SECCOMP_RET_ERRNO | EXDEV)) return error;
  return ::syscall(SYS_getppid) == -1 && errno == EXDEV ? 0 : EINVAL;
}
int filter_log() {
  return load_trial_filter(SECCOMP_FILTER_FLAG_LOG, SECCOMP_RET_LOG);
}
int filter_notice() {
  return load_trial_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_USER_NOTIF);
}

int landlock_denies() {
  landlock::Ruleset ruleset;
  if (const int error = ruleset.create(landlock::abi())) return error;
  if (const int error = limits::set_no_new_privileges()) return error;
  if (const int error = ruleset.enforce()) return error;
  return ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : EINVAL;
}

// A grandchild whose parent goes must go too: its end of the pipe closes.
int parent_death_signal() {
  int ends[2];
  if (::pipe(ends) != 0) return errno;
  const pid_t parent = ::fork();
  if (parent < 0) return errno;
  if (parent == 0) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      if (limits::die_with_parent() != 0 || ::write(ends[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char ready = 0;
    (void)!::read(ends[0], &ready, 1);
    ::_exit(0);
  }
  ::close(ends[1]);
  (void)::waitpid(parent, nullptr, 0);
  pollfd end{ends[0], POLLIN, 0};
  char rest = 0;
  return ::poll(&end, 1, 2000) == 1 && ::read(ends[0], &rest, 1) == 0 ? 0 : ETIME;
}

int landlock_scopes() {
  landlock::Ruleset ruleset;
  const pid_t outsider = ::getppid();
  if (const int error = limits::set_no_new_privileges()) return error;
  if (const int error = ruleset.create_scope(landlock::abi())) return error;
  if (const int error = ruleset.enforce()) return error;
  return ::kill(outsider, 0) != 0 && errno == EPERM ? 0 : EINVAL;
}

enum class Needed { by_full, by_both, by_reduced, by_none };

struct Entry {
  const char* name;
  Trial trial;
  Needed needed;
  const char* how_to_get;
  [[nodiscard]] bool by_full() const {
    return needed == Needed::by_full || needed == Needed::by_both;
  }
  [[nodiscard]] bool by_reduced() const {
    return needed == Needed::by_reduced || needed == Needed::by_both;
  }
};

constexpr const char* allow_user_namespaces =
    "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0 and user.max_user_namespaces above 0; in a "
    "container, "
    "a seccomp profile that allows unshare and mount";
constexpr const char* newer_kernel = "use a kernel of 5.13 or newer";

constexpr Entry entries[] = {
    {"user namespace", user_namespace, Needed::by_full, allow_user_namespaces},
    {"mount namespace", private_mounts, Needed::by_full, allow_user_namespaces},
    {"pid namespace", pid_namespace, Needed::by_full, allow_user_namespaces},
    {"net namespace", one_namespace<CLONE_NEWNET>, Needed::by_full, allow_user_namespaces},
    {"ipc namespace", one_namespace<CLONE_NEWIPC>, Needed::by_full, allow_user_namespaces},
    {"uts namespace", one_namespace<CLONE_NEWUTS>, Needed::by_full, allow_user_namespaces},
    {"cgroup namespace", one_namespace<CLONE_NEWCGROUP>, Needed::by_full, allow_user_namespaces},
    {"mount calls by descriptor", new_mount_calls, Needed::by_full, newer_kernel},
    {"pivot_root", pivot, Needed::by_full,
     "run from a root that is a mount point, not from an initramfs"},
    {"tmpfs quota", bounded_tmpfs, Needed::by_full, allow_user_namespaces},
    {"no_new_privs", no_new_privileges, Needed::by_both, newer_kernel},
    {"seccomp filter", filter, Needed::by_both, "use a kernel with CONFIG_SECCOMP_FILTER"},
    {"seccomp log", filter_log, Needed::by_none, newer_kernel},
    {"seccomp notice", filter_notice, Needed::by_none,
     "another supervisor listens already: violations are still killed, without the name of the "
     "call"},
    {"landlock", landlock_denies, Needed::by_both,
     "use a kernel of 5.13 or newer with landlock in its lsm= list"},
    {"parent death signal", parent_death_signal, Needed::by_both, newer_kernel},
    {"landlock scopes", landlock_scopes, Needed::by_reduced,
     "use a kernel of 6.12 or newer; only reduced jails need it"},
};

std::string reason(const Entry& entry, int error) {
  return std::string(entry.name) + ": " + ::strerror(error);
}

Layer limits_layer() {
  Layer layer{"cgroup memory and pids", false, ::geteuid() == 0, ::geteuid() == 0, "", ""};
  const auto pool = CgroupPool::open();
  layer.available = pool != nullptr;
  if (layer.available) {
    layer.detail = "version " + std::to_string(pool->version());
  } else {
    layer.detail = "no group could be made; rlimits bound each process instead";
    layer.how_to_get =
        "delegate a cgroup with the memory and pids controllers to this user, or run as a plain "
        "user, "
        "whose processes rlimits can count";
  }
  return layer;
}

}  // namespace

std::vector<Layer> examine_machine() {
  std::vector<Layer> layers;
  for (const Entry& entry : entries) {
    const int error = in_child(entry.trial);
    Layer layer{entry.name,
                error == 0,
                entry.by_full(),
                entry.by_reduced(),
                error == 0 ? "tried: works" : ::strerror(error),
                ""};
    if (error == 0 && layer.name == "landlock")
      layer.detail = "tried: works, ABI " + std::to_string(landlock::abi());
    if (error != 0) layer.how_to_get = entry.how_to_get;
    layers.push_back(std::move(layer));
  }
  layers.push_back(limits_layer());
  return layers;
}

std::string missing_for_full_jails() {
  for (const Entry& entry : entries)
    if (const int error = entry.by_full() ? in_child(entry.trial) : 0) return reason(entry, error);
  return "";
}

std::string missing_for_reduced_jails() {
  for (const Entry& entry : entries)
    if (const int error = entry.by_reduced() ? in_child(entry.trial) : 0)
      return reason(entry, error);
  return "";
}

}  // namespace ambit::sandbox
