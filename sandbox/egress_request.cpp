#include "sandbox/egress_request.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace ambit::sandbox::egress {
namespace {

constexpr std::string_view placeholder_prefix = "ambit-secret-";
constexpr std::size_t placeholder_digits = 32;
constexpr std::size_t line_bytes_max = 8 << 10;

tl::unexpected<Refusal> refuse(int status, std::string why) {
  return tl::unexpected<Refusal>(Refusal{status, std::move(why)});
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
std::string lower_case(std::string_view text) {
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(), lower);
  return lowered;
}

// "api.example.com:443" as a URL's parts: strict, and nothing after the port.
Judged<http::Url> read_authority(std::string_view authority) {
  if (authority.find_first_of("/?#@\\%") != std::string_view::npos)
    return refuse(400, "CONNECT takes a host and a port, and nothing else");
  const std::size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || authority.ends_with(']'))
    return refuse(400, "CONNECT needs a port");
  auto url = http::parse_url("https://" + std::string(authority) + "/");
  if (!url) return refuse(400, url.error().message);
  url->path.clear();
  return *url;
}

// Names that some resolvers read as others than we do.
Judged<void> check_host(const std::string& host) {
  if (host.ends_with('.')) return refuse(403, "a host with a dot at its end is not on any list");
  return {};
}

struct Line {
  std::string_view method;
  std::string_view target;
  std::string_view version;
};

Judged<Line> read_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return refuse(400, "the first line is no request");
  const Line parts{line.substr(0, first), line.substr(first + 1, last - first - 1),
                   line.substr(last + 1)};
  if (!http::is_token(parts.method) || parts.method.size() > 32)
    return refuse(400, "the method is malformed");
  for (const char c : parts.target)
    if (c <= 0x20 || c >= 0x7F)
      return refuse(400, "the target holds a blank, a control or a foreign character");
  if (parts.version != "HTTP/1.1" && parts.version != "HTTP/1.0")
    return refuse(505, "the proxy speaks HTTP/1.1");
  return parts;
}

// With the port that the scheme has by itself, if none is said.
bool is_same_host(std::string_view said, const http::Url& url) {
  auto host = http::parse_url((url.is_https ? "https://" : "http://") + std::string(said) + "/");
  return host && host->host == url.host && host->port == url.port && host->path == "/";
}

struct Pattern {
  bool is_wildcard = false;
  http::Url url;  // of a wildcard: the host begins with a dot
};

Result<Pattern> read_pattern(const std::string& origin) {
  Pattern pattern;
  std::string text = origin;
  const std::size_t star = text.find("://*.");
  if (star != std::string::npos) {
    pattern.is_wildcard = true;
    text.erase(star + 3, 2);
  }
  pattern.url = TRY(http::parse_url(text));
  const bool is_origin =
      http::origin(pattern.url) == lower_case(text) ||
      http::origin(pattern.url) + ":" + std::to_string(pattern.url.port) == lower_case(text);
  if (!is_origin)
    return Err(Code::invalid,
               "'" + origin + "' is no origin: write scheme, host and port, and no path");
  if (pattern.is_wildcard && pattern.url.host.find('.') == std::string::npos)
    return Err(Code::invalid, "'" + origin + "' stands for a whole top-level domain");
  if (pattern.is_wildcard) pattern.url.host.insert(0, ".");
  return pattern;
}

bool covers(const Pattern& pattern, const std::string& host) {
  if (!pattern.is_wildcard) return host == pattern.url.host;
  return host.size() > pattern.url.host.size() && host.ends_with(pattern.url.host);
}

// Whether a request for `asked` may be one for the origin; a plain request to a TLS origin is
// carried by TLS, so that the proxy can see and complete it.
bool leads_to(const Pattern& pattern, const Head& head) {
  const http::Url& asked = head.url;
  if (!covers(pattern, asked.host)) return false;
  if (asked.is_https == pattern.url.is_https) return asked.port == pattern.url.port;
  if (asked.is_https) return false;
  return asked.port == pattern.url.port || (asked.port == 80 && pattern.url.port == 443);
}

bool permits_method(const agents::EgressRule& rule, const std::string& method) {
  if (rule.methods.empty()) return method == "GET" || method == "HEAD";
  return std::any_of(rule.methods.begin(), rule.methods.end(),
                     [&](const std::string& one) { return one == "*" || one == method; });
}

}  // namespace

