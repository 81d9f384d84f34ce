#pragma once

// The values of the Cedar language: booleans, 64-bit integers, strings, entity references, sets,
// records and the extension types decimal, ipaddr, datetime and duration. Plain data, ordered (so
// that sets can be kept sorted) and compared as the language compares them.

#include "async/result.h"

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ambit::cedar {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

struct EntityUid {
  std::string type;  // "Agent", "Corp::Agent"
  std::string id;
  friend auto operator<=>(const EntityUid&, const EntityUid&) = default;
  friend bool operator==(const EntityUid&, const EntityUid&) = default;
};

struct Decimal {
  std::int64_t ten_thousandths = 0;
  friend auto operator<=>(const Decimal&, const Decimal&) = default;
};

// An address with a prefix length: 10.0.0.0/8. Without a prefix, 32 or 128.
struct IpAddress {
  bool v6 = false;
  std::uint8_t prefix = 32;
  std::array<std::uint8_t, 16> bytes{};  // of v4 the first four
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct Datetime {
  std::int64_t unix_ms = 0;
  friend auto operator<=>(const Datetime&, const Datetime&) = default;
};

// The language's `duration`; named so as not to be taken for the runtime's Duration.
struct Timespan {
  std::int64_t ms = 0;
  friend auto operator<=>(const Timespan&, const Timespan&) = default;
};

struct Value;

// Sorted and without repeats: equality of sets is equality of the vectors.
struct Set {
  std::vector<Value> elements;
  [[nodiscard]] bool contains(const Value& value) const;
};

// Sorted by name.
struct Record {
  std::vector<std::pair<std::string, Value>> fields;
  [[nodiscard]] const Value* find(std::string_view name) const;
  // Adds a field, or replaces it.
  void set(std::string name, Value value);
};

struct Value {
  using Data = std::variant<bool, std::int64_t, std::string, EntityUid, Set, Record, Decimal,
                            IpAddress, Datetime, Timespan>;
  Data data;

  Value() = default;
  explicit Value(Data value) : data(std::move(value)) {}

  template <class T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&data);
  }
};

std::strong_ordering operator<=>(const Value& a, const Value& b);
bool operator==(const Value& a, const Value& b);

// A set of these values: sorted here, repeats dropped.
Set make_set(std::vector<Value> values);

// As the language writes them: `Agent::"clerk"`, `["a", 1]`, `decimal("1.5")`.
std::string to_text(const EntityUid& uid);
std::string to_text(const Value& value);
// A string literal with its quotes and escapes.
std::string quote(std::string_view text);
// "string", "long", "set", ...: for messages.
std::string_view type_name(const Value& value);

// The constructors of the extension types. The errors say what the text should look like.
Result<Decimal> parse_decimal(std::string_view text);
Result<IpAddress> parse_ip(std::string_view text);
Result<Datetime> parse_datetime(std::string_view text);
Result<Timespan> parse_timespan(std::string_view text);

bool is_loopback(const IpAddress& ip);
bool is_multicast(const IpAddress& ip);
// Whether every address of `ip` lies in `range`.
bool is_in_range(const IpAddress& ip, const IpAddress& range);

}  // namespace ambit::cedar
