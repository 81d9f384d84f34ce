#include "memory/words.h"

#include <algorithm>
#include <optional>

namespace ambit::memory {
namespace {

struct Point {
  std::uint32_t value = 0;
  std::size_t bytes = 1;
};

// The code point at the front; nothing for bytes that are no well-formed UTF-8.
std::optional<Point> point_of(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return Point{lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return std::nullopt;
  std::uint32_t value = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return std::nullopt;
    value = (value << 6) | (byte(i) & 0x3FU);
  }
  constexpr std::uint32_t least[] = {0x80, 0x800, 0x10000};
  const bool is_surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least[length - 2] || value > 0x10FFFF || is_surrogate) return std::nullopt;
  return Point{value, length};
}

void append(std::string& out, std::uint32_t point) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xC0 | (point >> 6));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
  }
  put(0x80 | (point & 0x3F));
}

template <class Row>
const Row* row_of(std::span<const Row> rows, std::uint32_t point) {
  const auto after =
      std::upper_bound(rows.begin(), rows.end(), point,
                       [](std::uint32_t p, const Row& row) { return p < row.first; });
  if (after == rows.begin()) return nullptr;
  const Row& row = *(after - 1);
  return point <= row.last ? &row : nullptr;
}

bool is_in_words(std::uint32_t point) {
  if (point < 0x80) {
    return (point >= '0' && point <= '9') || (point >= 'a' && point <= 'z') ||
           (point >= 'A' && point <= 'Z');
  }
  return row_of(word_ranges(), point) != nullptr;
}

std::uint32_t folded(std::uint32_t point) {
  if (point < 0x80) return point >= 'A' && point <= 'Z' ? point + 32 : point;
  const CodeFold* fold = row_of(case_folds(), point);
  if (fold == nullptr || (point - fold->first) % fold->step != 0) return point;
  return static_cast<std::uint32_t>(static_cast<std::int64_t>(point) + fold->delta);
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool is_full = false;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
    is_full = false;
  };
  while (!text.empty()) {
    const auto point = point_of(text);
    text.remove_prefix(point ? point->bytes : 1);
    if (!point || !is_in_words(point->value)) {
      end_word();
      continue;
    }
    const bool stands_alone = row_of(ideograph_ranges(), point->value) != nullptr;
    if (stands_alone) end_word();
    if (!is_full) {
      const std::size_t before = word.size();
      append(word, folded(point->value));
      is_full = word.size() > word_bytes_max;
      if (is_full) word.resize(before);
    }
    if (stands_alone) end_word();
  }
  end_word();
  return words;
}

}  // namespace ambit::memory
