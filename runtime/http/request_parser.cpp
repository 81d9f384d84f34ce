#include "http/request_parser.h"

#include "http/url.h"

#include <algorithm>
#include <charconv>

namespace ambit::http {
namespace {

constexpr std::size_t chunk_line_bytes_max = 256;
constexpr std::size_t trailer_bytes_max = 4 << 10;
constexpr std::size_t method_bytes_max = 32;

tl::unexpected<Refusal> refusal(int status, std::string message) {
  return tl::unexpected<Refusal>(Refusal{status, std::move(message)});
}

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The value, or none if it has other characters or is too large.
std::optional<std::uint64_t> to_number(std::string_view text, int base) {
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number > std::uint64_t{1} << 62U) return std::nullopt;
  return number;
}

bool is_host(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view("-._:[]").find(c) != std::string_view::npos;
  });
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

tl::expected<void, Refusal> read_target(std::string_view target, RequestHead& head) {
  if (!std::all_of(target.begin(), target.end(),
                   [](char c) { return c > 0x20 && c < 0x7F && c != '#'; })) {
    return refusal(400, "the request target holds a blank, a control or a foreign character");
  }
  if (target == "*" && head.method == "OPTIONS") {
    head.path = "*";
    return {};
  }
  if (!target.starts_with('/')) {
    auto url = parse_url(target);
    if (!url) return refusal(400, "the request target must be a path or an absolute URL");
    head.path = std::move(url->path);
    head.query = std::move(url->query);
    std::string_view authority = target.substr(target.find("//") + 2);
    head.host = to_lower(authority.substr(0, authority.find_first_of("/?")));
    return {};
  }
  const std::size_t mark = std::min(target.find('?'), target.size());
  head.path = target.substr(0, mark);
  if (mark < target.size()) head.query = target.substr(mark + 1);
  return {};
}

tl::expected<void, Refusal> read_request_line(std::string_view line, const RequestLimits& limits,
                                              RequestHead& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return refusal(400, "the request line must be \"METHOD target HTTP/1.1\"");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method)) return refusal(400, "the method is no token");
  if (method.size() > method_bytes_max || method == "CONNECT") {
    return refusal(501, "this method is not known here");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return refusal(version.starts_with("HTTP/") ? 505 : 400,
                   "only HTTP/1.1 and HTTP/1.0 are spoken");
  }
  if (target.size() > limits.target_bytes_max) {
    return refusal(414, "the request target is longer than " +
                            std::to_string(limits.target_bytes_max) + " bytes");
  }
  head.method = method;
  head.is_http_1_0 = version == "HTTP/1.0";
  return read_target(target, head);
}

tl::expected<void, Refusal> read_header_line(std::string_view line, Headers& headers) {
  const std::size_t colon = line.find(':');
  // A line that begins with a blank (obs-fold) has no token before its colon.
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return refusal(
        400, "a header line must be \"Name: value\", without a blank before the colon or the name");
  }
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  if (!is_header_value(value)) return refusal(400, "a header value holds a control character");
  headers.add(std::string(line.substr(0, colon)), std::string(value));
  return {};
}

// RFC 9112, 6.3: how long the body is. Whatever another server could read in another way is
// refused.
tl::expected<void, Refusal> read_framing(RequestHead& head) {
  const std::size_t lengths = head.headers.count("Content-Length");
  const std::size_t codings = head.headers.count("Transfer-Encoding");
  if (lengths + codings > 1) {
    return refusal(400, "more than one Content-Length or Transfer-Encoding");
  }
  if (codings == 1) {
    if (head.is_http_1_0) return refusal(400, "Transfer-Encoding does not exist in HTTP/1.0");
    if (!same_name(*head.headers.find("Transfer-Encoding"), "chunked")) {
      return refusal(501, "the only transfer coding known here is chunked");
    }
    head.is_chunked = true;
  }
  if (lengths == 1) {
    const std::string_view text = *head.headers.find("Content-Length");
    head.content_length = is_digits(text) ? to_number(text, 10) : std::nullopt;
    if (!head.content_length) return refusal(400, "Content-Length must be one number");
  }
  return {};
}

