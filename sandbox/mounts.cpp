#include "mounts.h"

#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

// <sys/mount.h> and <linux/mount.h> of Debian 12 contradict each other: the old calls by hand.
extern "C" {
int mount(const char*, const char*, const char*, unsigned long, const void*) noexcept;
int umount2(const char*, int) noexcept;
}

namespace ambit::sandbox::mounts {
namespace {

using protocol::Access;
using protocol::Path;
using protocol::Spec;
using protocol::Stage;

constexpr int detach = 2;               // MNT_DETACH
constexpr unsigned recursive = 0x8000;  // AT_RECURSIVE
// Where the new tree is put together: some directory that every system has. What was in it is
// hidden in our own mount namespace only, and everything that we need of it is held by descriptor
// before.
constexpr const char* workbench = "/tmp";

constexpr const char* system_trees[] = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};
constexpr const char* outer_proc = "/.outer-proc";
// Written once: a jail that formats touches pages of the library that no other needs.
char scratch_options[96];
// Where the zygote keeps the folder of all work folders: every jail's own /tmp hides it.
constexpr const char* all_work = "/tmp/.work";
// The one folder in it that this jail shows, under its own name; empty: none.
char work_path[PATH_MAX];
// Not /dev/zero: mapping it shared makes memory that no limit of a process counts.
constexpr const char* devices[] = {"null", "urandom"};

bool below_tmp(std::string_view name) {
  return name.starts_with("/tmp/");
}
// Mounted by each jail, because its own /tmp hides what the zygote has there.
bool is_late(const Path& path) {
  return path.access != Access::work && below_tmp(path.name);
}

// A detached copy of what lies at `path`, never through a symbolic link.
int clone_tree(const char* path, int& tree) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long place = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (place < 0) return errno;
  tree = static_cast<int>(syscall(SYS_open_tree, place, "",
                                  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive));
  const int error = tree < 0 ? errno : 0;
  close(static_cast<int>(place));
  return error;
}

int restrict_tree(int tree, std::uint64_t flags) {
  mount_attr attributes{};
  attributes.attr_set = flags;
  return syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | recursive, &attributes,
                 sizeof attributes) == 0
             ? 0
             : errno;
}

// Makes every missing folder on the way to `path`, and the last part as a folder or an empty file.
// What exists or cannot be made is left to the mount to complain of.
void make_mount_point(const char* path, bool is_directory) {
  char part[PATH_MAX];
  const std::size_t length = std::strlen(path);
  if (length >= sizeof part) return;
  for (std::size_t i = 1; i < length; ++i) {
    if (path[i] != '/') continue;
    std::memcpy(part, path, i);
    part[i] = '\0';
    (void)mkdir(part, 0755);
  }
  if (is_directory) {
    (void)mkdir(path, 0755);
  } else {
    const int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (file >= 0) close(file);
  }
}

int attach(int tree, const char* path) {
  struct stat kind{};
  if (fstat(tree, &kind) != 0) return errno;
  if (!S_ISDIR(kind.st_mode) && !S_ISREG(kind.st_mode) && !S_ISCHR(kind.st_mode)) return EINVAL;
  make_mount_point(path, S_ISDIR(kind.st_mode));
  const int error =
      syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0 ? 0 : errno;
  close(tree);
  return error;
}

int write_file(const char* path, const char* text) {
  const int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0) return errno;
  const ssize_t written = write(file, text, std::strlen(text));
  close(file);
  return written < 0 ? EIO : 0;
}

// The linker's cache, so that libraries in subfolders are found.
void copy_file(int from, const char* path) {
  if (from < 0) return;
  const int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  char block[4096];
  ssize_t count = 0;
  while (file >= 0 && (count = read(from, block, sizeof block)) > 0)
    if (write(file, block, static_cast<std::size_t>(count)) != count) break;
  if (file >= 0) close(file);
  close(from);
}

