#pragma once

// The evaluator of chat templates: walks the tree, bounded in steps, depth and output. Statements,
// expressions and calls (functions, methods, filters, tests) are in files of their own.

#include "inference/template_values.h"

#include <deque>

namespace ambit::inference::jinja {

enum class Flow { on, next, out };

class Evaluator {
 public:
  Evaluator(const Json& variables, const TemplateLimits& limits);

  Result<std::string> run(const Block& block);

 private:
  struct Scope {
    std::map<std::string, Json, std::less<>> values;
    std::map<std::string, Macro, std::less<>> macros;
  };

  Error wrong(std::size_t line, const std::string& what) const;
  Result<void> step(std::size_t line);
  // Values cost steps by their size, so that no few steps make a gigabyte.
  Result<void> charge(std::size_t bytes, std::size_t line);
  // A value that was put together: its size is charged, its nesting is bounded, because copying
  // recurses.
  Result<void> charge_built(const Json& value, std::size_t line);
  static bool measure(const Json& value, std::size_t depth_left, std::size_t& size);
  Result<Value> text_value(std::string text, std::size_t line);
  Result<Value> replaced_value(std::string_view text, std::string_view from, std::string_view to,
                               std::size_t line);
  Result<void> append(std::size_t line, std::string_view text);
  Json* variable(std::string_view name);
  const Statement* macro(std::string_view name);

  Result<Flow> execute(const Block& block);
  Result<Flow> execute(const Statement& statement);
  Result<std::string> captured(const Block& body);
  Result<void> assign(const Statement& statement, Json value);
  Result<void> bind(const std::vector<std::string>& names, Json value, std::size_t line);
  // What a loop runs over: the items of a list, the keys of an object, the characters of a string.
  Result<std::vector<Json>> items_of(const Json& value, std::size_t line);
  // What `loop` is in round `i`. The item before has been moved into its variable: previous_ is its
  // copy.
  Json loop_state(const std::vector<Json>& items, std::size_t i) const;
  Result<Flow> loop(const Statement& statement);

  Result<Value> evaluate(const Expression& expression);
  Result<Arguments> arguments(const Expression& expression);
  Result<Value> member(const Value& whole, const Json& index, std::size_t line);
  Result<Value> slice(const Expression& expression);
  Result<Value> binary(const Expression& expression);
  Result<bool> contains(const Json& whole, const Json& part, std::size_t line);
  Result<Value> arithmetic(const std::string& op, const Json& a, const Json& b, std::size_t line);
  static std::string kind_name(const Json& value);

  Result<Value> call(const Expression& expression);
  Result<Value> call_macro(const Statement& statement, const Arguments& given);
  Result<Value> method(const std::string& name, const Json& self, const Arguments& given,
                       std::size_t line);
  static Value split(std::string_view text, const Arguments& given, bool from_right);
  Result<Value> joined(const Json& list, const std::string& with, std::size_t line);
  Result<Value> filter(const Expression& expression, const Json& value, const Arguments& given);
  Result<Value> list_filter(const Expression& expression, const Json& value,
                            const Arguments& given);
  Result<bool> test(const std::string& name, const Json& value, const Arguments& given,
                    std::size_t line);

  const TemplateLimits& limits_;
  std::deque<Scope> scopes_;
  Json previous_;
  std::string out_;
  std::size_t steps_ = 0;
};

}  // namespace ambit::inference::jinja
