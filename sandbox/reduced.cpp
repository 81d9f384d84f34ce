#include "reduced.h"

#include "limits.h"

#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::sandbox::reduced {
namespace {

using protocol::Access;
using protocol::Spec;
using protocol::Stage;

// /etc of the machine is not the jail's: these alone are needed to load programs.
constexpr const char* system_places[] = {"/usr",
                                         "/bin",
                                         "/sbin",
                                         "/lib",
                                         "/lib32",
                                         "/lib64",
                                         "/libx32",
                                         "/etc/ld.so.cache",
                                         "/etc/alternatives"};

// Never through a symbolic link.
int open_place(const char* path, int& place) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  place = static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
  return place < 0 ? errno : 0;
}

int add(mounts::Places& places, landlock::Grant grant, const char* path) {
  int place = -1;
  if (const int error = open_place(path, place)) return error;
  struct stat kind{};
  if (fstat(place, &kind) != 0) return errno;
  places.all[places.count++] = {grant, place, S_ISDIR(kind.st_mode)};
  return 0;
}

bool has_setpcap() {
  constexpr int setpcap = 8;
  struct {
    std::uint32_t version;
    int pid;
  } header{0x20080522, 0};
  std::uint32_t data[6] = {};
  return syscall(SYS_capget, &header, data) == 0 && (data[0] >> setpcap & 1U) != 0;
}

}  // namespace

int hold_together(int landlock_abi, int outsider) {
  landlock::Ruleset ruleset;
  if (const int error = ruleset.create_scope(landlock_abi)) return error;
  if (const int error = ruleset.enforce()) return error;
  // Tried, not believed: end_all() would otherwise end everything that this user runs.
  if (kill(outsider, 0) == 0 || errno != EPERM) return ENOTSUP;
  return 0;
}

void end_all() {
  (void)kill(-1, SIGKILL);
}

int adopt_orphans() {
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? 0 : errno;
}

int clear_bounding_set() {
  return has_setpcap() ? limits::clear_bounding_set() : 0;
}

int lock_secure_bits() {
  return has_setpcap() ? limits::lock_secure_bits() : 0;
}

std::uint64_t tasks_of_user() {
  const int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0) return 0;
  alignas(8) char entries[4096];
  char path[32];
  std::uint64_t count = 0;
  long read = 0;
  while ((read = syscall(SYS_getdents64, proc, entries, sizeof entries)) > 0) {
    for (long at = 0; at < read;) {
      std::uint16_t length = 0;
      std::memcpy(&length, entries + at + 16, sizeof length);
      const char* name = entries + at + 19;
      at += length;
      if (name[0] < '1' || name[0] > '9') continue;
      struct stat process{};
      struct stat tasks{};
      std::snprintf(path, sizeof path, "%s/task", name);
      if (fstatat(proc, name, &process, 0) != 0 || process.st_uid != geteuid()) continue;
      // A folder's links are itself, its parent's entry and one each folder in it.
      if (fstatat(proc, path, &tasks, 0) == 0 && tasks.st_nlink > 2) count += tasks.st_nlink - 2;
    }
  }
  close(proc);
  return count;
}

mounts::Fault open_places(const Spec& spec, mounts::Places& places) {
  for (const char* path : system_places) {
    const int error = add(places, landlock::Grant::system, path);
    if (error != 0 && error != ENOENT && error != ELOOP) return {Stage::landlock, error};
  }
  for (const char* path : {"/dev/null", "/dev/urandom"})
    if (const int error = add(places, landlock::Grant::device, path))
      return {Stage::landlock, error};
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    if (spec.paths[i].access == Access::work) continue;
    const bool writes = spec.paths[i].access == Access::write;
    const auto grant = writes ? landlock::Grant::read_write : landlock::Grant::read;
    if (const int error = add(places, grant, spec.paths[i].name.data()))
      return {writes ? Stage::write_path : Stage::read_path, error, static_cast<std::uint32_t>(i)};
  }
  return {};
}

mounts::Fault find_work(const Spec& spec, const protocol::Jail& jail, int& work) {
  work = -1;
  if (jail.work.empty()) return {};
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    if (spec.paths[i].access != Access::work) continue;
    const int error = mounts::open_work(spec.paths[i].name.data(), jail, work);
    return error == 0 ? mounts::Fault{}
                      : mounts::Fault{Stage::work_path, error, static_cast<std::uint32_t>(i)};
  }
  return {Stage::work_path, EINVAL};
}

mounts::Fault restrict_to(const mounts::Places& places, int landlock_abi, int work) {
  landlock::Ruleset ruleset;
  if (const int error = ruleset.create(landlock_abi)) return {Stage::landlock, error};
  for (std::size_t i = 0; i < places.count; ++i) {
    const mounts::Place& place = places.all[i];
    if (const int error = ruleset.allow(place.grant, place.descriptor, place.is_directory))
      return {Stage::landlock, error, static_cast<std::uint32_t>(i)};
  }
  if (work >= 0)
    if (const int error = ruleset.allow(landlock::Grant::read_write, work, true))
      return {Stage::landlock, error};
  if (const int error = ruleset.enforce()) return {Stage::landlock, error};
  return {};
}

}  // namespace ambit::sandbox::reduced
