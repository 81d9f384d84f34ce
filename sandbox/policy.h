#pragma once

// The lists of the system-call policy, as data. Names are libseccomp's; those that one architecture
// lacks are left out there. Calls that are allowed only with certain arguments are in seccomp.cpp.

#include <array>
#include <cstdint>
#include <string_view>

namespace ambit::sandbox::policy {

using Name = std::string_view;

// Memory, time, identity, signals, waiting for descriptors: what every program needs to run at all,
// and what the dynamic linker needs to load it. Files are opened here too; mounts and Landlock say
// which.
inline constexpr std::array compute = std::to_array<Name>({"read",
                                                           "write",
                                                           "readv",
                                                           "writev",
                                                           "pread64",
                                                           "pwrite64",
                                                           "preadv",
                                                           "pwritev",
                                                           "preadv2",
                                                           "pwritev2",
                                                           "lseek",
                                                           "close",
                                                           "close_range",
                                                           "dup",
                                                           "dup2",
                                                           "dup3",
                                                           "pipe",
                                                           "pipe2",
                                                           "fstat",
                                                           "newfstatat",
                                                           "stat",
                                                           "lstat",
                                                           "statx",
                                                           "access",
                                                           "faccessat",
                                                           "faccessat2",
                                                           "readlink",
                                                           "readlinkat",
                                                           "getcwd",
                                                           "fadvise64",
                                                           "readahead",
                                                           "ftruncate",
                                                           "sendfile",
                                                           "splice",
                                                           "tee",
                                                           "flock",
                                                           "fsync",
                                                           "fdatasync",
                                                           "munmap",
                                                           "mprotect",
                                                           "mremap",
                                                           "brk",
                                                           "msync",
                                                           "mincore",
                                                           "membarrier",
                                                           "arch_prctl",
                                                           "rseq",
                                                           "set_tid_address",
                                                           "set_robust_list",
                                                           "get_robust_list",
                                                           "futex",
                                                           "futex_waitv",
                                                           "sched_yield",
                                                           "sched_getaffinity",
                                                           "sched_getparam",
                                                           "sched_getscheduler",
                                                           "sched_get_priority_max",
                                                           "sched_get_priority_min",
                                                           "getpriority",
                                                           "gettid",
                                                           "getpid",
                                                           "getppid",
                                                           "getpgrp",
                                                           "getpgid",
                                                           "getsid",
                                                           "getuid",
                                                           "geteuid",
                                                           "getgid",
                                                           "getegid",
                                                           "getresuid",
                                                           "getresgid",
                                                           "getgroups",
                                                           "capget",
                                                           "uname",
                                                           "sysinfo",
                                                           "getrusage",
                                                           "times",
                                                           "getrlimit",
                                                           "getcpu",
                                                           "getrandom",
                                                           "clock_gettime",
                                                           "clock_getres",
                                                           "clock_nanosleep",
                                                           "gettimeofday",
                                                           "time",
                                                           "nanosleep",
                                                           "alarm",
                                                           "getitimer",
                                                           "setitimer",
                                                           "timer_create",
                                                           "timer_settime",
                                                           "timer_gettime",
                                                           "timer_getoverrun",
                                                           "timer_delete",
                                                           "timerfd_create",
                                                           "timerfd_settime",
                                                           "timerfd_gettime",
                                                           "pause",
                                                           "rt_sigaction",
                                                           "rt_sigprocmask",
                                                           "rt_sigreturn",
                                                           "rt_sigpending",
                                                           "rt_sigsuspend",
                                                           "rt_sigtimedwait",
                                                           "sigaltstack",
                                                           "restart_syscall",
                                                           "kill",
                                                           "tkill",
                                                           "tgkill",
                                                           "rt_sigqueueinfo",
                                                           "rt_tgsigqueueinfo",
                                                           "signalfd4",
                                                           "poll",
                                                           "ppoll",
                                                           "select",
                                                           "pselect6",
                                                           "epoll_create",
                                                           "epoll_create1",
                                                           "epoll_ctl",
                                                           "epoll_wait",
                                                           "epoll_pwait",
                                                           "epoll_pwait2",
                                                           "eventfd",
                                                           "eventfd2",
                                                           "execve",
                                                           "exit",
                                                           "exit_group",
                                                           "umask",
                                                           "setsid"});

// Other processes, folders, and the private /tmp.
inline constexpr std::array fs_read = std::to_array<Name>({"fork",
                                                           "vfork",
                                                           "wait4",
                                                           "waitid",
                                                           "setpgid",
                                                           "getdents64",
                                                           "getdents",
                                                           "chdir",
                                                           "fchdir",
                                                           "mkdir",
                                                           "mkdirat",
                                                           "rmdir",
                                                           "unlink",
                                                           "unlinkat",
                                                           "rename",
                                                           "renameat",
                                                           "renameat2",
                                                           "statfs",
                                                           "fstatfs",
                                                           "inotify_init",
                                                           "inotify_init1",
                                                           "inotify_add_watch",
                                                           "inotify_rm_watch",
                                                           "copy_file_range",
                                                           "getxattr",
                                                           "lgetxattr",
                                                           "fgetxattr",
                                                           "listxattr",
                                                           "llistxattr",
                                                           "flistxattr",
                                                           "recvfrom",
                                                           "recvmsg",
                                                           "shutdown",
                                                           "getsockname",
                                                           "getpeername",
                                                           "getsockopt"});

// Everything about files that changes them.
inline constexpr std::array fs_write =
    std::to_array<Name>({"link", "linkat", "symlink", "symlinkat", "truncate", "fallocate", "utime",
                         "utimes", "utimensat", "futimesat", "sync_file_range"});

// The way to the proxy, which listens on the loopback; sockets are TCP alone: see seccomp.cpp.
inline constexpr std::array net = std::to_array<Name>({"connect"});

// What a jail's init needs where there is a network, and where a command may ask for files.
inline constexpr std::array set_up_net = std::to_array<Name>({"bind", "listen", "accept4"});
inline constexpr std::array set_up_asks = std::to_array<Name>({"process_vm_readv"});

// All that our own tools call: what they run under dies at anything else.
inline constexpr std::array worker = std::to_array<Name>(
    {"read",         "write",           "openat",        "close",      "fstat",
     "newfstatat",   "statx",           "lseek",         "getdents64", "chdir",
     "unlinkat",     "mkdirat",         "renameat",      "renameat2",  "ftruncate",
     "rt_sigreturn", "restart_syscall", "clock_gettime", "exit_group", "exit"});

// What the zygote and a jail's init need and no command may have. The last filter takes these away,
// except where a tier names them as well.
inline constexpr std::array set_up = std::to_array<Name>({"recvmsg",
                                                          "wait4",
                                                          "waitid",
                                                          "epoll_ctl",
                                                          "epoll_pwait",
                                                          "pidfd_send_signal",
                                                          "mount",
                                                          "umount2",
                                                          "open_tree",
                                                          "move_mount",
                                                          "mkdir",
                                                          "mkdirat",
                                                          "capset",
                                                          "seccomp",
                                                          "landlock_create_ruleset",
                                                          "landlock_add_rule",
                                                          "landlock_restrict_self",
                                                          "setrlimit",
                                                          "prlimit64",
                                                          "chdir",
                                                          "statfs"});

// What a reduced jail's init needs besides: it counts what runs.
inline constexpr std::array set_up_reduced = std::to_array<Name>({"getdents64"});
// Where no mount hides the rest of the machine and none is read-only, these would reach files that
// Landlock does not speak of: their modes, times and changes.
inline constexpr std::array unheld =
    std::to_array<Name>({"chmod", "fchmod", "fchmodat", "utime", "utimes", "futimesat", "utimensat",
                         "inotify_add_watch"});
// The same, of calls that programs take for optional when they are told that there is no support.
inline constexpr std::array unheld_attributes = std::to_array<Name>(
    {"getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"});

// Nobody calls these by mistake: the command ends, and the record says which it was.
inline constexpr std::array trip_wires = std::to_array<Name>({"init_module",
                                                              "finit_module",
                                                              "delete_module",
                                                              "kexec_load",
                                                              "kexec_file_load",
                                                              "reboot",
                                                              "swapon",
                                                              "swapoff",
                                                              "acct",
                                                              "quotactl",
                                                              "quotactl_fd",
                                                              "iopl",
                                                              "ioperm",
                                                              "modify_ldt",
                                                              "settimeofday",
                                                              "clock_settime",
                                                              "clock_adjtime",
                                                              "adjtimex",
                                                              "open_by_handle_at",
                                                              "fsopen",
                                                              "fsconfig",
                                                              "fsmount",
                                                              "fspick",
                                                              "mount_setattr",
                                                              "nfsservctl",
                                                              "vhangup"});

// Those whose pointer argument a filter cannot read, so that libraries fall back to the old call.
inline constexpr std::array absent = std::to_array<Name>({"clone3", "openat2"});
// One of them, younger than some libseccomp: the same number everywhere.
inline constexpr std::uint32_t fchmodat2 = 452;

// The highest number that exists for us: everything above answers ENOSYS, as on an older kernel.
inline constexpr std::uint32_t last_number = 463;

}  // namespace ambit::sandbox::policy
