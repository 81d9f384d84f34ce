#include "http/url.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>

namespace ambit::http {
namespace {

constexpr std::size_t host_bytes_max = 253;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// The query and what follows may hold secrets: only the front is shown.
tl::unexpected<Error> bad(std::string_view text, std::string_view why) {
  constexpr std::size_t shown_max = 100;
  std::string shown(text.substr(0, std::min(text.find('?'), shown_max)));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7E) c = '?';
  }
  return Err(Code::invalid, "URL \"" + shown + "\": " + std::string(why));
}

bool is_ip4(const std::string& host) {
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool is_ip6(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

// Labels of letters, digits, '-' and '_'. A last label that looks like a number makes it an IPv4
// address, which has exactly one spelling: others ("127.1", "0x7f000001") reach the same host under
// another name.
bool is_name(const std::string& host) {
  std::size_t begin = 0;
  std::string_view label;
  while (begin <= host.size()) {
    const std::size_t dot = std::min(host.find('.', begin), host.size());
    label = std::string_view(host).substr(begin, dot - begin);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
      return false;
    for (const char c : label) {
      if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_') return false;
    }
    begin = dot + 1;
  }
  const bool looks_numeric =
      std::all_of(label.begin(), label.end(), is_digit) ||
      (label.starts_with("0x") && std::all_of(label.begin() + 2, label.end(), is_hex));
  return !looks_numeric || is_ip4(host);
}

Result<std::uint16_t> parse_port(std::string_view text, std::string_view port) {
  unsigned value = 0;
  const auto [end, fault] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (fault != std::errc() || end != port.data() + port.size() || value == 0 || value > 65535 ||
      port.size() > 5) {
    return bad(text, "the port is a number from 1 to 65535");
  }
  return static_cast<std::uint16_t>(value);
}

Result<void> parse_authority(std::string_view text, std::string_view authority, Url& url) {
  if (authority.find('@') != std::string_view::npos) {
    return bad(text, "a user name or password does not belong in a URL");
  }
  std::string_view host = authority;
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos)
      return bad(text, "the bracket of the IPv6 address is not closed");
    host = authority.substr(1, close - 1);
    const std::string_view rest = authority.substr(close + 1);
    if (!rest.empty() && rest.front() != ':')
      return bad(text, "only a port may follow the IPv6 address");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
    url.host = lower_case(host);
    if (!is_ip6(url.host)) return bad(text, "the IPv6 address is malformed");
  } else {
    const std::size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = authority.substr(colon + 1);
    host = authority.substr(0, colon);
    url.host = lower_case(host);
    if (host.empty()) return bad(text, "the host is missing");
    if (host.size() > host_bytes_max || !is_name(url.host))
      return bad(text, "the host is malformed");
  }
  if (has_port) url.port = TRY(parse_port(text, port));
  return {};
}

// Printable ASCII without what RFC 3986 excludes; '%' only before two hex digits.
bool is_path_or_query(std::string_view part) {
  constexpr std::string_view refused = "\"<>\\^`{|}#";
  for (std::size_t i = 0; i < part.size(); ++i) {
    const char c = part[i];
    if (c <= 0x20 || c == 0x7F || refused.find(c) != std::string_view::npos) return false;
    if (c == '%' && (i + 2 >= part.size() || !is_hex(part[i + 1]) || !is_hex(part[i + 2])))
      return false;
  }
  return true;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  if (text.size() > url_bytes_max) return bad(text, "longer than 8192 bytes");
  const std::size_t scheme_end = text.find("://");
  const std::string scheme = lower_case(text.substr(0, std::min(scheme_end, std::size_t{16})));
  Url url;
  url.is_https = scheme == "https";
  if (scheme_end == std::string_view::npos || (scheme != "http" && !url.is_https)) {
    return bad(text, "it must begin with http:// or https://");
  }
  url.port = url.is_https ? 443 : 80;
  std::string_view rest = text.substr(scheme_end + 3);
  if (rest.find('#') != std::string_view::npos)
    return bad(text, "a fragment (#...) is never sent; leave it out");
  const std::size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
  TRY(parse_authority(text, rest.substr(0, authority_end), url));
  rest.remove_prefix(authority_end);
  const std::size_t question = rest.find('?');
  const std::string_view path = rest.substr(0, question);
  if (!path.empty()) url.path = path;
  if (question != std::string_view::npos) url.query = rest.substr(question + 1);
  if (!is_path_or_query(url.path) || !is_path_or_query(url.query)) {
    return bad(text, "a character that must be written as %XX, or a % without two hex digits");
  }
  return url;
}

std::string origin(const Url& url) {
  const bool brackets = url.host.find(':') != std::string::npos;
  std::string text = url.is_https ? "https://" : "http://";
  text += brackets ? "[" + url.host + "]" : url.host;
  if (url.port != (url.is_https ? 443 : 80)) text += ":" + std::to_string(url.port);
  return text;
}

std::string to_string(const Url& url) {
  return origin(url) + url.path + (url.query.empty() ? "" : "?" + url.query);
}

}  // namespace ambit::http
