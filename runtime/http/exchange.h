#pragma once

// Exchange: one request and its answer, as a handler sees them. The handler owns nothing here; the
// connection does. Writing waits until the kernel has taken the bytes, so a slow client slows its
// handler down, up to a deadline. When the client goes away, the handler's task is destroyed.

#include "async/waiters.h"
#include "http/message.h"
#include "http/request_parser.h"
#include "io/stream.h"

#include <chrono>
#include <functional>
#include <string>

namespace ambit::http {

struct ServerTimeouts {
  Duration head =
      std::chrono::seconds(10);  // from the first byte of a request to the end of its head
  Duration body = std::chrono::seconds(60);   // for the whole body, once a handler wants it
  Duration idle = std::chrono::seconds(60);   // between two requests
  Duration write = std::chrono::seconds(30);  // until the client has taken what one write sends
};

// Reads ahead of whoever wants the bytes; a cancelled reader loses nothing, so the connection can
// look for the client's end while a handler works. It holds one read at most.
class ReadAhead final : public Event {
 public:
  explicit ReadAhead(io::Stream& stream) : stream_(stream) {}

  Task<Result<std::string>> read();
  // Returns once there is something to read: bytes, the end or an error.
  Task<void> wait();
  [[nodiscard]] bool has_bytes() const { return ready_ && *ready_ && !(*ready_)->empty(); }

 private:
  void fire() override;

  io::Stream& stream_;
  Task<Result<std::string>> task_;
  std::optional<Result<std::string>> ready_;
  Waiters changed_;
};

class Exchange {
 public:
  // `date` gives the Date header's value.
  Exchange(io::Stream& stream, ReadAhead& input, RequestParser& parser,
           const ServerTimeouts& timeouts, const std::function<std::string()>& date)
      : stream_(stream), input_(input), parser_(parser), timeouts_(timeouts), date_(date) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  [[nodiscard]] const RequestHead& request() const { return parser_.head(); }

  // The next part of the body; empty at its end. An error means that the request is broken: return,
  // the connection answers it.
  Task<Result<std::string>> read();
  Task<Result<std::string>> read_all();

  // The whole answer. Headers that frame the message (Content-Length, Transfer-Encoding,
  // Connection, Date) are set here.
  Task<Result<void>> respond(int status, Headers headers, std::string body);
  // The same in parts, of unknown number: begin, write ..., end.
  Task<Result<void>> begin(int status, Headers headers);
  Task<Result<void>> write(std::string bytes);
  Task<Result<void>> end();

  // The head of an answer has been sent.
  [[nodiscard]] bool has_begun() const { return begun_; }
  [[nodiscard]] bool has_ended() const { return ended_; }
  [[nodiscard]] bool is_broken() const { return broken_; }
  // The body did not come in time.
  [[nodiscard]] bool is_late() const { return late_; }
  // The connection can carry another request.
  [[nodiscard]] bool is_reusable() const {
    return ended_ && !closes_ && !broken_ && parser_.state() == RequestParser::State::done;
  }
  // Answers with "Connection: close" if nothing has been sent yet.
  void close_after() { closes_ = true; }
  // Waits until the body has been read.
  Task<void> body_read();

 private:
  Task<Result<void>> send(std::string bytes);
  Result<std::string> head_text(int status, const Headers& headers, std::string_view framing);

  io::Stream& stream_;
  ReadAhead& input_;
  RequestParser& parser_;
  const ServerTimeouts& timeouts_;
  const std::function<std::string()>& date_;
  Waiters body_read_;
  std::optional<Instant> body_deadline_;
  bool continued_ = false;
  bool begun_ = false;
  bool ended_ = false;
  bool has_chunks_ = false;
  bool has_body_ = true;  // the answer may have one
  bool closes_ = false;
  bool broken_ = false;
  bool late_ = false;
};

std::string_view reason_phrase(int status);
// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::int64_t unix_seconds);

}  // namespace ambit::http
