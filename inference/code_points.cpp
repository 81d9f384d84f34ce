#include "inference/code_points.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace ambit::inference {
namespace {

constexpr char32_t point_max = 0x10FFFF;

std::string encoded(char32_t point) {
  const auto low = [&](unsigned shift) {
    return static_cast<char>(0x80U | ((point >> shift) & 0x3FU));
  };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xC0U | (point >> 6U)), low(0)};
  if (point < 0x10000) return {static_cast<char>(0xE0U | (point >> 12U)), low(6), low(0)};
  return {static_cast<char>(0xF0U | (point >> 18U)), low(12), low(6), low(0)};
}

ExpressionId byte_range(Automaton& a, unsigned first, unsigned last) {
  ByteSet set;
  for (unsigned byte = first; byte <= last; ++byte) set.set(byte);
  return a.bytes(set);
}

struct Bounds {
  std::string_view low, high;
  unsigned first, last;  // of the bytes after one that differs from its bound's
};

ExpressionId between(Automaton& a, const Bounds& bounds, std::size_t at, bool at_low,
                     bool at_high) {
  if (at == bounds.low.size()) return Automaton::nothing;
  const unsigned first = at_low ? static_cast<unsigned char>(bounds.low[at]) : bounds.first;
  const unsigned last = at_high ? static_cast<unsigned char>(bounds.high[at]) : bounds.last;
  const auto rest = [&](unsigned from, unsigned to, bool keeps_low, bool keeps_high) {
    return a.sequence(byte_range(a, from, to), between(a, bounds, at + 1, keeps_low, keeps_high));
  };
  if (first > last) return Automaton::never;
  if (first == last || (!at_low && !at_high)) return rest(first, last, at_low, at_high);
  std::vector<ExpressionId> choices = {rest(first, first, at_low, false),
                                       rest(last, last, false, at_high)};
  if (first + 1 < last) choices.push_back(rest(first + 1, last - 1, false, false));
  return a.either(choices);
}

ExpressionId utf8(Automaton& a, char32_t low, char32_t high) {
  std::vector<ExpressionId> choices;
  constexpr std::array<std::pair<char32_t, char32_t>, 5> same_length = {
      {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, point_max}}};
  for (const auto& [first, last] : same_length) {
    const char32_t from = std::max(low, first);
    const char32_t to = std::min(high, last);
    if (from <= to) choices.push_back(texts_between(a, encoded(from), encoded(to), 0x80, 0xBF));
  }
  return a.either(choices);
}

std::string escape(char32_t point) {
  switch (point) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  constexpr std::string_view digits = "0123456789abcdef";
  return std::string("\\u00") + digits[(point >> 4U) & 15U] + digits[point & 15U];
}

bool must_be_escaped(char32_t point) {
  return point < 0x20 || point == '"' || point == '\\';
}

}  // namespace

ExpressionId texts_between(Automaton& a, std::string_view low, std::string_view high,
                           unsigned char first, unsigned char last) {
  if (low.size() != high.size() || low > high) return Automaton::never;
  return between(a, {low, high, first, last}, 0, true, true);
}

ExpressionId one_of(Automaton& a, const CodePointRanges& ranges, Spelling spelling) {
  std::vector<ExpressionId> choices;
  for (const auto& [low, high] : ranges) {
    if (spelling == Spelling::plain) {
      choices.push_back(utf8(a, low, high));
      continue;
    }
    char32_t from = low;
    for (char32_t point = low; point <= high && point <= '\\'; ++point) {
      if (!must_be_escaped(point)) continue;
      if (from < point) choices.push_back(utf8(a, from, point - 1));
      choices.push_back(a.text(escape(point)));
      from = point + 1;
    }
    if (from <= high) choices.push_back(utf8(a, from, high));
  }
  return a.either(choices);
}

ExpressionId any_character(Automaton& a, Spelling spelling) {
  return one_of(a, {{0, point_max}}, spelling);
}

}  // namespace ambit::inference
