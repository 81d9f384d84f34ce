#include "cedar/expression_parser.h"

#include <charconv>
#include <iterator>

namespace ambit::cedar {
namespace {

constexpr std::size_t unary_max = 4;  // `!!!!x`: the language allows no more in a row

// How tightly the operators bind.
constexpr int or_level = 1;
constexpr int and_level = 2;
constexpr int relation_level = 3;
constexpr int sum_level = 4;
constexpr int product_level = 5;

std::vector<Expression> list(Expression a) {
  std::vector<Expression> operands;
  operands.push_back(std::move(a));
  return operands;
}

Expression literal(Value value, Position where) {
  Expression made;
  made.where = where;
  made.value = std::move(value);
  return made;
}

std::optional<Operator> relation_of(const Token& token) {
  if (token.kind != TokenKind::symbol && token.kind != TokenKind::identifier) return std::nullopt;
  const std::string_view text = token.text;
  if (text == "==") return Operator::equal;
  if (text == "!=") return Operator::not_equal;
  if (text == "<") return Operator::less;
  if (text == "<=") return Operator::less_equal;
  if (text == ">") return Operator::greater;
  if (text == ">=") return Operator::greater_equal;
  if (text == "in") return Operator::in;
  return std::nullopt;
}

}  // namespace

Result<Expression> ExpressionParser::node(Operator op, Position where,
                                          std::vector<Expression> operands) {
  auto made = make_node(op, where, std::move(operands), limits_);
  if (!made) return Err(tokens_.error(where, made.error().message));
  return made;
}

Result<Expression> ExpressionParser::expression() {
  // The recursion is bounded here, before the depth of what it yields is known.
  if (++nesting_ > limits_.depth_max) {
    return Err(tokens_.error(
        tokens_.peek().where,
        "the expression is nested deeper than " + std::to_string(limits_.depth_max) + " levels"));
  }
  auto result = tokens_.is("if") ? conditional() : operators();
  --nesting_;
  return result;
}

Result<Expression> ExpressionParser::conditional() {
  const Position where = tokens_.take().where;
  std::vector<Expression> operands;
  operands.push_back(TRY(expression()));
  TRY(tokens_.expect("then", "after the condition of `if`"));
  operands.push_back(TRY(expression()));
  TRY(tokens_.expect("else", "after the `then` part; both are needed"));
  operands.push_back(TRY(expression()));
  return node(Operator::conditional, where, std::move(operands));
}

Result<Expression> ExpressionParser::operators() {
  Operands operands;
  do {
    operands.values.push_back(TRY(unary()));
  } while (TRY(next_operator(operands)));
  TRY(reduce(operands, or_level));
  return std::move(operands.values.back());
}

// Takes what follows an operand: true if another operand must follow it.
Result<bool> ExpressionParser::next_operator(Operands& operands) {
  if (at_relation()) {
    const Position where = tokens_.peek().where;
    TRY(reduce(operands, sum_level));
    const std::size_t before = operands.waiting.size();
    TRY(relation(operands, where));
    if (operands.waiting.size() > before) return true;
  }
  const Token& token = tokens_.peek();
  if (token.kind != TokenKind::symbol) return false;
  Pending next{0, Operator::all, token.where, {}};
  if (token.text == "||") {
    next = {or_level, Operator::any, token.where, {}};
  } else if (token.text == "&&") {
    next = {and_level, Operator::all, token.where, {}};
  } else if (token.text == "+" || token.text == "-") {
    next = {sum_level, token.text == "+" ? Operator::add : Operator::subtract, token.where, {}};
  } else if (token.text == "*") {
    next = {product_level, Operator::multiply, token.where, {}};
  } else {
    return false;
  }
  // A run of && or || becomes one node, so those already waiting stay.
  TRY(reduce(operands, next.level <= and_level ? next.level + 1 : next.level));
  tokens_.take();
  operands.waiting.push_back(std::move(next));
  return true;
}

bool ExpressionParser::at_relation() const {
  return relation_of(tokens_.peek()).has_value() || tokens_.is("has") || tokens_.is("like") ||
         tokens_.is("is");
}

Result<void> ExpressionParser::relation(Operands& operands, Position where) {
  const auto chained = [this] {
    return Err(
        tokens_.error(tokens_.peek().where,
                      "comparisons cannot be chained; put parentheses around the first one"));
  };
  if (!operands.waiting.empty() && operands.waiting.back().level == relation_level)
    return chained();
  if (const auto op = relation_of(tokens_.peek())) {
    tokens_.take();
    operands.waiting.push_back({relation_level, *op, where, {}});
    return {};
  }
  if (tokens_.accept("has")) {
    TRY(has(operands, where));
  } else if (tokens_.accept("like")) {
    TRY(like(operands, where));
  } else {
    tokens_.take();
    std::string type = TRY(tokens_.path("an entity type after `is`"));
    if (tokens_.accept("in")) {
      operands.waiting.push_back({relation_level, Operator::is, where, std::move(type)});
      return {};
    }
    Expression made = TRY(node(Operator::is, where, list(std::move(operands.values.back()))));
    made.names.push_back(std::move(type));
    operands.values.back() = std::move(made);
  }
  if (at_relation()) return chained();
  return {};
}

Result<void> ExpressionParser::has(Operands& operands, Position where) {
  std::vector<std::string> names;
  if (tokens_.peek().kind == TokenKind::string) {
    names.push_back(TRY(unescape(tokens_.take(), tokens_.source())));
  } else {
    do {
      if (names.size() >= limits_.depth_max) {
        return Err(tokens_.expected("a shorter chain after `has`"));
      }
      if (tokens_.peek().kind != TokenKind::identifier || is_reserved(tokens_.peek().text)) {
        return Err(tokens_.expected("an attribute's name after `has`"));
      }
      names.emplace_back(tokens_.take().text);
    } while (tokens_.accept("."));
  }
  Expression made = TRY(node(Operator::has, where, list(std::move(operands.values.back()))));
  made.names = std::move(names);
  operands.values.back() = std::move(made);
  return {};
}

Result<void> ExpressionParser::like(Operands& operands, Position where) {
  if (tokens_.peek().kind != TokenKind::string) {
    return Err(tokens_.expected("a pattern, a string, after `like`"));
  }
  Pattern pattern = TRY(unescape_pattern(tokens_.take(), tokens_.source()));
  Expression made = TRY(node(Operator::like, where, list(std::move(operands.values.back()))));
  made.pattern = std::move(pattern);
  operands.values.back() = std::move(made);
  return {};
}

// Makes nodes of all waiting operators that bind at least as tightly as `least_level`.
Result<void> ExpressionParser::reduce(Operands& operands, int least_level) {
  auto& [values, waiting] = operands;
  while (!waiting.empty() && waiting.back().level >= least_level) {
    Pending last = std::move(waiting.back());
    waiting.pop_back();
    std::size_t count = 2;
    while (last.level <= and_level && !waiting.empty() && waiting.back().level == last.level) {
      waiting.pop_back();
      ++count;
    }
    const auto from = values.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<Expression> parts(std::make_move_iterator(from),
                                  std::make_move_iterator(values.end()));
    values.erase(from, values.end());
    const Position where = last.level <= and_level ? parts.front().where : last.where;
    Expression made = TRY(node(last.op, where, std::move(parts)));
    if (last.op == Operator::is) made.names.push_back(std::move(last.name));
    values.push_back(std::move(made));
  }
  return {};
}

Result<Expression> ExpressionParser::unary() {
  std::vector<Token> signs;
  while (tokens_.is("!") || tokens_.is("-")) {
    if (signs.size() == unary_max || (!signs.empty() && !tokens_.is(signs[0].text))) {
      return Err(tokens_.error(tokens_.peek().where,
                               "at most 4 of one sign (`!` or `-`) may stand in a row"));
    }
    signs.push_back(tokens_.take());
  }
  // -9223372036854775808 is a literal, although its positive counterpart is none; -3.age is not.
  const bool number = !signs.empty() && signs[0].text == "-" &&
                      tokens_.peek().kind == TokenKind::integer && !tokens_.is(".", 1) &&
                      !tokens_.is("[", 1);
  auto result = number ? literal_number("-") : member();
  if (number) signs.pop_back();
  for (; result && !signs.empty(); signs.pop_back()) {
    result = node(signs.back().text == "!" ? Operator::negation : Operator::minus,
                  signs.back().where, list(std::move(*result)));
  }
  return result;
}

Result<Expression> ExpressionParser::literal_number(std::string_view sign) {
  const Token token = tokens_.take();
  const std::string digits = std::string(sign) + std::string(token.text);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Err(tokens_.error(token.where,
                             "the number " + digits.substr(0, 40) + " does not fit into 64 bits"));
  }
  return literal(Value(number), token.where);
}

