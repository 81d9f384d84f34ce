#include "inference/schema_merge.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace ambit::inference {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 14> annotations = {
    "title",    "description", "default", "examples", "deprecated", "readOnly",    "writeOnly",
    "$comment", "$schema",     "$id",     "id",       "$defs",      "definitions", "$anchor"};

// Keywords of which a schema can say one only.
constexpr std::array<std::string_view, 12> single = {"pattern",       "format", "anyOf",
                                                     "oneOf",         "not",    "prefixItems",
                                                     "contains",      "if",     "patternProperties",
                                                     "propertyNames", "$ref",   "multipleOf"};

bool is_annotation(std::string_view key) {
  return std::find(annotations.begin(), annotations.end(), key) != annotations.end();
}

Json all_of(const Json& a, const Json& b) {
  if (a == b) return a;
  return {{"allOf", Json::array({a, b})}};
}

Json as_list(const Json& value) {
  return value.is_array() ? value : Json::array({value});
}

bool has_type(const Json& types, const std::string& name) {
  return std::find(types.begin(), types.end(), Json(name)) != types.end();
}

Json common_types(const Json& a, const Json& b) {
  const Json first = as_list(a);
  const Json second = as_list(b);
  Json common = Json::array();
  for (const Json& type : first) {
    if (!type.is_string()) continue;
    const auto& name = type.get_ref<const std::string&>();
    if (has_type(second, name) || (name == "integer" && has_type(second, "number")))
      common.push_back(type);
    else if (name == "number" && has_type(second, "integer"))
      common.push_back("integer");
  }
  return common;
}

Json common_values(const Json& a, const Json& b) {
  Json common = Json::array();
  for (const Json& value : a)
    if (std::find(b.begin(), b.end(), value) != b.end()) common.push_back(value);
  return common;
}

// What `of` says of a property that only the other schema names.
const Json* unnamed(const Json& of) {
  const auto at = of.find("additionalProperties");
  return at == of.end() ? nullptr : &*at;
}

Json merged_properties(const Json& a, const Json& b) {
  const Json none = Json::object();
  const Json& first = a.contains("properties") ? a["properties"] : none;
  const Json& second = b.contains("properties") ? b["properties"] : none;
  Json all = Json::object();
  for (const auto& [name, schema] : first.items()) {
    if (second.contains(name))
      all[name] = all_of(schema, second[name]);
    else if (const Json* other = unnamed(b))
      all[name] = all_of(schema, *other);
    else
      all[name] = schema;
  }
  for (const auto& [name, schema] : second.items()) {
    if (first.contains(name)) continue;
    const Json* other = unnamed(a);
    all[name] = other != nullptr ? all_of(schema, *other) : schema;
  }
  return all;
}

void unite(Json& into, const Json& names) {
  for (const Json& name : names)
    if (std::find(into.begin(), into.end(), name) == into.end()) into.push_back(name);
}

bool is_lower_bound(std::string_view key) {
  return key == "minimum" || key == "exclusiveMinimum" || key.starts_with("min");
}
bool is_bound(std::string_view key) {
  return is_lower_bound(key) || key == "maximum" || key == "exclusiveMaximum" ||
         key.starts_with("max");
}

}  // namespace

bool is_annotation_only(const Json& schema) {
  if (!schema.is_object()) return false;
  for (const auto& [key, value] : schema.items())
    if (!is_annotation(key)) return false;
  return true;
}

std::optional<Json> merged(const Json& a, const Json& b) {
  if (a.is_boolean()) return a.get<bool>() ? b : a;
  if (b.is_boolean()) return b.get<bool>() ? a : b;
  if (!a.is_object() || !b.is_object()) return std::nullopt;
  const bool closed_by_patterns =
      a.contains("patternProperties") || b.contains("patternProperties");
  if (closed_by_patterns && (a.contains("properties") || b.contains("properties")) && a != b)
    return std::nullopt;
  Json both = a;
  for (const auto& [key, value] : b.items()) {
    if (is_annotation(key) || key == "properties") continue;
    if (!both.contains(key)) {
      both[key] = value;
      continue;
    }
    Json& known = both[key];
    if (known == value) continue;
    if (std::find(single.begin(), single.end(), key) != single.end()) return std::nullopt;
    if (key == "type") {
      known = common_types(known, value);
      if (known.empty()) return Json(false);
    } else if (key == "required") {
      if (!known.is_array() || !value.is_array()) return std::nullopt;
      unite(known, value);
    } else if (key == "enum") {
      if (!known.is_array() || !value.is_array()) return std::nullopt;
      known = common_values(known, value);
      if (known.empty()) return Json(false);
    } else if (key == "const") {
      return Json(false);
    } else if (key == "items" || key == "additionalProperties") {
      known = all_of(known, value);
    } else if (is_bound(key)) {
      if (!known.is_number() || !value.is_number()) return std::nullopt;
      const bool greater = value.get<double>() > known.get<double>();
      if (greater == is_lower_bound(key)) known = value;
    } else if (key == "allOf") {
      unite(known, value);
    } else {
      return std::nullopt;
    }
  }
  if (a.contains("properties") || b.contains("properties"))
    both["properties"] = merged_properties(a, b);
  return both;
}

}  // namespace ambit::inference
