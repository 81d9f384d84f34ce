#include "http/sse.h"

#include <algorithm>
#include <charconv>

namespace ambit::http {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

bool breaks_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

}  // namespace

Result<std::vector<ServerEvent>> SseParser::feed(std::string_view bytes) {
  if (failed_) return Err(Code::exhausted, "event stream: it has failed before");
  std::vector<ServerEvent> events;
  while (!bytes.empty()) {
    if (after_cr_ && bytes.front() == '\n') bytes.remove_prefix(1);  // the second half of CR LF
    after_cr_ = false;
    const std::size_t end = bytes.find_first_of("\r\n");
    const std::string_view part = bytes.substr(0, end);
    failed_ = line_.size() + part.size() > limits_.line_bytes_max;
    if (failed_) {
      return Err(Code::exhausted, "event stream: a line is longer than " +
                                      std::to_string(limits_.line_bytes_max) + " bytes");
    }
    line_ += part;
    if (end == std::string_view::npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_of_line(events);
    failed_ = data_.size() > limits_.data_bytes_max;
    if (failed_) {
      return Err(Code::exhausted, "event stream: an event is longer than " +
                                      std::to_string(limits_.data_bytes_max) + " bytes");
    }
  }
  return events;
}

void SseParser::end_of_line(std::vector<ServerEvent>& events) {
  std::string_view line = line_;
  if (first_line_ && line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
  first_line_ = false;
  if (line.empty()) {
    // An event without any data line is none; its type is forgotten.
    if (has_data_) {
      if (data_.ends_with('\n')) data_.pop_back();
      events.push_back({type_.empty() ? "message" : type_, data_, last_id_});
    }
    type_.clear();
    data_.clear();
    has_data_ = false;
  } else if (line.front() != ':') {
    const std::size_t colon = std::min(line.find(':'), line.size());
    std::string_view value = colon < line.size() ? line.substr(colon + 1) : std::string_view();
    if (value.starts_with(' ')) value.remove_prefix(1);
    field(line.substr(0, colon), value);
  }
  line_.clear();
}

void SseParser::field(std::string_view name, std::string_view value) {
  if (name == "data") {
    data_ += value;
    data_ += '\n';
    has_data_ = true;
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) last_id_ = value;
  } else if (name == "retry") {
    std::int64_t ms = 0;
    const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (fault == std::errc() && end == value.data() + value.size() && ms >= 0 &&
        value.front() != '-') {
      retry_ms_ = ms;
    }
  }
}

Result<std::string> format_event(const ServerEvent& event) {
  if (breaks_line(event.type) || breaks_line(event.id)) {
    return Err(Code::invalid, "event stream: a line break or zero byte in an event's type or id");
  }
  std::string text;
  if (event.type != "message" && !event.type.empty()) text += "event: " + event.type + "\n";
  if (!event.id.empty()) text += "id: " + event.id + "\n";
  std::string_view data = event.data;
  while (true) {
    const std::size_t end = data.find_first_of("\r\n");
    text += "data: ";
    text += data.substr(0, end);
    text += '\n';
    if (end == std::string_view::npos) break;
    const bool two = data.substr(end).starts_with("\r\n");
    data.remove_prefix(end + (two ? 2 : 1));
  }
  return text + "\n";
}

std::string format_comment(std::string_view text) {
  std::string line = ": ";
  for (const char c : text) line += c == '\r' || c == '\n' ? ' ' : c;
  return line + "\n\n";
}

}  // namespace ambit::http
