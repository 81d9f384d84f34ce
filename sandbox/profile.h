#pragma once

// Profiles in words: what a jailed call may do. Each level holds everything of the one before it.
//   compute    runs a program of the system on its input; no paths, no further processes
//   fs-read    reads the paths given; may start processes
//   fs-write   changes the write paths given
//   net        reaches the origins given, through the runtime's proxy only
// Every profile has a private /tmp; nothing but net has anything of a network.

#include "agents/ports.h"
#include "async/result.h"
#include "sandbox/seccomp.h"

#include <span>
#include <string>

namespace ambit::sandbox {

// Whether the path `inner` is `outer` or lies below it, by their names.
inline bool holds(const std::string& outer, const std::string& inner) {
  return inner == outer || (inner.starts_with(outer) && inner[outer.size()] == '/');
}

// The profile of that level with its default limits.
Result<agents::Profile> preset(const std::string& name);

Result<seccomp::Tier> tier_of(const agents::Profile& profile);

// Everything that can be wrong with a profile before a jail is made. `forbidden` are paths that no
// jail may ever see: the runtime's keys and its journal; a path that holds or lies in one is
// refused.
Result<void> validate(const agents::Profile& profile, std::span<const std::string> forbidden = {});

// Whether a jail could be given this path: its form, its place, and that no link leads to it.
Result<void> check_path(const std::string& path, bool writes,
                        std::span<const std::string> forbidden);

// What it allows, in plain words, then the system calls.
Result<std::string> explain(const agents::Profile& profile);

}  // namespace ambit::sandbox
