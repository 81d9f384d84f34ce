#include "inference/template_tokens.h"
#include "inference/template_tree.h"

#include <algorithm>
#include <optional>

namespace ambit::inference {

Result<Template> Template::parse(std::string_view source, const TemplateLimits& limits) {
  Template parsed;
  parsed.limits_ = limits;
  parsed.body_ = std::make_shared<const jinja::Block>(TRY(jinja::parse(source, limits)));
  return parsed;
}

Result<std::string> Template::render(const nlohmann::ordered_json& variables) const {
  return jinja::evaluate(*body_, variables, limits_);
}

namespace jinja {

namespace {

// Recursive descent; every level of nesting counts against depth_max.
class Parser {
 public:
  Parser(std::vector<Segment> segments, const TemplateLimits& limits)
      : segments_(std::move(segments)), limits_(limits) {}

  Result<Block> run() {
    Block block = TRY(block_until({}));
    if (at_ < segments_.size())
      return Err(fault(line_, "\"" + tokens_[0].text + "\" closes nothing"));
    return block;
  }

 private:
  Error wrong(const std::string& what) const { return fault(line_, what); }

  // ---- tokens of the current tag
  [[nodiscard]] const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(token_ + ahead, tokens_.size() - 1)];
  }
  bool accept(std::string_view text) {
    if ((peek().kind != Token::Kind::mark && peek().kind != Token::Kind::name) ||
        peek().text != text)
      return false;
    ++token_;
    return true;
  }
  Result<void> expect(std::string_view text) {
    if (accept(text)) return {};
    return Err(wrong("\"" + std::string(text) + "\" is expected before \"" + peek().text + "\""));
  }
  Result<std::string> name() {
    if (peek().kind != Token::Kind::name)
      return Err(wrong("a name is expected before \"" + peek().text + "\""));
    return tokens_[token_++].text;
  }
  Result<void> finished() {
    if (peek().kind != Token::Kind::end)
      return Err(wrong("\"" + peek().text + "\" is not expected"));
    return {};
  }
  Result<void> deeper() {
    if (++depth_ > limits_.depth_max) return Err(wrong("it is nested too deeply"));
    return {};
  }
  Result<void> open(const Segment& segment) {
    line_ = segment.line;
    tokens_ = TRY(tokenize(segment));
    token_ = 0;
    return {};
  }

  // ---- statements
  // Reads until a statement named in `ends`, which stays the current tag, its name taken.
  Result<Block> block_until(std::initializer_list<std::string_view> ends) {
    TRY(deeper());
    Block block;
    for (; at_ < segments_.size(); ++at_) {
      const Segment& segment = segments_[at_];
      if (segment.kind == Segment::Kind::text) {
        if (segment.text.empty()) continue;
        Statement statement;
        statement.text = segment.text;
        block.statements.push_back(std::move(statement));
        continue;
      }
      TRY(open(segment));
      Statement statement;
      statement.line = segment.line;
      if (segment.kind == Segment::Kind::print) {
        statement.kind = Statement::Kind::print;
        statement.expression = TRY(expression());
        TRY(finished());
        block.statements.push_back(std::move(statement));
        continue;
      }
      for (const std::string_view end : ends) {
        if (!accept(end)) continue;
        --depth_;
        return block;
      }
      if (peek().text == "generation" || peek().text == "endgeneration")
        continue;  // marks for training only
      TRY(parse_statement(statement));
      block.statements.push_back(std::move(statement));
    }
    if (ends.size() > 0) return Err(wrong("\"" + std::string(*(ends.end() - 1)) + "\" is missing"));
    --depth_;
    return block;
  }

  Result<void> parse_statement(Statement& statement) {
    if (accept("if")) return parse_if(statement);
    if (accept("for")) return parse_for(statement);
    if (accept("set")) return parse_set(statement);
    if (accept("macro")) return parse_macro(statement);
    if (accept("break"))
      statement.kind = Statement::Kind::loop_break;
    else if (accept("continue"))
      statement.kind = Statement::Kind::loop_continue;
    else
      return Err(wrong("the statement \"" + peek().text + "\" is not supported"));
    return finished();
  }

