#include "http/public_address.h"

#include <sys/socket.h>

#include <arpa/inet.h>
#include <array>
#include <cstdint>
#include <cstring>
#include <netinet/in.h>
#include <string>

namespace ambit::http {
namespace {

struct Network {
  std::uint32_t address;
  int bits;
};

constexpr std::uint32_t ip(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

// IANA's registry of special-purpose addresses, and multicast.
constexpr std::array<Network, 16> special = {{
    {ip(0, 0, 0, 0), 8},
    {ip(10, 0, 0, 0), 8},
    {ip(100, 64, 0, 0), 10},
    {ip(127, 0, 0, 0), 8},
    {ip(169, 254, 0, 0), 16},
    {ip(172, 16, 0, 0), 12},
    {ip(192, 0, 0, 0), 24},
    {ip(192, 0, 2, 0), 24},
    {ip(192, 88, 99, 0), 24},
    {ip(192, 168, 0, 0), 16},
    {ip(198, 18, 0, 0), 15},
    {ip(198, 51, 100, 0), 24},
    {ip(203, 0, 113, 0), 24},
    {ip(224, 0, 0, 0), 4},
    {ip(240, 0, 0, 0), 4},
    {ip(255, 255, 255, 255), 32},
}};

bool is_public_4(std::uint32_t address) {
  for (const Network& network : special) {
    const std::uint32_t mask = ~std::uint32_t{0} << (32 - network.bits);
    if ((address & mask) == network.address) return false;
  }
  return true;
}

std::uint32_t four_at(const std::uint8_t* bytes) {
  return ip(bytes[0], bytes[1], bytes[2], bytes[3]);
}

bool is_public_6(const std::uint8_t (&bytes)[16]) {
  static constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  static constexpr std::uint8_t nat64[12] = {0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0};
  if (std::memcmp(bytes, mapped, 12) == 0 || std::memcmp(bytes, nat64, 12) == 0) {
    return is_public_4(four_at(bytes + 12));
  }
  if ((bytes[0] & 0xE0) != 0x20) return false;  // beyond 2000::/3 nothing is global unicast
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return is_public_4(four_at(bytes + 2));  // 6to4
  if (bytes[0] == 0x20 && bytes[1] == 0x01) {
    if (bytes[2] < 0x02) return false;                       // 2001::/23: Teredo and others
    if (bytes[2] == 0x0D && bytes[3] == 0xB8) return false;  // documentation
  }
  return !(bytes[0] == 0x3F && bytes[1] == 0xFF);  // 3fff::/20 is documentation too
}

}  // namespace

bool is_public(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_public_4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    return is_public_6(v6.sin6_addr.s6_addr);
  }
  return false;
}

bool is_public_or_name(std::string_view host) {
  const std::string text(host);
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return is_public_4(ntohl(v4.s_addr));
  in6_addr v6{};
  if (::inet_pton(AF_INET6, text.c_str(), &v6) == 1) return is_public_6(v6.s6_addr);
  return text != "localhost" && !text.ends_with(".localhost");
}

}  // namespace ambit::http
