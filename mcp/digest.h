#pragma once

// SHA-256 as lower-case hex: names a tool definition in the record and tells when it has changed.

#include <string>
#include <string_view>

namespace ambit::mcp {

std::string sha256_hex(std::string_view bytes);

}  // namespace ambit::mcp
