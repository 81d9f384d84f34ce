#pragma once

// What the supervisor, the zygote and its jails say to each other. "Make a jail" goes down one
// SOCK_SEQPACKET socket to the zygote; the call itself goes straight to that jail, down a socket of
// its own; a frame a packet, with descriptors attached. Reports come back up one pipe, from the
// jails
// ("ended") and from the zygote ("gone"), each one fixed-size struct, written at once. All ends are
// one build on one machine, so numbers travel as they lie in memory; every length is checked all
// the same. The zygote parses here too, so this file allocates and throws nothing.

#include <linux/filter.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace ambit::sandbox::protocol {

inline constexpr std::uint32_t magic = 0x54424d41;  // "AMBT"
inline constexpr std::size_t frame_bytes_max = 128 << 10;
inline constexpr std::size_t paths_max = 64;
inline constexpr std::size_t strings_max = 512;  // arguments, and as many variables
inline constexpr std::size_t instructions_max = 4096;
inline constexpr std::size_t calls_max = 256;  // jails at once in one zygote
inline constexpr std::size_t secrets_max = 8;  // descriptors of a call besides its stdio
inline constexpr std::size_t descriptors_max = 3 + secrets_max;
inline constexpr std::size_t input_bytes_max = 64 << 10;    // of a built-in tool's call
inline constexpr std::size_t output_bytes_max = 256 << 10;  // of its answer

// Where things are in a jail's descriptor table until its command runs. The three of the call's
// stdio are free when the call arrives, so that it lands where it belongs; its secrets follow.
inline constexpr int jail_socket = 3;
inline constexpr int jail_reports = 4;
inline constexpr int jail_listener = 5;
inline constexpr int first_secret = 6;
// Out of the way of what a call brings: the door to the supervisor, and where connections knock.
inline constexpr int jail_door = 40;
inline constexpr int jail_gate = 41;

enum class Kind : std::uint32_t {
  spec = 1,
  jail,
  call,
  stop,
  kill,
  ready,
  failed,
  ended,
  gone,
  knock,    // something waits at the jail's door
  connect,  // at the door, with a connection of the jail's
  open,     // at the door: a path that the command wants to open
  opened,   // the answer, with the file if it is granted
  work,     // a call of a built-in tool
  done,     // its answer
};

// Where making a jail stopped; outcome.cpp has the words.
enum class Stage : std::uint32_t {
  none,
  request,
  parent_death_signal,
  user_namespace,
  id_maps,
  namespaces,
  root_tree,
  read_path,
  write_path,
  pivot_root,
  work_path,
  host_name,
  bounding_set,
  no_new_privileges,
  filter,
  clone,
  cgroup,
  scratch,
  proc,
  session,
  directory,
  limits,
  capabilities,
  landlock,
  last_filter,
  descriptors,
  call,
  gate,
  execute,
};

// One struct for all that the zygote reports.
struct Report {
  static constexpr std::uint32_t process_limit = 1;  // no process more could be made when it ended
  static constexpr std::uint32_t scratch_full = 2;   // the private /tmp had no block left
  static constexpr std::uint32_t cpu_limit = 4;      // ended for its CPU time
  static constexpr std::uint32_t stopped = 8;        // ended because the supervisor said stop
  static constexpr std::uint32_t violation = 16;     // a trip-wire: `syscall`, `architecture`
  static constexpr std::uint32_t has_status = 32;    // wait_status is that of the command itself
  static constexpr std::uint32_t told = 64;          // the jail has sent it as "ended"

  std::uint32_t magic_number = magic;
  Kind kind = Kind::ended;
  std::uint32_t call = 0;
  Stage stage = Stage::none;  // failed or ended before the command ran
  std::int32_t error = 0;     // errno at that stage
  std::int32_t wait_status = 0;
  std::uint32_t flags = 0;
  std::int32_t syscall = 0;
  std::uint32_t architecture = 0;
  std::uint32_t index = 0;  // which path
  std::int64_t cpu_us = 0;
  std::int64_t memory_peak_bytes = 0;
  friend bool operator==(const Report&, const Report&) = default;
};

// work: a folder of work folders. No jail sees it; each is shown the one folder in it that it is
// made for, under its own name.
enum class Access : std::uint32_t { read, write, work };

struct Path {
  Access access = Access::read;
  std::string_view name;  // NUL-terminated in the frame
};

struct Limits {
  std::uint64_t cpu_ms = 0;
  std::uint64_t address_space_bytes = 0;  // 0: none
  std::uint64_t data_bytes = 0;           // 0: none
  std::uint64_t processes = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t open_files = 0;
  std::uint64_t scratch_bytes = 0;
  // Not in the frame: processes that the kernel counts with the jail's and that are not its own,
  // the zygote and init.
  std::uint64_t others = 2;
};