Result<Expression> ExpressionParser::member() {
  auto result = primary();
  while (result && (tokens_.is("[") || tokens_.is("."))) {
    const Position where = tokens_.peek().where;
    if (tokens_.is(".") && tokens_.is("(", 2) && tokens_.peek(1).kind == TokenKind::identifier &&
        !is_reserved(tokens_.peek(1).text)) {
      tokens_.take();
      const Token called = tokens_.take();
      result = method(std::move(*result), called);
    } else {
      result = attribute(std::move(*result), where);
    }
  }
  return result;
}

Result<Expression> ExpressionParser::attribute(Expression of, Position where) {
  std::string name;
  if (tokens_.accept("[")) {
    name = TRY(tokens_.string("an attribute's name, a string, between [ and ]"));
    TRY(tokens_.expect("]", "after the attribute's name"));
  } else {
    tokens_.take();
    if (tokens_.peek().kind != TokenKind::identifier || is_reserved(tokens_.peek().text)) {
      return Err(tokens_.expected("an attribute or a method after `.`"));
    }
    name = std::string(tokens_.take().text);
  }
  Expression made = TRY(node(Operator::attribute, where, list(std::move(of))));
  made.names.push_back(std::move(name));
  return made;
}

Result<Expression> ExpressionParser::method(Expression of, const Token& name) {
  const auto callable = find_method(name.text);
  if (callable) return call(*callable, name, list(std::move(of)));
  const std::string said(name.text);
  return Err(tokens_.error(name.where, find_function(said)
                                           ? "`" + said + "` is a function: write " + said + "(...)"
                                           : "there is no method `" + said + "`"));
}

