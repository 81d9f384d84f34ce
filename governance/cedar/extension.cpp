// The texts of the extension types: decimal, ip, datetime, duration. Strict, as the language
// defines them: no leading zeros in addresses, no mixed IPv4-in-IPv6 form, four digits after the
// point at most.

#include "cedar/value.h"

#include <cstddef>
#include <limits>
#include <optional>

namespace ambit::cedar {
namespace {

__extension__ using Wide = __int128;

constexpr std::int64_t day_ms = 86'400'000;

bool fits(Wide value) {
  return value >= std::numeric_limits<std::int64_t>::min() &&
         value <= std::numeric_limits<std::int64_t>::max();
}

// Takes digits off the front; nullopt if there is none or the number has left every range of ours.
std::optional<Wide> take_number(std::string_view& text) {
  constexpr Wide most = static_cast<Wide>(std::numeric_limits<std::int64_t>::max()) * 2;
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  Wide value = 0;
  while (!text.empty() && is_digit(text.front())) {
    if (value <= most) value = value * 10 + (text.front() - '0');
    text.remove_prefix(1);
  }
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Exactly `count` digits.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

// A decimal number without leading zeros, of at most `digits_max` digits and at most `most`.
std::optional<int> take_plain(std::string_view& text, std::size_t digits_max, int most) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  if (count == 0 || count > digits_max || (count > 1 && text[0] == '0')) return std::nullopt;
  const std::optional<int> value = take_digits(text, count);
  if (!value || *value > most) return std::nullopt;
  return value;
}

bool parse_v4(std::string_view text, IpAddress& ip) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0 && !take(text, ".")) return false;
    const auto octet = take_plain(text, 3, 255);
    if (!octet) return false;
    ip.bytes[i] = static_cast<std::uint8_t>(*octet);
  }
  return text.empty();
}

std::optional<unsigned> take_group(std::string_view& text) {
  unsigned value = 0;
  std::size_t count = 0;
  for (; count < text.size() && count < 4; ++count) {
    const char c = text[count];
    unsigned digit = 0;
    if (is_digit(c)) {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<unsigned>(c - 'A' + 10);
    } else {
      break;
    }
    value = value * 16 + digit;
  }
  if (count == 0) return std::nullopt;
  text.remove_prefix(count);
  return value;
}

bool parse_v6(std::string_view text, IpAddress& ip) {
  std::array<unsigned, 8> groups{};
  std::size_t count = 0;
  std::optional<std::size_t> gap;  // where "::" stands
  if (take(text, "::")) gap = 0;
  while (!text.empty()) {
    if (count == 8) return false;
    const auto group = take_group(text);
    if (!group) return false;
    groups[count++] = *group;
    if (text.empty()) break;
    if (take(text, "::")) {
      if (gap) return false;
      gap = count;
    } else if (!take(text, ":") || text.empty()) {
      return false;
    }
  }
  if (gap ? count > 7 : count != 8) return false;
  const std::size_t head = gap ? *gap : 8;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = i < head ? i : i + 8 - count;
    ip.bytes[2 * at] = static_cast<std::uint8_t>(groups[i] >> 8);
    ip.bytes[2 * at + 1] = static_cast<std::uint8_t>(groups[i] & 0xFF);
  }
  return true;
}

// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
std::int64_t days_of(int year, int month, int day) {
  const int y = month <= 2 ? year - 1 : year;
  const int era = (y >= 0 ? y : y - 399) / 400;
  const int year_of_era = y - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return static_cast<std::int64_t>(era) * 146'097 + day_of_era - 719'468;
}

bool is_date(int year, int month, int day) {
  constexpr std::array<int, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1) return false;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= days[static_cast<std::size_t>(month - 1)] + (leap && month == 2 ? 1 : 0);
}

std::optional<std::int64_t> take_date_ms(std::string_view& text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, "-")) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, "-")) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || !is_date(*year, *month, *day)) return std::nullopt;
  return days_of(*year, *month, *day) * day_ms;
}

// "hh:mm:ss[.SSS]" with its offset: "Z", "+hhmm" or "-hhmm".
std::optional<std::int64_t> take_time_ms(std::string_view& text) {
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take(text, ":")) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59 || !take(text, ":")) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second || *second > 59) return std::nullopt;
  std::int64_t ms = ((*hour * 60LL + *minute) * 60 + *second) * 1000;
  if (take(text, ".")) {
    const auto fraction = take_digits(text, 3);
    if (!fraction) return std::nullopt;
    ms += *fraction;
  }
  if (take(text, "Z")) return ms;
  const bool east = take(text, "+");
  if (!east && !take(text, "-")) return std::nullopt;
  const auto hours = take_digits(text, 2);
  const auto minutes = take_digits(text, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const std::int64_t offset = (*hours * 60LL + *minutes) * 60'000;
  return east ? ms - offset : ms + offset;
}

}  // namespace

