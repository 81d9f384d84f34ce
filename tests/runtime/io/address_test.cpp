#include "io/address.h"

#include <catch2/catch.hpp>

namespace ambit::io {

TEST_CASE("an address is a host with a port or the path of a Unix socket", "[io]") {
  CHECK(parse_address("127.0.0.1:80").value() == Address{"127.0.0.1", 80, ""});
  CHECK(parse_address("[::1]:8080").value() == Address{"::1", 8080, ""});
  CHECK(parse_address("registry.example:0").value() == Address{"registry.example", 0, ""});
  CHECK(parse_address("unix:/run/a.sock").value() == Address{"", 0, "/run/a.sock"});
}

TEST_CASE("an address reads the same after it was written", "[io]") {
  for (const char* text : {"127.0.0.1:80", "[fe80::1]:65535", "host:1", "unix:/a b"}) {
    CHECK(to_string(parse_address(text).value()) == text);
  }
}

TEST_CASE("a malformed address says what is wrong with it", "[io]") {
  const auto message = [](std::string_view text) { return parse_address(text).error().message; };
  CHECK(message("localhost") == "address \"localhost\": expected HOST:PORT or unix:/path");
  CHECK(message(":80") == "address \":80\": the host is missing or too long");
  CHECK(message("h:") == "address \"h:\": the port is a number from 0 to 65535");
  CHECK(message("h:65536") == "address \"h:65536\": the port is a number from 0 to 65535");
  CHECK(message("h:8o") == "address \"h:8o\": the port is a number from 0 to 65535");
  CHECK(message("h:-1") == "address \"h:-1\": the port is a number from 0 to 65535");
  CHECK(message("unix:") == "address \"unix:\": the path is missing after unix:");
  CHECK_THAT(message("a/b:80"), Catch::Contains("the host may hold letters"));
  CHECK_THAT(message("::1:80"), Catch::Contains("IPv6 address in brackets"));
  CHECK_THAT(message("unix:/" + std::string(107, 'a')), Catch::Contains("at most 107 bytes"));
}

}  // namespace ambit::io
