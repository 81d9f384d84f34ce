// Any bytes as an event stream: wherever they are cut, the same events come out, and what is
// written from them is read back.

#include "http/sse.h"

#include "async/check.h"

#include <cstdint>

using namespace ambit::http;

namespace {

struct Parsed {
  std::vector<ServerEvent> events;
  bool failed = false;
  std::string last_id;
  friend bool operator==(const Parsed&, const Parsed&) = default;
};

Parsed parse(std::string_view bytes, std::size_t step) {
  SseParser parser(SseLimits{200, 300});
  Parsed parsed;
  while (!bytes.empty() && !parsed.failed) {
    const std::string_view part = bytes.substr(0, step);
    bytes.remove_prefix(part.size());
    auto events = parser.feed(part);
    parsed.failed = !events;
    if (events) parsed.events.insert(parsed.events.end(), events->begin(), events->end());
  }
  parsed.last_id = parser.last_event_id();
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Parsed whole = parse(bytes, size + 1);
  // A call that fails gives no events, so cuts are compared where nothing fails.
  const Parsed single = parse(bytes, 1);
  INVARIANT(single.failed == whole.failed);
  INVARIANT(whole.failed || single == whole);
  INVARIANT(whole.failed || parse(bytes, 7) == whole);
  std::string text;
  for (const ServerEvent& event : single.events) {
    const auto formatted = format_event(event);
    // An id may hold no line break, for it came from one line; a type may hold a zero byte.
    if (!formatted) return 0;
    text += *formatted;
  }
  SseParser again;
  const auto events = again.feed(text);
  INVARIANT(events.has_value());
  INVARIANT(events->size() == single.events.size());
  for (std::size_t i = 0; i < events->size(); ++i) {
    INVARIANT((*events)[i].type == single.events[i].type);
    INVARIANT((*events)[i].data == single.events[i].data);
  }
  return 0;
}
