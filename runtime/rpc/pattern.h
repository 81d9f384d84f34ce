#pragma once

// Pattern: the regular expressions of JSON Schema (`pattern`, `patternProperties`), matched in time
// linear in the text: a server's schema must not be able to hang us. pattern_tree.h says which
// expressions there are.

#include "async/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::rpc {

class Pattern {
 public:
  static Result<Pattern> compile(std::string_view expression);
  // Whether it matches anywhere in the text (UTF-8).
  [[nodiscard]] bool found_in(std::string_view text) const;
  // found_in() takes at most about this many steps a character.
  [[nodiscard]] std::size_t size() const { return program_.size(); }

 private:
  friend class PatternCompiler;
  enum class Op : std::uint8_t { set, split, jump, begin, end, boundary, no_boundary, match };
  using Ranges = std::vector<std::pair<char32_t, char32_t>>;
  struct Instruction {
    Op op = Op::match;
    std::uint32_t a = 0;  // set: which one; split and jump: where to
    std::uint32_t b = 0;  // split: the other way
  };

  void follow(std::uint32_t start, bool at_begin, bool at_end, bool at_boundary,
              std::vector<std::uint32_t>& list, std::vector<std::uint32_t>& seen,
              std::uint32_t mark) const;
  [[nodiscard]] bool in_set(std::uint32_t set, char32_t point) const;

  std::vector<Instruction> program_;
  std::vector<Ranges> sets_;
};

// The code points of UTF-8 text; a byte that is no UTF-8 counts as U+FFFD.
std::u32string to_code_points(std::string_view text);
std::size_t count_code_points(std::string_view text);

}  // namespace ambit::rpc
