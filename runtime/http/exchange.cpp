#include "http/exchange.h"

#include "async/race.h"

#include <array>
#include <charconv>
#include <ctime>

namespace ambit::http {
namespace {

constexpr std::size_t read_bytes = 64 << 10;

std::string to_hex(std::size_t number) {
  std::array<char, 16> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return std::string(digits.data(), written.ptr);
}

bool frames_message(std::string_view name) {
  return same_name(name, "Content-Length") || same_name(name, "Transfer-Encoding") ||
         same_name(name, "Connection") || same_name(name, "Date");
}

}  // namespace

std::string_view reason_phrase(int status) {
  static constexpr std::pair<int, std::string_view> phrases[] = {
      {100, "Continue"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"}};
  for (const auto& [number, phrase] : phrases) {
    if (number == status) return phrase;
  }
  return "Status";
}

std::string http_date(std::int64_t unix_seconds) {
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = unix_seconds;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  const auto two = [](int number) {
    return std::string(number < 10 ? "0" : "") + std::to_string(number);
  };
  return std::string(days[parts.tm_wday]) + ", " + two(parts.tm_mday) + " " + months[parts.tm_mon] +
         " " + std::to_string(1900 + parts.tm_year) + " " + two(parts.tm_hour) + ":" +
         two(parts.tm_min) + ":" + two(parts.tm_sec) + " GMT";
}

void ReadAhead::fire() {
  ready_ = task_.take();
  task_.reset();
  changed_.wake_all();
}

Task<void> ReadAhead::wait() {
  if (!ready_ && !task_.valid()) {
    task_ = stream_.read(read_bytes);
    task_.start(this);
  }
  while (!ready_) co_await changed_.wait();
}

Task<Result<std::string>> ReadAhead::read() {
  co_await wait();
  Result<std::string> bytes = std::move(*ready_);
  ready_.reset();
  co_return bytes;
}

Task<void> Exchange::body_read() {
  while (parser_.state() != RequestParser::State::done) co_await body_read_.wait();
}

Task<Result<std::string>> Exchange::read() {
  while (true) {
    std::string part = parser_.take_body();
    if (parser_.state() == RequestParser::State::done) body_read_.wake_all();
    if (!part.empty()) co_return part;
    if (parser_.state() == RequestParser::State::done) co_return std::string();
    if (parser_.state() == RequestParser::State::refused) {
      co_return Err(Code::invalid, parser_.refusal().message);
    }
    if (request().expects_continue && !continued_ && !begun_) {
      continued_ = true;
      co_await ok(send("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    const Instant now = Loop::current().now();
    if (!body_deadline_) body_deadline_ = now + timeouts_.body;
    auto bytes = co_await with_timeout(*body_deadline_ - now, input_.read());
    if (!bytes || bytes->empty()) {
      late_ = !bytes && bytes.error().code == Code::timeout;
      broken_ = !late_;
      if (bytes) co_return Err(Code::closed, "the request's body: the client ended it too early");
      co_return Err(std::move(bytes).error().context("the request's body"));
    }
    parser_.feed(*bytes);
  }
}

Task<Result<std::string>> Exchange::read_all() {
  std::string all = co_await ok(read());
  while (parser_.state() != RequestParser::State::done) {
    const std::string part = co_await ok(read());
    all += part;
  }
  all += parser_.take_body();
  body_read_.wake_all();
  co_return all;
}

Task<Result<void>> Exchange::send(std::string bytes) {
  if (broken_) co_return Err(Code::closed, "the connection is gone");
  auto sent = co_await with_timeout(timeouts_.write, stream_.write(std::move(bytes)));
  if (!sent) {
    broken_ = true;
    co_return Err(std::move(sent).error().context("answer"));
  }
  co_return Result<void>();
}

Result<std::string> Exchange::head_text(int status, const Headers& headers,
                                        std::string_view framing) {
  INVARIANT(!begun_);
  std::string text = "HTTP/1.1 " + std::to_string(status) + " ";
  text += reason_phrase(status);
  for (const Header& header : headers) {
    if (!is_token(header.name) || !is_header_value(header.value) || frames_message(header.name)) {
      return Err(Code::internal, "answer: the header \"" + header.name + "\" cannot be sent");
    }
    text += "\r\n" + header.name + ": " + header.value;
  }
  if (!request().keeps_alive || parser_.state() != RequestParser::State::done) closes_ = true;
  text += "\r\nDate: " + date_();
  text += framing;
  if (closes_) text += "\r\nConnection: close";
  text += "\r\n\r\n";
  begun_ = true;
  has_body_ = request().method != "HEAD" && status != 204 && status != 304;
  return text;
}

Task<Result<void>> Exchange::respond(int status, Headers headers, std::string body) {
  std::string framing;
  if (status != 204 && status != 304) {
    framing = "\r\nContent-Length: " + std::to_string(body.size());
  }
  std::string bytes = co_await ok(head_text(status, headers, framing));
  ended_ = true;
  if (has_body_) bytes += body;
  co_return co_await send(std::move(bytes));
}

Task<Result<void>> Exchange::begin(int status, Headers headers) {
  has_chunks_ = !request().is_http_1_0;
  if (!has_chunks_) closes_ = true;  // the end of the connection is the end of the body
  std::string bytes =
      co_await ok(head_text(status, headers, has_chunks_ ? "\r\nTransfer-Encoding: chunked" : ""));
  co_return co_await send(std::move(bytes));
}

Task<Result<void>> Exchange::write(std::string bytes) {
  INVARIANT(begun_ && !ended_);
  if (bytes.empty() || !has_body_) co_return Result<void>();
  if (has_chunks_) bytes = to_hex(bytes.size()) + "\r\n" + bytes + "\r\n";
  co_return co_await send(std::move(bytes));
}

Task<Result<void>> Exchange::end() {
  INVARIANT(begun_ && !ended_);
  ended_ = true;
  if (!has_chunks_ || !has_body_) co_return Result<void>();
  co_return co_await send("0\r\n\r\n");
}

}  // namespace ambit::http
