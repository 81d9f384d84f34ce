#pragma once

// The part of the Jinja language that public chat templates use, as a parser and an evaluator over
// JSON. Expressions: literals, attributes, subscripts, slices, calls, arithmetic, comparisons,
// `in`, `is`, `~`, `a if b else c`, filters. Statements: for/else, if/elif/else, set (also blocks
// and namespaces), macro. Whitespace as model files expect it: trim_blocks and lstrip_blocks.
// Nesting, output and steps are bounded; what a step reads or makes costs more of them by its size,
// so that time and memory are bounded, too.

#include "async/result.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace ambit::inference {

struct TemplateLimits {
  std::size_t source_bytes_max = 1U << 20U;
  std::size_t depth_max = 64;     // of statements, parentheses, values, macro calls
  std::size_t nesting_max = 600;  // of all that is evaluated within each other
  std::size_t steps_max = 1'000'000;
  std::size_t output_bytes_max = 32U << 20U;
};

namespace jinja {
struct Block;
}

class Template {
 public:
  static Result<Template> parse(std::string_view source, const TemplateLimits& limits = {});
  // `variables` is an object: the names that the template may read.
  [[nodiscard]] Result<std::string> render(const nlohmann::ordered_json& variables) const;

 private:
  TemplateLimits limits_;
  std::shared_ptr<const jinja::Block> body_;
};

// What Python's json.dumps takes. An `indent` makes lines.
struct JsonStyle {
  std::size_t indent = 0;
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::string item_separator{};  // empty: ", ", of lines ","
  std::string key_separator = ": ";
};
std::string python_dumps(const nlohmann::ordered_json& value, const JsonStyle& style = {});

}  // namespace ambit::inference
