#include "http/request_parser.h"

#include <catch2/catch.hpp>

namespace ambit::http {
namespace {

using State = RequestParser::State;

const std::string host = "Host: localhost\r\n";

RequestParser parsed(std::string_view bytes, RequestLimits limits = {}) {
  RequestParser parser(limits);
  parser.feed(bytes);
  return parser;
}

// The status of a refusal; 0: it was not refused.
int refused(std::string_view bytes, RequestLimits limits = {}) {
  const RequestParser whole = parsed(bytes, limits);
  RequestParser pieces(limits);
  for (const char byte : bytes) pieces.feed(std::string_view(&byte, 1));
  CHECK(pieces.state() == whole.state());
  if (whole.state() != State::refused) return 0;
  CHECK(pieces.refusal() == whole.refusal());
  CHECK_FALSE(whole.refusal().message.empty());
  return whole.refusal().status;
}

std::string post(std::string_view headers, std::string_view body) {
  return "POST / HTTP/1.1\r\n" + host + std::string(headers) + "\r\n" + std::string(body);
}

}  // namespace

TEST_CASE("a request is read, wherever it is cut", "[http]") {
  const std::string text =
      "POST /a%20b?x=1&y HTTP/1.1\r\nHost: LocalHost:8080\r\nX-Empty:\r\nX-Two:\t b c \r\n"
      "Content-Length: 5\r\n\r\nhello";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    RequestParser parser;
    parser.feed(std::string_view(text).substr(0, cut));
    CHECK((parser.state() == State::done) == (cut == text.size()));
    std::string body = parser.state() == State::head ? "" : parser.take_body();
    parser.feed(std::string_view(text).substr(cut));
    REQUIRE(parser.state() == State::done);
    CHECK(body + parser.take_body() == "hello");
    CHECK(parser.head().method == "POST");
    CHECK(parser.head().path == "/a%20b");
    CHECK(parser.head().query == "x=1&y");
    CHECK(parser.head().host == "localhost:8080");
    CHECK(parser.head().headers.find("x-empty") == "");
    CHECK(parser.head().headers.find("x-two") == "b c");
    CHECK(parser.head().keeps_alive);
  }
}

TEST_CASE("requests that follow each other are kept apart", "[http]") {
  RequestParser parser = parsed(post("Content-Length: 2\r\n", "ab") + "GET /2 HTTP/1.1\r\n" + host +
                                "Connection: keep-alive, Close\r\n\r\nGET /3");
  CHECK(parser.take_body() == "ab");
  parser.next();
  REQUIRE(parser.state() == State::done);
  CHECK(parser.head().path == "/2");
  CHECK_FALSE(parser.head().keeps_alive);
  CHECK(parser.take_body().empty());
  parser.next();
  CHECK(parser.state() == State::head);
  CHECK_FALSE(parser.is_idle());
}

TEST_CASE("chunks are put together and their trailers dropped", "[http]") {
  const std::string text =
      post("Transfer-Encoding: Chunked\r\n",
           "5;name=\"v\"\r\nhello\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\nGET");
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    RequestParser parser;
    parser.feed(std::string_view(text).substr(0, cut));
    std::string body = parser.take_body();
    parser.feed(std::string_view(text).substr(cut));
    REQUIRE(parser.state() == State::done);
    CHECK(body + parser.take_body() == "hello0123456789");
    CHECK_FALSE(parser.head().headers.has("X-Sum"));
    parser.next();
    CHECK_FALSE(parser.is_idle());
  }
}

