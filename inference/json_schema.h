#pragma once

// JSON Schema to a byte language, for output that cannot be wrong.
// Enforced: type (also a list), properties, required, enum, const, items, prefixItems, minItems,
// maxItems, minLength, maxLength, pattern, format (date, time, date-time, duration, email,
// hostname, ipv4, ipv6, uri, uuid), minimum, maximum and their exclusive forms, multipleOf (of
// integers in a range of at most 1000), additionalProperties, patternProperties, propertyNames,
// minProperties and maxProperties of objects without named properties, allOf, anyOf, $ref inside
// the document (also to itself), booleans as schemas. oneOf is taken as anyOf. Not enforced: not,
// if, contains, uniqueItems, dependent*, unevaluated*, other formats, patterns with anchors inside
// or lookaround. What is made is a part of what is allowed: properties come in the order of the
// schema; further ones are made only where additionalProperties or patternProperties say of what
// kind; strings under a pattern, a format or a name escape only what must be; free values nest at
// most free_depth deep.

#include "async/result.h"
#include "inference/automaton.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>

namespace ambit::inference {

struct SchemaLimits {
  std::size_t free_depth = 8;
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
