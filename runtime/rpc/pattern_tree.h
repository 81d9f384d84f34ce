#pragma once

// PatternTree: what a regular expression of JSON Schema says, as a tree. The part of ECMAScript
// that needs no backtracking: literals, classes, escapes, groups, alternation, counted repeats,
// anchors,
// \b. Lookaround, back references and \p{...} are refused by name. Pattern (pattern.h) matches by
// it; an engine that must write what matches walks it too.

#include "async/result.h"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::rpc {

struct PatternTree {
  enum class Kind : std::uint8_t {
    set,
    sequence,
    either,
    repeat,
    begin,
    end,
    boundary,
    no_boundary
  };
  using Ranges = std::vector<std::pair<char32_t, char32_t>>;  // both ends included
  static constexpr std::uint32_t endless = UINT32_MAX;

  Kind kind = Kind::sequence;
  Ranges ranges;                   // set
  std::vector<PatternTree> parts;  // sequence, either; repeat has one
  std::uint32_t least = 1;         // repeat
  std::uint32_t most = 1;

  // Errors name the character (of the expression, from 0).
  static Result<PatternTree> parse(std::string_view expression);
};

// All code points that are in none of the ranges.
PatternTree::Ranges inverted(PatternTree::Ranges ranges);
// What \w takes.
const PatternTree::Ranges& word_characters();

}  // namespace ambit::rpc
