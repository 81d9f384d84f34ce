#pragma once

// Canonical JSON (RFC 8785, JCS): one byte sequence for one value, so that hashes of records can be
// made again by anyone. Members sorted by UTF-16 code units, shortest escapes, numbers as
// ECMAScript writes them.

#include "async/result.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace ambit::log {

// Errors: text that is not JSON or not UTF-8, a member given twice, nesting beyond 64 levels, and
// whole numbers beyond 2^53 (other readers would round them: write them as strings).
Result<std::string> canonical_json(std::string_view text);
// The same for a value that is parsed already (members given twice are no longer visible then).
Result<std::string> canonical_json(const nlohmann::json& value);

}  // namespace ambit::log
