#include "app/argument_check.h"

#include "rpc/schema.h"
#include "rpc/value.h"

#include <map>
#include <memory>

namespace ambit::app {

agents::ArgumentCheck make_argument_check() {
  auto compiled = std::make_shared<std::map<std::string, rpc::Schema>>();
  return [compiled](const std::string& schema, const std::string& arguments) -> Result<void> {
    auto at = compiled->find(schema);
    if (at == compiled->end()) {
      auto made = rpc::Schema::parse(schema);
      if (!made) return Err(std::move(made).error().context("the tool's input schema"));
      at = compiled->emplace(schema, std::move(*made)).first;
    }
    const rpc::Value value = TRY(rpc::Value::parse(arguments));
    return at->second.validate(value.json());
  };
}

}  // namespace ambit::app
