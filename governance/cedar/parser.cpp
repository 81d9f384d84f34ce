// The text form of policies, by recursive descent. Every function leaves the parser past what it
// read, or returns an error that names what was expected and what was found.

#include "cedar/lexer.h"
#include "cedar/syntax.h"

#include <charconv>
#include <span>

namespace ambit::cedar {
namespace {

constexpr std::size_t UNARY_MAX = 4;  // `!!!!x`: the language allows no more in a row

class Parser {
 public:
  Parser(std::string_view text, std::string_view source, const Limits& limits,
         std::span<const Token> tokens)
      : text_(text), source_(source), limits_(limits), tokens_(tokens) {}

  Result<std::vector<Policy>> policies() {
    std::vector<Policy> all;
    while (peek().kind != TokenKind::end) {
      if (all.size() == limits_.policies_max) {
        return Err(error_at(source_, peek().where,
                            "more than " + std::to_string(limits_.policies_max) + " policies"));
      }
      Policy next = TRY(policy());
      next.id = "policy" + std::to_string(all.size());
      all.push_back(std::move(next));
    }
    return all;
  }

 private:
  [[nodiscard]] const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  [[nodiscard]] bool is(std::string_view text, std::size_t ahead = 0) const {
    const Token& token = peek(ahead);
    return (token.kind == TokenKind::symbol || token.kind == TokenKind::identifier) &&
           token.text == text;
  }
  bool accept(std::string_view text) {
    if (!is(text)) return false;
    take();
    return true;
  }
  [[nodiscard]] Error expected(std::string_view what) const {
    return error_at(source_, peek().where,
                    "expected " + std::string(what) + ", found " + describe(peek()));
  }
  Result<void> expect(std::string_view text, std::string_view after) {
    if (accept(text)) return {};
    return Err(expected("`" + std::string(text) + "` " + std::string(after)));
  }
  Result<Expression> node(Operator op, Position where, std::vector<Expression> operands) {
    auto made = make_node(op, where, std::move(operands), limits_);
    if (!made) return Err(error_at(source_, where, made.error().message));
    return made;
  }
  static std::vector<Expression> list(Expression a) {
    std::vector<Expression> operands;
    operands.push_back(std::move(a));
    return operands;
  }
  static std::vector<Expression> list(Expression a, Expression b) {
    std::vector<Expression> operands = list(std::move(a));
    operands.push_back(std::move(b));
    return operands;
  }

  // ---- policies ----

  Result<Policy> policy() {
    Policy policy;
    policy.where = peek().where;
    policy.source = std::string(source_);
    const std::size_t begin = peek().offset;
    TRY(annotations(policy));
    if (accept("permit")) {
      policy.effect = Effect::permit;
    } else if (accept("forbid")) {
      policy.effect = Effect::forbid;
    } else {
      return Err(expected("`permit` or `forbid`"));
    }
    TRY(expect("(", "before the scope"));
    policy.principal = TRY(scope("principal"));
    TRY(expect(",", "after the principal; a scope is (principal, action, resource)"));
    policy.action = TRY(action_scope());
    TRY(expect(",", "after the action; a scope is (principal, action, resource)"));
    policy.resource = TRY(scope("resource"));
    TRY(expect(")", "after the resource; conditions belong into when { ... }"));
    while (!is(";")) {
      Condition condition;
      condition.where = peek().where;
      condition.when = is("when");
      if (!is("when") && !is("unless")) return Err(expected("`when`, `unless` or `;`"));
      take();
      TRY(expect("{", "before the condition"));
      condition.body = TRY(expression());
      TRY(expect("}", "after the condition"));
      policy.conditions.push_back(std::move(condition));
    }
    policy.text = std::string(text_.substr(begin, peek().end - begin));
    take();
    return policy;
  }