tl::expected<void, Refusal> read_host(RequestHead& head) {
  const std::size_t hosts = head.headers.count("Host");
  if (hosts > 1) return refusal(400, "more than one Host");
  if (hosts == 0) {
    if (head.is_http_1_0) return {};
    return refusal(400, "Host is missing");
  }
  const std::string_view host = *head.headers.find("Host");
  if (!is_host(host)) return refusal(400, "Host is not a name or an address");
  // The authority of an absolute target counts more (RFC 9112, 3.2.2).
  if (head.host.empty()) head.host = to_lower(host);
  return {};
}

tl::expected<void, Refusal> read_connection(RequestHead& head) {
  head.keeps_alive = !head.is_http_1_0;
  for (const Header& header : head.headers) {
    if (same_name(header.name, "Connection")) {
      const std::string value = to_lower(header.value);
      for (std::size_t at = 0; at < value.size();) {
        const std::size_t end = std::min(value.find(',', at), value.size());
        std::string_view option = std::string_view(value).substr(at, end - at);
        while (!option.empty() && option.front() == ' ') option.remove_prefix(1);
        while (!option.empty() && option.back() == ' ') option.remove_suffix(1);
        if (option == "close") head.keeps_alive = false;
        at = end + 1;
      }
    }
    if (same_name(header.name, "Expect")) {
      if (!same_name(header.value, "100-continue")) {
        return refusal(417, "the only expectation known here is 100-continue");
      }
      head.expects_continue = !head.is_http_1_0;
    }
  }
  return {};
}

}  // namespace

tl::expected<RequestHead, Refusal> parse_request_head(std::string_view text,
                                                      const RequestLimits& limits) {
  RequestHead head;
  bool first = true;
  while (true) {
    const std::size_t end = text.find("\r\n");
    if (end == std::string_view::npos) return refusal(400, "the head has no end");
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 2);
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      return refusal(400, "a bare CR, a bare LF or a zero byte in the head");
    }
    if (line.empty() && !first) break;
    if (head.headers.size() >= limits.headers_max) {
      return refusal(431, "more than " + std::to_string(limits.headers_max) + " headers");
    }
    const auto read =
        first ? read_request_line(line, limits, head) : read_header_line(line, head.headers);
    if (!read) return tl::unexpected<Refusal>(read.error());
    first = false;
  }
  for (const auto step : {read_framing, read_host, read_connection}) {
    const auto read = step(head);
    if (!read) return tl::unexpected<Refusal>(read.error());
  }
  if (head.content_length.value_or(0) > limits.body_bytes_max) {
    return refusal(413,
                   "the body is longer than " + std::to_string(limits.body_bytes_max) + " bytes");
  }
  return head;
}

void RequestParser::refuse(int status, std::string message) {
  state_ = State::refused;
  refusal_ = {status, std::move(message)};
  buffer_.clear();
  at_ = 0;
}

void RequestParser::feed(std::string_view bytes) {
  if (state_ == State::refused) return;
  buffer_ += bytes;
  if (state_ != State::done) advance();
}

void RequestParser::next() {
  state_ = State::head;
  head_ = {};
  body_.clear();
  body_bytes_ = 0;
  trailer_bytes_ = 0;
  chunk_ = Chunk::size;
  line_start_ = scanned_ = 0;
  buffer_.erase(0, std::exchange(at_, 0));
  if (!buffer_.empty()) advance();
}

void RequestParser::advance() {
  if (state_ == State::head && !find_head()) return;
  if (state_ == State::body) read_body();
  if (state_ == State::body) buffer_.erase(0, std::exchange(at_, 0));
}