// Debian's /usr/bin/awk leads through /etc/alternatives: the links, not what they lead to.
void copy_links(int from, const char* folder) {
  if (from < 0) return;
  (void)mkdir(folder, 0755);
  alignas(8) char entries[8192];
  char path[PATH_MAX];
  char target[PATH_MAX];
  long count = 0;
  while ((count = syscall(SYS_getdents64, from, entries, sizeof entries)) > 0) {
    for (long at = 0; at < count;) {
      std::uint16_t length = 0;
      std::memcpy(&length, entries + at + 16, sizeof length);
      const char* name = entries + at + 19;
      at += length;
      const ssize_t size = readlinkat(from, name, target, sizeof target - 1);
      if (size <= 0) continue;
      target[size] = '\0';
      if (std::snprintf(path, sizeof path, "%s/%s", folder, name) < PATH_MAX)
        (void)symlink(target, path);
    }
  }
  close(from);
}

struct Sources {
  int system[std::size(system_trees)];
  char links[std::size(system_trees)][64];
  int device[std::size(devices)];
  int path[protocol::paths_max];
  int proc;  // -1: not asked for
  int linker_cache;
  int alternatives;
};

// Holds everything by descriptor before the workbench hides any of it.
Fault gather(const Spec& spec, Sources& sources) {
  char name[64];
  for (std::size_t i = 0; i < std::size(system_trees); ++i) {
    sources.system[i] = -1;
    std::snprintf(name, sizeof name, "/%s", system_trees[i]);
    const ssize_t size = readlink(name, sources.links[i], sizeof sources.links[i] - 1);
    sources.links[i][size > 0 ? size : 0] = '\0';
    if (size > 0) continue;
    const int error = clone_tree(name, sources.system[i]);
    if (error != 0 && error != ENOENT) return {Stage::root_tree, error};
  }
  for (std::size_t i = 0; i < std::size(devices); ++i) {
    std::snprintf(name, sizeof name, "/dev/%s", devices[i]);
    if (const int error = clone_tree(name, sources.device[i])) return {Stage::root_tree, error};
  }
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    const bool writes = spec.paths[i].access != Access::read;
    if (const int error = clone_tree(spec.paths[i].name.data(), sources.path[i]))
      return {writes ? Stage::write_path : Stage::read_path, error, static_cast<std::uint32_t>(i)};
  }
  sources.proc = -1;
  if ((spec.flags & Spec::with_proc) != 0) (void)clone_tree("/proc", sources.proc);
  sources.linker_cache = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  sources.alternatives = open("/etc/alternatives", O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
  return {};
}

Fault fill_system(Sources& sources) {
  char name[64];
  for (const char* folder : {"dev", "etc", "proc", "tmp"})
    if (mkdir(folder, 0755) != 0) return {Stage::root_tree, errno};
  for (std::size_t i = 0; i < std::size(system_trees); ++i) {
    if (sources.links[i][0] != '\0') {
      if (symlink(sources.links[i], system_trees[i]) != 0) return {Stage::root_tree, errno};
    } else if (sources.system[i] >= 0) {
      const auto flags = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
      int error = restrict_tree(sources.system[i], flags);
      if (error == 0) error = attach(sources.system[i], system_trees[i]);
      if (error != 0) return {Stage::root_tree, error};
    }
  }
  for (std::size_t i = 0; i < std::size(devices); ++i) {
    std::snprintf(name, sizeof name, "dev/%s", devices[i]);
    const auto flags = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    int error = restrict_tree(sources.device[i], flags);
    if (error == 0) error = attach(sources.device[i], name);
    if (error != 0) return {Stage::root_tree, error};
  }
  (void)symlink("/proc/self/fd", "dev/fd");
  if (sources.proc >= 0) {
    int error =
        restrict_tree(sources.proc, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (error == 0) error = attach(sources.proc, outer_proc + 1);
    if (error != 0) return {Stage::proc, error};
  }
  copy_file(sources.linker_cache, "etc/ld.so.cache");
  copy_links(sources.alternatives, "etc/alternatives");
  int error = write_file("etc/passwd", "jail:x:1000:1000:jail:/tmp:/bin/sh\n");
  if (error == 0) error = write_file("etc/group", "jail:x:1000:\n");
  if (error == 0)
    error = write_file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
  return error != 0 ? Fault{Stage::root_tree, error} : Fault{};
}

Fault fill_paths(const Spec& spec, Sources& sources) {
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    const bool writes = spec.paths[i].access != Access::read;
    const bool is_work = spec.paths[i].access == Access::work;
    std::uint64_t flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (!writes) flags |= MOUNT_ATTR_RDONLY;
    int error = restrict_tree(sources.path[i], flags);
    // Relative to the workbench: the leading slash is left out.
    const char* name = spec.paths[i].name.data() + 1;
    if (is_work) make_mount_point(name, true);
    if (error == 0) error = attach(sources.path[i], is_work ? all_work + 1 : name);
    if (error != 0)
      return {writes ? Stage::write_path : Stage::read_path, error, static_cast<std::uint32_t>(i)};
  }
  return {};
}

}  // namespace