  Result<void> annotations(Policy& policy) {
    while (accept("@")) {
      if (peek().kind != TokenKind::identifier) return Err(expected("the annotation's name"));
      const Token name = take();
      std::string value;
      if (accept("(")) {
        if (peek().kind != TokenKind::string)
          return Err(expected("the annotation's value, a string"));
        value = TRY(unescape(take(), source_));
        TRY(expect(")", "after the annotation's value"));
      }
      if (policy.annotation(name.text) != nullptr) {
        return Err(error_at(source_, name.where,
                            "the annotation @" + std::string(name.text) + " is given twice"));
      }
      if (policy.annotations.size() == limits_.annotations_max) {
        return Err(
            error_at(source_, name.where,
                     "more than " + std::to_string(limits_.annotations_max) + " annotations"));
      }
      policy.annotations.emplace_back(std::string(name.text), std::move(value));
    }
    return {};
  }

  Result<Scope> scope(std::string_view variable) {
    if (!accept(variable)) return Err(expected("`" + std::string(variable) + "`"));
    Scope scope;
    if (accept("==")) {
      scope.kind = ScopeKind::equal;
    } else if (accept("in")) {
      scope.kind = ScopeKind::in;
    } else if (accept("is")) {
      scope.kind = ScopeKind::is;
      scope.type = TRY(path("an entity type after `is`"));
      if (!accept("in")) return scope;
      scope.kind = ScopeKind::is_in;
    } else {
      return scope;
    }
    if (is("[")) {
      const std::string name(variable);
      return Err(error_at(source_, peek().where,
                          "only the action can be constrained by a list: write `" + name +
                              "` here and `when { " + name + " in [...] }` after the scope"));
    }
    scope.entities.push_back(TRY(entity()));
    return scope;
  }

  Result<Scope> action_scope() {
    if (!accept("action")) return Err(expected("`action`"));
    Scope scope;
    if (accept("==")) {
      scope.kind = ScopeKind::equal;
      scope.entities.push_back(TRY(action_entity()));
    } else if (accept("in")) {
      scope.kind = ScopeKind::in;
      if (!accept("[")) {
        scope.entities.push_back(TRY(action_entity()));
        return scope;
      }
      while (!accept("]")) {
        scope.entities.push_back(TRY(action_entity()));
        if (!is("]")) TRY(expect(",", "or `]` in the list of actions"));
      }
    } else if (is("is")) {
      return Err(expected("`==`, `in` or `,`; an action cannot be constrained by `is`"));
    }
    return scope;
  }

  Result<EntityUid> action_entity() {
    const Position where = peek().where;
    EntityUid uid = TRY(entity());
    if (is_action_type(uid.type)) return uid;
    return Err(error_at(source_, where, "an action's type must be Action, found " + to_text(uid)));
  }

  Result<EntityUid> entity() {
    if (is("?")) {
      return Err(
          error_at(source_, peek().where,
                   "templates (?principal, ?resource) cannot be linked here; write the entity"));
    }
    const Position where = peek().where;
    std::string type = TRY(path("an entity such as Tool::\"grep\""));
    TRY(expect("::", "before the entity's id, as in Tool::\"grep\""));
    if (peek().kind != TokenKind::string) {
      return Err(expected("the entity's id, a string, as in Tool::\"grep\""));
    }
    if (!is_path(type)) return Err(error_at(source_, where, "`" + type + "` is a reserved word"));
    std::string id = TRY(unescape(take(), source_));
    return EntityUid{std::move(type), std::move(id)};
  }

  // `A::B::C`; stops before `::"id"`.
  Result<std::string> path(std::string_view what) {
    if (peek().kind != TokenKind::identifier) return Err(expected(what));
    std::string path;
    for (;;) {
      if (is_reserved(peek().text)) {
        return Err(error_at(source_, peek().where,
                            "`" + std::string(peek().text) + "` is a reserved word"));
      }
      path += take().text;
      if (!is("::") || peek(1).kind != TokenKind::identifier) return path;
      take();
      path += "::";
    }
  }

  // ---- expressions ----

  Result<Expression> expression() {
    // The recursion is bounded here, before the depth of what it yields is known.
    if (++nesting_ > limits_.depth_max) {
      return Err(error_at(
          source_, peek().where,
          "the expression is nested deeper than " + std::to_string(limits_.depth_max) + " levels"));
    }
    auto result = is("if") ? conditional() : disjunction();
    --nesting_;
    return result;
  }

