// The zygote: a tiny static program that isolates itself once, as its first frame says, and then
// clones jails, each for one call. It never shares the runtime's address space, holds no secret,
// and dies with the supervisor. Descriptors: 1 reports go up, 3 requests come down; 0 and 2 are not
// used.

#include "jail.h"
#include "limits.h"
#include "namespaces.h"
#include "protocol.h"
#include "reduced.h"

#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

using protocol::Kind;
using protocol::Report;
using protocol::Stage;

constexpr int reports = 1;
constexpr int requests = 3;
constexpr std::uint32_t requests_event = ~0U;

struct Live {
  std::uint32_t id = 0;
  int pidfd = -1;  // -1: free
  bool is_worker = false;
};

// The whole state of the zygote. One of it, in static memory, so that a clone touches few pages.
struct Zygote {
  Cell cell;
  protocol::Jail jail;
  int epoll = -1;
  Report* slots = nullptr;  // shared with the jails, one a live jail
  Live live[protocol::calls_max];
  alignas(16) char spec_frame[protocol::frame_bytes_max];
  alignas(16) char frame[protocol::frame_bytes_max];
};
Zygote zygote;

struct Received {
  std::size_t bytes = 0;
  int descriptors[protocol::descriptors_max];
  std::size_t descriptor_count = 0;
  bool cut = false;
};

void send_report(const Report& report) {
  // At most PIPE_BUF: all or nothing. A supervisor that is gone ends us (SIGPIPE).
  ssize_t written = 0;
  do written = write(reports, &report, sizeof report);
  while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(sizeof report)) _exit(1);
}

// False at the end: the supervisor is gone.
bool receive(char* frame, Received& received) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof received.descriptors)];
  iovec part{frame, protocol::frame_bytes_max};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = 0;
  do count = recvmsg(requests, &message, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count <= 0) return false;
  received.bytes = static_cast<std::size_t>(count);
  received.cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* part_of = CMSG_FIRSTHDR(&message); part_of != nullptr;
       part_of = CMSG_NXTHDR(&message, part_of)) {
    if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
    received.descriptor_count = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    __builtin_memcpy(received.descriptors, CMSG_DATA(part_of),
                     received.descriptor_count * sizeof(int));
  }
  return true;
}

[[noreturn]] void fail(Stage stage, int error, std::uint32_t index = 0) {
  Report report;
  report.kind = Kind::failed;
  report.stage = stage;
  report.error = error;
  report.index = index;
  send_report(report);
  _exit(1);
}

void require(Stage stage, int error) {
  if (error != 0) fail(stage, error);
}

int load_filter(std::span<const sock_filter> filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
}