// How to isolate a zygote. Views point into the frame.
struct Spec {
  std::uint32_t flags = 0;
  static constexpr std::uint32_t with_proc = 1;
  static constexpr std::uint32_t late_filter = 2;  // the last filter allows no recvmsg and no chdir
  static constexpr std::uint32_t with_net = 4;     // a loopback, on which each jail has one port
  static constexpr std::uint32_t asks = 8;  // what the command cannot open is asked for at the door
  static constexpr std::uint32_t reduced = 16;  // no namespaces, no mounts: reduced.h
  Limits limits;
  std::array<Path, paths_max> paths;
  std::size_t path_count = 0;
  std::span<const sock_filter> filter;  // for the zygote and all that it clones
  std::span<const sock_filter>
      last_filter;  // for the command: closes set-up, notifies of trip-wires
  std::span<const sock_filter> worker_filter;  // for built-in tools, instead of the last one
};

// One jail, made before its call is known. Descriptors travel beside it: its socket, its door if it
// has one, then the cgroup.procs files to join.
struct Jail {
  static constexpr std::uint32_t worker = 1;    // for built-in tools: executes nothing
  static constexpr std::uint32_t has_door = 2;  // the second descriptor
  std::uint32_t id = 0;
  std::uint32_t flags = 0;
  std::uint32_t port = 0;        // of its gate on the loopback; 0: none
  std::uint64_t work_inode = 0;  // what the supervisor takes the work folder to be
  std::string_view work;         // below the work path, without a leading slash; empty: none
};

// One call. Descriptors travel beside it: stdin, stdout, stderr, then its secrets.
struct Call {
  std::string_view directory;
  std::array<char*, strings_max + 1> arguments;    // NULL-terminated, into the frame
  std::array<char*, strings_max + 1> environment;  // "NAME=value"
  std::size_t argument_count = 0;
  std::size_t environment_count = 0;
};

// What a command wants to open, as init has read it from the command's memory.
struct Open {
  std::uint64_t cookie = 0;
  std::uint32_t flags = 0;
  std::string_view path;  // absolute
};

// The answer; a file travels beside it if `error` is 0.
struct Opened {
  std::uint64_t cookie = 0;
  std::int32_t error = 0;
};

// One call of a built-in tool. Frames to and from a worker are preceded by their length.
struct Work {
  std::uint32_t id = 0;
  std::uint32_t output_bytes = 0;
  std::string_view directory;
  std::string_view input;
  std::array<char*, strings_max + 1> arguments;  // NULL-terminated, into the frame
  std::size_t argument_count = 0;
};

// Before the answer's output and errors.
struct Done {
  static constexpr std::uint32_t truncated = 1;
  std::uint32_t magic_number = magic;
  Kind kind = Kind::done;
  std::uint32_t id = 0;
  std::int32_t status = 0;
  std::uint32_t flags = 0;
  std::uint32_t output_bytes = 0;
  std::uint32_t error_bytes = 0;
  std::uint32_t cpu_us = 0;
  friend bool operator==(const Done&, const Done&) = default;
};

// Reads a frame from front to back; once something is out of bounds everything after it is refused.
class Reader {
 public:
  explicit Reader(std::span<char> bytes) : bytes_(bytes) {}

  template <class T>
  T number() {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    T value{};
    if (char* from = take(sizeof(T))) std::memcpy(&value, from, sizeof(T));
    return value;
  }
  // Length, bytes, one NUL; no NUL inside.
  std::string_view string() {
    const auto length = number<std::uint32_t>();
    if (length >= frame_bytes_max) bad_ = true;
    char* from = bad_ ? nullptr : take(std::size_t{length} + 1);
    if (from == nullptr) return {};
    if (from[length] != '\0' || std::memchr(from, 0, length) != nullptr) {
      bad_ = true;
      return {};
    }
    return {from, length};
  }
  // Length, bytes, one NUL; whatever bytes.
  std::string_view blob(std::size_t bytes_max) {
    const auto length = number<std::uint32_t>();
    if (length > bytes_max) bad_ = true;
    char* from = bad_ ? nullptr : take(std::size_t{length} + 1);
    if (from == nullptr) return {};
    if (from[length] != '\0') {
      bad_ = true;
      return {};
    }
    return {from, length};
  }
  std::span<const sock_filter> program() {
    const auto count = number<std::uint32_t>();
    while (at_ % alignof(sock_filter) != 0 && !bad_) (void)take(1);
    if (count == 0 || count > instructions_max) bad_ = true;
    char* from = bad_ ? nullptr : take(count * sizeof(sock_filter));
    if (from == nullptr) return {};
    return {reinterpret_cast<const sock_filter*>(from), count};
  }
  // True when all was in bounds and nothing is left over.
  [[nodiscard]] bool complete() const { return !bad_ && at_ == bytes_.size(); }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  char* take(std::size_t count) {
    if (bad_ || bytes_.size() - at_ < count) {
      bad_ = true;
      return nullptr;
    }
    char* from = bytes_.data() + at_;
    at_ += count;
    return from;
  }

