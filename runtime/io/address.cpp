#include "io/address.h"

#include <charconv>

namespace ambit::io {
namespace {

// sun_path of Linux holds 108 bytes with the final zero; the kernel would cut a longer one
// silently.
constexpr std::size_t socket_path_max = 107;
constexpr std::size_t host_max = 253;

Error bad(std::string_view text, std::string_view why) {
  constexpr std::size_t shown = 200;
  return Error{Code::invalid,
               "address \"" + std::string(text.substr(0, shown)) + "\": " + std::string(why)};
}

bool is_host_character(char c, bool literal_v6) {
  const bool digit = c >= '0' && c <= '9';
  if (literal_v6)
    return digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
  return digit || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
         c == '_';
}

}  // namespace

Result<Address> parse_address(std::string_view text) {
  constexpr std::string_view unix_prefix = "unix:";
  Address address;
  if (text.starts_with(unix_prefix)) {
    address.path = text.substr(unix_prefix.size());
    if (address.path.empty()) return Err(bad(text, "the path is missing after unix:"));
    if (address.path.size() > socket_path_max) {
      return Err(bad(text, "a socket's path has at most 107 bytes"));
    }
    if (address.path.find('\0') != std::string::npos)
      return Err(bad(text, "the path holds a zero byte"));
    return address;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Err(bad(text, "expected HOST:PORT or unix:/path"));
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.size() > host_max)
    return Err(bad(text, "the host is missing or too long"));
  for (const char c : host) {
    if (!is_host_character(c, bracketed)) {
      return Err(bad(
          text, "the host may hold letters, digits, '.', '-', '_' or an IPv6 address in brackets"));
    }
  }
  unsigned value = 0;
  const auto [end, fault] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (fault != std::errc() || end != port.data() + port.size() || value > 65535 ||
      port.size() > 5) {
    return Err(bad(text, "the port is a number from 0 to 65535"));
  }
  address.host = host;
  address.port = static_cast<std::uint16_t>(value);
  return address;
}

std::string to_string(const Address& address) {
  if (!address.path.empty()) return "unix:" + address.path;
  const bool brackets = address.host.find(':') != std::string::npos;
  return (brackets ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace ambit::io
