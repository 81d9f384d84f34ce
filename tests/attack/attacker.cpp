// The attacker: a static program that makes one attempt by name and says by its exit status how it
// went. 0: refused; 42: it worked; 77: this machine has no such thing. The runner starts it in a
// jail and, where that harms nobody, outside as a positive control: an attempt that fails there too
// proves nothing.

#include "bombs.h"

#include <linux/keyctl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <initializer_list>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <type_traits>
#include <unistd.h>

namespace {

constexpr int refused = 0;
constexpr int escaped = 42;

const char* target = "";  // a path or a number outside the jail, from the runner

template <class... Arguments>
long call(long number, Arguments... arguments) {
  return syscall(number, arguments...);
}
// Of a condition, or of what a system call gave.
template <class T>
int worked(T result) {
  if constexpr (std::is_same_v<T, bool>) {
    return result ? escaped : refused;
  } else {
    return result >= 0 ? escaped : refused;
  }
}

int mount_tmpfs() {
  return worked(mount("x", "/tmp", "tmpfs", 0, nullptr) == 0);
}
int remount_root() {
  return worked(mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0);
}
int unmount_tmp() {
  return worked(umount2("/tmp", MNT_DETACH) == 0);
}
int change_root() {
  return worked(chroot("/tmp") == 0);
}
int pivot() {
  return worked(call(SYS_pivot_root, "/tmp", "/tmp"));
}
int open_tree() {
  return worked(call(SYS_open_tree, AT_FDCWD, "/", 1U));
}
int move_mount() {
  return worked(call(SYS_move_mount, AT_FDCWD, "/usr", AT_FDCWD, "/tmp", 0));
}
int set_namespace() {
  return worked(call(SYS_setns, 0, 0));
}

constexpr int namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
                              CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80};
int unshare_any() {
  for (const int flag : namespaces)
    if (unshare(flag) == 0) return escaped;
  return refused;
}
int clone_any() {
  for (const int flag : namespaces) {
    if (flag == 0x80) continue;  // part of the exit signal in the old call
    const long child = call(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child > 0) return escaped;
  }
  return refused;
}
int clone3_any() {
  std::uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
  const long child = call(SYS_clone3, arguments, sizeof arguments);
  if (child == 0) _exit(0);
  return worked(child > 0);
}
void* nothing(void*) {
  return nullptr;
}
int threads_still_work() {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, nothing, nullptr) != 0) return escaped;
  return pthread_join(thread, nullptr) == 0 ? refused : escaped;
}

int spawning_still_works() {
  pid_t child = 0;
  char name[] = "true";
  char* words[] = {name, nullptr};
  if (posix_spawn(&child, "/usr/bin/true", nullptr, nullptr, words, words + 1) != 0) return escaped;
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0 ? refused : escaped;
}

