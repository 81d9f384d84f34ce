#include "mcp/hidden_text.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace ambit::mcp {
namespace {

struct Span {
  char32_t first;
  char32_t last;
};

// Unicode 15: format characters, controls and fillers without a glyph.
constexpr std::array<Span, 19> hidden = {{{0x00, 0x08},
                                          {0x0B, 0x0C},
                                          {0x0E, 0x1F},
                                          {0x7F, 0x9F},
                                          {0x034F, 0x034F},
                                          {0x115F, 0x1160},
                                          {0x17B4, 0x17B5},
                                          {0x180B, 0x180F},
                                          {0x200B, 0x200B},
                                          {0x2028, 0x202E},
                                          {0x2060, 0x206F},
                                          {0x3164, 0x3164},
                                          {0xFE00, 0xFE0D},
                                          {0xFEFF, 0xFEFF},
                                          {0xFFA0, 0xFFA0},
                                          {0xFFF9, 0xFFFB},
                                          {0x1D173, 0x1D17A},
                                          {0xE0000, 0xE0FFF},
                                          {0x13430, 0x1343F}}};
constexpr std::array<Span, 5> alone_allowed = {
    {{0xAD, 0xAD}, {0x061C, 0x061C}, {0x200C, 0x200D}, {0x200E, 0x200F}, {0xFE0E, 0xFE0F}}};

template <std::size_t N>
bool is_in(const std::array<Span, N>& spans, char32_t code) {
  return std::any_of(spans.begin(), spans.end(),
                     [code](Span span) { return code >= span.first && code <= span.last; });
}

// The character at the front, and its length; a byte that begins none counts as one of its own.
std::pair<char32_t, std::size_t> first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length == 1 || length > text.size()) return {lead, 1};
  char32_t code = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) code = (code << 6) | (byte(i) & 0x3FU);
  return {code, length};
}

std::string named(char32_t code) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string hex;
  for (auto rest = static_cast<std::uint32_t>(code); rest > 0 || hex.size() < 4; rest >>= 4) {
    hex.insert(hex.begin(), digits[rest & 15]);
  }
  return "<U+" + hex + ">";
}

bool is_plain(char c) {
  return (c >= 0x20 && c < 0x7F) || c == '\n' || c == '\t' || c == '\r';
}

// How many plain characters there are at the front: most of any text.
std::size_t plain_run(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size() && is_plain(text[length])) ++length;
  return length;
}

// Calls `visit(piece, code, hides)` for each run of plain characters (code 0) and for each other
// one, until it gives false.
template <class F>
void each_piece(std::string_view text, F visit) {
  bool after_mark = false;
  while (!text.empty()) {
    if (const std::size_t run = plain_run(text); run > 0) {
      if (!visit(text.substr(0, run), char32_t{0}, false)) return;
      text.remove_prefix(run);
      after_mark = false;
      continue;
    }
    const auto [code, length] = first_of(text);
    const bool mark = is_in(alone_allowed, code);
    if (!visit(text.substr(0, length), code, is_in(hidden, code) || (mark && after_mark))) return;
    after_mark = mark;
    text.remove_prefix(length);
  }
}

}  // namespace

bool hides_text(std::string_view text) {
  bool found = false;
  each_piece(text, [&](std::string_view, char32_t, bool hides) {
    found = hides;
    return !found;
  });
  return found;
}

std::string revealed(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  each_piece(text, [&](std::string_view piece, char32_t code, bool hides) {
    if (hides) {
      out += named(code);
    } else {
      out += piece;
    }
    return true;
  });
  return out;
}

}  // namespace ambit::mcp
