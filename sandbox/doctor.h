#pragma once

// Which layers of a jail this machine can enforce for this user. Each is tried in a process of its
// own, never guessed from a version or a file.

#include <string>
#include <vector>

namespace ambit::sandbox {

struct Layer {
  std::string name;
  bool available = false;
  bool needed = true;      // without it every call is refused
  std::string detail;      // what was seen
  std::string how_to_get;  // empty when available
};

std::vector<Layer> examine_machine();

}  // namespace ambit::sandbox
