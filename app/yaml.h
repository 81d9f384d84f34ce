#pragma once

// The part of YAML that agent files are written in, as JSON: block mappings and sequences, plain
// and quoted scalars, block texts (| and >), flow lists and mappings, comments. No anchors, tags or
// documents; those are errors, never guesses.

#include "async/result.h"

#include <nlohmann/json_fwd.hpp>

#include <string_view>

namespace ambit::app {

// Errors name the line. Mappings keep their order.
Result<nlohmann::ordered_json> parse_yaml(std::string_view text);

}  // namespace ambit::app