Result<Decimal> parse_decimal(std::string_view text) {
  const std::string whole(text.substr(0, 64));
  const auto bad = [&whole] {
    return Err(Code::invalid,
               "\"" + whole +
                   "\" is not a decimal: write 1 to 4 digits after the point, as in "
                   "\"12.34\", between -922337203685477.5808 and 922337203685477.5807");
  };
  const bool negative = take(text, "-");
  const auto units = take_number(text);
  if (!units || !take(text, ".")) return bad();
  const std::size_t digits = text.size();
  if (digits < 1 || digits > 4) return bad();
  const auto fraction = take_number(text);
  if (!fraction || !text.empty()) return bad();
  Wide scaled = *fraction;
  for (std::size_t i = digits; i < 4; ++i) scaled *= 10;
  const Wide magnitude = *units * 10'000 + scaled;
  const Wide value = negative ? -magnitude : magnitude;
  if (!fits(value)) return bad();
  return Decimal{static_cast<std::int64_t>(value)};
}

Result<IpAddress> parse_ip(std::string_view text) {
  const std::string whole(text.substr(0, 64));
  const auto bad = [&whole] {
    return Err(Code::invalid, "\"" + whole +
                                  "\" is not an IP address or range: write \"10.0.0.1\", "
                                  "\"10.0.0.0/8\", \"::1\" or \"fe80::/10\"");
  };
  constexpr std::size_t length_max = 43;
  if (text.empty() || text.size() > length_max) return bad();
  IpAddress ip;
  ip.v6 = text.find(':') != std::string_view::npos;
  ip.prefix = ip.v6 ? 128 : 32;
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    std::string_view length = text.substr(slash + 1);
    const auto prefix = take_plain(length, ip.v6 ? 3 : 2, ip.prefix);
    if (!prefix || !length.empty()) return bad();
    ip.prefix = static_cast<std::uint8_t>(*prefix);
    text = text.substr(0, slash);
  }
  if (!(ip.v6 ? parse_v6(text, ip) : parse_v4(text, ip))) return bad();
  return ip;
}

Result<Datetime> parse_datetime(std::string_view text) {
  const std::string whole(text.substr(0, 64));
  const auto bad = [&whole] {
    return Err(Code::invalid, "\"" + whole +
                                  "\" is not a datetime: write \"2026-11-21\", "
                                  "\"2026-11-21T08:30:00Z\" or \"2026-11-21T08:30:00.250+0100\"");
  };
  const auto date = take_date_ms(text);
  if (!date) return bad();
  if (text.empty()) return Datetime{*date};
  if (!take(text, "T")) return bad();
  const auto time = take_time_ms(text);
  if (!time || !text.empty()) return bad();
  return Datetime{*date + *time};
}

Result<Timespan> parse_timespan(std::string_view text) {
  const std::string whole(text.substr(0, 64));
  const auto bad = [&whole] {
    return Err(Code::invalid, "\"" + whole +
                                  "\" is not a duration: write days, hours, minutes, seconds and "
                                  "milliseconds in this order, as in \"1d2h3m4s5ms\" or \"-90m\"");
  };
  struct Unit {
    std::string_view suffix;
    std::int64_t ms;
  };
  constexpr std::array<Unit, 5> units = {
      {{"d", day_ms}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
  const bool negative = take(text, "-");
  if (text.empty()) return bad();
  Wide total = 0;
  std::size_t next = 0;
  while (!text.empty()) {
    const auto number = take_number(text);
    if (!number) return bad();
    std::size_t count = 0;
    while (count < text.size() && !is_digit(text[count])) ++count;
    const std::string_view suffix = text.substr(0, count);
    while (next < units.size() && units[next].suffix != suffix) ++next;
    if (next == units.size()) return bad();
    total += *number * units[next++].ms;
    text.remove_prefix(count);
  }
  if (negative) total = -total;
  if (!fits(total)) return bad();
  return Timespan{static_cast<std::int64_t>(total)};
}

bool is_loopback(const IpAddress& ip) {
  if (!ip.v6) return ip.bytes[0] == 127 && ip.prefix >= 8;
  for (std::size_t i = 0; i < 15; ++i) {
    if (ip.bytes[i] != 0) return false;
  }
  return ip.bytes[15] == 1 && ip.prefix == 128;
}

bool is_multicast(const IpAddress& ip) {
  if (!ip.v6) return (ip.bytes[0] & 0xF0) == 0xE0 && ip.prefix >= 4;
  return ip.bytes[0] == 0xFF && ip.prefix >= 8;
}

bool is_in_range(const IpAddress& ip, const IpAddress& range) {
  if (ip.v6 != range.v6 || ip.prefix < range.prefix) return false;
  for (unsigned bit = 0; bit < range.prefix; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
    if ((ip.bytes[bit / 8] & mask) != (range.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

}  // namespace ambit::cedar