  Result<Expression> conditional() {
    const Position where = take().where;
    std::vector<Expression> operands;
    operands.push_back(TRY(expression()));
    TRY(expect("then", "after the condition of `if`"));
    operands.push_back(TRY(expression()));
    TRY(expect("else", "after the `then` part; both are needed"));
    operands.push_back(TRY(expression()));
    return node(Operator::conditional, where, std::move(operands));
  }

  Result<Expression> disjunction() {
    Expression first = TRY(conjunction());
    if (!is("||")) return first;
    const Position where = first.where;
    std::vector<Expression> operands = list(std::move(first));
    while (accept("||")) operands.push_back(TRY(conjunction()));
    return node(Operator::any, where, std::move(operands));
  }

  Result<Expression> conjunction() {
    Expression first = TRY(relation());
    if (!is("&&")) return first;
    const Position where = first.where;
    std::vector<Expression> operands = list(std::move(first));
    while (accept("&&")) operands.push_back(TRY(relation()));
    return node(Operator::all, where, std::move(operands));
  }

  [[nodiscard]] std::optional<Operator> relation_operator() const {
    if (is("==")) return Operator::equal;
    if (is("!=")) return Operator::not_equal;
    if (is("<")) return Operator::less;
    if (is("<=")) return Operator::less_equal;
    if (is(">")) return Operator::greater;
    if (is(">=")) return Operator::greater_equal;
    if (is("in")) return Operator::in;
    return std::nullopt;
  }

  Result<Expression> relation() {
    Expression left = TRY(sum());
    const Position where = peek().where;
    Result<Expression> result = std::move(left);
    if (const auto op = relation_operator()) {
      take();
      Expression right = TRY(sum());
      result = node(*op, where, list(std::move(*result), std::move(right)));
    } else if (accept("has")) {
      result = has(std::move(*result), where);
    } else if (accept("like")) {
      if (peek().kind != TokenKind::string)
        return Err(expected("a pattern, a string, after `like`"));
      Pattern pattern = TRY(unescape_pattern(take(), source_));
      result = node(Operator::like, where, list(std::move(*result)));
      if (result) result->pattern = std::move(pattern);
    } else if (accept("is")) {
      result = is_type(std::move(*result), where);
    } else {
      return result;
    }
    if (result && (relation_operator() || is("has") || is("like") || is("is"))) {
      return Err(error_at(source_, peek().where,
                          "comparisons cannot be chained; put parentheses around the first one"));
    }
    return result;
  }

  Result<Expression> has(Expression of, Position where) {
    std::vector<std::string> names;
    if (peek().kind == TokenKind::string) {
      names.push_back(TRY(unescape(take(), source_)));
    } else {
      do {
        if (names.size() >= limits_.depth_max) return Err(expected("a shorter chain after `has`"));
        if (peek().kind != TokenKind::identifier || is_reserved(peek().text)) {
          return Err(expected("an attribute's name after `has`"));
        }
        names.emplace_back(take().text);
      } while (accept("."));
    }
    Expression made = TRY(node(Operator::has, where, list(std::move(of))));
    made.names = std::move(names);
    return made;
  }

  Result<Expression> is_type(Expression of, Position where) {
    std::string type = TRY(path("an entity type after `is`"));
    std::vector<Expression> operands = list(std::move(of));
    if (accept("in")) operands.push_back(TRY(sum()));
    Expression made = TRY(node(Operator::is, where, std::move(operands)));
    made.names.push_back(std::move(type));
    return made;
  }

  Result<Expression> sum() {
    Expression left = TRY(product());
    while (is("+") || is("-")) {
      const Token op = take();
      Expression right = TRY(product());
      left = TRY(node(op.text == "+" ? Operator::add : Operator::subtract, op.where,
                      list(std::move(left), std::move(right))));
    }
    return left;
  }

