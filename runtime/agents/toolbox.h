#pragma once

// The ports Toolbox (where tools come from: mcp, sub-agents, command tools) and Runner (sandbox),
// and how a call ends.

#include "agents/model.h"
#include "async/result.h"
#include "async/task.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::agents {

// How a tool call ended; each way has its own type, recorded as its name.
enum class OutcomeKind {
  ok,
  tool_error,  // it ran and said that it failed
  denied,      // the gate said no
  escalated,   // it waits for a person, or nobody answered
  timeout,     // wall clock
  cpu_limit,
  memory_limit,
  process_limit,
  file_size_limit,
  output_limit,      // cut; what there is, is given
  policy_violation,  // a system call that the jail's filter kills
  crashed,           // ended by a signal
  refused,           // the jail could not be made as asked; nothing ran
  protocol_error,    // an MCP server that spoke nonsense, died or fell silent
  bad_arguments,     // the arguments do not fit the tool's schema; nothing ran
};
std::string_view to_string(OutcomeKind kind);

struct Outcome {
  OutcomeKind kind = OutcomeKind::ok;
  std::string content;  // what the model gets to read
  std::string detail;   // for people and the record: exit status, which limit, which system call
  std::int64_t duration_us = 0;
  bool truncated = false;
  [[nodiscard]] bool is_error() const {
    return kind != OutcomeKind::ok && kind != OutcomeKind::output_limit;
  }
  // What is wrong, as the model reads it.
  static Outcome failed(OutcomeKind kind, std::string why) {
    Outcome outcome;
    outcome.kind = kind;
    outcome.content = "error: " + why;
    outcome.detail = std::move(why);
    return outcome;
  }
};

// Hears what a call writes while it runs, piece by piece, on the loop's thread: never after the
// call has ended or was cancelled. It returns at once and does not end the call.
using OnOutput = std::function<void(std::string_view piece)>;

// A source of tools: the command tools of the fleet file, one MCP server, sub-agents.
class Toolbox {
 public:
  virtual ~Toolbox() = default;
  // Connects, starts what must be started, and lists. Stable order.
  virtual Task<Result<std::vector<ToolSpec>>> list() = 0;
  // Never fails as a task: everything that can go wrong is an Outcome. `session` names the caller.
  virtual Task<Outcome> call(std::string session, ToolCall call) = 0;
  // The same call, which tells its result as it comes: all pieces together are how the outcome's
  // content begins unless the call fails, and none ends within a character. Whose result comes at
  // once, or is made at its end, tells nothing.
  virtual Task<Outcome> call_aloud(std::string session, ToolCall call, OnOutput /*on_output*/) {
    return this->call(std::move(session), std::move(call));
  }
};

// One origin that a jail of level "net" may reach, through the runtime's proxy alone.
struct EgressRule {
  std::string origin;                // "https://api.example.com", "https://*.example.com:8443"
  std::vector<std::string> methods;  // empty: GET and HEAD
  std::vector<std::string> secrets;  // names of those that the proxy fills in for this origin
  bool tunnel = false;      // end-to-end TLS by CONNECT: the proxy sees the host, and no method
  bool is_private = false;  // the name may stand for an address that is not public
  friend bool operator==(const EgressRule&, const EgressRule&) = default;
};

// What a jailed call may do, in words; sandbox/profile.h has the presets and the checks.
struct Profile {
  std::string name = "compute";          // as in the fleet file
  std::string level = "compute";         // which system calls: compute < fs-read < fs-write < net
  std::vector<std::string> read_paths;   // absolute, visible read-only under the same name
  std::vector<std::string> write_paths;  // absolute, visible read-write under the same name
  std::int64_t wall_ms = 10'000;
  std::int64_t cpu_ms = 5'000;
  std::int64_t memory_bytes = 256 << 20;
  std::int64_t processes = 16;
  std::int64_t file_bytes = 16 << 20;
  std::int64_t scratch_bytes = 16 << 20;  // the private /tmp
  std::int64_t output_bytes = 64 << 10;
  std::int64_t open_files = 64;
  std::vector<EgressRule> egress{};  // level net: what it may reach; nothing else
  // Where a call's jail comes from. "call": made for it. "pooled": made ahead, used once. "warm":
  // for built-in tools alone, used again by the same agent.
  std::string service = "pooled";
  bool asks = false;  // opening a path that it does not have asks for it at run time
  // "full": a machine that cannot make every layer of a jail refuses the call. "reduced-if-needed":
  // such a machine runs it with Landlock, the system call filter and rlimits alone.
  std::string isolation = "full";
  friend bool operator==(const Profile&, const Profile&) = default;
};

struct JailCall {
  Profile profile;
  std::vector<std::string> command;  // [0] an absolute path or a name searched in /usr/bin:/bin
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory;  // working directory inside; must be one of the profile's paths or /tmp
  std::string input;      // stdin
  // Name and value. Never in the arguments or the environment: the command reads the value from the
  // descriptor that the variable NAME_FD gives the number of. At most 8, each at most 64 KiB.
  std::vector<std::pair<std::string, std::string>> secrets{};
  // Who makes the call: an agent and its session. Jails of class "warm" are not shared between
  // agents, and what a call asks for at run time is decided and recorded under these names.
  std::string agent{};
  std::string session{};
  // Told stdout as it comes, bytes as they are, as much as the outcome will have of it. Answers of
  // built-in tools come at once: nothing is told of them. May be empty.
  OnOutput on_output{};
};

struct JailOutcome {
  OutcomeKind kind = OutcomeKind::ok;  // ok also for exit codes other than 0: see exit_code
  int exit_code = 0;
  int signal = 0;
  std::string output;  // stdout
  std::string errors;  // stderr
  std::string detail;
  bool truncated = false;
  std::int64_t wall_us = 0;
  std::int64_t cpu_us = 0;
  std::int64_t memory_peak_bytes = 0;
  std::string isolation{};  // empty: every layer; else which there were, and why no more
};

class Runner {
 public:
  virtual ~Runner() = default;
  // Cancelling the task kills everything in the jail.
  virtual Task<JailOutcome> run(JailCall call) = 0;
};

}  // namespace ambit::agents
