#include "dom_canonical.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>
#include <vector>

namespace ambit::log::dom {
namespace {

using nlohmann::json;

constexpr std::size_t depth_max = 64;
constexpr std::int64_t safe_max = 9'007'199'254'740'991;  // 2^53 - 1

// Sorts as UTF-16 code units do. That differs from the order of UTF-8 bytes only where a character
// beyond the basic plane (a surrogate pair, 0xD800..) meets one from 0xE000 on.
bool utf16_less(std::string_view a, std::string_view b) {
  const auto difference = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (difference.first == a.end() || difference.second == b.end()) return a.size() < b.size();
  const auto x = static_cast<unsigned char>(*difference.first);
  const auto y = static_cast<unsigned char>(*difference.second);
  const bool x_pair = x >= 0xF0;
  const bool y_pair = y >= 0xF0;
  if (x_pair != y_pair && x >= 0xEE && y >= 0xEE) return x_pair;
  return x < y;
}

// Number::toString of ECMAScript, from the shortest digits that give the number back.
std::string number_text(double number) {
  if (number == 0) return "0";
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(number),
                                 std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c != '.') digits += c;
  }
  const int exponent = std::stoi(std::string(text.substr(e + 1)));
  const int point = exponent + 1;  // digits before the point
  const int count = static_cast<int>(digits.size());
  std::string out = number < 0 ? "-" : "";
  if (count <= point && point <= 21) {
    out += digits + std::string(static_cast<std::size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    out += digits.substr(0, static_cast<std::size_t>(point)) + "." +
           digits.substr(static_cast<std::size_t>(point));
  } else if (-6 < point && point <= 0) {
    out += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    out += std::to_string(std::abs(exponent));
  }
  return out;
}

void write_string(std::string_view text, std::string& out) {
  constexpr std::string_view hex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += hex[static_cast<unsigned char>(c) >> 4];
          out += hex[static_cast<unsigned char>(c) & 0xF];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

Result<void> write(const json& value, std::size_t depth, std::string& out);

Result<void> write_object(const json& value, std::size_t depth, std::string& out) {
  std::vector<json::const_iterator> members;
  for (auto at = value.begin(); at != value.end(); ++at) members.push_back(at);
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return utf16_less(a.key(), b.key()); });
  out += '{';
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i > 0) out += ',';
    write_string(members[i].key(), out);
    out += ':';
    TRY(write(members[i].value(), depth + 1, out));
  }
  out += '}';
  return {};
}

Result<void> write_integer(const json& value, std::string& out) {
  const bool safe =
      value.is_number_unsigned()
          ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(safe_max)
          : value.get<std::int64_t>() >= -safe_max && value.get<std::int64_t>() <= safe_max;
  if (!safe) {
    return Err(Code::invalid,
               "the number " + value.dump() +
                   " is beyond 2^53, where readers of JSON round; write it as a string");
  }
  out += value.dump();
  return {};
}

Result<void> write(const json& value, std::size_t depth, std::string& out) {
  if (depth > depth_max) return Err(Code::invalid, "the JSON is nested deeper than 64 levels");
  switch (value.type()) {
    case json::value_t::null:
      out += "null";
      return {};
    case json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return {};
    case json::value_t::string:
      write_string(value.get_ref<const std::string&>(), out);
      return {};
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
      return write_integer(value, out);
    case json::value_t::number_float:
      out += number_text(value.get<double>());
      return {};
    case json::value_t::object:
      return write_object(value, depth, out);
    case json::value_t::array:
      out += '[';
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (i > 0) out += ',';
        TRY(write(value[i], depth + 1, out));
      }
      out += ']';
      return {};
    default:
      return Err(Code::invalid, "this value has no JSON form");
  }
}

}  // namespace

Result<std::string> canonical_json(const json& value) {
  std::string out;
  TRY(write(value, 0, out));
  return out;
}

Result<std::string> canonical_json(std::string_view text) {
  // The parser's callback sees every member: it stops at the first one that is given twice, and at
  // depth.
  std::vector<std::set<std::string>> open;
  std::string problem;
  const auto watch = [&open, &problem](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end) open.pop_back();
    if (event == json::parse_event_t::key &&
        !open.back().insert(parsed.get<std::string>()).second) {
      problem = "the member " + parsed.dump(-1, ' ', false, json::error_handler_t::replace) +
                " is given twice";
    }
    if (depth > static_cast<int>(depth_max)) problem = "the JSON is nested deeper than 64 levels";
    return true;
  };
  std::size_t depth = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++depth;
  }
  // Brackets inside strings count too: this only keeps the parser's own recursion away from wild
  // input.
  if (depth > (1U << 20)) return Err(Code::invalid, "the JSON has too many brackets");
  const json parsed = json::parse(text, watch, false);
  if (parsed.is_discarded()) return Err(Code::invalid, "this is not JSON (or not UTF-8)");
  if (!problem.empty()) return Err(Code::invalid, problem);
  return canonical_json(parsed);
}

}  // namespace ambit::log::dom