  Result<Expression> product() {
    Expression left = TRY(unary());
    while (is("*")) {
      const Position where = take().where;
      Expression right = TRY(unary());
      left = TRY(node(Operator::multiply, where, list(std::move(left), std::move(right))));
    }
    return left;
  }

  Result<Expression> unary() {
    std::vector<Token> signs;
    while (is("!") || is("-")) {
      if (signs.size() == UNARY_MAX || (!signs.empty() && !is(signs[0].text))) {
        return Err(error_at(source_, peek().where,
                            "at most 4 of one sign (`!` or `-`) may stand in a row"));
      }
      signs.push_back(take());
    }
    // -9223372036854775808 is a literal, although its positive counterpart is none.
    const bool number = !signs.empty() && signs[0].text == "-" && peek().kind == TokenKind::integer;
    Expression result = TRY(number ? literal_number("-") : member());
    if (number) signs.pop_back();
    while (!signs.empty()) {
      result = TRY(node(signs.back().text == "!" ? Operator::negation : Operator::minus,
                        signs.back().where, list(std::move(result))));
      signs.pop_back();
    }
    return result;
  }

  Result<Expression> literal_number(std::string_view sign) {
    const Token token = take();
    const std::string digits = std::string(sign) + std::string(token.text);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      return Err(error_at(source_, token.where,
                          "the number " + digits.substr(0, 40) + " does not fit into 64 bits"));
    }
    Expression made = literal(Value(number), token.where);
    if (!sign.empty() && (is(".") || is("["))) return Err(expected("an operator after the number"));
    return made;
  }

  static Expression literal(Value value, Position where) {
    Expression made;
    made.where = where;
    made.value = std::move(value);
    return made;
  }

  Result<Expression> member() {
    Expression result = TRY(primary());
    for (;;) {
      const Position where = peek().where;
      if (accept("[")) {
        if (peek().kind != TokenKind::string) {
          return Err(expected("an attribute's name, a string, between [ and ]"));
        }
        std::string name = TRY(unescape(take(), source_));
        TRY(expect("]", "after the attribute's name"));
        result = TRY(node(Operator::attribute, where, list(std::move(result))));
        result.names.push_back(std::move(name));
      } else if (accept(".")) {
        if (peek().kind != TokenKind::identifier || is_reserved(peek().text)) {
          return Err(expected("an attribute or a method after `.`"));
        }
        const Token name = take();
        if (is("(")) {
          result = TRY(method(std::move(result), name));
        } else {
          result = TRY(node(Operator::attribute, where, list(std::move(result))));
          result.names.emplace_back(name.text);
        }
      } else {
        return result;
      }
    }
  }

  Result<Expression> method(Expression of, const Token& name) {
    const auto callable = find_method(name.text);
    if (!callable) {
      return Err(error_at(source_, name.where,
                          find_function(name.text)
                              ? "`" + std::string(name.text) + "` is a function: write " +
                                    std::string(name.text) + "(...)"
                              : "there is no method `" + std::string(name.text) + "`"));
    }
    return call(*callable, name, list(std::move(of)));
  }

  // The arguments in parentheses, after those that are there already.
  Result<Expression> call(const Callable& callable, const Token& name,
                          std::vector<Expression> operands) {
    take();
    const std::size_t before = operands.size();
    while (!accept(")")) {
      operands.push_back(TRY(expression()));
      if (!is(")")) TRY(expect(",", "or `)` in the list of arguments"));
    }
    const bool counted = callable.op != Operator::call || limits_.arguments_counted;
    if (counted && operands.size() - before != callable.arguments) {
      return Err(error_at(source_, name.where,
                          "`" + std::string(name.text) + "` takes " +
                              std::to_string(callable.arguments) + " argument(s), found " +
                              std::to_string(operands.size() - before)));
    }
    Expression made = TRY(node(callable.op, name.where, std::move(operands)));
    made.function = callable.function;
    return made;
  }

