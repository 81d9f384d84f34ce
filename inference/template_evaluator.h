#pragma once

// The evaluator of chat templates: walks the tree, bounded in steps, depth and output. Statements,
// expressions and calls (functions, methods, filters, tests) are in files of their own.

#include "inference/template_values.h"

#include <algorithm>
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
    bool is_call = false;  // of a macro, which sees nothing of its caller
  };
  // Which scope a name is looked for in after scope `i`; none after the first.
  [[nodiscard]] std::size_t outside(std::size_t i) const {
    return scopes_[i].is_call ? std::min<std::size_t>(i, 1) : i;
  }

  Error wrong(std::size_t line, const std::string& what) const;
  // What is entered within what; a chain of words in a tag is as deep as it is long.
  class Level {
   public:
    explicit Level(std::size_t& nesting) : nesting_(nesting) { ++nesting_; }
    ~Level() { --nesting_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    std::size_t& nesting_;
  };
  Result<void> enter(std::size_t line);

  Result<void> step(std::size_t line, std::size_t count = 1);
  // What is read or made costs steps by its size: no few steps make a gigabyte or take a minute.
  Result<void> charge(std::size_t bytes, std::size_t line);
  Result<void> charge_value(const Json& value, std::size_t line);
  // A value that was put together: its nesting is bounded, too, because copying recurses.
  Result<void> charge_built(const Json& value, std::size_t line);
  // Looking for a text in another, at its worst.
  Result<void> charge_search(std::string_view text, std::string_view part, std::size_t line);
  // Comparing all items of a value with `others` others each.
  Result<void> charge_order(const Json& value, std::size_t others, std::size_t line);
  // In units of about 32 bytes; false: it is nested more deeply than `depth_left`.
  static bool measure(const Json& value, std::size_t depth_left, std::size_t& size);
  Result<Json> taken(Value value, std::size_t line);
  Result<std::string> text(const Json& value, std::size_t line);
  Result<Value> text_value(std::string text, std::size_t line);
  Result<Value> replaced_value(std::string_view text, std::string_view from, std::string_view to,
                               std::size_t line);
  Result<void> append(std::size_t line, std::string_view text);
  Json* variable(std::string_view name);
  const Statement* macro(std::string_view name);

  Result<Flow> execute(const Block& block);
  Result<Flow> execute(const Statement& statement);
  Result<std::string> captured(const Block& body, std::size_t line);
  Result<void> assign(const Statement& statement, Json value);
  Result<void> bind(const std::vector<std::string>& names, Json value, std::size_t line);
  // What a loop runs over: the items of a list, the keys of an object, the characters of a string.
  Result<std::vector<Json>> items_of(const Json& value, std::size_t line);
  // What `loop` is in round `i`. The item before has been moved into its variable: `previous` is
  // its copy.
  static Json loop_state(const std::vector<Json>& items, std::size_t i, const Json& previous);
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
  Result<Value> split(std::string_view text, const Arguments& given, bool from_right,
                      std::size_t line);
  Result<Value> range(const Arguments& given, std::size_t line);
  Result<Value> as_json(const Json& value, const Arguments& given, std::size_t line);
  // An item by what it is ordered: by itself or an attribute, letters without their case unless
  // that is asked for.
  struct Keyed {
    Json key;
    Json item;
  };
  Result<std::vector<Keyed>> keyed(std::vector<Json> items, const Json* attribute,
                                   const Json* case_sensitive, std::size_t line);
  static Json sorted(std::vector<Keyed> items, const Json* reverse);
  Result<Value> joined(const Json& list, const std::string& with, std::size_t line);
  Result<Value> filter(const Expression& expression, const Json& value, const Arguments& given);
  Result<Value> list_filter(const Expression& expression, const Json& value,
                            const Arguments& given);
  Result<bool> test(const std::string& name, const Json& value, const Arguments& given,
                    std::size_t line);

  const TemplateLimits& limits_;
  std::deque<Scope> scopes_;
  std::string out_;
  std::size_t steps_ = 0;
  std::size_t nesting_ = 0;
  std::size_t calls_ = 0;  // of macros that have not returned
  // Namespaces as they were before a macro changed them: whoever called it may hold a reference.
  std::deque<Json> retired_;
};

}  // namespace ambit::inference::jinja
