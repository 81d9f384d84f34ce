#pragma once

// What stands in JSON from outside, read without trusting its form.

#include "rpc/value.h"

#include <nlohmann/json.hpp>

#include <string>

namespace ambit::mcp {

// The member's text; empty where there is none or where it is something else.
inline std::string text_of(const rpc::Json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

}  // namespace ambit::mcp
