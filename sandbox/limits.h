#pragma once

// Resource limits, capabilities and the flags of a process that take rights away for good. Part of
// the zygote: raw system calls, no allocation; every function gives 0 or an errno.

#include "protocol.h"

#include <csignal>

namespace ambit::sandbox::limits {

// Those that the zygote sets for itself and so for all that it clones.
int apply_shared(const protocol::Limits& limits);
// The rest, of one command. RLIMIT_CPU counts whole seconds: init watches the exact figure.
int apply(const protocol::Limits& limits);
// RLIMIT_NPROC alone: what init needs to see whether another process could still be made.
int apply_processes(const protocol::Limits& limits);

int clear_bounding_set();
int lock_secure_bits();
int drop_capabilities();
int set_no_new_privileges();
// The kernel clears this one whenever credentials change: ask again after that.
int die_with_parent(int signal = SIGKILL);
// Whether the process of a pidfd has ended: a parent that died before die_with_parent() is missed
// by it, and from a pid namespace of its own a child cannot see whose it is.
bool has_ended(int pidfd);

}  // namespace ambit::sandbox::limits
