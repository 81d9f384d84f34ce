#pragma once

// The reference for canonical_json: the same by way of nlohmann's parsed document, slow and plain.
// The fuzz target and the tests hold the product's single pass against it.

#include "async/result.h"

#include <string>
#include <string_view>

namespace ambit::log::dom {

Result<std::string> canonical_json(std::string_view text);

}  // namespace ambit::log::dom
