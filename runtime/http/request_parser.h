#pragma once

// RequestParser: HTTP/1.1 requests from bytes as they come, cut anywhere. Strict where two programs
// could read one text in two ways (RFC 9112): bare CR or LF, obs-fold, a blank before a colon, two
// lengths, a length beside chunks, an unknown coding, two hosts. Everything is bounded before it is
// kept. Pure: it knows no socket and no time.

#include "http/message.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::http {

struct RequestLimits {
  std::size_t head_bytes_max = 32 << 10;  // request line and headers together
  std::size_t target_bytes_max = 8 << 10;
  std::size_t headers_max = 100;
  std::size_t body_bytes_max = 16 << 20;
};

struct RequestHead {
  std::string method;
  std::string path;   // begins with '/', or is "*"; escapes untouched
  std::string query;  // without the '?'
  std::string host;   // lower case, with the port if the client named one; empty only in HTTP/1.0
  Headers headers;
  std::optional<std::uint64_t> content_length;
  bool is_chunked = false;
  bool is_http_1_0 = false;
  bool keeps_alive = true;  // the client's wish
  bool expects_continue = false;
  friend bool operator==(const RequestHead&, const RequestHead&) = default;
};

// Why a request is not served, and the status that says so.
struct Refusal {
  int status = 400;
  std::string message;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

class RequestParser {
 public:
  enum class State { head, body, done, refused };

  explicit RequestParser(RequestLimits limits = {}) : limits_(limits) {}

  // Goes as far as these bytes allow. What follows a request that is done is kept for next(); so
  // feed no more than one read then.
  void feed(std::string_view bytes);
  [[nodiscard]] State state() const { return state_; }
  // Complete from State::body on.
  [[nodiscard]] const RequestHead& head() const { return head_; }
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }
  // The part of the body that has come since the last call.
  std::string take_body() { return std::exchange(body_, std::string()); }
  // Forgets a request that is done and begins the next with what is kept.
  void next();
  // Nothing of a request has come yet.
  [[nodiscard]] bool is_idle() const { return state_ == State::head && buffer_.empty(); }

 private:
  enum class Chunk { size, data, data_end, trailer };

  void advance();
  bool find_head();
  void read_body();
  bool read_chunk();
  bool read_chunk_line(std::string_view line);
  std::optional<std::string_view> take_line(std::size_t bytes_max);
  void count_body(std::uint64_t bytes);
  void refuse(int status, std::string message);

  RequestLimits limits_;
  State state_ = State::head;
  Refusal refusal_;
  RequestHead head_;
  std::string buffer_;
  std::size_t at_ = 0;          // of the buffer, what is used up
  std::size_t line_start_ = 0;  // of the head's line that is not complete yet
  std::size_t scanned_ = 0;
  std::string body_;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t left_ = 0;  // of the body or chunk
  Chunk chunk_ = Chunk::size;
  std::size_t trailer_bytes_ = 0;
};

// One whole head, its last empty line included.
tl::expected<RequestHead, Refusal> parse_request_head(std::string_view text,
                                                      const RequestLimits& limits);

// Whether a Host names one of `hosts` (lower case, without ports), with whatever port.
bool is_host_among(std::string_view host, const std::vector<std::string>& hosts);

}  // namespace ambit::http
