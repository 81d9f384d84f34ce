#pragma once

// Cuts a policy text into tokens with their positions. String literals keep their raw content here;
// the parser unescapes them, because `like` patterns have one escape more than strings.

#include "cedar/policy.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::cedar {

enum class TokenKind : std::uint8_t { end, identifier, integer, string, symbol };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;  // of strings without the quotes
  Position where;
  std::size_t offset = 0;  // of its first byte
  std::size_t end = 0;     // past its last byte
};

// The last token is always `end`. The views point into `text`.
Result<std::vector<Token>> tokenize(std::string_view text, std::string_view source);

// What a person calls this token in a message: "`permit`", "the string \"a\"", "the end of the
// text".
std::string describe(const Token& token);

Error error_at(std::string_view source, Position where, std::string_view message);

// Resolves \n \r \t \\ \0 \' \" \xHH and \u{...}. The second form also takes \* and cuts at each
// plain *.
Result<std::string> unescape(const Token& token, std::string_view source);
Result<Pattern> unescape_pattern(const Token& token, std::string_view source);

// Whether `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);

}  // namespace ambit::cedar