Judged<Head> read_head(std::string_view text) {
  const std::size_t end = text.find("\r\n");
  if (end == std::string_view::npos || end > line_bytes_max)
    return refuse(414, "the first line is too long");
  auto line = read_line(text.substr(0, end));
  if (!line) return tl::unexpected<Refusal>(line.error());
  Head head;
  head.method = line->method;
  head.is_tunnel = line->method == "CONNECT";
  if (head.is_tunnel) {
    auto url = read_authority(line->target);
    if (!url) return tl::unexpected<Refusal>(url.error());
    head.url = std::move(*url);
  } else {
    auto url = http::parse_url(line->target);
    if (!url) return refuse(400, "give the whole URL, as to a proxy: " + url.error().message);
    head.url = std::move(*url);
  }
  if (auto checked = check_host(head.url.host); !checked)
    return tl::unexpected<Refusal>(checked.error());
  const std::string query = head.url.query.empty() ? "" : "?" + head.url.query;
  head.rewritten = (head.is_tunnel ? "GET" : head.method) + " " +
                   (head.is_tunnel ? "/" : head.url.path + query) + " " +
                   std::string(line->version) + std::string(text.substr(end));
  http::RequestLimits limits;
  limits.head_bytes_max = head_bytes_max;
  auto fields = http::parse_request_head(head.rewritten, limits);
  if (!fields) return tl::unexpected<Refusal>(fields.error());
  head.fields = std::move(*fields);
  if (!head.fields.host.empty() && !is_same_host(head.fields.host, head.url))
    return refuse(403, "the Host header names another host than the request");
  if (head.is_tunnel && (head.fields.content_length || head.fields.is_chunked))
    return refuse(400, "CONNECT has no body");
  return head;
}

Result<void> check_rule(const agents::EgressRule& rule) {
  const Pattern pattern = TRY(read_pattern(rule.origin));
  for (const std::string& method : rule.methods)
    if (method != "*" && (!http::is_token(method) || method == "CONNECT"))
      return Err(Code::invalid, "'" + method + "' is no method for " + rule.origin +
                                    "; for CONNECT say \"tunnel\": true");
  if (rule.tunnel && !pattern.url.is_https)
    return Err(Code::invalid, rule.origin + ": only an https origin can be tunnelled to");
  if (rule.tunnel && (!rule.secrets.empty() || !rule.methods.empty()))
    return Err(Code::invalid, rule.origin +
                                  ": in a tunnel the proxy sees no method and fills in no secret; "
                                  "leave \"tunnel\" out and call the origin by http:// instead");
  if (!rule.secrets.empty() && !pattern.url.is_https && !rule.is_private)
    return Err(Code::invalid,
               rule.origin + ": a secret would cross the network unencrypted; use https");
  return {};
}

Judged<Permit> find_rule(std::span<const agents::EgressRule> rules, const Head& head) {
  bool is_known = false;
  for (const agents::EgressRule& rule : rules) {
    const auto pattern = read_pattern(rule.origin);
    if (!pattern || !leads_to(*pattern, head)) continue;
    is_known = true;
    if (head.is_tunnel ? !rule.tunnel : rule.tunnel || !permits_method(rule, head.method)) continue;
    Permit permit{&rule, head.url};
    permit.url.is_https = pattern->url.is_https;
    permit.url.port = pattern->url.port;
    return permit;
  }
  const std::string where = http::origin(head.url);
  if (is_known)
    return refuse(403, "the jail's profile does not permit " + head.method + " to " + where);
  return refuse(403, "the jail's profile does not name " + where);
}

std::string Secrets::placeholder(std::span<const std::uint8_t, 16> random) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(placeholder_prefix);
  for (const std::uint8_t byte : random) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

bool Secrets::mentions(std::string_view text) {
  return text.find(placeholder_prefix) != std::string_view::npos;
}

Judged<void> Secrets::fill(std::string& value, const agents::EgressRule& rule,
                           std::vector<std::string>& used) const {
  std::size_t at = 0;
  while ((at = value.find(placeholder_prefix, at)) != std::string::npos) {
    const std::string said = value.substr(at, placeholder_prefix.size() + placeholder_digits);
    const auto known = std::find_if(all_.begin(), all_.end(),
                                    [&](const Secret& one) { return one.placeholder == said; });
    if (known == all_.end()) return refuse(403, "a placeholder that is not of this call");
    if (std::find(rule.secrets.begin(), rule.secrets.end(), known->name) == rule.secrets.end())
      return refuse(403, "the secret " + known->name + " is not for " + rule.origin);
    value.replace(at, said.size(), known->value);
    at += known->value.size();
    used.push_back(known->name);
  }
  return {};
}

Scrubber::Scrubber(std::vector<Secrets::Secret> secrets) : secrets_(std::move(secrets)) {
  std::erase_if(secrets_, [](const Secrets::Secret& one) { return one.value.empty(); });
  for (const Secrets::Secret& one : secrets_) longest_ = std::max(longest_, one.value.size());
}

void Scrubber::replace() {
  for (const Secrets::Secret& one : secrets_) {
    std::size_t at = 0;
    while ((at = held_.find(one.value, at)) != std::string::npos) {
      held_.replace(at, one.value.size(), one.placeholder);
      at += one.placeholder.size();
    }
  }
}

