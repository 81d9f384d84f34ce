#pragma once

// What Schema keeps: its own copy of the schema, whose nodes the tables point into, and what was
// worked out once (where each $ref leads, the patterns). Private to schema.cpp and
// schema_compiler.cpp.

#include "rpc/pattern.h"
#include "rpc/schema.h"

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace ambit::rpc {

struct Schema::Compiled {
  Json root;
  SchemaOptions options;
  bool old_dialect = false;      // draft-07 and before: the siblings of a $ref do not count
  bool has_unevaluated = false;  // else nobody needs to know what was evaluated
  std::unordered_map<const Json*, const Json*> refs;  // a schema with $ref -> the schema meant
  std::map<std::string, Pattern, std::less<>> patterns;
  std::vector<std::string> unchecked;
};

// "#/$defs/a~1b" within `root`; null if it leads nowhere.
const Json* follow_pointer(const Json& root, std::string_view pointer);

}  // namespace ambit::rpc
