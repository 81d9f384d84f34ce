#pragma once

// Where to connect to or to listen on, as text: "127.0.0.1:80", "[::1]:80", "host:80",
// "unix:/path". Parsed strictly, in one place, for the real network and the simulated one.

#include "async/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::io {

struct Address {
  std::string host;  // a name or a literal without brackets; empty for a Unix socket
  std::uint16_t port = 0;
  std::string path;  // of a Unix socket
  friend bool operator==(const Address&, const Address&) = default;
};

Result<Address> parse_address(std::string_view text);
// The canonical text; brackets round a host with colons.
std::string to_string(const Address& address);

}  // namespace ambit::io
