#pragma once

// What the check of canonical JSON and the making of it have in common: runs of plain characters,
// UTF-8, the order of members, the grammar of numbers. Private to canonical_*.cpp.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ambit::log::scan {

// The first byte in [at, end) that is a quote, a backslash, a control character or not ASCII.
inline const char* skip_plain(const char* at, const char* end) {
  if constexpr (std::endian::native == std::endian::little) {
    constexpr std::uint64_t ones = 0x0101010101010101;
    constexpr std::uint64_t high = 0x8080808080808080;
    while (end - at >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, 8);
      const std::uint64_t quote = word ^ (ones * '"');
      const std::uint64_t backslash = word ^ (ones * '\\');
      // A borrow only spoils bytes behind one that is found already, and the first one counts.
      const std::uint64_t found = (word | ((quote - ones) & ~quote) |
                                   ((backslash - ones) & ~backslash) | (word - ones * 0x20)) &
                                  high;
      if (found != 0) return at + std::countr_zero(found) / 8;
      at += 8;
    }
  }
  for (; at < end; ++at) {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') break;
  }
  return at;
}

// The length of the well-formed UTF-8 sequence of two to four bytes at `at`, or 0.
std::size_t utf8_length(const char* at, const char* end);

// Compares the insides of two canonical strings by the UTF-16 code units they stand for: negative,
// 0, positive.
int compare_keys(std::string_view a, std::string_view b);

struct Number {
  std::size_t length = 0;  // 0: not a number of JSON
  bool whole = true;       // neither point nor exponent
};
Number number_at(const char* at, const char* end);
// False where it is beyond a double. Too small becomes 0.
bool to_double(std::string_view number, double& value);

}  // namespace ambit::log::scan
