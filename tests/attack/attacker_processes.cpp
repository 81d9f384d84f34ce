// Attempts on other processes, identities, limits, memory that nobody is charged for, terminals.

#include "attacker.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace attack {
namespace {

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

constexpr Attempt all[] = {
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
    {"shared_memory_segment", shared_memory_segment},
    {"message_queue", message_queue},
    {"memory_file", memory_file},
    {"shared_anonymous", shared_anonymous},
    {"execute_by_descriptor", execute_by_descriptor},
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
    {"many_files", many_files},
    {"core_dump", core_dump},
    {"dumpable_memory", dumpable_memory},
    {"locked_memory", locked_memory},
};

}  // namespace

std::span<const Attempt> processes_attempts() {
  return all;
}

}  // namespace attack