  Result<Expression> primary() {
    const Token token = peek();
    if (token.kind == TokenKind::integer) return literal_number("");
    if (token.kind == TokenKind::string) {
      return literal(Value(TRY(unescape(take(), source_))), token.where);
    }
    if (accept("(")) {
      Expression inner = TRY(expression());
      TRY(expect(")", "after the expression"));
      return inner;
    }
    if (accept("[")) return set(token.where);
    if (accept("{")) return record(token.where);
    if (accept("true")) return literal(Value(true), token.where);
    if (accept("false")) return literal(Value(false), token.where);
    if (is("if")) return conditional_operand();
    if (is("?")) {
      return Err(
          error_at(source_, token.where,
                   "templates (?principal, ?resource) cannot be linked here; write the entity"));
    }
    if (token.kind == TokenKind::identifier && !is("::", 1)) return name(token);
    if (token.kind != TokenKind::identifier) return Err(expected("an expression"));
    EntityUid uid = TRY(entity());
    return literal(Value(std::move(uid)), token.where);
  }

  Result<Expression> conditional_operand() {
    return Err(error_at(source_, peek().where, "put parentheses around this if-then-else"));
  }

  Result<Expression> name(const Token& token) {
    take();
    Expression variable;
    variable.where = token.where;
    if (is("(")) {
      const auto callable = find_function(token.text);
      if (callable) return call(*callable, token, {});
      return Err(error_at(source_, token.where,
                          find_method(token.text)
                              ? "`" + std::string(token.text) + "` is a method: write value." +
                                    std::string(token.text) + "(...)"
                              : "there is no function `" + std::string(token.text) + "`"));
    }
    if (token.text == "principal") {
      variable.op = Operator::principal;
    } else if (token.text == "action") {
      variable.op = Operator::action;
    } else if (token.text == "resource") {
      variable.op = Operator::resource;
    } else if (token.text == "context") {
      variable.op = Operator::context;
    } else {
      return Err(error_at(source_, token.where,
                          "there is no variable `" + std::string(token.text) +
                              "`; the variables are principal, action, resource and context (and "
                              "strings need quotes)"));
    }
    return variable;
  }

  Result<Expression> set(Position where) {
    std::vector<Expression> elements;
    while (!accept("]")) {
      elements.push_back(TRY(expression()));
      if (!is("]")) TRY(expect(",", "or `]` in the set"));
    }
    return node(Operator::set, where, std::move(elements));
  }

  Result<Expression> record(Position where) {
    std::vector<std::string> names;
    std::vector<Expression> values;
    while (!accept("}")) {
      const Token key = peek();
      if (key.kind == TokenKind::string) {
        names.push_back(TRY(unescape(take(), source_)));
      } else if (key.kind == TokenKind::identifier &&
                 (!is_reserved(key.text) || key.text == "if")) {
        names.emplace_back(take().text);
      } else {
        return Err(expected("a field's name in the record"));
      }
      TRY(expect(":", "after the field's name"));
      values.push_back(TRY(expression()));
      if (!is("}")) TRY(expect(",", "or `}` in the record"));
    }
    Expression made = TRY(node(Operator::record, where, std::move(values)));
    made.names = std::move(names);
    const auto twice = sort_fields(made);
    if (twice)
      return Err(error_at(source_, where, "the field " + quote(*twice) + " is given twice"));
    return made;
  }

  std::string_view text_;
  std::string_view source_;
  const Limits& limits_;
  std::span<const Token> tokens_;
  std::size_t at_ = 0;
  std::size_t nesting_ = 0;
};

}  // namespace

const std::string* Policy::annotation(std::string_view name) const {
  for (const auto& [key, value] : annotations) {
    if (key == name) return &value;
  }
  return nullptr;
}

Result<std::vector<Policy>> parse_policies(std::string_view text, std::string_view source,
                                           const Limits& limits) {
  if (text.size() > limits.text_bytes_max) {
    return Err(Code::invalid, std::string(source) + ": the text has " +
                                  std::to_string(text.size()) + " bytes, more than " +
                                  std::to_string(limits.text_bytes_max));
  }
  const std::vector<Token> tokens = TRY(tokenize(text, source));
  return Parser(text, source, limits, tokens).policies();
}

}  // namespace ambit::cedar
