#pragma once

// Base64 with the alphabet for URLs, without padding (RFC 7515, section 2). Reading is strict: what
// we would not write ourselves is refused.

#include <optional>
#include <string>
#include <string_view>

namespace ambit::jose {

std::string to_base64url(std::string_view bytes);
std::optional<std::string> from_base64url(std::string_view text);

}  // namespace ambit::jose
