#include "namespaces.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

namespace ambit::sandbox::namespaces {
namespace {

int write_file(const char* path, const char* text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const ssize_t written = write(file, text, std::strlen(text));
  const int error = written < 0 ? errno : 0;
  close(file);
  return error;
}

}  // namespace

void drop_groups() {
  // Only a supervisor with CAP_SETGID can; inside a user namespace of one id nobody can any more.
  (void)setgroups(0, nullptr);
}

int enter_user() {
  return unshare(CLONE_NEWUSER) == 0 ? 0 : errno;
}

int write_id_maps(unsigned outside_uid, unsigned outside_gid) {
  char text[64];
  if (const int error = write_file("/proc/self/setgroups", "deny")) return error;
  std::snprintf(text, sizeof text, "%u %u 1", inside_id, outside_uid);
  if (const int error = write_file("/proc/self/uid_map", text)) return error;
  std::snprintf(text, sizeof text, "%u %u 1", inside_id, outside_gid);
  return write_file("/proc/self/gid_map", text);
}

int enter_others() {
  const int all = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  return unshare(all) == 0 ? 0 : errno;
}

int set_host_name() {
  return sethostname("jail", 4) == 0 ? 0 : errno;
}

int raise_loopback() {
  const int some = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (some < 0) return errno;
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const int error = ioctl(some, SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
  close(some);
  return error;
}

}  // namespace ambit::sandbox::namespaces
