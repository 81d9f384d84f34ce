#pragma once

// The attack list of the design page, by its numbers: attempts that must be refused, attacks on
// limits that must end in their own type, and those that need more than a program in a jail. What
// is not attacked here says why.

#include "agents/ports.h"

#include <cstdint>

namespace ambit::sandbox {

// Where an attempt must succeed first, or it proves nothing: outside, by anyone or by root alone,
// or in the box (box.h) where it would harm the machine. none: no kernel of today lets it succeed.
enum class Control { anyone, root, box, root_box, none };
// What the attempt is aimed at. listener: a port of this machine, where nobody may arrive.
enum class Aim { nothing, canary, victim, listener };
// Which levels hold it: all that run it, all but net, or net alone.
enum class At { all, without_network, with_network };

struct Attempt {
  int number;
  const char* name;
  Control control = Control::none;
  Aim aim = Aim::nothing;
  At at = At::all;
};
inline constexpr Attempt attempts[] = {
    {1, "change_root", Control::root},
    {1, "mount_tmpfs", Control::box},
    {1, "pivot", Control::box},
    {1, "remount_root", Control::box},
    {1, "unmount_tmp", Control::box},
    {2, "move_mount", Control::box},
    {2, "open_tree", Control::root},
    {3, "unshare_any", Control::anyone},
    {4, "clone_any", Control::anyone},
    {5, "clone3_any", Control::anyone},
    {5, "spawning_still_works"},
    {5, "threads_still_work"},
    {6, "set_namespace", Control::box},
    {7, "become_root", Control::root},
    {7, "change_groups", Control::root},
    {7, "has_capabilities", Control::anyone},
    {7, "has_groups", Control::root_box},
    {7, "regain_capabilities", Control::box},
    {8, "set_user_id_files_count", Control::anyone},
    {9, "new_privileges", Control::anyone},
    {9, "no_filter", Control::anyone},
    {9, "relax_filter"},
    {9, "suspend_filter", Control::anyone},
    {10, "trace_child", Control::anyone},
    {10, "trace_init", Control::box},
    {11, "read_memory_of_parent", Control::anyone},
    {11, "write_memory_of_parent", Control::anyone},
    {12, "pidfd", Control::anyone},
    {12, "pidfd_getfd", Control::anyone},
    {13, "kcmp", Control::anyone},
    {13, "process_madvise", Control::anyone},
    {14, "bpf", Control::root},
    {15, "perf_event", Control::root},
    {16, "user_faults", Control::anyone},
    {16, "user_faults_of_the_user", Control::root},
    {17, "io_uring", Control::anyone},
    {17, "io_uring_enter", Control::anyone},
    {17, "io_uring_register", Control::anyone},
    {18, "add_key", Control::anyone},
    {18, "key_control", Control::anyone},
    {18, "request_key", Control::anyone},
    {20, "name_to_handle", Control::anyone},
    {21, "fanotify", Control::root},
    {21, "kernel_log", Control::root},
    {21, "memory_policy", Control::anyone},
    {21, "move_pages", Control::anyone},
    {21, "no_randomize", Control::anyone},
    {22, "old_gate", Control::anyone},
    {23, "x32_table"},
    {24, "unknown_numbers"},
    {25, "high_halves", Control::anyone},
    {27, "terminal", Control::anyone},
    {27, "terminal_control", Control::anyone},
    {28, "kill_outside", Control::box, Aim::victim},
    {28, "owner_signals", Control::anyone},
    {28, "queue_signal_outside", Control::box, Aim::victim},
    {29, "better_priority", Control::root},
    {29, "io_priority", Control::root},
    {29, "realtime", Control::root},
    {30, "limits_of_init", Control::root},
    {30, "raise_limits", Control::anyone},
    {31, "list_homes", Control::anyone},
    {31, "read_shadow", Control::root},
    {31, "read_target", Control::anyone, Aim::canary},
    {32, "write_system", Control::box},
    {32, "write_target", Control::anyone, Aim::canary},
    {33, "link_then_read", Control::anyone, Aim::canary},
    {35, "hard_link_outside", Control::anyone, Aim::canary},
    {36, "rename_outside", Control::box, Aim::canary},
    {37, "device_file", Control::root_box},
    {38, "set_id_bit", Control::anyone},
    {39, "any_proc", Control::anyone},
    {39, "proc_tricks", Control::box},
    {41, "climb", Control::anyone, Aim::canary},
    {41, "leaked_descriptors", Control::box},
    {42, "control_groups", Control::anyone},
    {45, "execute_by_descriptor", Control::anyone},
    {45, "execute_from_tmp", Control::anyone},
    {45, "memory_file", Control::anyone},
    {46, "write_through_pipe"},
    {47, "any_socket", Control::anyone, Aim::nothing, At::without_network},
    {47, "connect_outside", Control::anyone, Aim::listener},
    {47, "connect_by_sending", Control::anyone, Aim::listener},
    {47, "listen_inside", Control::anyone},
    {48, "other_sockets", Control::anyone, Aim::nothing, At::with_network},
    {48, "foreign_socket_pair"},
    {49, "send_through_pair", Control::box, Aim::canary},
    {50, "host_sockets", Control::anyone},
    {55, "locked_memory", Control::root},
    {55, "message_queue", Control::box},
    {55, "shared_anonymous", Control::anyone},
    {55, "shared_memory_segment", Control::box},
    {59, "many_files", Control::box},
    {63, "core_dump", Control::anyone},
    {63, "dumpable_memory", Control::anyone},
};

// What no kernel of today lets succeed, and why it is tried all the same.
struct NoControl {
  const char* name;
  const char* why;
};
inline constexpr NoControl without_control[] = {
    {"spawning_still_works", "it is no attack: the jail must let it work"},
    {"threads_still_work", "it is no attack: the jail must let it work"},
    {"relax_filter", "no kernel takes a filter away again"},
    {"unknown_numbers", "the kernel may not know them either; a newer one would"},
    {"x32_table", "most kernels are built without it"},
    {"write_through_pipe", "kernels that have the fault are no longer run"},
    {"foreign_socket_pair", "only a kernel with TIPC has such pairs"},
};

// What a reduced jail does not hold, and why that is borne.
inline constexpr NoControl not_held_when_reduced[] = {
    {"has_capabilities",
     "who may not clear the bounding set keeps it; no_new_privs makes it count for nothing"},
    {"host_sockets", "names and sizes of files can be seen, the files cannot be opened"},
    {"set_user_id_files_count",
     "mounts are the machine's own; no_new_privs makes the bit count for nothing"},
};

// Which limits are set low, and how such an attack may end: as its type, or, where the second is
// ok, by being told no.
struct LimitAttack {
  int number;
  const char* name;
  agents::OutcomeKind kind;
  agents::OutcomeKind other;
  bool may_be_held = false;  // it ends by itself: it got its share and no more
};
inline constexpr LimitAttack limit_attacks[] = {
    {54, "forks", agents::OutcomeKind::process_limit, agents::OutcomeKind::timeout},
    {54, "forks_in_sessions", agents::OutcomeKind::process_limit, agents::OutcomeKind::timeout},
    {55, "touch", agents::OutcomeKind::memory_limit, agents::OutcomeKind::memory_limit},
    {55, "no_reserve", agents::OutcomeKind::memory_limit, agents::OutcomeKind::memory_limit, true},
    {55, "many_take_a_little", agents::OutcomeKind::memory_limit,
     agents::OutcomeKind::memory_limit},
    {55, "stack", agents::OutcomeKind::crashed, agents::OutcomeKind::memory_limit},
    {56, "fill_tmp", agents::OutcomeKind::file_size_limit, agents::OutcomeKind::memory_limit},
    {56, "sparse", agents::OutcomeKind::file_size_limit, agents::OutcomeKind::file_size_limit},
    {56, "inodes", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {56, "deep", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {57, "spin", agents::OutcomeKind::cpu_limit, agents::OutcomeKind::timeout},
    {57, "spin_on", agents::OutcomeKind::cpu_limit, agents::OutcomeKind::timeout},
    {57, "sleep_on", agents::OutcomeKind::timeout, agents::OutcomeKind::timeout},
    {57, "stop_itself", agents::OutcomeKind::timeout, agents::OutcomeKind::timeout},
    {58, "flood_output", agents::OutcomeKind::output_limit, agents::OutcomeKind::output_limit},
    {58, "flood_errors", agents::OutcomeKind::output_limit, agents::OutcomeKind::output_limit},
    {58, "flood_both", agents::OutcomeKind::output_limit, agents::OutcomeKind::output_limit},
    {59, "descriptors", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {59, "watches", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {59, "timers", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {60, "zombies", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {60, "daemon_stays", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
    {60, "subreaper", agents::OutcomeKind::ok, agents::OutcomeKind::ok, true},
};

// Written out in main.cpp, scenes.cpp and doors.cpp.
inline constexpr int told_elsewhere[] = {19, 31, 33, 34, 40, 43, 52, 53, 54, 60, 62, 64};

struct NotAttacked {
  int number;
  const char* why;
};
inline constexpr NotAttacked not_attacked[] = {
    {26, "the page holds gettimeofday, time and getcpu, which every level may call anyway"},
    {44, "no file of a work folder is ever executed or read as configuration by the runtime"},
    {51,
     "the jail's socket and door are closed when the command begins: see leaked_descriptors (41); "
     "what a jail that was taken over sends through its door has unit tests"},
    {61,
     "the command never has a channel: see leaked_descriptors (41); frames, a door that speaks "
     "nonsense and every parser have unit tests and are fuzzed"},
};

}  // namespace ambit::sandbox
