#include "http/sse.h"

#include <catch2/catch.hpp>

namespace ambit::http {
namespace {

using Events = std::vector<ServerEvent>;

Events parse(std::string_view text, SseLimits limits = {}) {
  SseParser parser(limits);
  return parser.feed(text).value();
}

}  // namespace

TEST_CASE("events are separated by blank lines and carry type, data and id", "[http]") {
  const Events events = parse(
      "event: add\ndata: one\ndata:two\nid: 7\n\n: a comment\ndata\n\nunknown: x\ndata:  "
      "three\n\n");
  CHECK(events ==
        Events{{"add", "one\ntwo", "7"}, {"message", "", "7"}, {"message", " three", "7"}});
}

TEST_CASE("every way to end a line gives the same events, wherever the bytes are cut", "[http]") {
  const Events expected{{"a", "1\n2", "x"}, {"message", "3", "x"}};
  for (const std::string& end : {std::string("\n"), std::string("\r"), std::string("\r\n")}) {
    std::string text = "\xEF\xBB\xBF";
    for (const char* line : {"event: a", "id: x", "data: 1", "data: 2", "", "data: 3", ""})
      text += line + end;
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      SseParser parser;
      Events events = parser.feed(std::string_view(text).substr(0, cut)).value();
      const Events rest = parser.feed(std::string_view(text).substr(cut)).value();
      events.insert(events.end(), rest.begin(), rest.end());
      REQUIRE(events == expected);
    }
    SseParser parser;
    Events events;
    for (const char byte : text) {
      const Events more = parser.feed(std::string_view(&byte, 1)).value();
      events.insert(events.end(), more.begin(), more.end());
    }
    CHECK(events == expected);
  }
}

TEST_CASE("a byte order mark counts at the very beginning only", "[http]") {
  CHECK(parse("\xEF\xBB\xBF"
              "data: a\n\n") == Events{{"message", "a", ""}});
  CHECK(parse("\n\xEF\xBB\xBF"
              "data: a\n\n")
            .empty());
}

TEST_CASE("an event without data is none, and its type is forgotten", "[http]") {
  CHECK(parse("event: lost\n\ndata: x\n\n") == Events{{"message", "x", ""}});
}

TEST_CASE("the end of the stream cuts an unfinished event off", "[http]") {
  CHECK(parse("data: a\n\ndata: b\n") == Events{{"message", "a", ""}});
}

TEST_CASE("a retry of digits and an id without a zero byte are kept", "[http]") {
  SseParser parser;
  REQUIRE(parser.feed("retry: 1500\nid: 4\n").has_value());
  REQUIRE(
      parser.feed("retry: -1\nretry: 1s\nretry:\nid: 5" + std::string(1, '\0') + "\n").has_value());
  CHECK(parser.retry_ms() == 1500);
  CHECK(parser.last_event_id() == "4");
  REQUIRE(parser.feed("id\n").has_value());
  CHECK(parser.last_event_id().empty());
}

TEST_CASE("a line or an event beyond its bound ends the stream", "[http]") {
  const SseLimits limits{10, 12};
  CHECK(parse("data: 4567\n\n", limits).size() == 1);
  SseParser long_line(limits);
  const auto failed = long_line.feed("data: 45678");
  CHECK(failed.error() == Error{Code::exhausted, "event stream: a line is longer than 10 bytes"});
  CHECK_FALSE(long_line.feed("\n\n").has_value());
  SseParser long_event(limits);
  CHECK(long_event.feed("data: 1234\ndata: 1234\ndata: 1234\n").error().message ==
        "event stream: an event is longer than 12 bytes");
}

TEST_CASE("what is written is read back", "[http]") {
  const Events events{{"message", "", ""}, {"tick", "a\nb\n", "9"}, {"message", " lead", "9"}};
  std::string text = format_comment("keep\nalive");
  for (const ServerEvent& event : events) text += format_event(event).value();
  CHECK(parse(text) == events);
  CHECK(format_event({"a\nb", "", ""}).error().code == Code::invalid);
  CHECK(format_event({"a", "", std::string("\0", 1)}).error().code == Code::invalid);
}

}  // namespace ambit::http
