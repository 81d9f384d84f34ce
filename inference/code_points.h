#pragma once

// Code points as byte languages: what a grammar or a pattern says in characters, an engine writes
// in the bytes of UTF-8, plain or inside a JSON string.

#include "inference/automaton.h"

#include <string_view>
#include <utility>
#include <vector>

namespace ambit::inference {

using CodePointRanges = std::vector<std::pair<char32_t, char32_t>>;  // both ends included

enum class Spelling {
  plain,
  // As the content of a JSON string: what must be escaped is, in one way each; nothing else is.
  json,
};

// One character out of the ranges. Surrogates have no spelling.
ExpressionId one_of(Automaton& automaton, const CodePointRanges& ranges, Spelling spelling);
// Any character.
ExpressionId any_character(Automaton& automaton, Spelling spelling);

// The texts from `low` to `high`, both as long, in the order of their bytes (unsigned); the bytes
// that are free run from `first` to `last`.
ExpressionId texts_between(Automaton& automaton, std::string_view low, std::string_view high,
                           unsigned char first, unsigned char last);

}  // namespace ambit::inference
