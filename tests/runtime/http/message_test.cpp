#include "http/message.h"

#include <catch2/catch.hpp>

namespace ambit::http {

TEST_CASE("header names compare without regard to case and keep their order", "[http]") {
  Headers headers{{"Content-Type", "text/plain"}, {"X-A", "1"}, {"x-a", "2"}};
  CHECK(headers.find("content-TYPE") == "text/plain");
  CHECK(headers.count("X-a") == 2);
  CHECK(headers.find("X-A") == "1");
  headers.set("x-A", "3");
  CHECK(headers == Headers{{"Content-Type", "text/plain"}, {"x-A", "3"}});
  headers.remove("CONTENT-TYPE");
  CHECK_FALSE(headers.has("Content-Type"));
}

TEST_CASE("what would break out of a header line is neither token nor value", "[http]") {
  CHECK(is_token("X-Trace_1"));
  CHECK_FALSE(is_token(""));
  CHECK_FALSE(is_token("a b"));
  CHECK_FALSE(is_token("a:b"));
  CHECK(is_header_value(""));
  CHECK(is_header_value("a\tb \xC3\xA9"));
  CHECK_FALSE(is_header_value("a\r\nB: c"));
  CHECK_FALSE(is_header_value(std::string_view("a\0b", 3)));
  CHECK_FALSE(is_header_value(" a"));
}

TEST_CASE("a media type is read without its parameters", "[http]") {
  CHECK(media_type({{"content-type", "Text/Event-Stream ; charset=utf-8"}}) == "text/event-stream");
  CHECK(media_type({}).empty());
}

}  // namespace ambit::http
