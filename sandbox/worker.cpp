#include "worker.h"

#include "builtin.h"
#include "limits.h"
#include "reduced.h"

#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::sandbox::worker {
namespace {

using protocol::Report;
using protocol::Stage;

char received[sizeof(std::uint32_t) + protocol::frame_bytes_max];
char answer[sizeof(protocol::Done) + protocol::output_bytes_max + 4096];
protocol::Work work;

void require(Report& report, Stage stage, int error, std::uint32_t index = 0) {
  if (error == 0) return;
  report.stage = stage;
  report.error = error;
  report.index = index;
  _exit(127);
}

int load_filter(std::span<const sock_filter> filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
}

int keep_only(int socket) {
  if (dup3(socket, protocol::jail_socket, O_CLOEXEC) < 0) return errno;
  if (syscall(SYS_close_range, 0U, 2U, 0U) != 0) return errno;
  return syscall(SYS_close_range, 4U, ~0U, 0U) == 0 ? 0 : errno;
}

// Reads on until `into` holds at least `bytes`; false at the end of the stream.
bool read_until(char* into, std::size_t& held, std::size_t bytes, std::size_t bytes_max) {
  while (held < bytes) {
    const ssize_t count = read(protocol::jail_socket, into + held, bytes_max - held);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    held += static_cast<std::size_t>(count);
  }
  return true;
}

bool write_all(const char* from, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t count = write(protocol::jail_socket, from, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    from += count;
    bytes -= static_cast<std::size_t>(count);
  }
  return true;
}

std::int64_t cpu_us() {
  timespec used{};
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * 1'000'000 + used.tv_nsec / 1000;
}

// Answers one call; what it leaves in this process (its directory, open files) the next one does
// not see.
bool serve_call() {
  std::uint32_t bytes = 0;
  std::size_t held = 0;
  if (!read_until(received, held, sizeof bytes, sizeof received)) return false;
  std::memcpy(&bytes, received, sizeof bytes);
  // The supervisor sends one call at a time: more than that is not it any longer.
  const std::size_t all = sizeof bytes + std::size_t{bytes};
  if (all > sizeof received || !read_until(received, held, all, sizeof received) || held != all)
    return false;
  const std::int64_t began_us = cpu_us();
  if (!protocol::parse_work({received + sizeof bytes, bytes}, work)) return false;
  protocol::Done done;
  done.id = work.id;
  builtin::Said said;
  said.output = {answer + sizeof done, work.output_bytes};
  char errors[1024];
  said.errors = {errors, sizeof errors};
  if (chdir(work.directory.data()) != 0) {
    said.fail("enter", work.directory.data(), errno);
    done.status = 126;
  } else {
    done.status = builtin::run({work.arguments.data(), work.argument_count}, work.input, said);
  }
  done.output_bytes = static_cast<std::uint32_t>(said.output.used);
  done.error_bytes = static_cast<std::uint32_t>(said.errors.used);
  if (said.output.cut) done.flags |= protocol::Done::truncated;
  std::memcpy(answer + sizeof done + done.output_bytes, errors, done.error_bytes);
  done.cpu_us = static_cast<std::uint32_t>(cpu_us() - began_us);
  std::memcpy(answer, &done, sizeof done);
  return write_all(answer, sizeof done + done.output_bytes + done.error_bytes);
}

}  // namespace

void serve(const Cell& cell, int socket, int work_folder, Report& report) {
  const protocol::Spec& spec = cell.spec;
  for (const int number : {SIGPIPE, SIGCHLD, SIGTERM}) (void)signal(number, SIG_DFL);
  umask(022);
  // Nothing of one call may lie in /tmp when the next one comes.
  const mounts::Rules rules{cell.landlock_abi, false, false, 0};
  const mounts::Fault fault =
      cell.is_reduced() ? reduced::restrict_to(cell.places, cell.landlock_abi, work_folder)
                        : mounts::restrict_to(spec, cell.places, rules);
  if (fault) require(report, fault.stage, fault.error, fault.index);
  require(report, Stage::capabilities, limits::drop_capabilities());
  require(report, Stage::parent_death_signal, limits::die_with_parent());
  if (limits::has_ended(cell.self)) _exit(0);
  require(report, Stage::descriptors, keep_only(socket));
  require(report, Stage::limits, limits::apply(spec.limits));
  require(report, Stage::last_filter, load_filter(spec.worker_filter));
  while (serve_call()) {
  }
  _exit(0);
}

}  // namespace ambit::sandbox::worker
