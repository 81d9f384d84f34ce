#pragma once

// The supervisor's side of protocol.h: writes the frames, sends them, reads the reports.

#include "agents/ports.h"
#include "async/result.h"
#include "sandbox/protocol.h"
#include "sandbox/seccomp.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::sandbox {

struct JailPath {
  std::string name;
  protocol::Access access = protocol::Access::read;
  friend bool operator==(const JailPath&, const JailPath&) = default;
};
// In the order in which they are mounted: an outer path before what lies in it. `work_root`: the
// folder of all work folders, if there is one.
std::vector<JailPath> ordered_paths(const agents::Profile& profile,
                                    const std::string& work_root = "");

struct SpecOptions {
  bool with_proc = false;   // a /proc that shows the jail's own processes
  bool cgroups = false;     // they bound memory and processes: no rlimits for those
  bool reduced = false;     // no namespaces: reduced.h
  std::string work_root{};  // jails show one folder in it, each its own; empty: none
};
Result<std::string> encode_spec(const agents::Profile& profile, const seccomp::Filters& filters,
                                const SpecOptions& options);
// A work folder as it was when the supervisor looked.
struct WorkFolderSeen {
  std::string below;  // the work root; empty: none
  std::uint64_t inode = 0;
};
// What a jail is made for: a command, or calls of built-in tools.
enum class JailUse { command, worker };
struct JailSeen {
  std::uint32_t id = 0;
  JailUse use = JailUse::command;
  bool has_door = false;
  std::uint16_t port = 0;  // of its way to the proxy; 0: none
  WorkFolderSeen work{};
};
Result<std::string> encode_jail(const JailSeen& jail);
Result<std::string> encode_call(const agents::JailCall& call);
// A call of a built-in tool, preceded by its length.
Result<std::string> encode_work(const agents::JailCall& call, std::uint32_t id);
std::string encode_opened(std::uint64_t cookie, std::int32_t error);
std::string encode_signal(protocol::Kind kind, std::uint32_t id);

// Sends one frame at once; unavailable: the socket is full, closed: the zygote is gone.
Result<void> send_frame(int socket, const std::string& frame, std::span<const int> descriptors);

// Exactly one report's bytes.
Result<protocol::Report> decode_report(std::string_view bytes);

}  // namespace ambit::sandbox