  Result<void> parse_if(Statement& statement) {
    statement.kind = Statement::Kind::choice;
    ExpressionPtr condition = TRY(expression());
    for (;;) {
      TRY(finished());
      ++at_;
      Block body = TRY(block_until({"elif", "else", "endif"}));
      statement.branches.push_back({std::move(condition), std::move(body)});
      const std::string& end = tokens_[0].text;
      if (end == "elif") {
        condition = TRY(expression());
      } else if (end == "endif") {
        return finished();
      } else if (statement.branches.back().condition == nullptr) {
        return Err(wrong("a second \"else\""));
      } else {
        condition = nullptr;
      }
      if (statement.branches.back().condition == nullptr)
        return Err(wrong("\"elif\" after \"else\""));
    }
  }

  Result<void> parse_for(Statement& statement) {
    statement.kind = Statement::Kind::loop;
    do statement.names.push_back(TRY(name()));
    while (accept(","));
    TRY(expect("in"));
    statement.expression = TRY(either());
    if (accept("if")) statement.condition = TRY(expression());
    accept("recursive");
    TRY(finished());
    ++at_;
    const std::size_t mentions = loop_mentions_;
    statement.body = TRY(block_until({"else", "endfor"}));
    statement.names_loop = loop_mentions_ > mentions;
    if (tokens_[0].text == "else") {
      ++at_;
      statement.otherwise = TRY(block_until({"endfor"}));
    }
    return finished();
  }

  Result<void> parse_set(Statement& statement) {
    statement.kind = Statement::Kind::set;
    do statement.names.push_back(TRY(name()));
    while (accept(","));
    if (accept(".")) statement.attribute = TRY(name());
    if (accept("=")) {
      statement.expression = TRY(expression());
      if (accept(",")) return Err(wrong("a tuple without parentheses is not supported"));
      return finished();
    }
    TRY(finished());
    statement.kind = Statement::Kind::set_block;
    ++at_;
    statement.body = TRY(block_until({"endset"}));
    return finished();
  }

  Result<void> parse_macro(Statement& statement) {
    statement.kind = Statement::Kind::macro;
    statement.text = TRY(name());
    TRY(expect("("));
    while (!accept(")")) {
      if (!statement.names.empty()) TRY(expect(","));
      statement.names.push_back(TRY(name()));
      statement.defaults.push_back(accept("=") ? TRY(expression()) : nullptr);
    }
    TRY(finished());
    ++at_;
    statement.body = TRY(block_until({"endmacro"}));
    return finished();
  }

  // ---- expressions, loosest first
  ExpressionPtr make(Kind kind, std::string text, ExpressionPtr a = nullptr,
                     ExpressionPtr b = nullptr, ExpressionPtr c = nullptr) const {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = line_;
    made->text = std::move(text);
    for (ExpressionPtr* operand : {&a, &b, &c})
      if (*operand) made->operands.push_back(std::move(*operand));
    return made;
  }

