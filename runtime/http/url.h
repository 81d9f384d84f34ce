#pragma once

// A strict parser of absolute http and https URLs, for what we send requests to and what policies
// look at. What two programs could read in two ways (user:password@, backslashes, "127.1", bare
// spaces) is refused.

#include "async/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::http {

struct Url {
  bool is_https = false;
  std::string host;         // lower case; an IPv6 address without its brackets
  std::uint16_t port = 80;  // the scheme's own if the text has none
  std::string path = "/";   // as written, never empty, dots and escapes untouched
  std::string query;        // without the '?'
  friend bool operator==(const Url&, const Url&) = default;
};

constexpr std::size_t url_bytes_max = 8192;

Result<Url> parse_url(std::string_view text);
std::string to_string(const Url& url);
// "https://host:8443", the port only if it is not the scheme's own.
std::string origin(const Url& url);

}  // namespace ambit::http
