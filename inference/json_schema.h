#pragma once

// JSON Schema to a byte language, for output that cannot be wrong.
// Covered: type (also a list of types), properties in the order of the schema, required, enum,
// const, items, prefixItems, minItems, maxItems, minLength, maxLength, additionalProperties with a
// schema where no properties are named, anyOf, oneOf, $ref inside the document, booleans as
// schemas. Not enforced (the value's kind still is): pattern, format, minimum, maximum, multipleOf,
// uniqueItems, minProperties, not. allOf of more than one schema is refused. Further properties are
// never made. Spacing: after each "," and ":" one space or none, nothing elsewhere (json.dumps, and
// the compact form). Nesting of free values is bounded by free_depth, recursion of $ref by
// ref_depth.

#include "async/result.h"
#include "inference/automaton.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>

namespace ambit::inference {

struct SchemaLimits {
  std::size_t free_depth = 4;
  std::size_t ref_depth = 4;
  std::size_t depth_max = 48;
  std::size_t nodes_max = 20'000;      // parts of the schema looked at
  std::uint32_t length_max = 100'000;  // of minLength and maxLength, minItems and maxItems
};

Result<ExpressionId> json_language(Automaton& automaton, const nlohmann::ordered_json& schema,
                                   const SchemaLimits& limits = {});
// Any JSON value; any JSON object.
ExpressionId any_json(Automaton& automaton, std::size_t depth);
ExpressionId any_json_object(Automaton& automaton, std::size_t depth);

}  // namespace ambit::inference
