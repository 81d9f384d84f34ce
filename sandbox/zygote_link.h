#pragma once

// The supervisor's side of protocol.h: writes the frames, sends them, reads the reports.

#include "agents/ports.h"
#include "async/result.h"
#include "sandbox/protocol.h"
#include "sandbox/seccomp.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::sandbox {

struct JailPath {
  std::string name;
  bool writes = false;
  friend bool operator==(const JailPath&, const JailPath&) = default;
};
// In the order in which they are mounted: an outer path before what lies in it.
std::vector<JailPath> ordered_paths(const agents::Profile& profile);

struct SpecOptions {
  bool with_proc = false;  // a /proc that shows the jail's own processes
  bool cgroups = false;    // they bound memory and processes: no rlimits for those
};
Result<std::string> encode_spec(const agents::Profile& profile, const seccomp::Filters& filters,
                                const SpecOptions& options);
Result<std::string> encode_call(std::uint32_t id, const agents::JailCall& call);
std::string encode_signal(protocol::Kind kind, std::uint32_t id);

// Sends one frame at once; unavailable: the socket is full, closed: the zygote is gone.
Result<void> send_frame(int socket, const std::string& frame, std::span<const int> descriptors);

// Exactly one report's bytes.
Result<protocol::Report> decode_report(std::string_view bytes);

}  // namespace ambit::sandbox
