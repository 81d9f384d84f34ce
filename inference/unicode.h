#pragma once

// The little Unicode that tokenizers need: decoding UTF-8 without losing a byte, and the classes
// letter, number and white space. The tables come from unicode_tables.py.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ambit::inference {

struct CodeRange {
  std::uint32_t first;
  std::uint32_t last;
};
std::span<const CodeRange> letter_ranges();
std::span<const CodeRange> number_ranges();

enum class CharClass : std::uint8_t { other, letter, number, space };
CharClass char_class(std::uint32_t point);

struct CodePoint {
  std::uint32_t value = 0xFFFD;
  std::size_t bytes = 1;
  bool valid = false;
};
// The code point that starts at `at`. An invalid or cut sequence is one byte that stands for
// itself.
CodePoint decode_utf8(std::string_view text, std::size_t at);
void append_utf8(std::string& out, std::uint32_t point);

// How many of the last bytes are the beginning of a character that is not complete (0 to 3).
std::size_t incomplete_utf8_tail(std::string_view text);
// Invalid bytes become U+FFFD.
std::string valid_utf8(std::string_view text);

}  // namespace ambit::inference