std::string Scrubber::feed(std::string_view part) {
  if (longest_ == 0) return std::string(part);
  held_ += part;
  replace();
  if (held_.size() < longest_) return {};
  const std::size_t ready = held_.size() - (longest_ - 1);
  std::string text = held_.substr(0, ready);
  held_.erase(0, ready);
  return text;
}

http::Headers end_to_end(const http::Headers& headers) {
  constexpr std::array<std::string_view, 13> own = {"connection",
                                                    "proxy-connection",
                                                    "proxy-authorization",
                                                    "proxy-authenticate",
                                                    "keep-alive",
                                                    "te",
                                                    "trailer",
                                                    "transfer-encoding",
                                                    "upgrade",
                                                    "host",
                                                    "expect",
                                                    "content-length",
                                                    "forwarded"};
  std::vector<std::string> named;
  for (const http::Header& header : headers) {
    if (!http::same_name(header.name, "connection")) continue;
    std::size_t begin = 0;
    while (begin <= header.value.size()) {
      const std::size_t comma = std::min(header.value.find(',', begin), header.value.size());
      std::string_view name = std::string_view(header.value).substr(begin, comma - begin);
      while (!name.empty() && (name.front() == ' ' || name.front() == '\t')) name.remove_prefix(1);
      while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
      named.emplace_back(name);
      begin = comma + 1;
    }
  }
  http::Headers kept;
  for (const http::Header& header : headers) {
    const auto is_it = [&](std::string_view name) { return http::same_name(header.name, name); };
    if (std::any_of(own.begin(), own.end(), is_it)) continue;
    if (std::any_of(named.begin(), named.end(), is_it)) continue;
    kept.add(header.name, header.value);
  }
  return kept;
}

namespace {

// Reads big-endian numbers and what they count; once short, always short.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  std::size_t number(std::size_t width) {
    const std::string_view digits = take(width);
    std::size_t value = 0;
    for (const char c : digits) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }
  std::string_view take(std::size_t count) {
    if (count > bytes_.size()) {
      is_short_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view part = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return part;
  }
  std::string_view counted(std::size_t width) { return take(number(width)); }
  [[nodiscard]] bool is_short() const { return is_short_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool is_short_ = false;
};

// RFC 6066, 3: one name of type host_name.
Judged<std::string> read_server_name(std::string_view extension) {
  Bytes bytes(extension);
  Bytes list(bytes.counted(2));
  if (bytes.is_short() || !bytes.empty()) return refuse(403, "the TLS hello is malformed");
  const std::size_t type = list.number(1);
  const std::string_view name = list.counted(2);
  if (list.is_short() || !list.empty() || type != 0 || name.empty())
    return refuse(403, "the TLS hello names no server, or several");
  return lower_case(name);
}

// RFC 8446, 4.1.2.
Judged<Hello> read_client_hello(std::string_view message) {
  Bytes body(message);
  (void)body.take(2 + 32);
  (void)body.counted(1);
  (void)body.counted(2);
  (void)body.counted(1);
  Bytes extensions(body.counted(2));
  if (body.is_short()) return refuse(403, "the TLS hello is malformed");
  Hello hello{true, ""};
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const std::string_view extension = extensions.counted(2);
    if (extensions.is_short()) return refuse(403, "the TLS hello is malformed");
    if (type != 0) continue;
    if (!hello.server_name.empty()) return refuse(403, "the TLS hello names two servers");
    auto name = read_server_name(extension);
    if (!name) return tl::unexpected<Refusal>(name.error());
    hello.server_name = std::move(*name);
  }
  if (hello.server_name.empty()) return refuse(403, "the TLS hello names no server");
  return hello;
}

}  // namespace

Judged<Hello> read_hello(std::string_view bytes) {
  // Records of one handshake message, put together.
  std::string message;
  Bytes records(bytes);
  while (true) {
    if (records.empty()) break;
    const std::size_t type = records.number(1);
    if (!records.is_short() && type != 22) return refuse(403, "this is no TLS hello");
    const std::size_t version = records.number(1);
    if (!records.is_short() && version != 3) return refuse(403, "this is no TLS hello");
    (void)records.number(1);
    const std::string_view record = records.counted(2);
    if (records.is_short()) break;
    message += record;
    if (message.size() >= 4) {
      Bytes handshake(message);
      if (handshake.number(1) != 1) return refuse(403, "this is no TLS hello");
      const std::size_t length = handshake.number(3);
      if (length > hello_bytes_max) return refuse(403, "the TLS hello is too long");
      const std::string_view body = handshake.take(length);
      if (!handshake.is_short()) return read_client_hello(body);
    }
  }
  if (bytes.size() > hello_bytes_max) return refuse(403, "the TLS hello is too long");
  return Hello{};
}

}  // namespace ambit::sandbox::egress
