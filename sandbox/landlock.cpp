#include "landlock.h"

#include <linux/landlock.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <unistd.h>

namespace ambit::sandbox::landlock {
namespace {

// Newer than the headers of the oldest system that we build on.
constexpr std::uint64_t right_truncate = 1ULL << 14;   // ABI 3
constexpr std::uint64_t right_ioctl_dev = 1ULL << 15;  // ABI 5
constexpr std::uint64_t net_bind_connect = 3;          // ABI 4
constexpr std::uint64_t net_connect = 2;
constexpr int rule_net_port = 2;
constexpr std::uint64_t scope_all = 3;  // ABI 6: abstract unix sockets, signals

struct Attributes {
  std::uint64_t handled_fs;
  std::uint64_t handled_net;
  std::uint64_t scoped;
};

constexpr std::uint64_t rights_of_files =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
    right_truncate | right_ioctl_dev;
constexpr std::uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t writing = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                                  LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
                                  LANDLOCK_ACCESS_FS_REFER | right_truncate;

std::uint64_t rights(Grant grant) {
  switch (grant) {
    case Grant::list:
      return LANDLOCK_ACCESS_FS_READ_DIR;
    case Grant::system:
    case Grant::read:
      return reading | LANDLOCK_ACCESS_FS_EXECUTE;
    case Grant::device:
      return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | right_truncate;
    case Grant::read_write:
      return reading | writing | LANDLOCK_ACCESS_FS_EXECUTE;
    case Grant::scratch:
      return reading | writing;
    case Grant::proc:
      return reading;
  }
  return 0;
}

std::uint64_t known_rights(int abi_version) {
  if (abi_version >= 5) return (1ULL << 16) - 1;
  if (abi_version >= 3) return (1ULL << 15) - 1;
  if (abi_version == 2) return (1ULL << 14) - 1;
  return (1ULL << 13) - 1;
}

}  // namespace

int abi() {
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version < 0 ? 0 : static_cast<int>(version);
}

Ruleset::~Ruleset() {
  if (ruleset_ >= 0) close(ruleset_);
}

int Ruleset::create(int abi_version) {
  if (abi_version < 1) return ENOSYS;
  Attributes attributes{known_rights(abi_version), 0, 0};
  std::size_t size = sizeof(attributes.handled_fs);
  if (abi_version >= abi_of_ports) {
    attributes.handled_net = net_bind_connect;
    size = offsetof(Attributes, scoped);
  }
  if (abi_version >= abi_of_scopes) {
    attributes.scoped = scope_all;
    size = sizeof(attributes);
  }
  ruleset_ = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0));
  handled_ = attributes.handled_fs;
  return ruleset_ < 0 ? errno : 0;
}

int Ruleset::create_scope(int abi_version) {
  if (abi_version < abi_of_scopes) return ENOSYS;
  const Attributes attributes{0, 0, scope_all};
  ruleset_ =
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  return ruleset_ < 0 ? errno : 0;
}

int Ruleset::allow(Grant grant, int place, bool is_directory) {
  landlock_path_beneath_attr rule{};
  rule.allowed_access = rights(grant) & handled_ & (is_directory ? ~0ULL : rights_of_files);
  rule.parent_fd = place;
  return syscall(SYS_landlock_add_rule, ruleset_, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0
             ? 0
             : errno;
}

int Ruleset::allow_connect(int abi_version, std::uint16_t port) {
  if (abi_version < abi_of_ports) return 0;
  struct {
    std::uint64_t allowed_access;
    std::uint64_t port;
  } rule{net_connect, port};
  return syscall(SYS_landlock_add_rule, ruleset_, rule_net_port, &rule, 0) == 0 ? 0 : errno;
}

int Ruleset::enforce() {
  return syscall(SYS_landlock_restrict_self, ruleset_, 0) == 0 ? 0 : errno;
}

}  // namespace ambit::sandbox::landlock
