#include "cedar/value.h"

#include <algorithm>

namespace ambit::cedar {
namespace {

std::strong_ordering order(const Set& a, const Set& b) {
  return std::lexicographical_compare_three_way(a.elements.begin(), a.elements.end(),
                                                b.elements.begin(), b.elements.end());
}

std::strong_ordering order(const Record& a, const Record& b) {
  const std::size_t shared = std::min(a.fields.size(), b.fields.size());
  for (std::size_t i = 0; i < shared; ++i) {
    const auto name = a.fields[i].first <=> b.fields[i].first;
    if (name != 0) return name;
    const auto value = a.fields[i].second <=> b.fields[i].second;
    if (value != 0) return value;
  }
  return a.fields.size() <=> b.fields.size();
}

template <class T>
std::strong_ordering order(const T& a, const T& b) {
  return a <=> b;
}

std::string ip_text(const IpAddress& ip) {
  std::string text;
  if (!ip.v6) {
    for (std::size_t i = 0; i < 4; ++i) {
      if (i > 0) text += '.';
      text += std::to_string(ip.bytes[i]);
    }
  } else {
    constexpr std::string_view digits = "0123456789abcdef";
    for (std::size_t i = 0; i < 16; i += 2) {
      if (i > 0) text += ':';
      const unsigned group = (static_cast<unsigned>(ip.bytes[i]) << 8) | ip.bytes[i + 1];
      bool started = false;
      for (int shift = 12; shift >= 0; shift -= 4) {
        const unsigned digit = (group >> shift) & 0xF;
        started = started || digit != 0 || shift == 0;
        if (started) text += digits[digit];
      }
    }
  }
  if (ip.prefix != (ip.v6 ? 128 : 32)) text += "/" + std::to_string(ip.prefix);
  return text;
}

std::string decimal_text(const Decimal& decimal) {
  // Through unsigned arithmetic: the smallest value has no positive counterpart.
  const bool negative = decimal.ten_thousandths < 0;
  const auto raw = static_cast<std::uint64_t>(decimal.ten_thousandths);
  const std::uint64_t magnitude = negative ? 0 - raw : raw;
  std::string fraction = std::to_string(magnitude % 10'000);
  fraction.insert(0, 4 - fraction.size(), '0');
  return (negative ? "-" : "") + std::to_string(magnitude / 10'000) + "." + fraction;
}

struct Writer {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(const std::string& value) const { return quote(value); }
  std::string operator()(const EntityUid& value) const { return to_text(value); }
  std::string operator()(const Set& value) const {
    std::string text = "[";
    for (const Value& element : value.elements) {
      if (text.size() > 1) text += ", ";
      text += to_text(element);
    }
    return text + "]";
  }
  std::string operator()(const Record& value) const {
    std::string text = "{";
    for (const auto& [name, field] : value.fields) {
      if (text.size() > 1) text += ", ";
      text += quote(name) + ": " + to_text(field);
    }
    return text + "}";
  }
  std::string operator()(const Decimal& value) const {
    return "decimal(\"" + decimal_text(value) + "\")";
  }
  std::string operator()(const IpAddress& value) const { return "ip(\"" + ip_text(value) + "\")"; }
  std::string operator()(const Datetime& value) const {
    return "datetime(\"1970-01-01\").offset(duration(\"" + std::to_string(value.unix_ms) + "ms\"))";
  }
  std::string operator()(const Timespan& value) const {
    return "duration(\"" + std::to_string(value.ms) + "ms\")";
  }
};

}  // namespace

bool Set::contains(const Value& value) const {
  return std::binary_search(elements.begin(), elements.end(), value);
}

const Value* Record::find(std::string_view name) const {
  const auto at = std::lower_bound(
      fields.begin(), fields.end(), name,
      [](const auto& field, std::string_view wanted) { return field.first < wanted; });
  return at != fields.end() && at->first == name ? &at->second : nullptr;
}

void Record::set(std::string name, Value value) {
  constexpr std::size_t fields_typical = 8;
  if (fields.empty()) fields.reserve(fields_typical);
  const auto at = std::lower_bound(
      fields.begin(), fields.end(), name,
      [](const auto& field, const std::string& wanted) { return field.first < wanted; });
  if (at != fields.end() && at->first == name) {
    at->second = std::move(value);
  } else {
    fields.emplace(at, std::move(name), std::move(value));
  }
}

std::strong_ordering operator<=>(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) return a.data.index() <=> b.data.index();
  return std::visit(
      [&b](const auto& left) {
        return order(left, *std::get_if<std::remove_cvref_t<decltype(left)>>(&b.data));
      },
      a.data);
}

bool operator==(const Value& a, const Value& b) {
  return (a <=> b) == 0;
}

Set make_set(std::vector<Value> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return Set{std::move(values)};
}

std::string quote(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      case '\0':
        quoted += "\\0";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          quoted += "\\u{";
          quoted += digits[static_cast<unsigned char>(c) >> 4];
          quoted += digits[static_cast<unsigned char>(c) & 0xF];
          quoted += '}';
        } else {
          quoted += c;
        }
    }
  }
  return quoted + "\"";
}

std::string to_text(const EntityUid& uid) {
  return uid.type + "::" + quote(uid.id);
}

std::string to_text(const Value& value) {
  return std::visit(Writer{}, value.data);
}

std::string_view type_name(const Value& value) {
  constexpr std::array<std::string_view, 10> names = {"bool",     "long",    "string",  "entity",
                                                      "set",      "record",  "decimal", "ipaddr",
                                                      "datetime", "duration"};
  return names[value.data.index()];
}

}  // namespace ambit::cedar