TEST_CASE("what two servers could read in two ways is refused", "[http]") {
  CHECK(refused("GET / HTTP/1.1\n" + host + "\r\n") == 400);  // bare LF
  CHECK(refused("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n") == 400);           // bare CR
  CHECK(refused("GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n") == 400);  // obs-fold
  CHECK(refused("GET / HTTP/1.1\r\n" + host + "X : a\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\n " + host + "\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\n" + host + host + "\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n") == 400);
  CHECK(refused(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")) == 400);
  CHECK(refused(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")) == 400);
  CHECK(refused(post("Content-Length: 5, 5\r\n", "hello")) == 400);
  CHECK(refused(post("Content-Length: +5\r\n", "hello")) == 400);
  CHECK(refused(post("Content-Length: 0x5\r\n", "hello")) == 400);
  CHECK(refused(post("Content-Length: 99999999999999999999\r\n", "hello")) == 400);
  CHECK(refused(post("Content-Length:\r\n", "hello")) == 400);
  CHECK(refused(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "")) == 400);
  CHECK(refused(post("Transfer-Encoding: gzip, chunked\r\n", "")) == 501);
  CHECK(refused(post("Transfer-Encoding: xchunked\r\n", "")) == 501);
  CHECK(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400);
}

TEST_CASE("chunks that are not exactly what they say are refused", "[http]") {
  const auto chunks = [](std::string_view body) {
    return refused(post("Transfer-Encoding: chunked\r\n", body));
  };
  CHECK(chunks("5\nhello\r\n0\r\n\r\n") == 400);
  CHECK(chunks("5\r\nhelloX\r\n0\r\n\r\n") == 400);
  CHECK(chunks("5\r\nhello\n0\r\n\r\n") == 400);
  CHECK(chunks("0x5\r\nhello\r\n0\r\n\r\n") == 400);
  CHECK(chunks("-5\r\nhello\r\n") == 400);
  CHECK(chunks(" 5\r\nhello\r\n") == 400);
  CHECK(chunks("5 \r\nhello\r\n") == 400);
  CHECK(chunks("\r\n") == 400);
  CHECK(chunks("fffffffffffffffff\r\n") == 400);
  CHECK(chunks("fffffffffffffff\r\n") == 413);
  CHECK(chunks("1;" + std::string(300, 'x') + "\r\na\r\n") == 400);
  CHECK(chunks("1;a\rb\r\na\r\n") == 400);
  CHECK(chunks("0\r\nX : 1\r\n\r\n") == 400);
  CHECK(chunks("0\r\nX: " + std::string(5000, 'x') + "\r\n\r\n") == 400);
  CHECK(chunks("0\r\n\r\n") == 0);
}

TEST_CASE("a request line that is none is refused", "[http]") {
  const auto line = [](std::string_view text) {
    return refused(std::string(text) + "\r\n" + host + "\r\n");
  };
  CHECK(line("GET /") == 400);
  CHECK(line("GET  / HTTP/1.1") == 400);
  CHECK(line("GET / HTTP/1.1 ") == 400);
  CHECK(line("GET /a b HTTP/1.1") == 400);
  CHECK(line("G@T / HTTP/1.1") == 400);
  CHECK(line("GET a HTTP/1.1") == 400);
  CHECK(line("GET * HTTP/1.1") == 400);
  CHECK(line("GET /#f HTTP/1.1") == 400);
  CHECK(line("GET /\x80 HTTP/1.1") == 400);
  CHECK(line("GET ftp://a/ HTTP/1.1") == 400);
  CHECK(line("GET http://u:p@a/ HTTP/1.1") == 400);
  CHECK(line("GET / http/1.1") == 400);
  CHECK(line("GET / HTTP/2.0") == 505);
  CHECK(line("GET / HTTP/1.1x") == 505);
  CHECK(line("CONNECT a:1 HTTP/1.1") == 501);
  CHECK(line("OPTIONS * HTTP/1.1") == 0);
  CHECK(refused("\r\nGET / HTTP/1.1\r\n" + host + "\r\n") == 400);
  CHECK(refused("\x16\x03\x01\x02") == 400);  // a TLS client
  CHECK(refused(post("Expect: more\r\n", "")) == 417);
}

TEST_CASE("an absolute target names the host", "[http]") {
  RequestParser parser = parsed("GET http://Other:81/p?q HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(parser.state() == State::done);
  CHECK(parser.head().host == "other:81");
  CHECK(parser.head().path == "/p");
  CHECK(parser.head().query == "q");
}

TEST_CASE("each bound of a request has its refusal, one byte beyond it", "[http]") {
  RequestLimits limits;
  limits.target_bytes_max = 10;
  limits.headers_max = 3;
  limits.head_bytes_max = 200;
  limits.body_bytes_max = 4;
  const auto get = [&](std::size_t target, std::size_t headers, std::size_t padding) {
    std::string text = "GET /" + std::string(target - 1, 'a') + " HTTP/1.1\r\n" + host;
    for (std::size_t n = 1; n < headers; ++n) text += "X: y\r\n";
    return refused(text + (padding > 0 ? "P: " + std::string(padding, 'p') + "\r\n" : "") + "\r\n",
                   limits);
  };
  CHECK(get(10, 3, 0) == 0);
  CHECK(get(11, 3, 0) == 414);
  CHECK(get(10, 4, 0) == 431);
  CHECK(get(10, 2, 100) == 0);
  CHECK(get(10, 2, 200) == 431);
  CHECK(get(400, 1, 0) == 414);
  CHECK(refused(post("Content-Length: 4\r\n", "abcd"), limits) == 0);
  CHECK(refused(post("Content-Length: 5\r\n", ""), limits) == 413);
  CHECK(refused(post("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n"), limits) == 0);
  CHECK(refused(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2\r\n"), limits) == 413);
}

TEST_CASE("a host is compared without its port", "[http]") {
  const std::vector<std::string> hosts = {"localhost", "[::1]"};
  CHECK(is_host_among("localhost", hosts));
  CHECK(is_host_among("localhost:80", hosts));
  CHECK(is_host_among("[::1]:80", hosts));
  CHECK(is_host_among("[::1]", hosts));
  CHECK_FALSE(is_host_among("localhost.evil.example", hosts));
  CHECK_FALSE(is_host_among("evil.example:80", hosts));
  CHECK_FALSE(is_host_among("", hosts));
}

}  // namespace ambit::http