int make_slots() {
  void* memory = mmap(nullptr, sizeof(Report) * protocol::calls_max, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return errno;
  zygote.slots = static_cast<Report*>(memory);
  return 0;
}

int make_epoll() {
  zygote.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (zygote.epoll < 0) return errno;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = requests_event;
  return epoll_ctl(zygote.epoll, EPOLL_CTL_ADD, requests, &event) == 0 ? 0 : errno;
}

// By this a jail sees that it was too late to ask to die with the zygote.
int open_self(int& self) {
  self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  return self < 0 ? errno : 0;
}

int close_the_rest() {
  return syscall(SYS_close_range, 4U, ~0U, 0U) == 0 ? 0 : errno;
}

void require_place(const mounts::Fault& fault) {
  if (fault) fail(fault.stage, fault.error, fault.index);
}

void enter_namespaces(Cell& cell) {
  const unsigned uid = geteuid();
  const unsigned gid = getegid();
  require(Stage::user_namespace, namespaces::enter_user());
  require(Stage::id_maps, namespaces::write_id_maps(uid, gid));
  require(Stage::namespaces, namespaces::enter_others());
  require(Stage::host_name, namespaces::set_host_name());
  if ((cell.spec.flags & protocol::Spec::with_net) != 0)
    require(Stage::namespaces, namespaces::raise_loopback());
  require_place(mounts::enter_root(cell.spec));
  require(Stage::descriptors, close_the_rest());
  require_place(mounts::open_places(cell.spec, cell.places));
  require(Stage::bounding_set, limits::clear_bounding_set());
  require(Stage::bounding_set, limits::lock_secure_bits());
}

// Without namespaces: see reduced.h.
void enter_domain(Cell& cell, pid_t supervisor) {
  require_place(reduced::open_places(cell.spec, cell.places));
  require(Stage::bounding_set, reduced::clear_bounding_set());
  require(Stage::bounding_set, reduced::lock_secure_bits());
  require(Stage::no_new_privileges, limits::set_no_new_privileges());
  require(Stage::session, reduced::adopt_orphans());
  require(Stage::landlock, reduced::hold_together(cell.landlock_abi, supervisor));
}

// Once: from here on nothing outside can be reached from this process.
void isolate(Cell& cell) {
  const pid_t supervisor = getppid();
  require(Stage::descriptors, close_the_rest());
  namespaces::drop_groups();
  cell.landlock_abi = landlock::abi();
  if (cell.landlock_abi < 1) fail(Stage::landlock, ENOSYS);
  if (cell.is_reduced()) {
    enter_domain(cell, supervisor);
  } else {
    enter_namespaces(cell);
  }
  require(Stage::limits, limits::apply_shared(cell.spec.limits));
  require(Stage::no_new_privileges, limits::set_no_new_privileges());
  (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  require(Stage::clone, make_slots());
  require(Stage::clone, make_epoll());
  require(Stage::clone, open_self(cell.self));
  require(Stage::parent_death_signal, limits::die_with_parent());
  if (getppid() != supervisor) _exit(0);
  require(Stage::filter, load_filter(cell.spec.filter));
}

void refuse(std::uint32_t id, Stage stage, int error) {
  Report report;
  report.kind = Kind::gone;
  report.call = id;
  report.stage = stage;
  report.error = error;
  send_report(report);
}

std::uint32_t free_slot() {
  std::uint32_t slot = 0;
  while (slot < protocol::calls_max && zygote.live[slot].pidfd >= 0) ++slot;
  return slot;
}

void begin_jail(const Received& received) {
  const protocol::Jail& jail = zygote.jail;
  const std::uint32_t slot = free_slot();
  if (slot == protocol::calls_max) return refuse(jail.id, Stage::request, EAGAIN);
  Report& report = zygote.slots[slot];
  report = Report{};
  report.call = jail.id;
  int pidfd = -1;
  // The old call, because a filter can read its flags.
  const unsigned long flags = clone_flags(zygote.cell, jail) | CLONE_PIDFD | SIGCHLD;
  const long child = syscall(SYS_clone, flags, nullptr, &pidfd, nullptr, nullptr);
  if (child == 0)
    contain(zygote.cell, jail, {received.descriptors, received.descriptor_count}, report);
  if (child < 0) return refuse(jail.id, Stage::clone, errno);
  zygote.live[slot] = {jail.id, pidfd, (jail.flags & protocol::Jail::worker) != 0};
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = slot;
  if (epoll_ctl(zygote.epoll, EPOLL_CTL_ADD, pidfd, &event) != 0) _exit(1);
}

// What an init that was killed from outside has left of a reduced jail, of which there is one at a
// time.
void end_orphans() {
  if (!zygote.cell.is_reduced()) return;
  for (const Live& live : zygote.live)
    if (live.pidfd >= 0) return;
  reduced::end_all();
  pid_t who = 0;
  do who = waitpid(-1, nullptr, __WALL);
  while (who > 0 || (who < 0 && errno == EINTR));
}

void end_jail(std::uint32_t slot) {
  Live& live = zygote.live[slot];
  rusage used{};
  siginfo_t info{};
  // The raw call: the library's has no room for the usage. Never wait for any child: that walks
  // them all.
  constexpr int by_pidfd = 3;  // P_PIDFD
  if (live.pidfd < 0) return;
  if (syscall(SYS_waitid, by_pidfd, live.pidfd, &info, WEXITED | WNOHANG, &used) != 0) return;
  if (info.si_pid == 0) return;
  // Closing is not enough: a jail that was cloned meanwhile holds the same open file for a moment.
  (void)epoll_ctl(zygote.epoll, EPOLL_CTL_DEL, live.pidfd, nullptr);
  close(live.pidfd);
  live.pidfd = -1;
  end_orphans();
  Report report = zygote.slots[slot];
  report.kind = Kind::gone;
  if ((report.flags & Report::told) == 0) {
    // It was killed or could not be made; init's own and that of all it reaped.
    report.cpu_us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000 +
                    used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    report.memory_peak_bytes = used.ru_maxrss * 1024;
  }
  if (live.is_worker) {
    // Init is the tool itself.
    const bool exited = info.si_code == CLD_EXITED;
    report.wait_status = exited ? info.si_status << 8 : info.si_status;
    report.flags |= Report::has_status;
  }
  send_report(report);
}

void signal_jail(Kind kind, std::uint32_t id) {
  for (const Live& live : zygote.live) {
    if (live.pidfd < 0 || live.id != id) continue;
    const int number = kind == Kind::stop ? SIGTERM : SIGKILL;
    (void)syscall(SYS_pidfd_send_signal, live.pidfd, number, nullptr, 0);
  }
}

// Those of a jail before its cgroups.
std::size_t own_descriptors(const protocol::Jail& jail) {
  return (jail.flags & protocol::Jail::has_door) != 0 ? 2 : 1;
}

// False: the supervisor is gone, or speaks what we do not understand.
bool serve_request() {
  Received received;
  if (!receive(zygote.frame, received)) return false;
  const std::span<char> frame(zygote.frame, received.bytes);
  Kind kind{};
  std::uint32_t id = 0;
  bool understood = !received.cut;
  if (understood && protocol::parse_signal(frame, kind, id)) {
    signal_jail(kind, id);
  } else if (understood && protocol::parse_jail(frame, zygote.jail) &&
             received.descriptor_count >= own_descriptors(zygote.jail)) {
    begin_jail(received);
  } else {
    understood = false;
  }
  for (std::size_t i = 0; i < received.descriptor_count; ++i) close(received.descriptors[i]);
  return understood;
}

[[noreturn]] void serve() {
  for (;;) {
    epoll_event events[64];
    const int count = epoll_pwait(zygote.epoll, events, 64, -1, nullptr);
    if (count < 0 && errno != EINTR) _exit(1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u32 != requests_event) {
        end_jail(events[i].data.u32);
      } else if (!serve_request()) {
        _exit(0);
      }
    }
  }
}

}  // namespace
}  // namespace ambit::sandbox

int main() {
  using namespace ambit::sandbox;
  require(Stage::parent_death_signal, limits::die_with_parent());
  Received received;
  if (!receive(zygote.spec_frame, received)) return 0;
  const std::span<char> frame(zygote.spec_frame, received.bytes);
  if (received.cut || received.descriptor_count != 0 ||
      !protocol::parse_spec(frame, zygote.cell.spec))
    fail(Stage::request, EBADMSG);
  isolate(zygote.cell);
  Report ready;
  ready.kind = Kind::ready;
  ready.error = zygote.cell.landlock_abi;
  send_report(ready);
  serve();
}
