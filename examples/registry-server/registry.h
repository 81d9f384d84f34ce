#pragma once

// The service registry: which team owns a service, where it runs, what to do about a symptom. Read
// once from a JSON file. Answers are short "key: value" lines, because small models read them, and
// the same as an object for programs.

#include "rpc/schema.h"
#include "rpc/value.h"

#include <string>
#include <vector>

namespace registry {

struct Tool {
  std::string name;
  std::string description;
  ambit::rpc::Value input_schema;
};

class Registry {
 public:
  static ambit::Result<Registry> load(const std::string& path);

  [[nodiscard]] static const std::vector<Tool>& tools();
  // An object of strings; Code::not_found for a name that the registry does not hold.
  [[nodiscard]] ambit::Result<ambit::rpc::Value> call(const std::string& tool,
                                                      const ambit::rpc::Json& arguments) const;

 private:
  explicit Registry(ambit::rpc::Value data) : data_(std::move(data)) {}
  ambit::rpc::Value data_;
};

}  // namespace registry
