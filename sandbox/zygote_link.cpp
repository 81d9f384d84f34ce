#include "sandbox/zygote_link.h"

#include "sandbox/profile.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::Profile;
using protocol::Kind;

class Writer {
 public:
  template <class T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void header(Kind kind) {
    number(protocol::magic);
    number(static_cast<std::uint32_t>(kind));
  }
  void string(const std::string& text) {
    number(static_cast<std::uint32_t>(text.size()));
    bytes_.append(text.c_str(), text.size() + 1);
  }
  void program(std::span<const sock_filter> filter) {
    number(static_cast<std::uint32_t>(filter.size()));
    while (bytes_.size() % alignof(sock_filter) != 0) bytes_.push_back('\0');
    bytes_.append(reinterpret_cast<const char*>(filter.data()), filter.size_bytes());
  }
  Result<std::string> finish(const char* what) {
    if (bytes_.size() > protocol::frame_bytes_max)
      return Err(Code::exhausted, std::string(what) + " is larger than " +
                                      std::to_string(protocol::frame_bytes_max) + " bytes");
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

bool has_zero(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

Result<void> check_call(const JailCall& call) {
  if (call.command.empty() || call.command[0].empty())
    return Err(Code::invalid, "the command is empty");
  if (call.command.size() > protocol::strings_max ||
      call.environment.size() > protocol::strings_max)
    return Err(Code::exhausted, "more than " + std::to_string(protocol::strings_max) +
                                    " arguments or environment variables");
  bool zero = has_zero(call.directory);
  for (const std::string& word : call.command) zero = zero || has_zero(word);
  for (const auto& [name, value] : call.environment) {
    zero = zero || has_zero(name) || has_zero(value);
    if (name.empty() || name.find('=') != std::string::npos)
      return Err(Code::invalid, "'" + name + "' is no name for an environment variable");
  }
  if (zero) return Err(Code::invalid, "a zero byte in the command or its environment");
  if (!call.directory.empty() && call.directory[0] != '/')
    return Err(Code::invalid, "the working directory '" + call.directory + "' is not absolute");
  return {};
}

}  // namespace

std::vector<JailPath> ordered_paths(const Profile& profile, const std::string& work_root) {
  using protocol::Access;
  std::vector<JailPath> paths;
  for (const std::string& path : profile.read_paths) paths.push_back({path, Access::read});
  for (const std::string& path : profile.write_paths) paths.push_back({path, Access::write});
  std::sort(paths.begin(), paths.end(),
            [](const JailPath& a, const JailPath& b) { return a.name < b.name; });
  // Mounted out of the way, so its place in the order does not matter.
  if (!work_root.empty()) paths.push_back({work_root, Access::work});
  return paths;
}

Result<std::string> encode_spec(const Profile& profile, const seccomp::Filters& filters,
                                const SpecOptions& options) {
  Writer writer;
  writer.header(Kind::spec);
  const bool late = TRY(tier_of(profile)) == seccomp::Tier::compute;
  writer.number((options.with_proc ? protocol::Spec::with_proc : 0U) |
                (late ? protocol::Spec::late_filter : 0U) |
                (profile.level == "net" ? protocol::Spec::with_net : 0U) |
                (profile.asks ? protocol::Spec::asks : 0U) |
                (options.reduced ? protocol::Spec::reduced : 0U));
  const auto unsigned_of = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  writer.number(unsigned_of(profile.cpu_ms));
  writer.number(std::uint64_t{0});
  writer.number(options.cgroups ? std::uint64_t{0} : unsigned_of(profile.memory_bytes));
  writer.number(options.cgroups ? std::uint64_t{0} : unsigned_of(profile.processes));
  writer.number(unsigned_of(profile.file_bytes));
  writer.number(unsigned_of(profile.open_files));
  writer.number(unsigned_of(profile.scratch_bytes));
  const std::vector<JailPath> paths = ordered_paths(profile, options.work_root);
  writer.number(static_cast<std::uint32_t>(paths.size()));
  for (const JailPath& path : paths) {
    writer.number(static_cast<std::uint32_t>(path.access));
    writer.string(path.name);
  }
  writer.program(filters.first);
  writer.program(filters.last);
  writer.program(filters.worker);
  return writer.finish("the profile");
}

Result<std::string> encode_jail(const JailSeen& jail) {
  Writer writer;
  writer.header(Kind::jail);
  writer.number(jail.id);
  writer.number((jail.use == JailUse::worker ? protocol::Jail::worker : 0U) |
                (jail.has_door ? protocol::Jail::has_door : 0U));
  writer.number(std::uint32_t{jail.port});
  writer.number(jail.work.inode);
  writer.string(jail.work.below);
  return writer.finish("the work folder");
}

Result<std::string> encode_work(const JailCall& call, std::uint32_t id) {
  TRY(check_call(call));
  if (call.input.size() > protocol::input_bytes_max)
    return Err(Code::exhausted, "a built-in tool takes at most " +
                                    std::to_string(protocol::input_bytes_max) +
                                    " bytes of input; give it in parts");
  Writer writer;
  writer.number(std::uint32_t{0});
  writer.header(Kind::work);
  writer.number(id);
  writer.number(static_cast<std::uint32_t>(
      std::min<std::int64_t>(call.profile.output_bytes, std::int64_t{protocol::output_bytes_max})));
  writer.string(call.directory.empty() ? "/tmp" : call.directory);
  writer.string(call.input);
  writer.number(static_cast<std::uint32_t>(call.command.size()));
  for (const std::string& word : call.command) writer.string(word);
  std::string frame = TRY(writer.finish("the call"));
  const auto bytes = static_cast<std::uint32_t>(frame.size() - sizeof(std::uint32_t));
  std::memcpy(frame.data(), &bytes, sizeof bytes);
  return frame;
}

std::string encode_opened(std::uint64_t cookie, std::int32_t error) {
  Writer writer;
  writer.header(Kind::opened);
  writer.number(cookie);
  writer.number(error);
  return *writer.finish("the answer");
}

Result<std::string> encode_call(const JailCall& call) {
  TRY(check_call(call));
  Writer writer;
  writer.header(Kind::call);
  writer.string(call.directory.empty() ? "/tmp" : call.directory);
  writer.number(static_cast<std::uint32_t>(call.command.size()));
  for (const std::string& word : call.command) writer.string(word);
  writer.number(static_cast<std::uint32_t>(call.environment.size()));
  for (const auto& [name, value] : call.environment) writer.string(name + "=" + value);
  return writer.finish("the command and its environment");
}

std::string encode_signal(Kind kind, std::uint32_t id) {
  Writer writer;
  writer.header(kind);
  writer.number(id);
  return *writer.finish("the signal");
}

Result<void> send_frame(int socket, const std::string& frame, std::span<const int> descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * protocol::descriptors_max)] = {};
  iovec part{const_cast<char*>(frame.data()), frame.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};
  if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
    return Err(Code::unavailable, "the jail's helper has too many requests waiting");
  return Err(Code::closed, std::string("the jail's helper is gone: ") + ::strerror(errno));
}

Result<protocol::Report> decode_report(std::string_view bytes) {
  protocol::Report report;
  if (bytes.size() != sizeof report) return Err(Code::internal, "a report of the wrong size");
  std::memcpy(static_cast<void*>(&report), bytes.data(), sizeof report);
  const auto kind = static_cast<std::uint32_t>(report.kind);
  const bool known = kind >= static_cast<std::uint32_t>(Kind::ready) &&
                     kind <= static_cast<std::uint32_t>(Kind::knock);
  if (report.magic_number != protocol::magic || !known ||
      static_cast<std::uint32_t>(report.stage) >
          static_cast<std::uint32_t>(protocol::Stage::execute))
    return Err(Code::internal, "a report that makes no sense");
  return report;
}

}  // namespace ambit::sandbox
