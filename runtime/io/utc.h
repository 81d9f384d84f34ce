#pragma once

// A moment as people and protocols write it (RFC 3339, UTC, milliseconds).

#include <cstdint>
#include <string>

namespace ambit::io {

// "2026-11-21T08:30:00.123Z"
std::string utc_text(std::int64_t unix_ns);

}  // namespace ambit::io
