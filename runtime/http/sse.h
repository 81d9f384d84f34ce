#pragma once

// Server-sent events (HTML Living Standard, 9.2): an incremental parser with bounds, and a writer.
// Pure.

#include "async/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::http {

struct ServerEvent {
  std::string type = "message";
  std::string data;
  std::string id;  // the last id that the stream has named, this event's or an earlier one's
  friend bool operator==(const ServerEvent&, const ServerEvent&) = default;
};

struct SseLimits {
  std::size_t line_bytes_max = 4 << 20;
  std::size_t data_bytes_max = 8 << 20;  // of one event
};

// feed() takes the bytes as they come, cut anywhere. An event that the stream's end cuts off is
// never given.
class SseParser {
 public:
  explicit SseParser(SseLimits limits = {}) : limits_(limits) {}

  // The events that these bytes completed. After an error (a limit) the stream cannot go on.
  Result<std::vector<ServerEvent>> feed(std::string_view bytes);
  // For the Last-Event-ID header of the next connection.
  [[nodiscard]] const std::string& last_event_id() const { return last_id_; }
  // How long the server asks to wait before the next connection.
  [[nodiscard]] std::optional<std::int64_t> retry_ms() const { return retry_ms_; }

 private:
  void end_of_line(std::vector<ServerEvent>& events);
  void field(std::string_view name, std::string_view value);

  SseLimits limits_;
  std::string line_;
  std::string type_;
  std::string data_;
  bool has_data_ = false;
  std::string last_id_;
  std::optional<std::int64_t> retry_ms_;
  bool first_line_ = true;
  bool after_cr_ = false;
  bool failed_ = false;
};

// The event as text. A line break or zero byte in its type or id is an error: it would change the
// stream.
Result<std::string> format_event(const ServerEvent& event);
// A line that readers ignore, to keep a silent connection alive.
std::string format_comment(std::string_view text);

}  // namespace ambit::http
