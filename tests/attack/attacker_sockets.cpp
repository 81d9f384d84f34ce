// Attempts on the network and on sockets of others.

#include "attacker.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

namespace attack {
namespace {

int any_socket() {
  for (int family = 0; family < 46; ++family)
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
      if (socket(family, type, 0) >= 0) return escaped;
  return refused;
}
// All but the one kind that level net makes, and that one with what else could be asked of it.
int other_sockets() {
  for (int family = 0; family < 46; ++family)
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
      if ((family != AF_INET || type != SOCK_STREAM) && socket(family, type, 0) >= 0)
        return escaped;
  return worked(socket(AF_INET, SOCK_STREAM, 262 /* MPTCP */));
}
// The port of somebody who listens outside, on every address that could be theirs.
sockaddr_in listener(std::uint32_t host) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(target)));
  address.sin_addr.s_addr = htonl(host);
  return address;
}
constexpr std::uint32_t hosts[] = {0x7f000001, 0x7f000002, 0, 0xa9fea9fe};
int connect_outside() {
  for (const std::uint32_t host : hosts) {
    const int made = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = listener(host);
    if (host == 0xa9fea9fe) (void)fcntl(made, F_SETFL, O_NONBLOCK);
    if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return escaped;
    close(made);
  }
  return refused;
}
// Connects without connect, which is what Landlock looks at.
int connect_by_sending() {
  const int made = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = listener(0x7f000001);
  return worked(call(SYS_sendto, made, "x", 1, MSG_FASTOPEN, &address, sizeof address));
}
int listen_inside() {
  const int made = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
  return worked(bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
                listen(made, 1) == 0);
}
int foreign_socket_pair() {
  int ends[2];
  return worked(socketpair(AF_NETLINK, SOCK_RAW, 0, ends) == 0 ||
                socketpair(AF_TIPC, SOCK_STREAM, 0, ends) == 0);
}
int send_through_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) return refused;
  char name[110] = {1, 0, 0};  // AF_UNIX, an abstract name
  std::strcpy(name + 3, target);
  const auto length = static_cast<socklen_t>(3 + std::strlen(target));
  return worked(call(SYS_sendto, ends[0], "x", 1, 0, name, length));
}

constexpr Attempt all[] = {
    {"any_socket", any_socket},
    {"other_sockets", other_sockets},
    {"connect_outside", connect_outside},
    {"connect_by_sending", connect_by_sending},
    {"listen_inside", listen_inside},
    {"foreign_socket_pair", foreign_socket_pair},
    {"send_through_pair", send_through_pair},
};

}  // namespace

std::span<const Attempt> sockets_attempts() {
  return all;
}

}  // namespace attack