// The arguments in parentheses, after those that are there already.
Result<Expression> ExpressionParser::call(const Callable& callable, const Token& name,
                                          std::vector<Expression> operands) {
  tokens_.take();
  const std::size_t before = operands.size();
  while (!tokens_.accept(")")) {
    operands.push_back(TRY(expression()));
    if (!tokens_.is(")")) TRY(tokens_.expect(",", "or `)` in the list of arguments"));
  }
  const bool counted = callable.op != Operator::call || limits_.arguments_counted;
  if (counted && operands.size() - before != callable.arguments) {
    return Err(tokens_.error(
        name.where, "`" + std::string(name.text) + "` takes " + std::to_string(callable.arguments) +
                        " argument(s), found " + std::to_string(operands.size() - before)));
  }
  Expression made = TRY(node(callable.op, name.where, std::move(operands)));
  made.function = callable.function;
  return made;
}

Result<Expression> ExpressionParser::primary() {
  const Token& token = tokens_.peek();
  const Position where = token.where;
  if (token.kind == TokenKind::integer) return literal_number("");
  if (token.kind == TokenKind::string) {
    return literal(Value(TRY(unescape(tokens_.take(), tokens_.source()))), where);
  }
  if (tokens_.accept("(")) {
    auto inner = expression();
    if (inner) TRY(tokens_.expect(")", "after the expression"));
    return inner;
  }
  if (tokens_.accept("[")) return set(where);
  if (tokens_.accept("{")) return record(where);
  if (tokens_.accept("true")) return literal(Value(true), where);
  if (tokens_.accept("false")) return literal(Value(false), where);
  if (tokens_.is("if")) {
    return Err(tokens_.error(where, "put parentheses around this if-then-else"));
  }
  if (tokens_.is("?")) {
    return Err(tokens_.error(where, "a slot (?principal, ?resource) can stand in the scope only"));
  }
  if (token.kind == TokenKind::identifier && !tokens_.is("::", 1)) return name(token);
  if (token.kind != TokenKind::identifier) return Err(tokens_.expected("an expression"));
  return literal(Value(TRY(tokens_.entity())), where);
}

Result<Expression> ExpressionParser::name(const Token& token) {
  tokens_.take();
  const std::string said(token.text);
  if (tokens_.is("(")) {
    const auto callable = find_function(said);
    if (callable) return call(*callable, token, {});
    return Err(tokens_.error(
        token.where, find_method(said) ? "`" + said + "` is a method: write value." + said + "(...)"
                                       : "there is no function `" + said + "`"));
  }
  Expression variable;
  variable.where = token.where;
  if (said == "principal") {
    variable.op = Operator::principal;
  } else if (said == "action") {
    variable.op = Operator::action;
  } else if (said == "resource") {
    variable.op = Operator::resource;
  } else if (said == "context") {
    variable.op = Operator::context;
  } else {
    return Err(tokens_.error(token.where,
                             "there is no variable `" + said +
                                 "`; the variables are principal, action, resource and context "
                                 "(and strings need quotes)"));
  }
  return variable;
}

Result<Expression> ExpressionParser::set(Position where) {
  std::vector<Expression> elements;
  while (!tokens_.accept("]")) {
    elements.push_back(TRY(expression()));
    if (!tokens_.is("]")) TRY(tokens_.expect(",", "or `]` in the set"));
  }
  return node(Operator::set, where, std::move(elements));
}

Result<Expression> ExpressionParser::record(Position where) {
  std::vector<std::string> names;
  std::vector<Expression> values;
  while (!tokens_.accept("}")) {
    const Token key = tokens_.peek();
    if (key.kind == TokenKind::string) {
      names.push_back(TRY(unescape(tokens_.take(), tokens_.source())));
    } else if (key.kind == TokenKind::identifier && (!is_reserved(key.text) || key.text == "if")) {
      names.emplace_back(tokens_.take().text);
    } else {
      return Err(tokens_.expected("a field's name in the record"));
    }
    TRY(tokens_.expect(":", "after the field's name"));
    values.push_back(TRY(expression()));
    if (!tokens_.is("}")) TRY(tokens_.expect(",", "or `}` in the record"));
  }
  Expression made = TRY(node(Operator::record, where, std::move(values)));
  made.names = std::move(names);
  const auto twice = sort_fields(made);
  if (twice) {
    return Err(tokens_.error(where, "the field " + quote(*twice) + " is given twice"));
  }
  return made;
}

}  // namespace ambit::cedar
