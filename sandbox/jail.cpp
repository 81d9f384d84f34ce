#include "jail.h"

#include "door.h"
#include "limits.h"
#include "reduced.h"
#include "worker.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
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
  const protocol::Jail& jail;
  int socket;  // where the call comes from
  Report& report;
  int door = -1;
  int gate = -1;
  bool with_proc = false;
  bool has_listener = false;
  int work = -1;  // of a reduced jail
};

// Static, so that its pages are there when the call arrives.
protocol::Call call;
alignas(16) char frame[protocol::frame_bytes_max];

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

// To its place, which another one of these may hold at the moment.
int move_high(int from, int to) {
  if (from < 0) return 0;
  const int high = fcntl(from, F_DUPFD_CLOEXEC, protocol::jail_gate + 1);
  if (high < 0) return errno;
  return dup3(high, to, O_CLOEXEC) < 0 ? errno : 0;
}

// Shared with init until the command executes: the socket and the reports where protocol.h says,
// the door and the gate if there are any, and nothing else open, so that the descriptors of the
// call land on 0, 1 and 2.
int arrange_descriptors(const Start& start) {
  const int door = start.door < 0 ? -1 : fcntl(start.door, F_DUPFD_CLOEXEC, 64);
  const int gate = start.gate < 0 ? -1 : fcntl(start.gate, F_DUPFD_CLOEXEC, 64);
  if ((start.door >= 0 && door < 0) || (start.gate >= 0 && gate < 0)) return errno;
  if (dup3(start.socket, protocol::jail_socket, O_CLOEXEC) < 0) return errno;
  if (dup3(start.cell.reports, protocol::jail_reports, O_CLOEXEC) < 0) return errno;
  if (const int error = move_high(door, protocol::jail_door)) return error;
  if (const int error = move_high(gate, protocol::jail_gate)) return error;
  constexpr auto before = static_cast<unsigned>(protocol::jail_door - 1);
  constexpr auto after = static_cast<unsigned>(protocol::jail_gate + 1);
  if (syscall(SYS_close_range, 0U, 2U, 0U) != 0) return errno;
  if (syscall(SYS_close_range, 5U, before, 0U) != 0) return errno;
  if (door < 0) (void)close(protocol::jail_door);
  if (gate < 0) (void)close(protocol::jail_gate);
  return syscall(SYS_close_range, after, ~0U, 0U) == 0 ? 0 : errno;
}

int install_last_filter(Start& start) {
  const std::span<const sock_filter> filter = start.cell.spec.last_filter;
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  const int listener = static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
  if (listener >= 0) {
    // The lowest free number: this very one if the call's descriptors are there already.
    if (listener != protocol::jail_listener) {
      if (dup3(listener, protocol::jail_listener, O_CLOEXEC) < 0) return errno;
      close(listener);
    }
    start.has_listener = true;
    return 0;
  }
  if (errno != EBUSY) return errno;
  // Nobody could be told what is opened.
  if ((start.cell.spec.flags & protocol::Spec::asks) != 0) return EBUSY;
  // Someone above us listens already and there can be only one: kill at the trip-wires instead.
  for (const sock_filter& one : filter) {
    auto& instruction = const_cast<sock_filter&>(one);
    if (instruction.code == (BPF_RET | BPF_K) && instruction.k == SECCOMP_RET_USER_NOTIF)
      instruction.k = SECCOMP_RET_KILL_PROCESS;
  }
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
}

// Waits for the call. Its descriptors are in order or it is not executed.
void receive_call(Report& report) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * protocol::descriptors_max)];
  iovec part{frame, sizeof frame};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = 0;
  do count = recvmsg(protocol::jail_socket, &message, 0);
  while (count < 0 && errno == EINTR);
  // The supervisor is gone, or has no use for this jail.
  if (count <= 0) _exit(0);
  const cmsghdr* passed = CMSG_FIRSTHDR(&message);
  std::size_t received = 0;
  if (passed != nullptr && passed->cmsg_type == SCM_RIGHTS)
    received = (passed->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  int numbers[protocol::descriptors_max] = {};
  if (received != 0) __builtin_memcpy(numbers, CMSG_DATA(passed), received * sizeof(int));
  bool in_order = received >= 3 && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  for (std::size_t i = 0; i < received; ++i) {
    const int index = static_cast<int>(i);
    in_order = in_order && numbers[i] == (index < 3 ? index : protocol::first_secret + index - 3);
  }
  if (!in_order) give_up(report, Stage::descriptors, EBADF);
  if (!protocol::parse_call({frame, static_cast<std::size_t>(count)}, call))
    give_up(report, Stage::call, EBADMSG);
}

