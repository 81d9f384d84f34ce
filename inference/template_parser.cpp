#include "inference/template_tree.h"
#include "inference/unicode.h"

#include <algorithm>
#include <cstdlib>
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

// A stretch of the source: text between tags, {{ expression }} or {% statement %}.
struct Segment {
  enum class Kind { text, print, statement };
  Kind kind = Kind::text;
  std::string_view text;
  std::size_t line = 0;
};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::string_view strip_left(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// lstrip_blocks: blanks between the start of a line and a block tag go.
std::string_view strip_line_start(std::string_view text, bool at_start) {
  std::size_t end = text.size();
  while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
  if (end > 0 ? text[end - 1] == '\n' : at_start) return text.substr(0, end);
  return text;
}

Error fault(std::size_t line, const std::string& what) {
  return Error{Code::invalid, "chat template, line " + std::to_string(line) + ": " + what};
}

// The end of the tag's content: quotes hide its closing mark.
std::size_t find_close(std::string_view source, std::size_t at, std::string_view close) {
  char quote = 0;
  for (; at + close.size() <= source.size(); ++at) {
    const char c = source[at];
    if (quote != 0) {
      if (c == '\\')
        ++at;
      else if (c == quote)
        quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (source.compare(at, close.size(), close) == 0) {
      return at;
    }
  }
  return std::string_view::npos;
}

Result<std::vector<Segment>> split(std::string_view source) {
  std::vector<Segment> segments;
  std::size_t at = 0;
  std::size_t line = 1;
  bool strip_next = false;    // the tag before ended in "-"
  bool newline_goes = false;  // trim_blocks: the newline after a block tag goes
  while (at <= source.size()) {
    std::size_t open = at;
    while ((open = source.find('{', open)) != std::string_view::npos) {
      if (open + 1 < source.size() &&
          (source[open + 1] == '{' || source[open + 1] == '%' || source[open + 1] == '#'))
        break;
      ++open;
    }
    const bool last = open == std::string_view::npos;
    std::string_view text = source.substr(at, last ? std::string_view::npos : open - at);
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    if (strip_next)
      text = strip_left(text);
    else if (newline_goes && text.starts_with('\n'))
      text.remove_prefix(1);
    else if (newline_goes && text.starts_with("\r\n"))
      text.remove_prefix(2);
    if (!last) {
      const char sign = open + 2 < source.size() ? source[open + 2] : ' ';
      if (sign == '-')
        text = strip_right(text);
      else if (source[open + 1] != '{' && sign != '+')
        text = strip_line_start(text, segments.empty() || newline_goes);
    }
    if (!text.empty()) segments.push_back({Segment::Kind::text, text, line});
    line += lines;
    if (last) break;

    const char kind = source[open + 1];
    const std::string_view close = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
    const std::size_t end =
        kind == '#' ? source.find(close, open + 2) : find_close(source, open + 2, close);
    if (end == std::string_view::npos) return Err(fault(line, "a tag is not closed"));
    std::string_view inside = source.substr(open + 2, end - open - 2);
    line += static_cast<std::size_t>(std::count(inside.begin(), inside.end(), '\n'));
    if (inside.starts_with('-') || inside.starts_with('+')) inside.remove_prefix(1);
    strip_next = inside.ends_with('-');
    if (strip_next) inside.remove_suffix(1);
    newline_goes = kind != '{';
    if (kind != '#')
      segments.push_back(
          {kind == '{' ? Segment::Kind::print : Segment::Kind::statement, inside, line});
    else
      segments.push_back({Segment::Kind::text, {}, line});
    at = end + 2;
  }
  return segments;
}

struct Token {
  enum class Kind { end, name, number, text, mark };
  Kind kind = Kind::end;
  std::string text;
  Json value;
};

Result<std::vector<Token>> tokenize(const Segment& segment) {
  std::vector<Token> tokens;
  const std::string_view text = segment.text;
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (is_blank(c)) {
      ++at;
    } else if (c >= '0' && c <= '9') {
      std::size_t end = at;
      bool real = false;
      while (end < text.size() &&
             (is_word(text[end]) || (text[end] == '.' && end + 1 < text.size() &&
                                     text[end + 1] >= '0' && text[end + 1] <= '9'))) {
        real = real || text[end] == '.';
        ++end;
      }
      const std::string digits(text.substr(at, end - at));
      char* rest = nullptr;
      Token token{Token::Kind::number, digits, {}};
      if (real)
        token.value = std::strtod(digits.c_str(), &rest);
      else
        token.value = static_cast<std::int64_t>(std::strtoll(digits.c_str(), &rest, 10));
      if (*rest != 0) return Err(fault(segment.line, "\"" + digits + "\" is not a number"));
      tokens.push_back(std::move(token));
      at = end;
    } else if (is_word(c)) {
      std::size_t end = at;
      while (end < text.size() && is_word(text[end])) ++end;
      tokens.push_back({Token::Kind::name, std::string(text.substr(at, end - at)), {}});
      at = end;
    } else if (c == '"' || c == '\'') {
      std::string value;
      for (++at; at < text.size() && text[at] != c; ++at) {
        if (text[at] != '\\' || at + 1 == text.size()) {
          value += text[at];
          continue;
        }
        const char escaped = text[++at];
        switch (escaped) {
          case 'n':
            value += '\n';
            break;
          case 't':
            value += '\t';
            break;
          case 'r':
            value += '\r';
            break;
          case '\\':
          case '\'':
          case '"':
            value += escaped;
            break;
          case 'u': {
            const std::string hex(text.substr(at + 1, 4));
            char* rest = nullptr;
            const auto point = static_cast<std::uint32_t>(std::strtoul(hex.c_str(), &rest, 16));
            if (hex.size() != 4 || *rest != 0)
              return Err(fault(segment.line, "\\u needs four hexadecimal digits"));
            append_utf8(value, point);
            at += 4;
            break;
          }
          default:
            value += '\\';
            value += escaped;
        }
      }
      if (at >= text.size()) return Err(fault(segment.line, "a string is not closed"));
      ++at;
      tokens.push_back({Token::Kind::text, value, {}});
    } else {
      static constexpr std::string_view pairs[] = {"==", "!=", "<=", ">=", "//", "**"};
      std::string mark(1, c);
      for (const std::string_view pair : pairs)
        if (text.compare(at, 2, pair) == 0) mark = pair;
      if (std::string_view("=!<>+-*/%~|.,:;()[]{}").find(c) == std::string_view::npos ||
          mark == "!")
        return Err(
            fault(segment.line, std::string("the character '") + c + "' is not expected here"));
      at += mark.size();
      tokens.push_back({Token::Kind::mark, std::move(mark), {}});
    }
  }
  // A chain of operators makes a tree as deep as it is long: this bounds the recursion over it.
  if (tokens.size() > 1000) return Err(fault(segment.line, "a tag has more than 1000 words"));
  tokens.push_back({});
  return tokens;
}

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
