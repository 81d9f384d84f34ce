#include "sandbox/profile.h"

#include "sandbox/egress_request.h"
#include "sandbox/protocol.h"

#include <sys/stat.h>

#include <climits>
#include <cstdlib>
#include <memory>

namespace ambit::sandbox {
namespace {

Result<void> check_form(const std::string& path, const std::string& what) {
  if (path.empty() || path[0] != '/')
    return Err(Code::invalid, what + " is not absolute: write the whole path from /");
  if (path.find('\0') != std::string::npos || path.size() >= PATH_MAX)
    return Err(Code::invalid, what + " is not a possible path");
  if (path == "/")
    return Err(Code::invalid, what + " is the whole system: name the folders needed");
  if (path.back() == '/') return Err(Code::invalid, what + " ends in /: leave the last / out");
  return {};
}

Result<void> check_place(const std::string& path, const std::string& what, bool writes) {
  for (const char* system : {"/proc", "/sys", "/dev", "/run"})
    if (holds(system, path))
      return Err(Code::invalid, what + " lies in " + system + ", which no jail may see");
  if (path == "/tmp")
    return Err(Code::invalid, what + ": every jail has a /tmp of its own; name a folder below it");
  if (path == "/etc" || path == "/root" || path == "/home" || path == "/var")
    return Err(Code::invalid, what + " holds other people's secrets: name the folders needed");
  if (!writes) return {};
  for (const char* system :
       {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/boot"})
    if (holds(system, path))
      return Err(Code::invalid, what + " belongs to the system and stays read-only");
  return {};
}

Result<void> check_exists(const std::string& path, const std::string& what) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (!real) return Err(Code::not_found, what + " does not exist or cannot be reached");
  if (path != real.get())
    return Err(Code::invalid,
               what + " leads through a symbolic link or a dot: write " + real.get());
  struct stat kind{};
  if (::stat(path.c_str(), &kind) != 0) return Err(Code::not_found, what + " does not exist");
  if (!S_ISDIR(kind.st_mode) && !S_ISREG(kind.st_mode))
    return Err(Code::invalid, what + " is neither a folder nor a file");
  return {};
}

}  // namespace

Result<void> check_path(const std::string& path, bool writes,
                        std::span<const std::string> forbidden) {
  const std::string what = std::string(writes ? "write path '" : "read path '") + path + "'";
  TRY(check_form(path, what));
  TRY(check_place(path, what, writes));
  TRY(check_exists(path, what));
  for (const std::string& secret : forbidden)
    if (holds(path, secret) || holds(secret, path))
      return Err(Code::denied,
                 what + " would show " + secret + ", which belongs to the runtime alone");
  return {};
}

namespace {

Result<void> check_number(std::int64_t value, std::int64_t least, std::int64_t most,
                          const char* name) {
  if (value >= least && value <= most) return {};
  return Err(Code::invalid, std::string(name) + " is " + std::to_string(value) +
                                ": it must be from " + std::to_string(least) + " to " +
                                std::to_string(most));
}

Result<void> check_limits(const agents::Profile& profile) {
  constexpr std::int64_t day_ms = 24 * 3600 * 1000;
  constexpr std::int64_t tebibyte = std::int64_t{1} << 40;
  TRY(check_number(profile.wall_ms, 0, day_ms, "wall_ms"));
  TRY(check_number(profile.cpu_ms, 0, day_ms, "cpu_ms"));
  TRY(check_number(profile.memory_bytes, std::int64_t{8} << 20, tebibyte, "memory_bytes"));
  TRY(check_number(profile.processes, 1, 4096, "processes"));
  TRY(check_number(profile.file_bytes, 0, tebibyte, "file_bytes"));
  TRY(check_number(profile.scratch_bytes, 64 << 10, tebibyte, "scratch_bytes"));
  TRY(check_number(profile.output_bytes, 1, 1 << 30, "output_bytes"));
  return check_number(profile.open_files, 8, 4096, "open_files");
}

Result<void> check_egress(const agents::Profile& profile) {
  constexpr std::size_t rules_max = 64;
  if (profile.level != "net" && !profile.egress.empty())
    return Err(Code::invalid,
               "level '" + profile.level + "' has no network: origins need level 'net'");
  if (profile.egress.size() > rules_max)
    return Err(Code::invalid, "more than " + std::to_string(rules_max) + " origins");
  for (const agents::EgressRule& rule : profile.egress) TRY(egress::check_rule(rule));
  return {};
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  std::size_t width = 0;
  for (const std::string& name : names) {
    if (width + name.size() > 90) {
      text += "\n  ";
      width = 0;
    }
    text += (width == 0 ? "" : " ") + name;
    width += name.size() + 1;
  }
  return text;
}

}  // namespace

Result<agents::Profile> preset(const std::string& name) {
  agents::Profile profile;
  profile.name = profile.level = name;
  TRY(tier_of(profile));
  if (name == "compute") profile.processes = 8;
  return profile;
}

Result<seccomp::Tier> tier_of(const agents::Profile& profile) {
  if (profile.level == "compute") return seccomp::Tier::compute;
  if (profile.level == "fs-read") return seccomp::Tier::fs_read;
  if (profile.level == "fs-write") return seccomp::Tier::fs_write;
  if (profile.level == "net") return seccomp::Tier::net;
  return Err(Code::invalid, "there is no profile level '" + profile.level +
                                "': use compute, fs-read, fs-write or net");
}

Result<void> validate(const agents::Profile& profile, std::span<const std::string> forbidden) {
  const seccomp::Tier tier = TRY(tier_of(profile));
  if (tier == seccomp::Tier::compute && !profile.read_paths.empty())
    return Err(Code::invalid, "level 'compute' reads no paths: use fs-read");
  if (tier < seccomp::Tier::fs_write && !profile.write_paths.empty())
    return Err(Code::invalid, "level '" + profile.level + "' writes no paths: use fs-write");
  if (profile.read_paths.size() + profile.write_paths.size() > protocol::paths_max)
    return Err(Code::invalid,
               "more than " + std::to_string(protocol::paths_max) + " paths: name common folders");
  for (const std::string& path : profile.read_paths) TRY(check_path(path, false, forbidden));
  for (const std::string& path : profile.write_paths) {
    TRY(check_path(path, true, forbidden));
    for (const std::string& other : profile.read_paths)
      if (other == path)
        return Err(Code::invalid,
                   "'" + path + "' is both a read path and a write path: name it once");
  }
  if (profile.service != "call" && profile.service != "pooled" && profile.service != "warm")
    return Err(Code::invalid,
               "there is no service class '" + profile.service + "': use call, pooled or warm");
  if (profile.isolation != "full" && profile.isolation != "reduced-if-needed")
    return Err(Code::invalid,
               "there is no isolation '" + profile.isolation + "': use full or reduced-if-needed");
  if (profile.isolation != "full" && tier == seccomp::Tier::net)
    return Err(Code::invalid, "level 'net' needs a network of its own: its isolation must be full");
  if (profile.asks && tier == seccomp::Tier::compute)
    return Err(Code::invalid, "level 'compute' opens no paths, so it cannot ask for any");
  TRY(check_egress(profile));
  return check_limits(profile);
}

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string words_of(const agents::EgressRule& rule) {
  std::string text = rule.origin;
  if (rule.tunnel) {
    text += " end to end (the proxy sees the host alone)";
  } else {
    text +=
        ": " + (rule.methods.empty() ? "GET, HEAD" : joined(rule.methods)) + " through the proxy";
  }
  if (!rule.secrets.empty()) text += ", which fills in " + joined(rule.secrets);
  return text + (rule.is_private ? "; private addresses too" : "; public addresses alone");
}

std::string service_of(const agents::Profile& profile) {
  if (profile.service == "call") return "a jail is made for each call";
  if (profile.service == "warm")
    return "built-in tools share a jail, per agent; a command has one of its own";
  return "a jail is made ahead, and is for one call";
}

}  // namespace

Result<std::string> explain(const agents::Profile& profile) {
  const seccomp::Tier tier = TRY(tier_of(profile));
  std::string text = "profile " + profile.name + ", level " + profile.level + "\n";
  const auto line = [&](const std::string& words) { text += "  " + words + "\n"; };
  line("runs programs of /usr, /bin, /lib with an empty environment but for what the call gives");
  for (const std::string& path : profile.read_paths) line("reads     " + path);
  for (const std::string& path : profile.write_paths) line("writes    " + path);
  line("scratch   a /tmp of its own, at most " + std::to_string(profile.scratch_bytes) +
       " bytes, gone with the call; nothing in it can be executed");
  if (tier != seccomp::Tier::net) {
    line("network   none");
  } else if (profile.egress.empty()) {
    line("network   none: no origin is named");
  }
  for (const agents::EgressRule& rule : profile.egress) line("network   " + words_of(rule));
  if (profile.asks)
    line("asks      to open a regular file that it does not have; a person or a policy decides");
  line(profile.isolation == "full"
           ? "isolation full: where a layer of the jail cannot be made, the call is refused"
           : "isolation reduced-if-needed: where namespaces cannot be made, Landlock, the filter "
             "and "
             "rlimits alone");
  line("service   " + service_of(profile));
  line(tier == seccomp::Tier::compute ? "processes one, with threads"
                                      : "processes at most " + std::to_string(profile.processes));
  line("limits    wall " + std::to_string(profile.wall_ms) + " ms, cpu " +
       std::to_string(profile.cpu_ms) + " ms, memory " + std::to_string(profile.memory_bytes) +
       " bytes, a file " + std::to_string(profile.file_bytes) + " bytes, output " +
       std::to_string(profile.output_bytes) + " bytes, " + std::to_string(profile.open_files) +
       " open files");
  const std::vector<std::string> names = seccomp::allowed(tier);
  text += "system calls allowed (" + std::to_string(names.size()) + "):\n  " + list(names) + "\n";
  text += "system calls that end the command:\n  " + list(seccomp::trip_wires()) + "\n";
  text += "every other system call fails with EPERM, unknown ones with ENOSYS\n";
  return text;
}

}  // namespace ambit::sandbox
