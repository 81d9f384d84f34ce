// Attempts on mounts, namespaces, the kernel's own interfaces and foreign call tables.

#include "attacker.h"

#include <linux/keyctl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <unistd.h>

namespace attack {
namespace {

int mount_tmpfs() {
  return worked(mount("x", "/tmp", "tmpfs", 0, nullptr) == 0);
}
int remount_root() {
  return worked(mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0);
}
int unmount_tmp() {
  return worked(umount2("/tmp", MNT_DETACH) == 0);
}
int change_root() {
  return worked(chroot("/tmp") == 0);
}
int pivot() {
  return worked(call(SYS_pivot_root, "/tmp", "/tmp"));
}
int open_tree() {
  return worked(call(SYS_open_tree, AT_FDCWD, "/", 1U));
}
int move_mount() {
  return worked(call(SYS_move_mount, AT_FDCWD, "/usr", AT_FDCWD, "/tmp", 0));
}
int set_namespace() {
  return worked(call(SYS_setns, 0, 0));
}
constexpr int namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
                              CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80};
int unshare_any() {
  for (const int flag : namespaces)
    if (unshare(flag) == 0) return escaped;
  return refused;
}
int clone_any() {
  for (const int flag : namespaces) {
    if (flag == 0x80) continue;  // part of the exit signal in the old call
    const long child = call(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child > 0) return escaped;
  }
  return refused;
}
int clone3_any() {
  std::uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
  const long child = call(SYS_clone3, arguments, sizeof arguments);
  if (child == 0) _exit(0);
  return worked(child > 0);
}
void* nothing(void*) {
  return nullptr;
}
int threads_still_work() {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, nothing, nullptr) != 0) return escaped;
  return pthread_join(thread, nullptr) == 0 ? refused : escaped;
}
int spawning_still_works() {
  pid_t child = 0;
  char name[] = "true";
  char* words[] = {name, nullptr};
  if (posix_spawn(&child, "/usr/bin/true", nullptr, nullptr, words, words + 1) != 0) return escaped;
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0 ? refused : escaped;
}
int bpf() {
  alignas(8) std::uint32_t attributes[32] = {2, 4, 4, 1};  // an array map
  return worked(call(SYS_bpf, 0, attributes, sizeof attributes));
}
int perf_event() {
  alignas(8) std::uint32_t attributes[32] = {1, sizeof attributes};
  return worked(call(SYS_perf_event_open, attributes, 0, -1, -1, 0));
}
int user_faults() {
  return worked(call(SYS_userfaultfd, 1));
}
int user_faults_of_the_user() {
  return worked(call(SYS_userfaultfd, 0));
}
int io_uring() {
  char parameters[120] = {};
  return worked(call(SYS_io_uring_setup, 4, parameters));
}
int io_uring_enter() {
  return worked(call(SYS_io_uring_enter, -1, 0, 0, 0, 0, 0) >= 0 || errno == EBADF);
}
int io_uring_register() {
  return worked(call(SYS_io_uring_register, -1, 0, 0, 0) >= 0 || errno != EPERM);
}
int request_key() {
  return worked(call(SYS_request_key, "user", "x", nullptr, 0) >= 0 || errno == ENOKEY);
}
int memory_policy() {
  return worked(call(SYS_mbind, 0, 0, 0, 0, 0, 0) >= 0 || errno != EPERM);
}
int add_key() {
  return worked(call(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING));
}
int key_control() {
  return worked(call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
}
int name_to_handle() {
  alignas(8) unsigned handle[50] = {128};
  int mount_id = 0;
  return worked(call(SYS_name_to_handle_at, AT_FDCWD, "/usr", handle, &mount_id, 0));
}
int fanotify() {
  return worked(call(SYS_fanotify_init, 0x200, 0));
}
int move_pages() {
  void* page = &target;
  int status = 0;
  return worked(call(SYS_move_pages, 0, 1, &page, nullptr, &status, 0));
}
int no_randomize() {
  return worked(call(SYS_personality, 0x0040000));
}
int kernel_log() {
  return worked(call(SYS_syslog, 10, nullptr, 0));
}
int unknown_numbers() {
  for (long number = 470; number < 600; ++number) {
    if (number >= 512 && number < 548)
      continue;  // x32's own; refused alike, but not numbers of ours
    if (call(number, 0, 0, 0) != -1 || errno != ENOSYS) return escaped;
  }
  return worked(call(-1L) != -1 || errno != ENOSYS);
}
int high_halves() {
  const std::uint64_t high = 1ULL << 32;
  if (call(SYS_socket, high | AF_INET, SOCK_STREAM, 0) >= 0) return escaped;
  if (call(SYS_clone, high | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0) return escaped;
  char byte = 'x';
  return worked(call(SYS_ioctl, 0, high | TIOCSTI, &byte) == 0 || errno != EPERM);
}
int old_gate() {
#if defined(__x86_64__)
  long result = 20;  // getpid of the 32-bit table
  __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
  return worked(result > 0);
#else
  return not_here;
#endif
}
int x32_table() {
  (void)call(0x40000000L | 39);
  return errno == ENOSYS ? not_here : escaped;
}

constexpr Attempt all[] = {
    {"mount_tmpfs", mount_tmpfs},
    {"remount_root", remount_root},
    {"unmount_tmp", unmount_tmp},
    {"change_root", change_root},
    {"pivot", pivot},
    {"open_tree", open_tree},
    {"move_mount", move_mount},
    {"set_namespace", set_namespace},
    {"unshare_any", unshare_any},
    {"clone_any", clone_any},
    {"clone3_any", clone3_any},
    {"threads_still_work", threads_still_work},
    {"spawning_still_works", spawning_still_works},
    {"bpf", bpf},
    {"perf_event", perf_event},
    {"user_faults", user_faults},
    {"user_faults_of_the_user", user_faults_of_the_user},
    {"io_uring", io_uring},
    {"io_uring_enter", io_uring_enter},
    {"io_uring_register", io_uring_register},
    {"request_key", request_key},
    {"memory_policy", memory_policy},
    {"add_key", add_key},
    {"key_control", key_control},
    {"name_to_handle", name_to_handle},
    {"fanotify", fanotify},
    {"move_pages", move_pages},
    {"no_randomize", no_randomize},
    {"kernel_log", kernel_log},
    {"unknown_numbers", unknown_numbers},
    {"high_halves", high_halves},
    {"old_gate", old_gate},
    {"x32_table", x32_table},
};

}  // namespace

std::span<const Attempt> kernel_attempts() {
  return all;
}

}  // namespace attack
