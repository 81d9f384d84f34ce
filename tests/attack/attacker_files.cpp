// Attempts on files that are none of the jail's.

#include "attacker.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace attack {
namespace {

int read_file(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  char byte = 0;
  return worked(file >= 0 && read(file, &byte, 1) == 1);
}
int read_shadow() {
  return read_file("/etc/shadow");
}
int read_target() {
  return read_file(target);
}
int list_homes() {
  return worked(open("/root", O_RDONLY | O_DIRECTORY) >= 0 || open("/home", O_RDONLY) >= 0);
}
int write_target() {
  return worked(open(target, O_WRONLY | O_APPEND | O_CLOEXEC));
}
int write_system() {
  for (const char* path : {"/x", "/usr/x", "/etc/x", "/bin/x", "/dev/x", "/lib/x", "/usr/bin/true"})
    if (open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644) >= 0) return escaped;
  return refused;
}
int link_then_read() {
  (void)unlink("/tmp/link");
  (void)symlink(target, "/tmp/link");
  (void)symlink(target, "link");
  const bool through = read_file("/tmp/link") == escaped || read_file("link") == escaped;
  (void)unlink("/tmp/link");
  (void)unlink("link");
  return worked(through);
}
int hard_link_outside() {
  const bool linked = link(target, "hard") == 0 || link("/usr/bin/true", "hard") == 0;
  (void)unlink("hard");
  return worked(linked);
}
int rename_outside() {
  return worked(rename("/usr/bin/true", "moved") == 0 || rename(target, "moved") == 0);
}
// The shape of Dirty Pipe: bytes written into a pipe must not reach the page that was spliced in.
int write_through_pipe() {
  const int file = open("/usr/bin/true", O_RDONLY | O_CLOEXEC);
  char before[16] = {};
  char after[16] = {};
  int ends[2];
  if (pread(file, before, sizeof before, 0) != sizeof before || pipe(ends) != 0) return refused;
  for (int i = 0; i < 16; ++i) {
    static char block[4096];
    if (write(ends[1], block, sizeof block) != sizeof block) return refused;
  }
  static char drain[65536];
  if (read(ends[0], drain, sizeof drain) < 0) return refused;
  off_t at = 0;
  if (call(SYS_splice, file, &at, ends[1], nullptr, 1, 0) != 1) return refused;
  if (write(ends[1], "EVIL", 4) != 4) return refused;
  if (pread(file, after, sizeof after, 0) != sizeof after) return refused;
  return worked(std::memcmp(before, after, sizeof before) != 0);
}
int host_sockets() {
  for (const char* path :
       {"/var/run/docker.sock", "/run/docker.sock", "/run/dbus/system_bus_socket",
        "/run/systemd/private", "/run", "/var/run", "/sys", "/dev/shm", "/boot"})
    if (access(path, F_OK) == 0) return escaped;
  return refused;
}
int climb() {
  char path[4096] = {};
  for (int i = 0; i < 64; ++i) std::strcat(path, "../");
  std::strcat(path, target + 1);
  return read_file(path);
}
int device_file() {
  if (mknod("/tmp/device", S_IFCHR | 0666, 1 << 8 | 3) == 0) return escaped;
  return worked(mknod("/tmp/block", S_IFBLK | 0666, 8 << 8) == 0);
}
int set_id_bit() {
  const int made = open("/tmp/set", O_CREAT | O_RDWR | O_CLOEXEC, 0755);
  bool set = chmod("/tmp/set", 04755) == 0 || fchmod(made, 02755) == 0;
  set = set || call(SYS_fchmodat, AT_FDCWD, "/tmp/set", 06755) == 0;
  set = set || call(452L, AT_FDCWD, "/tmp/set", 04755, 0) == 0;
  (void)unlink("/tmp/set");
  if (set) return escaped;
  const long opened = call(SYS_openat, AT_FDCWD, "/tmp/set2", O_CREAT | O_RDWR, 04755);
  (void)unlink("/tmp/set2");
  return worked(opened);
}
int execute_from_tmp() {
  const int from = open("/usr/bin/true", O_RDONLY | O_CLOEXEC);
  const int into = open("/tmp/copy", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
  char block[4096];
  for (ssize_t count = 0; (count = read(from, block, sizeof block)) > 0;)
    if (write(into, block, static_cast<std::size_t>(count)) != count) break;
  close(into);
  const pid_t child = fork();
  if (child == 0) {
    execl("/tmp/copy", "copy", nullptr);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  (void)unlink("/tmp/copy");
  return worked(status == 0);
}
int proc_tricks() {
  for (const char* path : {"/proc/1/root/etc/shadow", "/proc/1/environ", "/proc/1/mem",
                           "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/kcore",
                           "/proc/self/root/proc/1/cwd", "/.outer-proc/1/status"})
    if (open(path, O_RDONLY | O_CLOEXEC) >= 0) return escaped;
  return worked(open("/proc/self/exe", O_WRONLY | O_CLOEXEC) >= 0 ||
                open("/proc/self/attr/current", O_WRONLY) >= 0);
}
int any_proc() {
  return worked(open("/proc/1/status", O_RDONLY | O_CLOEXEC));
}
int leaked_descriptors() {
  for (int i = 3; i < 65536; ++i)
    if (fcntl(i, F_GETFD) >= 0) return escaped;
  return refused;
}
int control_groups() {
  return worked(open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY));
}

constexpr Attempt all[] = {
    {"read_shadow", read_shadow},
    {"read_target", read_target},
    {"list_homes", list_homes},
    {"write_target", write_target},
    {"write_system", write_system},
    {"link_then_read", link_then_read},
    {"hard_link_outside", hard_link_outside},
    {"rename_outside", rename_outside},
    {"write_through_pipe", write_through_pipe},
    {"host_sockets", host_sockets},
    {"climb", climb},
    {"device_file", device_file},
    {"set_id_bit", set_id_bit},
    {"execute_from_tmp", execute_from_tmp},
    {"proc_tricks", proc_tricks},
    {"any_proc", any_proc},
    {"leaked_descriptors", leaked_descriptors},
    {"control_groups", control_groups},
};

}  // namespace

std::span<const Attempt> files_attempts() {
  return all;
}

}  // namespace attack
