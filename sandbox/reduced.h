#pragma once

// A jail on a machine that lets nobody make namespaces, and only for profiles that say so: the tree
// is the machine's own, and Landlock, the filter and rlimits alone say what may be done in it. What
// a pid namespace ends, here a Landlock domain holds together: a signal reaches nobody outside of
// it. Part of the zygote: raw system calls, no allocation, 0 or an errno.

#include "mounts.h"
#include "protocol.h"

#include <cstdint>

namespace ambit::sandbox::reduced {

// A domain of its own for this process and all that it makes, whose signals stay in it; tried on
// `outsider`, who must be out of reach. Only then end_all() is safe.
int hold_together(int landlock_abi, int outsider);
// Ends everything in this process's domain but this process.
void end_all();
// Orphans of what this process makes become its children, not somebody's outside.
int adopt_orphans();

// Rights that this process may not give up (it never had them) are no fault.
int clear_bounding_set();
int lock_secure_bits();

// Tasks on this machine that belong to this process's user: the kernel counts them all together.
std::uint64_t tasks_of_user();

// In place of mounts::open_places and mounts::restrict_to. `work`: the jail's work folder, or -1.
mounts::Fault open_places(const protocol::Spec& spec, mounts::Places& places);
mounts::Fault find_work(const protocol::Spec& spec, const protocol::Jail& jail, int& work);
mounts::Fault restrict_to(const mounts::Places& places, int landlock_abi, int work);

}  // namespace ambit::sandbox::reduced