// Looks at each line end as soon as it comes, so that garbage is answered at once and not at the
// deadline.
bool RequestParser::find_head() {
  if (buffer_.empty()) return false;
  const auto begins = static_cast<unsigned char>(buffer_.front());
  if (begins < 'A' || begins > 'z') {
    refuse(400, "this is no HTTP request");
    return false;
  }
  while (true) {
    const std::size_t end = buffer_.find('\n', scanned_);
    const std::size_t seen = std::min(end, buffer_.size());
    if (seen > limits_.head_bytes_max) {
      const bool first_line = line_start_ == 0;
      refuse(first_line ? 414 : 431,
             "the head is longer than " + std::to_string(limits_.head_bytes_max) + " bytes");
      return false;
    }
    scanned_ = seen;
    if (end == std::string::npos) return false;
    if (end == line_start_ || buffer_[end - 1] != '\r') {
      refuse(400, "a line of the head ends with a bare LF");
      return false;
    }
    const bool is_empty = end == line_start_ + 1;
    line_start_ = scanned_ = end + 1;
    if (is_empty) break;
  }
  at_ = line_start_;
  auto head = parse_request_head(std::string_view(buffer_).substr(0, at_), limits_);
  if (!head) {
    refuse(head.error().status, std::move(head.error().message));
    return false;
  }
  head_ = std::move(*head);
  left_ = head_.content_length.value_or(0);
  state_ = head_.is_chunked || left_ > 0 ? State::body : State::done;
  return true;
}

void RequestParser::read_body() {
  if (head_.is_chunked) {
    while (state_ == State::body && read_chunk()) {
    }
    return;
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffer_.size() - at_));
  body_.append(buffer_, at_, count);
  at_ += count;
  left_ -= count;
  if (left_ == 0) state_ = State::done;
}

void RequestParser::count_body(std::uint64_t bytes) {
  body_bytes_ += bytes;
  if (bytes > limits_.body_bytes_max || body_bytes_ > limits_.body_bytes_max) {
    refuse(413, "the body is longer than " + std::to_string(limits_.body_bytes_max) + " bytes");
  }
}

// A line without its CR LF, once it is there.
std::optional<std::string_view> RequestParser::take_line(std::size_t bytes_max) {
  const std::string_view rest = std::string_view(buffer_).substr(at_);
  const std::size_t end = rest.find('\n');
  if (std::min(end, rest.size()) > bytes_max) {
    refuse(400, "a line between the chunks is longer than " + std::to_string(bytes_max) + " bytes");
    return std::nullopt;
  }
  if (end == std::string_view::npos) return std::nullopt;
  if (end == 0 || rest[end - 1] != '\r' ||
      rest.substr(0, end - 1).find_first_of(std::string_view("\r\0", 2)) !=
          std::string_view::npos) {
    refuse(400, "a line between the chunks must end with CR LF");
    return std::nullopt;
  }
  at_ += end + 1;
  return rest.substr(0, end - 1);
}

bool RequestParser::read_chunk_line(std::string_view line) {
  const std::string_view size = line.substr(0, line.find(';'));
  const auto number = size.size() <= 16 ? to_number(size, 16) : std::nullopt;
  if (!number || !is_header_value(line)) {
    refuse(400, "a chunk must begin with its size in hexadecimal digits");
    return false;
  }
  count_body(*number);
  left_ = *number;
  chunk_ = left_ > 0 ? Chunk::data : Chunk::trailer;
  return state_ == State::body;
}

// One step; false: it needs more bytes, or the body has ended.
bool RequestParser::read_chunk() {
  switch (chunk_) {
    case Chunk::size: {
      const auto line = take_line(chunk_line_bytes_max);
      return line && read_chunk_line(*line);
    }
    case Chunk::data: {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffer_.size() - at_));
      body_.append(buffer_, at_, count);
      at_ += count;
      left_ -= count;
      if (left_ == 0) chunk_ = Chunk::data_end;
      return left_ == 0;
    }
    case Chunk::data_end: {
      const auto line = take_line(1);
      if (!line) return false;
      if (!line->empty()) refuse(400, "a chunk is longer than its size says");
      chunk_ = Chunk::size;
      return line->empty();
    }
    case Chunk::trailer: {
      const auto line = take_line(trailer_bytes_max - trailer_bytes_);
      if (!line) return false;
      trailer_bytes_ += line->size();
      if (line->empty()) {
        state_ = State::done;
        return false;
      }
      Headers ignored;
      const auto read = read_header_line(*line, ignored);
      if (!read) refuse(400, read.error().message);
      return read.has_value();
    }
  }
  return false;
}

bool is_host_among(std::string_view host, const std::vector<std::string>& hosts) {
  const std::size_t bracket = host.find(']');
  const std::size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view name = host.substr(0, colon);
  return std::find(hosts.begin(), hosts.end(), name) != hosts.end();
}

}  // namespace ambit::http