void execute(Report& report) {
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

// Everything that does not depend on the call, then the call.
int run_command(void* argument) {
  auto& start = *static_cast<Start*>(argument);
  Report& report = start.report;
  const protocol::Spec& spec = start.cell.spec;
  sigset_t none;
  sigemptyset(&none);
  for (const int number : {SIGPIPE, SIGCHLD, SIGTERM}) (void)signal(number, SIG_DFL);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(022);
  require(report, Stage::parent_death_signal, limits::die_with_parent());
  const mounts::Rules rules{start.cell.landlock_abi, start.with_proc, true,
                            static_cast<std::uint16_t>(start.gate < 0 ? 0 : start.jail.port)};
  const mounts::Fault fault =
      start.cell.is_reduced()
          ? reduced::restrict_to(start.cell.places, start.cell.landlock_abi, start.work)
          : mounts::restrict_to(spec, start.cell.places, rules);
  if (fault) give_up(report, fault.stage, fault.error, fault.index);
  require(report, Stage::descriptors, arrange_descriptors(start));
  require(report, Stage::limits, limits::apply(spec.limits));
  const bool late = (spec.flags & protocol::Spec::late_filter) != 0;
  // A listener takes the lowest free number and is moved: 0, 1 and 2 are free again afterwards.
  if (!late) require(report, Stage::last_filter, install_last_filter(start));
  // Keeps its place free of secrets until then.
  if (late && dup3(protocol::jail_socket, protocol::jail_listener, O_CLOEXEC) < 0)
    give_up(report, Stage::descriptors, errno);
  call = protocol::Call{};
  frame[0] = '\0';
  receive_call(report);
  if (chdir(call.directory.data()) != 0) give_up(report, Stage::directory, errno);
  if (late) require(report, Stage::last_filter, install_last_filter(start));
  execute(report);
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

// A trip-wire, or a file that is to be opened.
void receive_notice(const Cell& cell, Report& report) {
  seccomp_notif notice{};
  if (ioctl(protocol::jail_listener, SECCOMP_IOCTL_NOTIF_RECV, &notice) != 0) return;
  if ((cell.spec.flags & protocol::Spec::asks) != 0 && door::is_open(notice)) {
    door::ask_to_open(cell.spec, notice, report.call);
    return;
  }
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

// How long until the CPU time has to be looked at again; false once it is used up.
bool cpu_time_left(const Cell& cell, pid_t command, timespec& wait) {
  wait = {3600, 0};
  if (cell.spec.limits.cpu_ms == 0) return true;
  const std::int64_t left_us =
      static_cast<std::int64_t>(cell.spec.limits.cpu_ms) * 1000 - cpu_used_us(command);
  // Threads can burn several seconds a second: look again well before.
  const std::int64_t wait_us = std::max<std::int64_t>(left_us / 4, 5'000);
  wait = {wait_us / 1'000'000, wait_us % 1'000'000 * 1000};
  return left_us > 0;
}

void watch(const Start& start, pid_t command, const sigset_t& while_waiting, Report& report) {
  // Nothing with this filter is left to break it, nobody answers at the door any more: asking again
  // would give the same at once.
  constexpr int gone = POLLHUP | POLLERR;
  pollfd events[3] = {{start.has_listener ? protocol::jail_listener : -1, POLLIN, 0},
                      {start.door >= 0 ? protocol::jail_door : -1, POLLIN, 0},
                      {start.gate >= 0 ? protocol::jail_gate : -1, POLLIN, 0}};
  for (;;) {
    if (reap(command, report)) return;
    if (stop_asked != 0) {
      report.flags |= Report::stopped;
      return;
    }
    timespec timeout{};
    if (!cpu_time_left(start.cell, command, timeout)) {
      report.flags |= Report::cpu_limit;
      return;
    }
    if (ppoll(events, 3, &timeout, &while_waiting) <= 0) continue;
    if ((events[1].revents & POLLIN) != 0) door::take_answer();
    if ((events[2].revents & POLLIN) != 0) door::pass_connection(report.call);
    if ((events[0].revents & POLLIN) != 0) {
      receive_notice(start.cell, report);
      if ((report.flags & Report::violation) != 0) return;
    }
    for (pollfd& one : events)
      if ((one.revents & gone) != 0 && (one.revents & POLLIN) == 0) one.fd = -1;
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
  if (!cell.is_reduced() && statfs("/tmp", &scratch) == 0 && scratch.f_bfree == 0 &&
      scratch.f_blocks != 0)
    report.flags |= Report::scratch_full;
}

// After this the pid namespace holds init alone, and so does a reduced jail's domain. A process
// that is being made while the signal goes round is not missed: the kernel makes none for a parent
// that has one pending.
void end_the_rest() {
  int status = 0;
  pid_t who = waitpid(-1, &status, WNOHANG | __WALL);
  if (who >= 0) reduced::end_all();
  while (who >= 0 || errno == EINTR) who = waitpid(-1, &status, __WALL);
}

void tell(Report& report) {
  rusage used{};
  (void)getrusage(RUSAGE_CHILDREN, &used);
  report.cpu_us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000 +
                  used.ru_utime.tv_usec + used.ru_stime.tv_usec;
  report.memory_peak_bytes = used.ru_maxrss * 1024;
  report.kind = protocol::Kind::ended;
  report.flags |= Report::told;
  if (write(protocol::jail_reports, &report, sizeof report) != sizeof report)
    report.flags &= ~Report::told;
}

void supervise(const Start& start, pid_t command, const sigset_t& while_waiting, Report& report) {
  const Cell& cell = start.cell;
  constexpr auto first = static_cast<unsigned>(protocol::first_secret);
  constexpr auto before = static_cast<unsigned>(protocol::jail_door - 1);
  constexpr auto after = static_cast<unsigned>(protocol::jail_gate + 1);
  // Init holds no end of the call's pipes, so that their reader sees the end when it is there.
  (void)syscall(SYS_close_range, 0U, static_cast<unsigned>(protocol::jail_socket), 0U);
  (void)syscall(SYS_close_range, first, before, 0U);
  (void)syscall(SYS_close_range, after, ~0U, 0U);
  (void)limits::apply_processes(cell.spec.limits);
  watch(start, command, while_waiting, report);
  if ((report.flags & Report::has_status) == 0 || report.wait_status != 0) examine(cell, report);
  end_the_rest();
  // Taking the jail's mounts down takes longer than all of this: the supervisor need not wait.
  tell(report);
}

}  // namespace

unsigned long clone_flags(const Cell& cell, const protocol::Jail& jail) {
  if (cell.is_reduced()) return 0;
  const bool is_worker = (jail.flags & protocol::Jail::worker) != 0;
  return CLONE_NEWPID | (is_worker && !mounts::tools_mount(cell.spec) ? 0UL : CLONE_NEWNS);
}

namespace {

// The namespaces of this process are the zygote's own: what holds the jail together instead.
void hold_together(Cell& cell, const protocol::Jail& jail, bool is_worker, int& work,
                   Report& report) {
  require(report, Stage::landlock, reduced::hold_together(cell.landlock_abi, getppid()));
  if (!is_worker) require(report, Stage::session, reduced::adopt_orphans());
  if (cell.spec.limits.processes != 0) cell.spec.limits.others = reduced::tasks_of_user();
  if (const auto fault = reduced::find_work(cell.spec, jail, work))
    give_up(report, fault.stage, fault.error, fault.index);
}

}  // namespace

void contain(Cell& cell, const protocol::Jail& jail, std::span<const int> descriptors,
             Report& report) {
  const bool has_door = (jail.flags & protocol::Jail::has_door) != 0;
  const bool is_worker = (jail.flags & protocol::Jail::worker) != 0;
  sigset_t while_waiting;
  if (!is_worker) listen_for_signals(while_waiting);
  require(report, Stage::parent_death_signal, limits::die_with_parent());
  require(report, Stage::session, setsid() < 0 ? errno : 0);
  require(report, Stage::cgroup, join_cgroups(descriptors.subspan(has_door ? 2 : 1)));
  Start start{cell, jail, descriptors[0], report, has_door ? descriptors[1] : -1};
  if (cell.is_reduced()) {
    hold_together(cell, jail, is_worker, start.work, report);
  } else if (!is_worker || mounts::tools_mount(cell.spec)) {
    if (const auto fault = mounts::make_scratch(cell.spec, jail))
      give_up(report, fault.stage, fault.error, fault.index);
  }
  if (is_worker) worker::serve(cell, descriptors[0], start.work, report);
  if (has_door && jail.port != 0)
    require(report, Stage::gate,
            door::open_gate(static_cast<std::uint16_t>(jail.port), start.gate));
  if ((cell.spec.flags & protocol::Spec::with_proc) != 0 && !cell.is_reduced())
    require(report, Stage::proc, mounts::mount_proc(start.with_proc));
  require(report, Stage::capabilities, limits::drop_capabilities());
  // A reduced jail's init is asked to wind up: nothing else would end what the command has made.
  require(report, Stage::parent_death_signal,
          limits::die_with_parent(cell.is_reduced() ? SIGTERM : SIGKILL));
  if (limits::has_ended(cell.self)) _exit(0);
  const pid_t command = start_command(start);
  if (command < 0) give_up(report, Stage::clone, errno);
  if (report.stage != Stage::none) _exit(127);
  supervise(start, command, while_waiting, report);
  // The end of init is the end of everything in its pid namespace.
  _exit(0);
}

}  // namespace ambit::sandbox
