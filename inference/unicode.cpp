#include "inference/unicode.h"

#include <algorithm>

namespace ambit::inference {

namespace {

bool contains(std::span<const CodeRange> ranges, std::uint32_t point) {
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), point,
      [](std::uint32_t value, const CodeRange& range) { return value < range.first; });
  return after != ranges.begin() && point <= (after - 1)->last;
}

bool is_space(std::uint32_t point) {
  if (point < 0x80) return point == ' ' || (point >= 9 && point <= 13);
  return point == 0x85 || point == 0xA0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 ||
         point == 0x202F || point == 0x205F || point == 0x3000;
}

std::size_t sequence_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

}  // namespace

CharClass char_class(std::uint32_t point) {
  if (point < 0x80) {
    if ((point | 0x20U) - 'a' < 26U) return CharClass::letter;
    if (point - '0' < 10U) return CharClass::number;
    return is_space(point) ? CharClass::space : CharClass::other;
  }
  if (is_space(point)) return CharClass::space;
  if (contains(letter_ranges(), point)) return CharClass::letter;
  if (contains(number_ranges(), point)) return CharClass::number;
  return CharClass::other;
}

CodePoint decode_utf8(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t size = sequence_bytes(lead);
  if (size == 0 || at + size > text.size()) return {};
  if (size == 1) return {lead, 1, true};
  std::uint32_t value = lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0U) != 0x80U) return {};
    value = (value << 6U) | (next & 0x3FU);
  }
  if ((size == 3 && (value < 0x800 || (value >= 0xD800 && value <= 0xDFFF))) ||
      (size == 4 && (value < 0x10000 || value > 0x10FFFF)))
    return {};
  return {value, size, true};
}

void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0U | (point >> 6U));
    put(0x80U | (point & 0x3FU));
  } else if (point < 0x10000) {
    put(0xE0U | (point >> 12U));
    put(0x80U | ((point >> 6U) & 0x3FU));
    put(0x80U | (point & 0x3FU));
  } else {
    put(0xF0U | (point >> 18U));
    put(0x80U | ((point >> 12U) & 0x3FU));
    put(0x80U | ((point >> 6U) & 0x3FU));
    put(0x80U | (point & 0x3FU));
  }
}

std::size_t incomplete_utf8_tail(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;
    return sequence_bytes(byte) > back ? back : 0;
  }
  return 0;
}

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_utf8(text, at);
    if (point.valid) {
      out += text.substr(at, point.bytes);
    } else {
      append_utf8(out, 0xFFFD);
    }
    at += point.bytes;
  }
  return out;
}

}  // namespace ambit::inference
