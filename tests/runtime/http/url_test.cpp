#include "http/url.h"

#include <catch2/catch.hpp>

namespace ambit::http {

TEST_CASE("a URL is taken apart", "[http]") {
  CHECK(parse_url("http://Example.COM").value() == Url{false, "example.com", 80, "/", ""});
  CHECK(parse_url("HTTPS://api.example/v1/a%20b?x=1&y=/?").value() ==
        Url{true, "api.example", 443, "/v1/a%20b", "x=1&y=/?"});
  CHECK(parse_url("http://[::1]:8080/../a").value() == Url{false, "::1", 8080, "/../a", ""});
  CHECK(parse_url("http://127.0.0.1:1?q").value() == Url{false, "127.0.0.1", 1, "/", "q"});
}

TEST_CASE("a URL reads the same after it was written", "[http]") {
  for (const char* text : {"https://a.example:8443/x?y", "http://[fe80::1]/", "http://a_b-c/"}) {
    CHECK(to_string(parse_url(text).value()) == text);
  }
  CHECK(origin(parse_url("https://A:443/secret?key").value()) == "https://a");
}

TEST_CASE("a URL that could be read in two ways is refused", "[http]") {
  const char* refused[] = {
      "",
      "example.com",
      "ftp://a/",
      "file:///etc/passwd",
      "http:/a",
      "http://",
      "http:///path",
      "http://user@host/",
      "http://user:word@host/",
      "http://host:0/",
      "http://host:65536/",
      "http://host:/",
      "http://host:80:80/",
      "http://ho st/",
      "http://host\\evil/",
      "http://127.1/",
      "http://2130706433/",
      "http://0x7f000001/",
      "http://0177.0.0.1/",
      "http://1.2.3.4.5/",
      "http://host./",
      "http://-host/",
      "http://a..b/",
      "http://[::1/",
      "http://[::1]x/",
      "http://[1.2.3.4]/",
      "http://h\xC3\xB6st/",
      "http://host/a b",
      "http://host/%zz",
      "http://host/%4",
      "http://host/a\nb",
      "http://host/#top",
      "http://host/?a#b",
      "http://host/\x7F",
  };
  for (const char* text : refused) {
    INFO(text);
    const auto url = parse_url(text);
    REQUIRE_FALSE(url.has_value());
    CHECK(url.error().code == Code::invalid);
    CHECK_THAT(url.error().message, Catch::StartsWith("URL \""));
  }
  CHECK(parse_url("http://h/" + std::string(url_bytes_max - 9, 'a')).has_value());
  CHECK_FALSE(parse_url("http://h/" + std::string(url_bytes_max - 8, 'a')).has_value());
}

TEST_CASE("the message about a bad URL does not show its query", "[http]") {
  CHECK(parse_url("http://host/x?token=secret#a").error().message ==
        "URL \"http://host/x\": a fragment (#...) is never sent; leave it out");
}

}  // namespace ambit::http
