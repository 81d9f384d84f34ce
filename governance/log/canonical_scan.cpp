#include "log/canonical_scan.h"

#include "log/canonical_json.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>

namespace ambit::log {
namespace scan {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

unsigned hex_value(char c) {
  return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
}

// The next byte of a canonical string's inside, with its escape undone.
unsigned char take_byte(std::string_view& inner) {
  const char c = inner.front();
  inner.remove_prefix(1);
  if (c != '\\') return static_cast<unsigned char>(c);
  const char kind = inner.front();
  inner.remove_prefix(1);
  switch (kind) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'u': {
      const unsigned byte = hex_value(inner[2]) * 16 + hex_value(inner[3]);
      inner.remove_prefix(4);
      return static_cast<unsigned char>(byte);
    }
    default:
      return static_cast<unsigned char>(kind);
  }
}

// UTF-16 order differs from the order of UTF-8 bytes only where a character beyond the basic plane
// (a surrogate pair, 0xD800..) meets one from 0xE000 on.
int compare_bytes(unsigned char x, unsigned char y) {
  const bool x_pair = x >= 0xF0;
  const bool y_pair = y >= 0xF0;
  if (x_pair != y_pair && x >= 0xEE && y >= 0xEE) return x_pair ? -1 : 1;
  return x < y ? -1 : 1;
}

}  // namespace

std::size_t utf8_length(const char* at, const char* end) {
  const auto byte = [at](std::ptrdiff_t i) { return static_cast<unsigned char>(at[i]); };
  const auto tail = [&byte](std::ptrdiff_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  const std::ptrdiff_t left = end - at;
  if (first >= 0xC2 && first <= 0xDF) return left >= 2 && tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (left < 3 || !tail(1) || !tail(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
    if (first == 0xED && byte(1) > 0x9F) return 0;  // a surrogate
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (left < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;  // overlong
    if (first == 0xF4 && byte(1) > 0x8F) return 0;  // beyond U+10FFFF
    return 4;
  }
  return 0;
}

int compare_keys(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    const unsigned char x = take_byte(a);
    const unsigned char y = take_byte(b);
    if (x != y) return compare_bytes(x, y);
  }
  return a.empty() ? (b.empty() ? 0 : -1) : 1;
}

Number number_at(const char* at, const char* end) {
  const char* const begin = at;
  const auto digits = [&at, end] {
    const char* const first = at;
    while (at < end && is_digit(*at)) ++at;
    return at > first;
  };
  Number number;
  if (at < end && *at == '-') ++at;
  if (at < end && *at == '0') {
    ++at;
  } else if (!digits()) {
    return {};
  }
  if (at < end && *at == '.') {
    number.whole = false;
    ++at;
    if (!digits()) return {};
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    number.whole = false;
    ++at;
    if (at < end && (*at == '+' || *at == '-')) ++at;
    if (!digits()) return {};
  }
  number.length = static_cast<std::size_t>(at - begin);
  return number;
}

bool to_double(std::string_view number, double& value) {
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error == std::errc()) return end == number.data() + number.size() && std::isfinite(value);
  // from_chars does not say whether it was too large or too small; strtod does.
  value = std::strtod(std::string(number).c_str(), nullptr);
  return std::isfinite(value);
}

}  // namespace scan

namespace {

// Accepts exactly what canonical_json writes.
class Checker {
 public:
  explicit Checker(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {}

  bool value(unsigned depth) {
    if (depth > canonical_depth_max || at_ == end_) return false;
    switch (*at_) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"': {
        std::string_view inner;
        return string(inner);
      }
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  bool string(std::string_view& inner) {
    if (at_ == end_ || *at_ != '"') return false;
    const char* const begin = ++at_;
    for (;;) {
      at_ = scan::skip_plain(at_, end_);
      if (at_ == end_) return false;
      if (*at_ == '"') break;
      if (*at_ == '\\') {
        if (!escape()) return false;
      } else {
        const std::size_t length = scan::utf8_length(at_, end_);
        if (length == 0) return false;  // a control character too
        at_ += length;
      }
    }
    inner = {begin, static_cast<std::size_t>(at_ - begin)};
    ++at_;
    return true;
  }
  [[nodiscard]] const char* at() const { return at_; }

 private:
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view expected) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected)) {
      return false;
    }
    at_ += expected.size();
    return true;
  }

  // Only those escapes that have no shorter form.
  bool escape() {
    if (end_ - at_ < 2) return false;
    const char kind = at_[1];
    if (std::string_view("\"\\bfnrt").find(kind) != std::string_view::npos) {
      at_ += 2;
      return true;
    }
    if (kind != 'u' || end_ - at_ < 6 || at_[2] != '0' || at_[3] != '0') return false;
    const char high = at_[4];
    const char low = at_[5];
    const bool hex = (low >= '0' && low <= '9') || (low >= 'a' && low <= 'f');
    if ((high != '0' && high != '1') || !hex) return false;
    // \b \t \n \f \r have a shorter form.
    if (high == '0' && std::string_view("89acd").find(low) != std::string_view::npos) return false;
    at_ += 6;
    return true;
  }

  bool object(unsigned depth) {
    ++at_;
    if (take('}')) return true;
    std::string_view last;
    bool first = true;
    do {
      std::string_view key;
      if (!string(key)) return false;
      if (!first && scan::compare_keys(last, key) >= 0) return false;
      first = false;
      last = key;
      if (!take(':') || !value(depth + 1)) return false;
    } while (take(','));
    return take('}');
  }

  bool array(unsigned depth) {
    ++at_;
    if (take(']')) return true;
    do {
      if (!value(depth + 1)) return false;
    } while (take(','));
    return take(']');
  }

  bool number() {
    const scan::Number found = scan::number_at(at_, end_);
    if (found.length == 0) return false;
    const std::string_view text(at_, found.length);
    at_ += found.length;
    if (found.whole && text.size() <= 15) return text != "-0";
    double value = 0;
    return scan::to_double(text, value) && number_text(value) == text;
  }

  const char* at_;
  const char* end_;
};

}  // namespace

bool is_canonical_json(std::string_view text) {
  return canonical_value_length(text) == text.size() && !text.empty();
}

std::size_t canonical_value_length(std::string_view text) {
  Checker checker(text);
  return checker.value(0) ? static_cast<std::size_t>(checker.at() - text.data()) : 0;
}

std::size_t canonical_string_length(std::string_view text) {
  Checker checker(text);
  std::string_view inner;
  return checker.string(inner) ? static_cast<std::size_t>(checker.at() - text.data()) : 0;
}

std::string unescape_canonical(std::string_view inner) {
  std::string text;
  text.reserve(inner.size());
  while (!inner.empty()) text += static_cast<char>(scan::take_byte(inner));
  return text;
}

}  // namespace ambit::log
