#include "http/public_address.h"

#include <catch2/catch.hpp>

namespace ambit::http {

TEST_CASE("addresses that only this machine or its networks can reach are not public", "[http]") {
  for (const char* host : {"127.0.0.1",
                           "127.255.255.254",
                           "0.0.0.0",
                           "10.1.2.3",
                           "100.64.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.1.1",
                           "192.0.2.7",
                           "198.18.0.1",
                           "203.0.113.9",
                           "224.0.0.1",
                           "255.255.255.255",
                           "::1",
                           "::",
                           "fe80::1",
                           "fc00::1",
                           "fd12:3456::1",
                           "ff02::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "64:ff9b::7f00:1",
                           "2002:7f00:1::1",
                           "2001::1",
                           "2001:db8::1",
                           "::127.0.0.1",
                           "localhost",
                           "a.localhost"}) {
    INFO(host);
    CHECK_FALSE(is_public_or_name(host));
  }
}

TEST_CASE("addresses of the public internet, and the edges of the special networks, are public",
          "[http]") {
  for (const char* host :
       {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
        "223.255.255.255", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101",
        "2002:101:101::1", "example.com"}) {
    INFO(host);
    CHECK(is_public_or_name(host));
  }
}

}  // namespace ambit::http
