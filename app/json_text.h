#pragma once

// JSON as this program prints it.

#include <nlohmann/json.hpp>

#include <string>

namespace ambit::app {

// What is no UTF-8 in it is replaced, never an error.
inline std::string dumped(const nlohmann::ordered_json& value, int indent = -1) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ambit::app
