#include "cedar/lexer.h"

#include <array>

namespace ambit::cedar {
namespace {

bool is_identifier_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
}

class Lexer {
 public:
  Lexer(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  Result<std::vector<Token>> run() {
    std::vector<Token> tokens;
    for (;;) {
      skip_space();
      Token token = TRY(next());
      tokens.push_back(token);
      if (token.kind == TokenKind::end) return tokens;
    }
  }

 private:
  void advance(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const char c = text_[at_++];
      if (c == '\n') {
        ++where_.line;
        where_.column = 1;
      } else if (!is_continuation(c)) {
        ++where_.column;
      }
    }
  }

  void skip_space() {
    while (at_ < text_.size()) {
      if (is_space(text_[at_])) {
        advance(1);
      } else if (text_.substr(at_).starts_with("//")) {
        while (at_ < text_.size() && text_[at_] != '\n') advance(1);
      } else {
        return;
      }
    }
  }

  Token cut(TokenKind kind, std::size_t length) {
    const Token token{kind, text_.substr(at_, length), where_, at_, at_ + length};
    advance(length);
    return token;
  }

  Result<Token> next() {
    if (at_ == text_.size()) return Token{TokenKind::end, {}, where_, at_, at_};
    const char c = text_[at_];
    std::size_t length = 1;
    if (is_identifier_start(c)) {
      while (at_ + length < text_.size() &&
             (is_identifier_start(text_[at_ + length]) || is_digit(text_[at_ + length]))) {
        ++length;
      }
      return cut(TokenKind::identifier, length);
    }
    if (is_digit(c)) {
      while (at_ + length < text_.size() && is_digit(text_[at_ + length])) ++length;
      return cut(TokenKind::integer, length);
    }
    if (c == '"') return string();
    constexpr std::array<std::string_view, 7> pairs = {"::", "==", "!=", "<=", ">=", "&&", "||"};
    for (const std::string_view pair : pairs) {
      if (text_.substr(at_).starts_with(pair)) return cut(TokenKind::symbol, 2);
    }
    constexpr std::string_view singles = "@(){}[],;:.!<>+-*?=";
    if (singles.find(c) != std::string_view::npos) return cut(TokenKind::symbol, 1);
    return Err(unexpected(c));
  }

  Error unexpected(char c) const {
    if (c == '&' || c == '|') {
      return error_at(source_, where_, std::string("`") + c + "` is no operator: write it twice");
    }
    if (c == '\'') return error_at(source_, where_, "strings are written with \" and not with '");
    if (c == '/' || c == '%') {
      return error_at(source_, where_, std::string("the language has no operator `") + c + "`");
    }
    std::size_t length = 1;
    while (at_ + length < text_.size() && is_continuation(text_[at_ + length])) ++length;
    return error_at(source_, where_,
                    "expected a policy, found the character " + quote(text_.substr(at_, length)));
  }

  Result<Token> string() {
    std::size_t length = 1;
    while (at_ + length < text_.size() && text_[at_ + length] != '"') {
      length += text_[at_ + length] == '\\' ? 2 : 1;
    }
    if (at_ + length >= text_.size()) {
      return Err(error_at(source_, where_, "this string has no closing \""));
    }
    Token token = cut(TokenKind::string, length + 1);
    token.text = token.text.substr(1, length - 1);
    return token;
  }

  std::string_view text_;
  std::string_view source_;
  std::size_t at_ = 0;
  Position where_{1, 1};
};

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto byte = [&text](std::uint32_t value) { text += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | (code >> 6));
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | (code >> 12));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | (code >> 18));
    byte(0x80 | ((code >> 12) & 0x3F));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

// Takes one escape off the front of `text` (which starts after the backslash) and appends what it
// means. False: no such escape.
bool take_escape(std::string_view& text, std::string& out) {
  if (text.empty()) return false;
  const char kind = text.front();
  text.remove_prefix(1);
  switch (kind) {
    case 'n':
      out += '\n';
      return true;
    case 'r':
      out += '\r';
      return true;
    case 't':
      out += '\t';
      return true;
    case '0':
      out += '\0';
      return true;
    case '\\':
    case '\'':
    case '"':
      out += kind;
      return true;
    case 'x': {
      if (text.size() < 2) return false;
      const int high = hex_digit(text[0]);
      const int low = hex_digit(text[1]);
      if (high < 0 || high > 7 || low < 0) return false;
      out += static_cast<char>(high * 16 + low);
      text.remove_prefix(2);
      return true;
    }
    case 'u':
      break;
    default:
      return false;
  }
  const std::size_t close = text.find('}');
  if (!text.starts_with('{') || close == std::string_view::npos || close < 2 || close > 7)
    return false;
  std::uint32_t code = 0;
  for (const char c : text.substr(1, close - 1)) {
    const int digit = hex_digit(c);
    if (digit < 0) return false;
    code = code * 16 + static_cast<std::uint32_t>(digit);
  }
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
  append_utf8(out, code);
  text.remove_prefix(close + 1);
  return true;
}

Error bad_escape(const Token& token, std::string_view source, std::string_view rest) {
  return error_at(source, token.where,
                  "the string holds the unknown escape " +
                      quote("\\" + std::string(rest.substr(0, 1))) +
                      "; known are \\n \\r \\t \\0 \\\\ \\' \\\" \\x41 \\u{1F600}");
}

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view text, std::string_view source) {
  if (!is_utf8(text)) {
    return Err(Code::invalid, std::string(source) + ": the text is not UTF-8; save it as UTF-8");
  }
  return Lexer(text, source).run();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::end:
      return "the end of the text";
    case TokenKind::string:
      return "the string \"" + std::string(token.text.substr(0, 40)) + "\"";
    case TokenKind::integer:
      return "the number " + std::string(token.text.substr(0, 40));
    case TokenKind::identifier:
    case TokenKind::symbol:
      break;
  }
  return "`" + std::string(token.text.substr(0, 40)) + "`";
}

Error error_at(std::string_view source, Position where, std::string_view message) {
  return Error{Code::invalid, std::string(source) + ":" + std::to_string(where.line) + ":" +
                                  std::to_string(where.column) + ": " + std::string(message)};
}

Result<std::string> unescape(const Token& token, std::string_view source) {
  std::string out;
  std::string_view rest = token.text;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c != '\\') {
      out += c;
      continue;
    }
    const std::string_view escape = rest;
    if (!take_escape(rest, out)) return Err(bad_escape(token, source, escape));
  }
  return out;
}

Result<Pattern> unescape_pattern(const Token& token, std::string_view source) {
  Pattern pattern;
  std::string_view rest = token.text;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == '*') {
      pattern.pieces.emplace_back();
    } else if (c != '\\') {
      pattern.pieces.back() += c;
    } else if (rest.starts_with('*')) {
      pattern.pieces.back() += '*';
      rest.remove_prefix(1);
    } else {
      const std::string_view escape = rest;
      if (!take_escape(rest, pattern.pieces.back())) return Err(bad_escape(token, source, escape));
    }
  }
  return pattern;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80             ? 1
                               : (lead & 0xE0) == 0xC0 ? 2
                               : (lead & 0xF0) == 0xE0 ? 3
                               : (lead & 0xF8) == 0xF0 ? 4
                                                       : 0;
    if (length == 0 || i + length > text.size()) return false;
    std::uint32_t code = length == 1 ? lead : lead & (0x7FU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      if (!is_continuation(text[i + k])) return false;
      code = (code << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    }
    constexpr std::array<std::uint32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

}  // namespace ambit::cedar
