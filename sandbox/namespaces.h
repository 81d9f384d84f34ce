#pragma once

// User, mount, net, ipc, uts and cgroup namespaces of a zygote. Part of the zygote: raw system
// calls, no allocation; every function gives 0 or an errno.

#include <cstdint>

namespace ambit::sandbox::namespaces {

// The one identity inside a jail. It is mapped to whoever runs the supervisor, or to `outside` ids.
inline constexpr unsigned inside_id = 1000;

// Drops supplementary groups where that is allowed.
void drop_groups();
int enter_user();
int write_id_maps(unsigned outside_uid, unsigned outside_gid);
int enter_others();
int set_host_name();
// The network namespace is born with its loopback down, and stays so but for level net, where the
// proxy's gates are on it.
int raise_loopback();

}  // namespace ambit::sandbox::namespaces
