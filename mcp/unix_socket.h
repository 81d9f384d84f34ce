#pragma once

// A server that listens on a Unix socket: one message a line, as on stdio. Nobody here has started
// it, so it is asked whose it is: the kernel says which user has opened the socket, and a server of
// anybody else is not spoken to. When it has gone, another connection is another life of it.

#include "io/world.h"
#include "mcp/stdio.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ambit::mcp {

struct UnixTarget {
  std::string path;                  // absolute
  std::vector<std::uint32_t> users;  // by whom it may have been opened
};

// Code::denied: it is somebody else's. Code::unavailable: nobody listens there, for now.
Task<Result<Connection>> connect_unix(io::Network& network, UnixTarget target);

}  // namespace ambit::mcp