  Result<ExpressionPtr> expression() {
    TRY(deeper());
    ExpressionPtr value = TRY(either());
    if (accept("if")) {
      ExpressionPtr condition = TRY(either());
      ExpressionPtr otherwise = accept("else") ? TRY(expression()) : make(Kind::literal, "");
      value = make(Kind::choice, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    --depth_;
    return value;
  }

  Result<ExpressionPtr> either() {
    ExpressionPtr left = TRY(both());
    while (accept("or")) left = make(Kind::binary, "or", std::move(left), TRY(both()));
    return left;
  }

  Result<ExpressionPtr> both() {
    ExpressionPtr left = TRY(negation());
    while (accept("and")) left = make(Kind::binary, "and", std::move(left), TRY(negation()));
    return left;
  }

  Result<ExpressionPtr> negation() {
    if (peek().text != "not" || peek().kind != Token::Kind::name) return comparison();
    TRY(deeper());
    ++token_;
    ExpressionPtr made = make(Kind::unary, "not", TRY(negation()));
    --depth_;
    return made;
  }

  Result<ExpressionPtr> comparison() {
    ExpressionPtr left = TRY(sum());
    for (;;) {
      std::string found;
      if (peek().kind == Token::Kind::mark)
        for (const std::string_view mark : {"==", "!=", "<", ">", "<=", ">="})
          if (peek().text == mark) found = mark;
      if (peek().kind == Token::Kind::name && peek().text == "in") found = "in";
      if (peek().kind == Token::Kind::name && peek().text == "not" && peek(1).text == "in")
        found = "not in";
      if (found.empty()) return left;
      token_ += found == "not in" ? 2 : 1;
      left = make(Kind::binary, found, std::move(left), TRY(sum()));
    }
  }

  // Left-associative operators of one level; `next` reads what binds tighter.
  Result<ExpressionPtr> level(std::initializer_list<std::string_view> marks,
                              Result<ExpressionPtr> (Parser::*next)()) {
    ExpressionPtr left = TRY((this->*next)());
    for (bool found = true; found;) {
      found = false;
      for (const std::string_view mark : marks) {
        if (peek().kind != Token::Kind::mark || !accept(mark)) continue;
        left = make(Kind::binary, std::string(mark), std::move(left), TRY((this->*next)()));
        found = true;
        break;
      }
    }
    return left;
  }
  Result<ExpressionPtr> sum() { return level({"+", "-"}, &Parser::joined); }
  Result<ExpressionPtr> joined() { return level({"~"}, &Parser::product); }
  Result<ExpressionPtr> product() { return level({"*", "/", "//", "%"}, &Parser::sign); }

  Result<ExpressionPtr> sign() {
    if (peek().kind != Token::Kind::mark || (peek().text != "-" && peek().text != "+"))
      return filtered();
    TRY(deeper());
    const std::string mark = tokens_[token_++].text;
    ExpressionPtr made = make(Kind::unary, mark, TRY(sign()));
    --depth_;
    return made;
  }

  Result<ExpressionPtr> filtered() {
    ExpressionPtr value = TRY(postfix());
    for (;;) {
      if (accept("|")) {
        value = make(Kind::filter, TRY(name()), std::move(value));
        if (accept("(")) TRY(arguments(*value));
      } else if (peek().kind == Token::Kind::name && accept("is")) {
        const bool negated = accept("not");
        value = make(Kind::test, TRY(name()), std::move(value));
        value->negated = negated;
        if (accept("(")) {
          TRY(arguments(*value));
        } else if (peek().kind == Token::Kind::text || peek().kind == Token::Kind::number) {
          value->operands.push_back(TRY(primary()));
        }
      } else {
        return value;
      }
    }
  }

  Result<ExpressionPtr> postfix() {
    ExpressionPtr value = TRY(primary());
    for (;;) {
      if (accept(".")) {
        if (peek().kind == Token::Kind::number) {
          ExpressionPtr index = make(Kind::literal, "");
          index->value = tokens_[token_++].value;
          value = make(Kind::subscript, "", std::move(value), std::move(index));
        } else {
          value = make(Kind::attribute, TRY(name()), std::move(value));
        }
      } else if (accept("[")) {
        value = TRY(subscript(std::move(value)));
      } else if (accept("(")) {
        value = make(Kind::call, "", std::move(value));
        TRY(arguments(*value));
      } else {
        return value;
      }
    }
  }

  Result<ExpressionPtr> subscript(ExpressionPtr value) {
    ExpressionPtr parts[3];
    std::size_t part = 0;
    bool is_slice = false;
    while (!accept("]")) {
      if (accept(":")) {
        is_slice = true;
        if (++part > 2) return Err(wrong("a slice has at most three parts"));
      } else {
        if (parts[part] != nullptr)
          return Err(wrong("\"]\" is expected before \"" + peek().text + "\""));
        parts[part] = TRY(expression());
      }
    }
    if (!is_slice) {
      if (parts[0] == nullptr) return Err(wrong("an index is missing"));
      return make(Kind::subscript, "", std::move(value), std::move(parts[0]));
    }
    ExpressionPtr made = make(Kind::slice, "", std::move(value));
    for (ExpressionPtr& each : parts) made->operands.push_back(std::move(each));
    return made;
  }

  Result<void> arguments(Expression& call) {
    for (bool first = true; !accept(")"); first = false) {
      if (!first) {
        TRY(expect(","));
        if (accept(")")) return {};
      }
      if (peek().kind == Token::Kind::name && peek(1).kind == Token::Kind::mark &&
          peek(1).text == "=") {
        std::string key = TRY(name());
        TRY(expect("="));
        call.named.emplace_back(std::move(key), TRY(expression()));
      } else {
        call.operands.push_back(TRY(expression()));
      }
    }
    return {};
  }

  Result<ExpressionPtr> primary() {
    const Token& token = peek();
    if (token.kind == Token::Kind::number || token.kind == Token::Kind::text) {
      ExpressionPtr made = make(Kind::literal, "");
      if (token.kind == Token::Kind::number) {
        made->value = token.value;
        ++token_;
      } else {
        std::string text;
        while (peek().kind == Token::Kind::text) text += tokens_[token_++].text;
        made->value = std::move(text);
      }
      return made;
    }
    if (token.kind == Token::Kind::name) {
      ++token_;
      if (token.text == "loop") ++loop_mentions_;
      ExpressionPtr made = make(Kind::literal, "");
      if (token.text == "true" || token.text == "True")
        made->value = true;
      else if (token.text == "false" || token.text == "False")
        made->value = false;
      else if (token.text != "none" && token.text != "None")
        made = make(Kind::name, token.text);
      return made;
    }
    if (accept("(")) return sequence(")");
    if (accept("[")) return sequence("]");
    if (accept("{")) {
      ExpressionPtr made = make(Kind::object, "");
      for (bool first = true; !accept("}"); first = false) {
        if (!first) {
          TRY(expect(","));
          if (accept("}")) break;
        }
        made->operands.push_back(TRY(expression()));
        TRY(expect(":"));
        made->operands.push_back(TRY(expression()));
      }
      return made;
    }
    return Err(wrong(token.kind == Token::Kind::end ? "an expression is missing"
                                                    : "\"" + token.text + "\" is not expected"));
  }

  // (a) is a; (a, b) and [a, b] are lists.
  Result<ExpressionPtr> sequence(std::string_view close) {
    ExpressionPtr made = make(Kind::list, "");
    bool comma = false;
    while (!accept(close)) {
      if (!made->operands.empty()) {
        TRY(expect(","));
        comma = true;
        if (accept(close)) break;
      }
      made->operands.push_back(TRY(expression()));
    }
    if (close == ")" && !comma && made->operands.size() == 1) {
      ExpressionPtr only = std::move(made->operands[0]);
      return only;
    }
    return made;
  }

  std::vector<Segment> segments_;
  const TemplateLimits& limits_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::vector<Token> tokens_ = {Token{}};
  std::size_t token_ = 0;
  std::size_t depth_ = 0;
  std::size_t loop_mentions_ = 0;
};

}  // namespace

Result<Block> parse(std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max)
    return Err(Code::invalid, "the chat template is longer than " +
                                  std::to_string(limits.source_bytes_max) + " bytes");
  if (source.ends_with('\n')) source.remove_suffix(1);
  return Parser(TRY(split(source)), limits).run();
}

}  // namespace jinja

}  // namespace ambit::inference
