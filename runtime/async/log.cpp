#include "async/log.h"

#include <cstdio>

namespace ambit {
namespace {

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_value(std::string& out, const Log::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    append_quoted(out, *text);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    out += std::to_string(*integer);
  } else if (const auto* number = std::get_if<double>(&value)) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.6g", *number);
    out += digits;
  } else {
    out += std::get<bool>(value) ? "true" : "false";
  }
}

constexpr std::string_view level_names[] = {"debug", "info", "warn", "error"};

}  // namespace

void Log::write(Level level, std::string_view event, std::initializer_list<Field> fields) const {
  if (!sink_ || level < level_) return;
  std::string line = "{\"level\":\"";
  line += level_names[static_cast<std::size_t>(level)];
  line += "\",\"event\":";
  append_quoted(line, event);
  for (const Field& field : fields) {
    line += ',';
    append_quoted(line, field.name);
    line += ':';
    append_value(line, field.value);
  }
  line += '}';
  sink_(line);
}

}  // namespace ambit
