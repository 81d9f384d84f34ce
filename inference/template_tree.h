#pragma once

// The syntax tree of a template, between its parser and its evaluator. Immutable once parsed.

#include "async/result.h"
#include "inference/template.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::inference::jinja {

using Json = nlohmann::ordered_json;

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Kind {
  literal,    // value
  name,       // text
  list,       // operands
  object,     // operands: key, value, key, value
  attribute,  // operands[0] . text
  subscript,  // operands[0] [ operands[1] ]
  slice,      // operands[0] [ operands[1] : operands[2] : operands[3] ], null where absent
  call,       // operands[0] ( operands[1..], named )
  filter,     // operands[0] | text ( operands[1..], named )
  test,       // operands[0] is text ( operands[1..] ); negated
  unary,      // text operands[0]
  binary,     // operands[0] text operands[1]
  choice,     // operands[0] if operands[1] else operands[2]
};

struct Expression {
  Kind kind = Kind::literal;
  std::size_t line = 0;
  std::string text;
  Json value;
  bool negated = false;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Statement;

struct Block {
  std::vector<Statement> statements;
};

struct Branch {
  ExpressionPtr condition;  // null: else
  Block body;
};

struct Statement {
  enum class Kind { text, print, choice, loop, set, set_block, macro, loop_break, loop_continue };
  Kind kind = Kind::text;
  std::size_t line = 0;
  std::string text;                // the text; the name of a macro
  std::vector<std::string> names;  // loop variables, set targets, macro parameters
  std::string attribute;           // set name.attribute
  bool names_loop = false;         // the body of a for speaks of `loop`
  ExpressionPtr expression;        // what is printed, looped over or set
  ExpressionPtr condition;         // for ... if
  std::vector<Branch> branches;
  std::vector<ExpressionPtr> defaults;  // of macro parameters; null: none
  Block body;
  Block otherwise;  // for ... else
};

Result<Block> parse(std::string_view source, const TemplateLimits& limits);
Result<std::string> evaluate(const Block& block, const Json& variables,
                             const TemplateLimits& limits);

}  // namespace ambit::inference::jinja
