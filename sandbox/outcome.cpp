#include "sandbox/outcome.h"

#include "sandbox/seccomp.h"
#include "sandbox/zygote_link.h"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace ambit::sandbox {
namespace {

using agents::JailOutcome;
using agents::OutcomeKind;
using agents::Profile;
using protocol::Report;
using protocol::Stage;

const char* words(Stage stage) {
  switch (stage) {
    case Stage::none:
      return "nothing";
    case Stage::request:
      return "read the request";
    case Stage::parent_death_signal:
      return "tie the jail's life to ours";
    case Stage::user_namespace:
      return "make a user namespace";
    case Stage::id_maps:
      return "map the jail's user";
    case Stage::namespaces:
      return "make mount, network, ipc and uts namespaces";
    case Stage::root_tree:
      return "build the read-only root";
    case Stage::read_path:
      return "show a read path";
    case Stage::write_path:
      return "show a write path";
    case Stage::pivot_root:
      return "leave the old root";
    case Stage::host_name:
      return "set the host name";
    case Stage::bounding_set:
      return "clear the capability bounding set";
    case Stage::no_new_privileges:
      return "set no_new_privs";
    case Stage::filter:
      return "load the system call filter";
    case Stage::clone:
      return "make a pid namespace";
    case Stage::cgroup:
      return "join the cgroups";
    case Stage::scratch:
      return "mount the private /tmp";
    case Stage::proc:
      return "mount /proc";
    case Stage::session:
      return "start a session";
    case Stage::directory:
      return "enter the working directory";
    case Stage::limits:
      return "set resource limits";
    case Stage::capabilities:
      return "drop capabilities";
    case Stage::landlock:
      return "set up Landlock";
    case Stage::last_filter:
      return "load the last system call filter";
    case Stage::descriptors:
      return "pass the pipes";
    case Stage::work_path:
      return "show the work folder";
    case Stage::call:
      return "read the call";
    case Stage::gate:
      return "open the way to the proxy";
    case Stage::execute:
      return "execute the command";
  }
  return "an unknown stage";
}

bool memory_seems_exceeded(const Report& report, const Profile& profile,
                           const Circumstances& known) {
  if (known.memory_killed) return true;
  if (known.memory_is_counted) return false;
  // Without a cgroup the kernel only refuses memory; a command that failed with this much is taken
  // to have failed for that.
  return report.memory_peak_bytes >= profile.memory_bytes / 2;
}

bool cpu_exceeded(const Report& report, const Profile& profile) {
  return profile.cpu_ms != 0 && report.cpu_us >= profile.cpu_ms * 1000;
}

void set(JailOutcome& outcome, OutcomeKind kind, std::string detail) {
  outcome.kind = kind;
  outcome.detail = std::move(detail);
}

bool processes_exceeded(const Report& report, const Circumstances& known) {
  return known.processes_refused || (report.flags & Report::process_limit) != 0;
}

std::string limit(const char* what, std::int64_t value, const char* unit) {
  return std::string("over its limit: ") + what + " " + std::to_string(value) + " " + unit;
}

// A command that ended with a code other than 0: was it a limit that made it fail?
void classify_failure(JailOutcome& outcome, const Report& report, const Profile& profile,
                      const Circumstances& known) {
  const std::string status = outcome.signal != 0
                                 ? "signal " + std::to_string(outcome.signal)
                                 : "exit status " + std::to_string(outcome.exit_code);
  if (memory_seems_exceeded(report, profile, known)) {
    set(outcome, OutcomeKind::memory_limit,
        limit("memory", profile.memory_bytes, "bytes") + ", " + status);
  } else if (cpu_exceeded(report, profile)) {
    set(outcome, OutcomeKind::cpu_limit, limit("cpu", profile.cpu_ms, "ms") + ", " + status);
  } else if (processes_exceeded(report, known)) {
    set(outcome, OutcomeKind::process_limit,
        limit("processes", profile.processes, "at once") + ", " + status);
  } else if ((report.flags & Report::scratch_full) != 0) {
    set(outcome, OutcomeKind::file_size_limit,
        limit("the private /tmp", profile.scratch_bytes, "bytes") + ", " + status);
  } else if (outcome.signal != 0) {
    set(outcome, OutcomeKind::crashed,
        "ended by signal " + std::to_string(outcome.signal) + " (" + ::strsignal(outcome.signal) +
            ")");
  } else {
    set(outcome, OutcomeKind::ok, status);
  }
}

void classify_status(JailOutcome& outcome, const Report& report, const Profile& profile,
                     const Circumstances& known) {
  if (WIFEXITED(report.wait_status)) outcome.exit_code = WEXITSTATUS(report.wait_status);
  if (WIFSIGNALED(report.wait_status)) outcome.signal = WTERMSIG(report.wait_status);
  if (outcome.signal == SIGSYS) {
    set(outcome, OutcomeKind::policy_violation,
        "a system call of a foreign table (32-bit or x32), or one that the filter kills");
  } else if (outcome.signal == SIGXCPU) {
    set(outcome, OutcomeKind::cpu_limit, limit("cpu", profile.cpu_ms, "ms"));
  } else if (outcome.signal == SIGXFSZ) {
    set(outcome, OutcomeKind::file_size_limit, limit("a file", profile.file_bytes, "bytes"));
  } else if (outcome.signal != 0 || outcome.exit_code != 0) {
    classify_failure(outcome, report, profile, known);
  } else {
    set(outcome, OutcomeKind::ok, "exit status 0");
  }
}

}  // namespace

