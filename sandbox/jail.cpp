#include "jail.h"

#include "limits.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

using protocol::Report;
using protocol::Stage;

// The command's process runs on its own stack in init's memory until it has executed.
struct Start {
  const Cell& cell;
  const protocol::Call& call;
  std::span<const int> descriptors;
  Report& report;
  bool with_proc = false;
  int listener = -1;
};

[[noreturn]] void give_up(Report& report, Stage stage, int error, std::uint32_t index = 0) {
  report.stage = stage;
  report.error = error == 0 ? EINVAL : error;
  report.index = index;
  _exit(127);
}

void require(Report& report, Stage stage, int error) {
  if (error != 0) give_up(report, stage, error);
}

int join_cgroups(std::span<const int> members) {
  for (const int file : members)
    if (write(file, "0", 1) != 1) return errno;
  return 0;
}

int wire_descriptors(std::span<const int> descriptors) {
  // Above all targets first, so that none is overwritten before it is used.
  int safe[3];
  for (int i = 0; i < 3; ++i) {
    safe[i] = fcntl(descriptors[static_cast<std::size_t>(i)], F_DUPFD_CLOEXEC, 10);
    if (safe[i] < 0) return errno;
  }
  for (int i = 0; i < 3; ++i)
    if (dup2(safe[i], i) < 0) return errno;
  // Everything else closes when the command begins. The table is shared with init until then.
  return syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) == 0 ? 0 : errno;
}

int install_last_filter(std::span<const sock_filter> filter, int& listener) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  listener = static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
  if (listener >= 0) return 0;
  if (errno != EBUSY) return errno;
  // Someone above us listens already and there can be only one: kill at the trip-wires instead.
  for (const sock_filter& one : filter) {
    auto& instruction = const_cast<sock_filter&>(one);
    if (instruction.code == (BPF_RET | BPF_K) && instruction.k == SECCOMP_RET_USER_NOTIF)
      instruction.k = SECCOMP_RET_KILL_PROCESS;
  }
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
}

void execute(const protocol::Call& call, Report& report) {
  const char* name = call.arguments[0];
  char* const* arguments = call.arguments.data();
  char* const* environment = call.environment.data();
  int error = ENOENT;
  if (std::string_view(name).find('/') != std::string_view::npos) {
    execve(name, arguments, environment);
    error = errno;
  } else {
    for (const char* folder : {"/usr/bin/", "/bin/"}) {
      char path[PATH_MAX];
      if (std::snprintf(path, sizeof path, "%s%s", folder, name) >= PATH_MAX) continue;
      execve(path, arguments, environment);
      if (errno != ENOENT) error = errno;
    }
  }
  give_up(report, Stage::execute, error);
}

int run_command(void* argument) {
  auto& start = *static_cast<Start*>(argument);
  Report& report = start.report;
  sigset_t none;
  sigemptyset(&none);
  for (const int number : {SIGPIPE, SIGCHLD, SIGTERM}) (void)signal(number, SIG_DFL);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
  // A session of its own: kill(0, ...) would otherwise reach a process group outside.
  if (setsid() < 0) give_up(report, Stage::session, errno);
  require(report, Stage::descriptors, wire_descriptors(start.descriptors));
  if (chdir(start.call.directory.data()) != 0) give_up(report, Stage::directory, errno);
  umask(022);
  require(report, Stage::limits, limits::apply(start.cell.spec.limits));
  require(report, Stage::capabilities, limits::drop_capabilities());
  require(report, Stage::parent_death_signal, limits::die_with_parent());
  if (const auto fault = mounts::restrict_to(start.cell.spec, start.cell.places,
                                             start.cell.landlock_abi, start.with_proc))
    give_up(report, fault.stage, fault.error, fault.index);
  require(report, Stage::last_filter,
          install_last_filter(start.cell.spec.last_filter, start.listener));
  execute(start.call, report);
  return 127;
}

pid_t start_command(Start& start) {
  alignas(64) static char stack[64 << 10];
  // Like vfork: our memory until it executes, and we stand still until then. The shared descriptor
  // table is how init gets the listener of the last filter; executing ends the sharing.
  const int flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD;
  return clone(run_command, stack + sizeof stack, flags, &start);
}

volatile sig_atomic_t stop_asked = 0;

void on_signal(int number) {
  if (number == SIGTERM) stop_asked = 1;
}

void listen_for_signals(sigset_t& while_waiting) {
  struct sigaction action{};
  action.sa_handler = on_signal;
  (void)sigaction(SIGTERM, &action, nullptr);
  (void)sigaction(SIGCHLD, &action, nullptr);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGCHLD);
  (void)sigprocmask(SIG_BLOCK, &blocked, &while_waiting);
}

