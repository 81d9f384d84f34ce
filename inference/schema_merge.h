#pragma once

// Two JSON Schemas that hold at once, as one: what `allOf` asks for, and what stands beside an
// `anyOf`.

#include <nlohmann/json_fwd.hpp>

#include <optional>

namespace ambit::inference {

// Nothing: they cannot be written as one schema (each has a pattern, a choice, ...). References
// must have been resolved at the top.
std::optional<nlohmann::ordered_json> merged(const nlohmann::ordered_json& a,
                                             const nlohmann::ordered_json& b);
// Whether the schema says nothing but titles, descriptions and the like.
bool is_annotation_only(const nlohmann::ordered_json& schema);

}  // namespace ambit::inference
