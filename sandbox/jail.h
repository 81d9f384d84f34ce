#pragma once

// One jail: what happens in the process that the zygote has cloned for it, from its first
// instruction to its end. Everything is made before the call is known, so that a jail can wait,
// finished, for a call; contain() reads as a table of contents. Part of the zygote; allocates
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
  int reports = 1;  // the pipe up to the supervisor
  int self = -1;    // the zygote's own pidfd
  [[nodiscard]] bool is_reduced() const { return (spec.flags & protocol::Spec::reduced) != 0; }
};

// Never returns: becomes init of the jail's pid namespace, makes the command's process, which waits
// for the call and executes it, and ends when that has ended and nothing of it is left. `report`
// lies in memory shared with the zygote. `descriptors`: the jail's socket, cgroups to join.
[[noreturn]] void contain(Cell& cell, const protocol::Jail& jail, std::span<const int> descriptors,
                          protocol::Report& report);

// The flags of the clone that makes it.
unsigned long clone_flags(const Cell& cell, const protocol::Jail& jail);

}  // namespace ambit::sandbox
