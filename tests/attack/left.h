#pragma once

// What a program leaves behind: descriptors, mounts, control groups, namespaces, processes, memory.
// The soaks count it before and after.

#include <sys/types.h>

#include <cstddef>
#include <set>

namespace ambit::sandbox {

struct Left {
  std::size_t descriptors = 0;
  std::size_t mounts = 0;
  std::size_t groups = 0;
  std::size_t namespaces = 0;  // of this machine's processes
  friend bool operator==(const Left&, const Left&) = default;
};

// Of this process and those that descend from it.
Left look();
std::size_t resident_kib();
void add_descendants(pid_t parent, std::set<pid_t>& all);
std::size_t alive(const std::set<pid_t>& some);

}  // namespace ambit::sandbox
