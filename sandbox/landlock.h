#pragma once

// Landlock: what a command may do below which path. Rules stick to inodes, and a rule made before a
// mount hides its place never applies, so the ruleset is built after the last mount of a call.
// Everything that this kernel's ABI knows is handled, so what no rule grants is refused. Part of
// the zygote: 0 or an errno.

#include <cstdint>

namespace ambit::sandbox::landlock {

// 0: there is none.
int abi();

// From here on a ruleset holds TCP ports apart.
inline constexpr int abi_of_ports = 4;
// From here on it keeps signals and abstract Unix sockets inside.
inline constexpr int abi_of_scopes = 6;

enum class Grant { list, system, device, read, read_write, scratch, proc };

class Ruleset {
 public:
  Ruleset() = default;
  Ruleset(const Ruleset&) = delete;
  Ruleset& operator=(const Ruleset&) = delete;
  ~Ruleset();

  int create(int abi_version);
  // Files and ports as before; signals and abstract Unix sockets stay inside.
  int create_scope(int abi_version);
  // `place` is an O_PATH descriptor; `is_directory` because rights of directories are refused on
  // files.
  int allow(Grant grant, int place, bool is_directory);
  // TCP to this port, of whatever address; without it no TCP connection is made. Below ABI 4 there
  // is nothing to grant.
  int allow_connect(int abi_version, std::uint16_t port);
  // Binds the calling thread, and all that it makes, for good.
  int enforce();

 private:
  std::uint64_t handled_ = 0;
  int ruleset_ = -1;
};

}  // namespace ambit::sandbox::landlock