std::string describe_fault(const Report& report, const Profile& profile) {
  std::string text = words(report.stage);
  const bool is_path = report.stage == Stage::read_path || report.stage == Stage::write_path;
  if (report.stage == Stage::work_path && report.error == ENOTDIR)
    return text + ": it is no folder, or leads through a symbolic link";
  if (report.stage == Stage::work_path && report.error == ESTALE)
    return text + ": it was replaced while the jail was made; call again";
  if (is_path) {
    const std::vector<JailPath> paths = ordered_paths(profile);
    if (report.index < paths.size()) text += " '" + paths[report.index].name + "'";
    if (report.error == ELOOP) return text + ": it leads through a symbolic link";
  }
  text += std::string(": ") + ::strerror(report.error);
  if (report.stage == Stage::user_namespace || report.stage == Stage::id_maps)
    text += " (user namespaces are switched off here; `ambit doctor` says how to get them)";
  return text;
}

JailOutcome refused(std::string why) {
  JailOutcome outcome;
  set(outcome, OutcomeKind::refused, std::move(why));
  return outcome;
}

JailOutcome classify(const Report& report, const Profile& profile, const Circumstances& known) {
  if (report.stage != Stage::none) {
    if (report.stage == Stage::execute && report.error == ENOENT)
      return refused("the command was not found in the jail");
    return refused("the jail could not be made: " + describe_fault(report, profile));
  }
  JailOutcome outcome;
  outcome.cpu_us = report.cpu_us;
  outcome.memory_peak_bytes = report.memory_peak_bytes;
  const bool has_status = (report.flags & Report::has_status) != 0;
  if ((report.flags & Report::violation) != 0) {
    set(outcome, OutcomeKind::policy_violation,
        "system call " + seccomp::name_of(report.syscall, report.architecture) +
            " ends every jail");
  } else if (known.output_cut) {
    set(outcome, OutcomeKind::output_limit, limit("output", profile.output_bytes, "bytes"));
  } else if (known.memory_killed) {
    set(outcome, OutcomeKind::memory_limit, limit("memory", profile.memory_bytes, "bytes"));
  } else if ((report.flags & Report::cpu_limit) != 0) {
    set(outcome, OutcomeKind::cpu_limit, limit("cpu", profile.cpu_ms, "ms"));
  } else if (has_status) {
    classify_status(outcome, report, profile, known);
  } else if (known.timed_out && processes_exceeded(report, known)) {
    set(outcome, OutcomeKind::process_limit, limit("processes", profile.processes, "at once"));
  } else if (known.timed_out) {
    set(outcome, OutcomeKind::timeout, limit("wall clock", profile.wall_ms, "ms"));
  } else {
    outcome.signal = SIGKILL;
    set(outcome, OutcomeKind::crashed, "the jail was killed from outside");
  }
  return outcome;
}

}  // namespace ambit::sandbox
