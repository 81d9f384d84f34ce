#pragma once

// From what the zygote reported to how the call ended, as a type and a sentence. Pure: no I/O.

#include "agents/ports.h"
#include "sandbox/protocol.h"

#include <cstdint>

namespace ambit::sandbox {

// What the supervisor knows besides the report.
struct Circumstances {
  bool timed_out = false;
  bool output_cut = false;
  bool memory_killed = false;      // the memory cgroup says so
  bool processes_refused = false;  // the pids cgroup says so
  bool memory_is_counted = false;  // there is a memory cgroup: no guessing from the peak
};

// kind, exit_code, signal, detail and usage; the caller adds the output and the wall time.
agents::JailOutcome classify(const protocol::Report& report, const agents::Profile& profile,
                             const Circumstances& circumstances);

// "mount the write path '/work': Permission denied"
std::string describe_fault(const protocol::Report& report, const agents::Profile& profile);

agents::JailOutcome refused(std::string why);

}  // namespace ambit::sandbox
