#pragma once

// The door of a jail, seen from inside: one socket to the supervisor, held by init alone, by which
// connections of the jail's loopback go out to the proxy, and paths that the command wants to open
// are asked for. Whoever puts something there knocks: a report on the zygote's pipe, so that the
// supervisor looks. Part of the zygote; allocates nothing.

#include "protocol.h"

#include <linux/seccomp.h>

#include <cstdint>

namespace ambit::sandbox::door {

// Listens on the loopback for the command's connections; 0 or an errno.
int open_gate(std::uint16_t port, int& gate);
// Hands the next connection to the supervisor, or drops it when that is busy.
void pass_connection(std::uint32_t call);

// Whether a notice is about opening a file.
bool is_open(const seccomp_notif& notice);
// Lets the kernel go on where the jail itself decides (its own paths, relative ones), and asks the
// supervisor for the rest.
void ask_to_open(const protocol::Spec& spec, const seccomp_notif& notice, std::uint32_t call);
// The supervisor's answer: a file for the command, or an error.
void take_answer();

}  // namespace ambit::sandbox::door
