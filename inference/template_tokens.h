#pragma once

// A template's source as its parser meets it: segments, and the tokens of a tag.

#include "inference/template_tree.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference::jinja {

// A stretch of the source: text between tags, {{ expression }} or {% statement %}.
struct Segment {
  enum class Kind { text, print, statement };
  Kind kind = Kind::text;
  std::string_view text;
  std::size_t line = 0;
};

struct Token {
  enum class Kind { end, name, number, text, mark };
  Kind kind = Kind::end;
  std::string text;
  Json value;
};

// Error (invalid): a tag is not closed.
Result<std::vector<Segment>> split(std::string_view source);
// The tokens of a tag and one of kind `end`. Errors (invalid): an unknown character, a number or a
// string that is none, more than 1000 words.
Result<std::vector<Token>> tokenize(const Segment& segment);
Error fault(std::size_t line, const std::string& what);

}  // namespace ambit::inference::jinja