int has_groups() {
  gid_t groups[64];
  return worked(getgroups(64, groups) > 0);
}
int become_root() {
  if (setresuid(0, 0, 0) == 0 && geteuid() == 0 && getuid() == 0) return escaped;
  return worked(setuid(0) == 0 && getuid() == 0);
}
int change_groups() {
  const gid_t groups[] = {0};
  return worked(call(SYS_setgroups, 1, groups));
}
int regain_capabilities() {
  struct {
    std::uint32_t version;
    int pid;
  } header{0x20080522, 0};
  std::uint32_t data[6] = {~0U, ~0U, 0, 0, 0, 0};
  return worked(call(SYS_capset, &header, data));
}
int has_capabilities() {
  for (int i = 0; i < 41; ++i)
    if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) return escaped;
  struct {
    std::uint32_t version;
    int pid;
  } header{0x20080522, 0};
  std::uint32_t data[6] = {};
  if (call(SYS_capget, &header, data) != 0) return escaped;
  return worked((data[0] | data[1] | data[3] | data[4]) != 0);
}
int set_user_id_files_count() {
  struct statvfs usr{};
  return worked(statvfs("/usr", &usr) != 0 || (usr.f_flag & ST_NOSUID) == 0);
}
int new_privileges() {
  return worked(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
}
int relax_filter() {
  return worked(prctl(PR_SET_SECCOMP, 0, 0, 0, 0) == 0);
}
int no_filter() {
  return worked(prctl(PR_SET_SECCOMP, 0, 0, 0, 0) == 0 || errno == EINVAL);
}

int trace_init() {
  return worked(ptrace(PTRACE_SEIZE, 1, nullptr, nullptr) == 0);
}
int trace_child() {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const bool did = ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return worked(did);
}
int read_memory_of_parent() {
  char byte = 0;
  iovec here{&byte, 1};
  iovec there{const_cast<char*>(target), 1};
  const pid_t child = fork();
  if (child == 0) {
    _exit(process_vm_readv(getppid(), &here, 1, &there, 1, 0) == 1 ? escaped : refused);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}
int write_memory_of_parent() {
  char byte = 'x';
  iovec here{&byte, 1};
  iovec there{&byte, 1};
  const pid_t child = fork();
  if (child == 0)
    _exit(process_vm_writev(getppid(), &here, 1, &there, 1, 0) == 1 ? escaped : refused);
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}
int suspend_filter() {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const bool did = ptrace(PTRACE_SEIZE, child, nullptr, 0x200000 /* SUSPEND_SECCOMP */) == 0;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return worked(did);
}
int pidfd_getfd() {
  return worked(call(SYS_pidfd_getfd, 0, 0, 0) >= 0 || errno != EPERM);
}
int pidfd() {
  return worked(call(SYS_pidfd_open, getpid(), 0));
}
int kcmp() {
  return worked(call(SYS_kcmp, getpid(), getpid(), 0, 0, 1));
}
int process_madvise() {
  return worked(call(SYS_process_madvise, 0, 0, 0, 0, 0) >= 0 || errno != EPERM);
}
int bpf() {
  alignas(8) std::uint32_t attributes[32] = {2, 4, 4, 1};  // an array map
  return worked(call(SYS_bpf, 0, attributes, sizeof attributes));
}
int perf_event() {
  alignas(8) std::uint32_t attributes[32] = {1, sizeof attributes};
  return worked(call(SYS_perf_event_open, attributes, 0, -1, -1, 0));
}
int user_faults() {
  return worked(call(SYS_userfaultfd, 1));
}
int user_faults_of_the_user() {
  return worked(call(SYS_userfaultfd, 0));
}
int io_uring() {
  char parameters[120] = {};
  return worked(call(SYS_io_uring_setup, 4, parameters));
}
int io_uring_enter() {
  return worked(call(SYS_io_uring_enter, -1, 0, 0, 0, 0, 0) >= 0 || errno == EBADF);
}
int io_uring_register() {
  return worked(call(SYS_io_uring_register, -1, 0, 0, 0) >= 0 || errno != EPERM);
}
int request_key() {
  return worked(call(SYS_request_key, "user", "x", nullptr, 0) >= 0 || errno == ENOKEY);
}
int memory_policy() {
  return worked(call(SYS_mbind, 0, 0, 0, 0, 0, 0) >= 0 || errno != EPERM);
}
int add_key() {
  return worked(call(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING));
}
int key_control() {
  return worked(call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
}
int name_to_handle() {
  alignas(8) unsigned handle[50] = {128};
  int mount_id = 0;
  return worked(call(SYS_name_to_handle_at, AT_FDCWD, "/usr", handle, &mount_id, 0));
}
int fanotify() {
  return worked(call(SYS_fanotify_init, 0x200, 0));
}
int move_pages() {
  void* page = &target;
  int status = 0;
  return worked(call(SYS_move_pages, 0, 1, &page, nullptr, &status, 0));
}
int no_randomize() {
  return worked(call(SYS_personality, 0x0040000));
}
int kernel_log() {
  return worked(call(SYS_syslog, 10, nullptr, 0));
}
int shared_memory_segment() {
  return worked(call(SYS_shmget, 0, 4096, 0600));
}
int message_queue() {
  return worked(call(SYS_msgget, 0, 0600));
}
int memory_file() {
  return worked(call(SYS_memfd_create, "x", 0));
}
int shared_anonymous() {
  return worked(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) !=
                MAP_FAILED);
}
int execute_by_descriptor() {
  const int file = open("/usr/bin/true", O_RDONLY | O_CLOEXEC);
  char* arguments[] = {const_cast<char*>("true"), nullptr};
  const pid_t child = fork();
  if (child == 0) {
    call(SYS_execveat, file, "", arguments, arguments + 1, AT_EMPTY_PATH);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return worked(status == 0);
}

int unknown_numbers() {
  for (long number = 470; number < 600; ++number) {
    if (number >= 512 && number < 548)
      continue;  // x32's own; refused alike, but not numbers of ours
    if (call(number, 0, 0, 0) != -1 || errno != ENOSYS) return escaped;
  }
  return worked(call(-1L) != -1 || errno != ENOSYS);
}
int high_halves() {
  const std::uint64_t high = 1ULL << 32;
  if (call(SYS_socket, high | AF_INET, SOCK_STREAM, 0) >= 0) return escaped;
  if (call(SYS_clone, high | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0) return escaped;
  char byte = 'x';
  return worked(call(SYS_ioctl, 0, high | TIOCSTI, &byte) == 0 || errno != EPERM);
}
int terminal() {
  char byte = 'x';
  for (const unsigned long request :
       {static_cast<unsigned long>(TIOCSTI), static_cast<unsigned long>(TIOCLINUX),
        static_cast<unsigned long>(TIOCSETD), static_cast<unsigned long>(TIOCSCTTY)})
    if (call(SYS_ioctl, 0, request, &byte) == 0 || errno != EPERM) return escaped;
  return worked(open("/dev/tty", O_RDWR | O_CLOEXEC));
}
int terminal_control() {
  return worked(call(SYS_ioctl, 0, TIOCSTI, "x") != 0 && errno != EPERM);
}

// These look successful inside; the runner judges by what they were aimed at.
int kill_outside() {
  (void)kill(std::atoi(target), SIGKILL);
  (void)kill(-1, SIGTERM);
  (void)kill(0, SIGCONT);
  (void)call(SYS_tgkill, std::atoi(target), std::atoi(target), SIGKILL);
  return refused;
}
int queue_signal_outside() {
  sigval value{};
  (void)sigqueue(std::atoi(target), SIGKILL, value);
  siginfo_t info{};
  info.si_code = -1;
  (void)call(SYS_rt_tgsigqueueinfo, std::atoi(target), std::atoi(target), SIGKILL, &info);
  return refused;
}
int owner_signals() {
  return worked(fcntl(0, F_SETOWN, getpid()) == 0);
}
int better_priority() {
  return worked(setpriority(PRIO_PROCESS, 0, -20) == 0);
}
int realtime() {
  const sched_param parameters{1};
  return worked(sched_setscheduler(0, SCHED_FIFO, &parameters) == 0);
}
int io_priority() {
  return worked(call(SYS_ioprio_set, 1, 0, (1 << 13) | 0));
}
int raise_limits() {
  rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  rlimit now{};
  getrlimit(RLIMIT_NOFILE, &now);
  if (call(SYS_prlimit64, 0, RLIMIT_NOFILE, &all, nullptr) == 0) return escaped;
  return worked(call(SYS_setrlimit, RLIMIT_NOFILE, &now) == 0);
}
int limits_of_init() {
  rlimit now{};
  return worked(call(SYS_prlimit64, 1, RLIMIT_NOFILE, nullptr, &now));
}

int read_file(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  char byte = 0;
  return worked(file >= 0 && read(file, &byte, 1) == 1);
}
int read_shadow() {
  return read_file("/etc/shadow");
}
int read_target() {
  return read_file(target);
}
int list_homes() {
  return worked(open("/root", O_RDONLY | O_DIRECTORY) >= 0 || open("/home", O_RDONLY) >= 0);
}
int write_target() {
  return worked(open(target, O_WRONLY | O_APPEND | O_CLOEXEC));
}
int write_system() {
  for (const char* path : {"/x", "/usr/x", "/etc/x", "/bin/x", "/dev/x", "/lib/x", "/usr/bin/true"})
    if (open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644) >= 0) return escaped;
  return refused;
}
int link_then_read() {
  (void)unlink("/tmp/link");
  (void)symlink(target, "/tmp/link");
  (void)symlink(target, "link");
  const bool through = read_file("/tmp/link") == escaped || read_file("link") == escaped;
  (void)unlink("/tmp/link");
  (void)unlink("link");
  return worked(through);
}
int hard_link_outside() {
  const bool linked = link(target, "hard") == 0 || link("/usr/bin/true", "hard") == 0;
  (void)unlink("hard");
  return worked(linked);
}
int rename_outside() {
  return worked(rename("/usr/bin/true", "moved") == 0 || rename(target, "moved") == 0);
}
// The shape of Dirty Pipe: bytes written into a pipe must not reach the page that was spliced in.
int write_through_pipe() {
  const int file = open("/usr/bin/true", O_RDONLY | O_CLOEXEC);
  char before[16] = {};
  char after[16] = {};
  int ends[2];
  if (pread(file, before, sizeof before, 0) != sizeof before || pipe(ends) != 0) return refused;
  for (int i = 0; i < 16; ++i) {
    static char block[4096];
    if (write(ends[1], block, sizeof block) != sizeof block) return refused;
  }
  static char drain[65536];
  if (read(ends[0], drain, sizeof drain) < 0) return refused;
  off_t at = 0;
  if (call(SYS_splice, file, &at, ends[1], nullptr, 1, 0) != 1) return refused;
  if (write(ends[1], "EVIL", 4) != 4) return refused;
  if (pread(file, after, sizeof after, 0) != sizeof after) return refused;
  return worked(std::memcmp(before, after, sizeof before) != 0);
}
int host_sockets() {
  for (const char* path :
       {"/var/run/docker.sock", "/run/docker.sock", "/run/dbus/system_bus_socket",
        "/run/systemd/private", "/run", "/var/run", "/sys", "/dev/shm", "/boot"})
    if (access(path, F_OK) == 0) return escaped;
  return refused;
}
int climb() {
  char path[4096] = {};
  for (int i = 0; i < 64; ++i) std::strcat(path, "../");
  std::strcat(path, target + 1);
  return read_file(path);
}
int device_file() {
  if (mknod("/tmp/device", S_IFCHR | 0666, 1 << 8 | 3) == 0) return escaped;
  return worked(mknod("/tmp/block", S_IFBLK | 0666, 8 << 8) == 0);
}
int set_id_bit() {
  const int made = open("/tmp/set", O_CREAT | O_RDWR | O_CLOEXEC, 0755);
  bool set = chmod("/tmp/set", 04755) == 0 || fchmod(made, 02755) == 0;
  set = set || call(SYS_fchmodat, AT_FDCWD, "/tmp/set", 06755) == 0;
  set = set || call(452L, AT_FDCWD, "/tmp/set", 04755, 0) == 0;
  (void)unlink("/tmp/set");
  if (set) return escaped;
  const long opened = call(SYS_openat, AT_FDCWD, "/tmp/set2", O_CREAT | O_RDWR, 04755);
  (void)unlink("/tmp/set2");
  return worked(opened);
}
int execute_from_tmp() {
  const int from = open("/usr/bin/true", O_RDONLY | O_CLOEXEC);
  const int into = open("/tmp/copy", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
  char block[4096];
  for (ssize_t count = 0; (count = read(from, block, sizeof block)) > 0;)
    if (write(into, block, static_cast<std::size_t>(count)) != count) break;
  close(into);
  const pid_t child = fork();
  if (child == 0) {
    execl("/tmp/copy", "copy", nullptr);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  (void)unlink("/tmp/copy");
  return worked(status == 0);
}
int proc_tricks() {
  for (const char* path : {"/proc/1/root/etc/shadow", "/proc/1/environ", "/proc/1/mem",
                           "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/kcore",
                           "/proc/self/root/proc/1/cwd", "/.outer-proc/1/status"})
    if (open(path, O_RDONLY | O_CLOEXEC) >= 0) return escaped;
  return worked(open("/proc/self/exe", O_WRONLY | O_CLOEXEC) >= 0 ||
                open("/proc/self/attr/current", O_WRONLY) >= 0);
}
int any_proc() {
  return worked(open("/proc/1/status", O_RDONLY | O_CLOEXEC));
}
int leaked_descriptors() {
  for (int i = 3; i < 65536; ++i)
    if (fcntl(i, F_GETFD) >= 0) return escaped;
  return refused;
}
int control_groups() {
  return worked(open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY));
}

int any_socket() {
  for (int family = 0; family < 46; ++family)
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
      if (socket(family, type, 0) >= 0) return escaped;
  return refused;
}
// All but the one kind that level net makes, and that one with what else could be asked of it.
int other_sockets() {
  for (int family = 0; family < 46; ++family)
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
      if ((family != AF_INET || type != SOCK_STREAM) && socket(family, type, 0) >= 0)
        return escaped;
  return worked(socket(AF_INET, SOCK_STREAM, 262 /* MPTCP */));
}
// The port of somebody who listens outside, on every address that could be theirs.
sockaddr_in listener(std::uint32_t host) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(target)));
  address.sin_addr.s_addr = htonl(host);
  return address;
}
constexpr std::uint32_t hosts[] = {0x7f000001, 0x7f000002, 0, 0xa9fea9fe};
int connect_outside() {
  for (const std::uint32_t host : hosts) {
    const int made = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = listener(host);
    if (host == 0xa9fea9fe) (void)fcntl(made, F_SETFL, O_NONBLOCK);
    if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return escaped;
    close(made);
  }
  return refused;
}
// Connects without connect, which is what Landlock looks at.
int connect_by_sending() {
  const int made = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = listener(0x7f000001);
  return worked(call(SYS_sendto, made, "x", 1, MSG_FASTOPEN, &address, sizeof address));
}
int listen_inside() {
  const int made = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
  return worked(bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
                listen(made, 1) == 0);
}
int foreign_socket_pair() {
  int ends[2];
  return worked(socketpair(AF_NETLINK, SOCK_RAW, 0, ends) == 0 ||
                socketpair(AF_TIPC, SOCK_STREAM, 0, ends) == 0);
}
int send_through_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) return refused;
  char name[110] = {1, 0, 0};  // AF_UNIX, an abstract name
  std::strcpy(name + 3, target);
  const auto length = static_cast<socklen_t>(3 + std::strlen(target));
  return worked(call(SYS_sendto, ends[0], "x", 1, 0, name, length));
}
int many_files() {
  int count = 0;
  while (count < 100000 && open("/dev/null", O_RDONLY) >= 0) ++count;
  return worked(count >= 4096);
}
int core_dump() {
  rlimit now{};
  getrlimit(RLIMIT_CORE, &now);
  return worked(now.rlim_max != 0);
}
int dumpable_memory() {
  return worked(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
}
int locked_memory() {
  return worked(mlockall(MCL_CURRENT) == 0);
}

// Each of these ends the program in a jail, so reaching the end is the escape.
int wire(const char* number) {
  return call(std::atol(number), 0, 0, 0, 0, 0, 0), escaped;
}
int old_gate() {
#if defined(__x86_64__)
  long result = 20;  // getpid of the 32-bit table
  __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
  return worked(result > 0);
#else
  return 77;
#endif
}
int x32_table() {
  (void)call(0x40000000L | 39);
  return errno == ENOSYS ? 77 : escaped;
}

struct Attempt {
  const char* name;
  int (*make)();
};
constexpr Attempt attempts[] = {
    {"mount_tmpfs", mount_tmpfs},
    {"remount_root", remount_root},
    {"unmount_tmp", unmount_tmp},
    {"change_root", change_root},
    {"pivot", pivot},
    {"open_tree", open_tree},
    {"move_mount", move_mount},
    {"set_namespace", set_namespace},
    {"unshare_any", unshare_any},
    {"clone_any", clone_any},
    {"clone3_any", clone3_any},
    {"threads_still_work", threads_still_work},
    {"spawning_still_works", spawning_still_works},
    {"has_groups", has_groups},
    {"become_root", become_root},
    {"change_groups", change_groups},
    {"regain_capabilities", regain_capabilities},
    {"has_capabilities", has_capabilities},
    {"set_user_id_files_count", set_user_id_files_count},
    {"new_privileges", new_privileges},
    {"relax_filter", relax_filter},
    {"no_filter", no_filter},
    {"trace_init", trace_init},
    {"trace_child", trace_child},
    {"read_memory_of_parent", read_memory_of_parent},
    {"write_memory_of_parent", write_memory_of_parent},
    {"suspend_filter", suspend_filter},
    {"pidfd_getfd", pidfd_getfd},
    {"pidfd", pidfd},
    {"kcmp", kcmp},
    {"process_madvise", process_madvise},
    {"bpf", bpf},
    {"perf_event", perf_event},
    {"user_faults", user_faults},
    {"user_faults_of_the_user", user_faults_of_the_user},
    {"io_uring_register", io_uring_register},
    {"request_key", request_key},
    {"memory_policy", memory_policy},
    {"io_uring", io_uring},
    {"io_uring_enter", io_uring_enter},
    {"add_key", add_key},
    {"key_control", key_control},
    {"name_to_handle", name_to_handle},
    {"fanotify", fanotify},
    {"move_pages", move_pages},
    {"no_randomize", no_randomize},
    {"kernel_log", kernel_log},
    {"shared_memory_segment", shared_memory_segment},
    {"message_queue", message_queue},
    {"memory_file", memory_file},
    {"shared_anonymous", shared_anonymous},
    {"execute_by_descriptor", execute_by_descriptor},
    {"unknown_numbers", unknown_numbers},
    {"high_halves", high_halves},
    {"terminal", terminal},
    {"terminal_control", terminal_control},
    {"kill_outside", kill_outside},
    {"queue_signal_outside", queue_signal_outside},
    {"owner_signals", owner_signals},
    {"better_priority", better_priority},
    {"realtime", realtime},
    {"io_priority", io_priority},
    {"raise_limits", raise_limits},
    {"limits_of_init", limits_of_init},
    {"read_shadow", read_shadow},
    {"read_target", read_target},
    {"list_homes", list_homes},
    {"write_target", write_target},
    {"write_system", write_system},
    {"link_then_read", link_then_read},
    {"hard_link_outside", hard_link_outside},
    {"rename_outside", rename_outside},
    {"write_through_pipe", write_through_pipe},
    {"host_sockets", host_sockets},
    {"climb", climb},
    {"device_file", device_file},
    {"set_id_bit", set_id_bit},
    {"execute_from_tmp", execute_from_tmp},
    {"proc_tricks", proc_tricks},
    {"any_proc", any_proc},
    {"leaked_descriptors", leaked_descriptors},
    {"control_groups", control_groups},
    {"any_socket", any_socket},
    {"other_sockets", other_sockets},
    {"connect_outside", connect_outside},
    {"connect_by_sending", connect_by_sending},
    {"listen_inside", listen_inside},
    {"foreign_socket_pair", foreign_socket_pair},
    {"send_through_pair", send_through_pair},
    {"many_files", many_files},
    {"core_dump", core_dump},
    {"dumpable_memory", dumpable_memory},
    {"locked_memory", locked_memory},
    {"old_gate", old_gate},
    {"x32_table", x32_table},
};

}  // namespace

int main(int count, char** words) {
  if (count < 2) return 2;
  if (count > 2) target = words[2];
  if (std::strcmp(words[1], "wire") == 0) return wire(target);
  if (std::strcmp(words[1], "bomb") == 0) return attack::bomb(target);
  for (const Attempt& attempt : attempts)
    if (std::strcmp(attempt.name, words[1]) == 0) return attempt.make();
  return 2;
}