// The CPU time of the command's own process, threads included.
std::int64_t cpu_used_us(pid_t command) {
  timespec used{};
  const auto clock_id = static_cast<clockid_t>((~static_cast<unsigned>(command) << 3) | 2U);
  if (syscall(SYS_clock_gettime, clock_id, &used) != 0) return 0;
  return used.tv_sec * 1'000'000 + used.tv_nsec / 1000;
}

void receive_violation(int listener, Report& report) {
  seccomp_notif notice{};
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notice) != 0) return;
  report.flags |= Report::violation;
  report.syscall = notice.data.nr;
  report.architecture = notice.data.arch;
}

// Whether one process more could still be made.
void probe_processes(Report& report) {
  const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  if (child < 0 && errno == EAGAIN) report.flags |= Report::process_limit;
}

// Reaps what has ended; true once the command itself has.
bool reap(pid_t command, Report& report) {
  static int probes_left = 16;
  int status = 0;
  bool ended = false;
  pid_t who = 0;
  while ((who = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
    // An orphan that failed: perhaps because it could not fork, which only shows while they are
    // many.
    if (who != command && status != 0 && probes_left-- > 0) probe_processes(report);
    if (who != command) continue;
    report.wait_status = status;
    report.flags |= Report::has_status;
    ended = true;
  }
  return ended;
}

void watch(const Cell& cell, pid_t command, int listener, const sigset_t& while_waiting,
           Report& report) {
  for (;;) {
    if (reap(command, report)) return;
    if (stop_asked != 0) {
      report.flags |= Report::stopped;
      return;
    }
    timespec timeout{3600, 0};
    if (cell.spec.limits.cpu_ms != 0) {
      const std::int64_t left_us =
          static_cast<std::int64_t>(cell.spec.limits.cpu_ms) * 1000 - cpu_used_us(command);
      if (left_us <= 0) {
        report.flags |= Report::cpu_limit;
        return;
      }
      // Threads can burn several seconds a second: look again well before.
      const std::int64_t wait_us = std::max<std::int64_t>(left_us / 4, 5'000);
      timeout = {wait_us / 1'000'000, wait_us % 1'000'000 * 1000};
    }
    pollfd events{listener, POLLIN, 0};
    const int ready = ppoll(&events, 1, &timeout, &while_waiting);
    if (ready > 0 && (events.revents & POLLIN) != 0) {
      receive_violation(listener, report);
      if ((report.flags & Report::violation) != 0) return;
    }
  }
}

// Why did it fail? Whether another process could still be made, and whether /tmp has room left.
void examine(const Cell& cell, Report& report) {
  protocol::Limits bound = cell.spec.limits;
  // The place of the command itself is free again: the probe must not be given that one.
  if ((report.flags & Report::has_status) != 0 && bound.processes > 1) --bound.processes;
  (void)limits::apply_processes(bound);
  probe_processes(report);
  struct statfs scratch{};
  if (statfs("/tmp", &scratch) == 0 && scratch.f_bfree == 0 && scratch.f_blocks != 0)
    report.flags |= Report::scratch_full;
}

void supervise(const Cell& cell, pid_t command, int listener, const sigset_t& while_waiting,
               Report& report) {
  // Init holds no end of the command's pipes, so that their reader sees the end when it is there.
  if (listener >= 0) listener = dup2(listener, 3);
  for (int i = 0; i < 3; ++i) close(i);
  (void)syscall(SYS_close_range, 4U, ~0U, 0U);
  (void)limits::drop_capabilities();
  (void)limits::die_with_parent();
  (void)limits::apply_processes(cell.spec.limits);
  watch(cell, command, listener, while_waiting, report);
  const bool has_status = (report.flags & Report::has_status) != 0;
  if (!has_status) report.cpu_us = cpu_used_us(command);
  if (!has_status || report.wait_status != 0) examine(cell, report);
}

}  // namespace

void contain(const Cell& cell, const protocol::Call& call, std::span<const int> descriptors,
             Report& report) {
  sigset_t while_waiting;
  listen_for_signals(while_waiting);
  require(report, Stage::parent_death_signal, limits::die_with_parent());
  require(report, Stage::session, setsid() < 0 ? errno : 0);
  require(report, Stage::cgroup, join_cgroups(descriptors.subspan(3)));
  if (const auto fault = mounts::make_scratch(cell.spec))
    give_up(report, fault.stage, fault.error, fault.index);
  Start start{cell, call, descriptors, report};
  if ((cell.spec.flags & protocol::Spec::with_proc) != 0)
    require(report, Stage::proc, mounts::mount_proc(start.with_proc));
  const pid_t command = start_command(start);
  if (command < 0) give_up(report, Stage::clone, errno);
  if (report.stage != Stage::none) _exit(127);
  supervise(cell, command, start.listener, while_waiting, report);
  // The end of init is the end of everything in its pid namespace.
  _exit(0);
}

}  // namespace ambit::sandbox
