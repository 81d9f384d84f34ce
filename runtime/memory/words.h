#pragma once

// The words of a text, for the search in memories: runs of letters, digits and their marks, case
// folded; of scripts that are written without spaces (Han, Kana) each character is a word. What is
// no UTF-8 separates words.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::memory {

// A longer word counts by its first bytes, up to a character's border.
inline constexpr std::size_t word_bytes_max = 64;

std::vector<std::string> words_of(std::string_view text);

struct CodeRange {
  std::uint32_t first;
  std::uint32_t last;
};
// Each `step`-th code point from first to last, and how far its folded form is from it.
struct CodeFold {
  std::uint32_t first;
  std::uint32_t last;
  std::uint32_t step;
  std::int32_t delta;
};
// Sorted; words_tables.py makes them.
std::span<const CodeRange> word_ranges();
std::span<const CodeRange> ideograph_ranges();
std::span<const CodeFold> case_folds();

}  // namespace ambit::memory
