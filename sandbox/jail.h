#pragma once

// One jail: what happens in the process that the zygote has cloned for a call, from its first
// instruction to its end. contain() reads as a table of contents. Part of the zygote; allocates
// nothing.

#include "mounts.h"
#include "protocol.h"

#include <span>

namespace ambit::sandbox {

// What the zygote knows and every jail uses.
struct Cell {
  protocol::Spec spec;
  mounts::Places places;
  int landlock_abi = 0;
};

// Never returns: becomes init of the call's pid namespace, starts the command and ends when it has
// ended. `report` lies in memory shared with the zygote. `descriptors`: stdin, stdout, stderr,
// cgroups to join.
[[noreturn]] void contain(const Cell& cell, const protocol::Call& call,
                          std::span<const int> descriptors, protocol::Report& report);

}  // namespace ambit::sandbox
