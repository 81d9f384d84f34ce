#pragma once

// The published JSON schemas, to check what we write against them.

#include "rpc/schema.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace ambit::a2a {

// Empty if the value fits the definition.
inline std::string schema_fault(const std::string& file, const std::string& definition,
                                const rpc::Json& value) {
  std::ifstream in(std::string(TEST_DATA) + "/a2a/" + file);
  std::stringstream text;
  text << in.rdbuf();
  rpc::Json schema = rpc::Json::parse(text.str());
  if (!schema["definitions"].contains(definition)) return "there is no definition " + definition;
  schema["$ref"] = "#/definitions/" + definition;
  const auto compiled = rpc::Schema::compile(schema);
  if (!compiled) return compiled.error().message;
  const auto fits = compiled->validate(value);
  return fits ? "" : fits.error().message + " in " + value.dump();
}
inline std::string fault_1_0(const std::string& definition, const rpc::Json& value) {
  return schema_fault("a2a-1.0.1.schema.json", definition, value);
}
inline std::string fault_0_3(const std::string& definition, const rpc::Json& value) {
  return schema_fault("a2a-0.3.0.schema.json", definition, value);
}

}  // namespace ambit::a2a
