#pragma once

// What tokens and keys need of OpenSSL and of base64url; inside of governance only.

#include "async/result.h"

#include <string>
#include <string_view>

namespace ambit::governance {

// Without padding. Refuses what to_base64url would not write: other characters, bits left over.
std::string to_base64url(std::string_view bytes);
Result<std::string> from_base64url(std::string_view text);

}  // namespace ambit::governance
