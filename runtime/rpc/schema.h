#pragma once

// Schema: JSON Schema 2020-12 (and the older spellings of draft-07 that MCP servers send), without
// network and with a bound on all work. A fault names the place in the value: "$.hosts[2].port:
// ...". What cannot be checked (a remote $ref, $dynamicRef, a pattern with lookaround) is not an
// error but is listed by unchecked(), so that nobody takes silence for a check. `format` only
// annotates, as the standard has it.

#include "rpc/value.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::rpc {

enum class Dialect { draft_2020_12, draft_07 };

struct SchemaOptions {
  Dialect dialect = Dialect::draft_2020_12;  // where `$schema` does not say
  std::size_t depth_max = 128;               // schemas inside each other, also by $ref
  std::size_t steps_max = 1'000'000;         // of one validation
};

class Schema {
 public:
  // Fails where a keyword has a value of the wrong kind, or a local $ref points nowhere.
  static Result<Schema> compile(const Json& schema, const SchemaOptions& options = {});
  static Result<Schema> parse(std::string_view text, const SchemaOptions& options = {});

  // Code::invalid with the path of the first fault; Code::exhausted if checking costs too much.
  [[nodiscard]] Result<void> validate(const Json& value) const;
  // The same, against the definition at a pointer such as "#/$defs/Tool".
  [[nodiscard]] Result<void> validate_as(const std::string& pointer, const Json& value) const;

  // "#/properties/id/pattern: a lookahead at character 3 is not supported"
  [[nodiscard]] const std::vector<std::string>& unchecked() const;

 private:
  struct Compiled;
  friend class SchemaCompiler;
  friend class Validation;
  explicit Schema(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace ambit::rpc
