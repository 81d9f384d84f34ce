#pragma once

// The text form of expressions. Operators are put together on a list and not by recursion, so that
// a level of nesting costs few frames of the stack; the depth is bounded by the Limits.

#include "cedar/policy.h"
#include "cedar/syntax.h"
#include "cedar/token_reader.h"

#include <string>
#include <vector>

namespace ambit::cedar {

class ExpressionParser {
 public:
  ExpressionParser(TokenReader& tokens, const Limits& limits) : tokens_(tokens), limits_(limits) {}

  // Leaves the tokens past the expression, or gives what was expected and what was found.
  Result<Expression> expression();

 private:
  // An operator that waits for its right side; a higher level binds more tightly.
  struct Pending {
    int level = 0;
    Operator op = Operator::all;
    Position where;
    std::string name;  // of `is`
  };
  struct Operands {
    std::vector<Expression> values;
    std::vector<Pending> waiting;
  };

  Result<Expression> node(Operator op, Position where, std::vector<Expression> operands);
  Result<Expression> conditional();
  Result<Expression> operators();
  Result<bool> next_operator(Operands& operands);
  Result<void> relation(Operands& operands, Position where);
  Result<void> has(Operands& operands, Position where);
  Result<void> like(Operands& operands, Position where);
  Result<void> reduce(Operands& operands, int least_level);
  [[nodiscard]] bool at_relation() const;
  Result<Expression> unary();
  Result<Expression> literal_number(std::string_view sign);
  Result<Expression> member();
  Result<Expression> attribute(Expression of, Position where);
  Result<Expression> method(Expression of, const Token& name);
  Result<Expression> call(const Callable& callable, const Token& name,
                          std::vector<Expression> operands);
  Result<Expression> primary();
  Result<Expression> name(const Token& token);
  Result<Expression> set(Position where);
  Result<Expression> record(Position where);

  TokenReader& tokens_;
  const Limits& limits_;
  std::size_t nesting_ = 0;
};

}  // namespace ambit::cedar
