#pragma once

// JSON from outside, with a bound on its nesting: what walks over it recurses.

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string_view>

namespace ambit::inference {

// The value; discarded (is_discarded()) when the text is not JSON or nested deeper than
// `depth_max`.
nlohmann::ordered_json parse_json(std::string_view text, std::size_t depth_max = 64);

// Whether brackets and braces are nested deeper than that.
bool nests_deeper(std::string_view text, std::size_t depth_max);

}  // namespace ambit::inference
