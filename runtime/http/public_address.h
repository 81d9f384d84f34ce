#pragma once

// Which IP addresses belong to the public internet, for requests whose URL comes from somebody
// else: those may not reach this machine or the networks that only it can see.

#include <string_view>

struct sockaddr;

namespace ambit::http {

// Not loopback, private, link-local, shared, multicast, reserved or for documentation; an IPv6
// address that carries an IPv4 one is judged by that.
bool is_public(const sockaddr& address);
// The same for the text of an address; a name is none, and is judged when it is connected to.
bool is_public_or_name(std::string_view host);

}  // namespace ambit::http