Fault enter_root(const Spec& spec) {
  static Sources sources;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return {Stage::root_tree, errno};
  if (const Fault fault = gather(spec, sources)) return fault;
  if (mount("jail", workbench, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=8m,nr_inodes=8192") !=
      0)
    return {Stage::root_tree, errno};
  if (chdir(workbench) != 0) return {Stage::root_tree, errno};
  if (const Fault fault = fill_system(sources)) return fault;
  if (const Fault fault = fill_paths(spec, sources)) return fault;
  if (syscall(SYS_pivot_root, ".", ".") != 0) return {Stage::pivot_root, errno};
  // The old root now lies over the new one; detaching it uncovers the new one.
  if (umount2(".", detach) != 0) return {Stage::pivot_root, errno};
  if (chdir("/") != 0) return {Stage::pivot_root, errno};
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof attributes) != 0)
    return {Stage::root_tree, errno};
  std::snprintf(scratch_options, sizeof scratch_options, "mode=1777,size=%llu,nr_inodes=%llu",
                static_cast<unsigned long long>(spec.limits.scratch_bytes),
                static_cast<unsigned long long>(spec.limits.scratch_bytes / 4096 + 64));
  return {};
}

namespace {

int clone_work(const protocol::Jail& jail, int& tree) {
  int place = -1;
  if (const int error = open_work(all_work, jail, place)) return error;
  tree = static_cast<int>(
      syscall(SYS_open_tree, place, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  const int error = tree < 0 ? errno : 0;
  close(place);
  return error;
}

// Under its own name, in a small tmpfs of this jail's own: nobody's name but its own is seen there.
int show_work(const Path& root, std::string_view work, int tree) {
  if (root.name.size() + 1 + work.size() >= sizeof work_path) return ENAMETOOLONG;
  std::memcpy(work_path, root.name.data(), root.name.size());
  work_path[root.name.size()] = '/';
  std::memcpy(work_path + root.name.size() + 1, work.data(), work.size());
  work_path[root.name.size() + 1 + work.size()] = '\0';
  if (!below_tmp(root.name) &&
      mount("work", root.name.data(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
            "mode=755,size=64k,nr_inodes=64") != 0)
    return errno;
  return attach(tree, work_path);
}

}  // namespace

bool tools_mount(const Spec& spec) {
  for (std::size_t i = 0; i < spec.path_count; ++i)
    if (spec.paths[i].access == Access::work || is_late(spec.paths[i])) return true;
  return false;
}

int open_work(const char* root, const protocol::Jail& jail, int& work) {
  std::string_view rest = jail.work;
  int place = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  while (place >= 0 && !rest.empty()) {
    const std::size_t length = std::min(rest.find('/'), rest.size());
    char name[NAME_MAX + 1] = {};
    const std::string_view part = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    const bool is_name = !part.empty() && part.size() <= NAME_MAX && part != "." && part != "..";
    if (is_name) std::memcpy(name, part.data(), part.size());
    const int next =
        is_name ? openat(place, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    const int error = is_name ? errno : EINVAL;
    close(place);
    if (next < 0) return error;
    place = next;
  }
  if (place < 0) return errno;
  struct stat folder{};
  if (fstat(place, &folder) != 0 || folder.st_ino != jail.work_inode) {
    close(place);
    return ESTALE;
  }
  work = place;
  return 0;
}

Fault make_scratch(const Spec& spec, const protocol::Jail& jail) {
  const std::string_view work = jail.work;
  int trees[protocol::paths_max];
  int work_tree = -1;
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    trees[i] = -1;
    const auto index = static_cast<std::uint32_t>(i);
    if (spec.paths[i].access == Access::work && !work.empty()) {
      if (const int error = clone_work(jail, work_tree)) return {Stage::work_path, error, index};
    } else if (is_late(spec.paths[i])) {
      trees[i] = static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, spec.paths[i].name.data(),
                                          OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      if (trees[i] < 0) return {Stage::scratch, errno, index};
    }
  }
  if (!work.empty() && work_tree < 0) return {Stage::work_path, EINVAL};
  if (mount("scratch", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, scratch_options) != 0)
    return {Stage::scratch, errno};
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    int error = 0;
    if (trees[i] >= 0) {
      error = attach(trees[i], spec.paths[i].name.data());
    } else if (work_tree >= 0 && spec.paths[i].access == Access::work) {
      error = show_work(spec.paths[i], work, work_tree);
    }
    if (error != 0) return {Stage::scratch, error, static_cast<std::uint32_t>(i)};
  }
  return {};
}

int mount_proc(bool& mounted) {
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mounted = mount("proc", "/proc", "proc", flags, "subset=pid,hidepid=invisible") == 0;
  if (umount2(outer_proc, detach) == 0 || errno == ENOENT) return 0;
  return errno;
}

Fault open_places(const Spec& spec, Places& places) {
  const auto add = [&](landlock::Grant grant, const char* path) -> int {
    const int place = open(path, O_PATH | O_CLOEXEC);
    struct stat kind{};
    if (place < 0 || fstat(place, &kind) != 0) return errno;
    places.all[places.count++] = {grant, place, S_ISDIR(kind.st_mode)};
    return 0;
  };
  for (const char* path :
       {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"}) {
    struct stat kind{};
    if (lstat(path, &kind) != 0 || S_ISLNK(kind.st_mode)) continue;
    if (const int error = add(landlock::Grant::system, path)) return {Stage::landlock, error};
  }
  for (const char* path : {"/dev/null", "/dev/urandom"})
    if (const int error = add(landlock::Grant::device, path)) return {Stage::landlock, error};
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    if (is_late(spec.paths[i]) || spec.paths[i].access == Access::work) continue;
    const bool writes = spec.paths[i].access == Access::write;
    const auto grant = writes ? landlock::Grant::read_write : landlock::Grant::read;
    if (const int error = add(grant, spec.paths[i].name.data()))
      return {Stage::landlock, error, static_cast<std::uint32_t>(i)};
  }
  return {};
}

Fault restrict_to(const Spec& spec, const Places& places, const Rules& rules) {
  landlock::Ruleset ruleset;
  if (const int error = ruleset.create(rules.landlock_abi)) return {Stage::landlock, error};
  if (rules.port != 0)
    if (const int error = ruleset.allow_connect(rules.landlock_abi, rules.port))
      return {Stage::landlock, error};
  for (std::size_t i = 0; i < places.count; ++i) {
    const Place& place = places.all[i];
    if (const int error = ruleset.allow(place.grant, place.descriptor, place.is_directory))
      return {Stage::landlock, error, static_cast<std::uint32_t>(i)};
  }
  const auto allow = [&](landlock::Grant grant, const char* path) -> int {
    const int place = open(path, O_PATH | O_CLOEXEC);
    struct stat kind{};
    if (place < 0 || fstat(place, &kind) != 0) return errno;
    const int error = ruleset.allow(grant, place, S_ISDIR(kind.st_mode));
    close(place);
    return error;
  };
  const auto tmp = rules.with_scratch ? landlock::Grant::scratch : landlock::Grant::list;
  if (const int error = allow(tmp, "/tmp")) return {Stage::landlock, error};
  if (const int error = allow(landlock::Grant::list, "/")) return {Stage::landlock, error};
  if (work_path[0] != '\0')
    if (const int error = allow(landlock::Grant::read_write, work_path))
      return {Stage::landlock, error};
  if (rules.with_proc)
    if (const int error = allow(landlock::Grant::proc, "/proc")) return {Stage::landlock, error};
  for (std::size_t i = 0; i < spec.path_count; ++i) {
    if (!is_late(spec.paths[i])) continue;
    const bool writes = spec.paths[i].access == Access::write;
    const auto grant = writes ? landlock::Grant::read_write : landlock::Grant::read;
    if (const int error = allow(grant, spec.paths[i].name.data()))
      return {Stage::landlock, error, static_cast<std::uint32_t>(i)};
  }
  if (const int error = ruleset.enforce()) return {Stage::landlock, error};
  return {};
}

}  // namespace ambit::sandbox::mounts
