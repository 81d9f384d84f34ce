#pragma once

// The file tree of a jail. Once a zygote: a small tmpfs with the system's programs and the paths of
// the profile, everything read-only but the write paths, entered with pivot_root so that no way
// leads back. Once a jail: a private /tmp and the jail's work folder. Part of the zygote: raw
// system calls, no allocation, 0 or an errno.

#include "landlock.h"
#include "protocol.h"

#include <array>
#include <cstddef>

namespace ambit::sandbox::mounts {

struct Fault {
  protocol::Stage stage = protocol::Stage::none;
  int error = 0;
  std::uint32_t index = 0;  // which path of the spec
  explicit operator bool() const { return stage != protocol::Stage::none; }
};

// Builds the tree and moves into it. The network, mount and user namespaces are entered already.
Fault enter_root(const protocol::Spec& spec);

// Whether a jail of a built-in tool has anything to mount: it writes nothing into /tmp, so where no
// path lies below /tmp and no work folder is shown, it shares the zygote's tree.
bool tools_mount(const protocol::Spec& spec);
// The jail's work folder below `root`, one step a part and never through a link, so that nobody who
// can write in a work folder can make this lead out of it.
int open_work(const char* root, const protocol::Jail& jail, int& work);
// Mounts the private /tmp of one jail, and on it the paths of the profile that lie below /tmp. It
// hides the folder of all work folders; the one in it that this jail is for is shown under its own
// name before, if it is still the folder that the supervisor knows.
Fault make_scratch(const protocol::Spec& spec, const protocol::Jail& jail);
// A /proc of the jail's own processes, and the supervisor's out of the jail's sight. The kernel
// gives the one only to who can see the other in full, as in a container it cannot: then there is
// no /proc at all.
int mount_proc(bool& mounted);

// Places that a call's Landlock rules name; opened once a zygote, so that a call only adds rules.
// What lies below /tmp is opened by the call, because its own /tmp hides the zygote's.
struct Place {
  landlock::Grant grant = landlock::Grant::read;
  int descriptor = -1;
  bool is_directory = true;
};
struct Places {
  std::array<Place, protocol::paths_max + 16> all;
  std::size_t count = 0;
};
Fault open_places(const protocol::Spec& spec, Places& places);
// What distinguishes the rules of one jail from another's.
struct Rules {
  int landlock_abi = 0;
  bool with_proc = false;
  bool with_scratch = true;  // /tmp may be written
  std::uint16_t port = 0;    // the one that may be connected to; 0: none
};
// All rules of one call, after its mounts.
Fault restrict_to(const protocol::Spec& spec, const Places& places, const Rules& rules);

}  // namespace ambit::sandbox::mounts
