#pragma once

// Base64 of RFC 4648 with padding, as HTTP headers and binary content carry it. Decoding is
// strict.

#include <optional>
#include <string>
#include <string_view>

namespace ambit::mcp {

std::string to_base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);

}  // namespace ambit::mcp
