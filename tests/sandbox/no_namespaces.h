#pragma once

// A machine that lets nobody make namespaces or mounts, as a container without privileges is: a
// system call filter on a process of its own, which then runs what the test says.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <functional>
#include <sched.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace ambit::sandbox {

// For this process and all that it makes, for good. False: it could not be loaded.
inline bool forbid_namespaces() {
  const auto load = [](std::size_t at) {
    return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(at)};
  };
  const auto verdict = [](std::uint32_t what) { return sock_filter{BPF_RET | BPF_K, 0, 0, what}; };
  constexpr std::uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
  constexpr auto flags =
      static_cast<std::uint32_t>(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP);
  std::vector<sock_filter> code = {load(offsetof(seccomp_data, nr))};
  for (const long number :
       {SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_open_tree,
        SYS_move_mount, SYS_fsopen, SYS_fsmount, SYS_mount_setattr}) {
    code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<std::uint32_t>(number)});
    code.push_back(verdict(refuse));
  }
  code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<std::uint32_t>(SYS_clone3)});
  code.push_back(verdict(SECCOMP_RET_ERRNO | ENOSYS));
  code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 3, static_cast<std::uint32_t>(SYS_clone)});
  code.push_back(load(offsetof(seccomp_data, args)));
  code.push_back({BPF_JMP | BPF_JSET | BPF_K, 0, 1, flags});
  code.push_back(verdict(refuse));
  code.push_back(verdict(SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// What `work` says in a child for which namespaces are forbidden.
inline std::string said_without_namespaces(const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    const std::string said = forbid_namespaces() ? work() : "no filter";
    for (std::size_t at = 0; at < said.size();) {
      const ssize_t written = ::write(ends[1], said.data() + at, said.size() - at);
      if (written <= 0) break;
      at += static_cast<std::size_t>(written);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char block[4096];
  for (ssize_t count = 0; (count = ::read(ends[0], block, sizeof block)) > 0;)
    said.append(block, static_cast<std::size_t>(count));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return said;
}

}  // namespace ambit::sandbox
