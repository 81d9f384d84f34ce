#pragma once

// Canonical JSON (RFC 8785, JCS): one byte sequence for one value, so that hashes of records can be
// made again by anyone. Members sorted by UTF-16 code units, shortest escapes, numbers as
// ECMAScript writes them. Everything here is one pass over the text, without a parsed document.

#include "async/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace ambit::log {

// Nesting beyond this is refused, so that no reader's stack is at risk.
inline constexpr unsigned canonical_depth_max = 64;

// Errors: text that is not JSON or not UTF-8, a member given twice, nesting beyond 64 levels, and
// whole numbers with digits that a double does not hold (other readers would round them: write
// them as strings).
Result<std::string> canonical_json(std::string_view text);

// Whether canonical_json would give `text` back as it is.
bool is_canonical_json(std::string_view text);

// The length of the canonical value, or string with its quotes, that `text` begins with; 0 if it
// begins with none.
std::size_t canonical_value_length(std::string_view text);
std::size_t canonical_string_length(std::string_view text);

// Appends `text` in quotes; false (and `out` is spoilt) if it is not UTF-8.
bool append_quoted(std::string_view text, std::string& out);
// What stands between the quotes of a canonical string, without its escapes.
std::string unescape_canonical(std::string_view inner);

// Number::toString of ECMAScript for a finite number.
std::string number_text(double number);

}  // namespace ambit::log
