#pragma once

// Which layers of a jail this machine can enforce for this user. Each is tried in a process of its
// own, never guessed from a version or a file.

#include <string>
#include <vector>

namespace ambit::sandbox {

struct Layer {
  std::string name;
  bool available = false;
  bool needed = true;       // without it every call is refused, but for what may run reduced
  bool of_reduced = false;  // a reduced jail needs it
  std::string detail;       // what was seen
  std::string how_to_get;   // empty when available
};

std::vector<Layer> examine_machine();

// What the first layer is that a full jail needs and this machine does not have, and why; empty: it
// has all.
std::string missing_for_full_jails();
// The same for reduced jails, which have Landlock, the filter and rlimits alone.
std::string missing_for_reduced_jails();

}  // namespace ambit::sandbox
