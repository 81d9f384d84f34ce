// Which tokens of a text stay the same whatever follows it: what tokenizer.h declares of them.

#include "inference/tokenizer.h"
#include "inference/unicode.h"

#include <algorithm>

namespace ambit::inference {

namespace {

bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

}  // namespace

bool Tokenizer::special_spans(std::string_view text, std::size_t at) const {
  const std::size_t first = at > special_bytes_max_ ? at - special_bytes_max_ : 0;
  for (std::size_t start = first; start < at; ++start) {
    const std::string_view rest = text.substr(start);
    for (const Special& special : specials_[static_cast<unsigned char>(text[start])]) {
      const std::size_t seen = std::min(special.text.size(), rest.size());
      const bool is_there = rest.substr(0, seen) == special.text.substr(0, seen);
      if (is_there && start + special.text.size() > at) return true;
    }
  }
  return false;
}

bool Tokenizer::is_apart(std::string_view text, std::size_t at) const {
  if (sentence_piece_) {
    const char left = text[at - 1];
    const char right = text[at];
    return is_ascii(left) && is_ascii(right) && !neighbours_[pair_of(left, right)];
  }
  if (text.substr(at).starts_with(guard_mark)) return false;
  std::size_t start = at - 1;
  while (start > 0 && at - start < 4 && (static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80U)
    --start;
  const CodePoint left = decode_utf8(text, start);
  const CodePoint right = decode_utf8(text, at);
  if (!left.valid || start + left.bytes != at || !right.valid) return false;
  const CharClass after = char_class(right.value);
  // In every family a run of letters is in one piece, at the end of it.
  if (char_class(left.value) == CharClass::letter) return after != CharClass::letter;
  // A newline goes with white space around it and with marks before it; never with what follows.
  return left.value == '\n' && after != CharClass::space && at > 1 && is_ascii(text[at - 2]) &&
         char_class(static_cast<unsigned char>(text[at - 2])) != CharClass::space;
}

std::size_t Tokenizer::certain_length(std::string_view text) const {
  std::vector<std::size_t> special_ends;
  for (std::size_t at = 0; at < text.size();) {
    const Special* special = special_at(text, at);
    at += special == nullptr ? 1 : special->text.size();
    if (special != nullptr) special_ends.push_back(at);
  }
  for (std::size_t at = text.size(); at > 0; --at) {
    const bool after_special = !special_ends.empty() && special_ends.back() == at;
    if (after_special) special_ends.pop_back();
    const bool ends_here = after_special || (at < text.size() && is_apart(text, at));
    if (ends_here && !special_spans(text, at)) return at;
  }
  return 0;
}

}  // namespace ambit::inference