  std::span<char> bytes_;
  std::size_t at_ = 0;
  bool bad_ = false;
};

// The frame must be aligned for sock_filter and outlive what was parsed.
inline bool parse_spec(std::span<char> frame, Spec& spec) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  if (reader.number<std::uint32_t>() != static_cast<std::uint32_t>(Kind::spec)) return false;
  spec.flags = reader.number<std::uint32_t>();
  for (std::uint64_t* limit :
       {&spec.limits.cpu_ms, &spec.limits.address_space_bytes, &spec.limits.data_bytes,
        &spec.limits.processes, &spec.limits.file_bytes, &spec.limits.open_files,
        &spec.limits.scratch_bytes})
    *limit = reader.number<std::uint64_t>();
  const auto paths = reader.number<std::uint32_t>();
  if (paths > paths_max) return false;
  for (std::uint32_t i = 0; i < paths; ++i) {
    const auto access = reader.number<std::uint32_t>();
    const std::string_view name = reader.string();
    if (reader.bad() || access > 2 || name.size() < 2 || name[0] != '/') return false;
    spec.paths[i] = {static_cast<Access>(access), name};
  }
  spec.path_count = paths;
  spec.filter = reader.program();
  spec.last_filter = reader.program();
  spec.worker_filter = reader.program();
  return reader.complete();
}

namespace detail {
inline bool parse_strings(Reader& reader, std::array<char*, strings_max + 1>& into,
                          std::size_t& count) {
  const auto wanted = reader.number<std::uint32_t>();
  if (wanted > strings_max) return false;
  for (std::uint32_t i = 0; i < wanted; ++i) {
    const std::string_view text = reader.string();
    if (reader.bad()) return false;
    into[i] = const_cast<char*>(text.data());
  }
  into[wanted] = nullptr;
  count = wanted;
  return true;
}
}  // namespace detail

inline bool parse_jail(std::span<char> frame, Jail& jail) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  if (reader.number<std::uint32_t>() != static_cast<std::uint32_t>(Kind::jail)) return false;
  jail.id = reader.number<std::uint32_t>();
  jail.flags = reader.number<std::uint32_t>();
  jail.port = reader.number<std::uint32_t>();
  if (jail.port > 65535) return false;
  jail.work_inode = reader.number<std::uint64_t>();
  jail.work = reader.string();
  return reader.complete();
}

inline bool parse_call(std::span<char> frame, Call& call) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  if (reader.number<std::uint32_t>() != static_cast<std::uint32_t>(Kind::call)) return false;
  call.directory = reader.string();
  if (!detail::parse_strings(reader, call.arguments, call.argument_count)) return false;
  if (!detail::parse_strings(reader, call.environment, call.environment_count)) return false;
  return reader.complete() && call.argument_count > 0 && !call.directory.empty();
}

inline bool parse_work(std::span<char> frame, Work& work) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  if (reader.number<std::uint32_t>() != static_cast<std::uint32_t>(Kind::work)) return false;
  work.id = reader.number<std::uint32_t>();
  work.output_bytes = reader.number<std::uint32_t>();
  work.directory = reader.string();
  work.input = reader.blob(input_bytes_max);
  if (!detail::parse_strings(reader, work.arguments, work.argument_count)) return false;
  return reader.complete() && work.argument_count > 0 && !work.directory.empty() &&
         work.output_bytes <= output_bytes_max;
}

inline bool parse_open(std::span<char> frame, Open& open) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  if (reader.number<std::uint32_t>() != static_cast<std::uint32_t>(Kind::open)) return false;
  open.cookie = reader.number<std::uint64_t>();
  open.flags = reader.number<std::uint32_t>();
  open.path = reader.string();
  return reader.complete() && open.path.size() > 1 && open.path[0] == '/';
}

inline bool parse_opened(std::span<char> frame, Opened& opened) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  if (reader.number<std::uint32_t>() != static_cast<std::uint32_t>(Kind::opened)) return false;
  opened.cookie = reader.number<std::uint64_t>();
  opened.error = reader.number<std::int32_t>();
  return reader.complete();
}

// "stop" (wind up and say why) and "kill" (at once).
inline bool parse_signal(std::span<char> frame, Kind& kind, std::uint32_t& call) {
  Reader reader(frame);
  if (reader.number<std::uint32_t>() != magic) return false;
  kind = static_cast<Kind>(reader.number<std::uint32_t>());
  call = reader.number<std::uint32_t>();
  return reader.complete() && (kind == Kind::stop || kind == Kind::kill);
}

}  // namespace ambit::sandbox::protocol
