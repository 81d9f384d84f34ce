#pragma once

// A jail for built-in tools: one process, which is init of its pid namespace, executes nothing and
// serves calls until its socket closes. Its filter ends it at any system call that our own tools do
// not make. Part of the zygote; allocates nothing.

#include "jail.h"

namespace ambit::sandbox::worker {

// The mounts of the jail are made. Never returns.
[[noreturn]] void serve(const Cell& cell, int socket, int work, protocol::Report& report);

}  // namespace ambit::sandbox::worker
