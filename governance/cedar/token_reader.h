#pragma once

// Reads tokens one after another: what the parsers of policies, expressions and schemas share. It
// points into the tokens, which must outlive it.

#include "cedar/lexer.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

namespace ambit::cedar {

class TokenReader {
 public:
  // `assigns`: `=` has a meaning in this text (a schema's).
  TokenReader(std::string_view source, std::span<const Token> tokens, bool assigns = false)
      : source_(source), tokens_(tokens), assigns_(assigns) {}

  [[nodiscard]] const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  [[nodiscard]] bool at_end() const { return peek().kind == TokenKind::end; }
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
  [[nodiscard]] Error error(Position where, std::string_view message) const {
    return error_at(source_, where, message);
  }
  [[nodiscard]] Error expected(std::string_view what) const {
    if (is("=") && !assigns_) {
      return error(peek().where, "`=` is no operator: write `==` to compare");
    }
    return error(peek().where, "expected " + std::string(what) + ", found " + describe(peek()));
  }
  Result<void> expect(std::string_view text, std::string_view after) {
    if (accept(text)) return {};
    return Err(expected("`" + std::string(text) + "` " + std::string(after)));
  }
  // The content of a string literal.
  Result<std::string> string(std::string_view what) {
    if (peek().kind != TokenKind::string) return Err(expected(what));
    return unescape(take(), source_);
  }
  // `A::B::C`; stops before `::"id"`.
  Result<std::string> path(std::string_view what);
  // `A::B::"id"`.
  Result<EntityUid> entity();

  [[nodiscard]] std::string_view source() const { return source_; }

 private:
  std::string_view source_;
  std::span<const Token> tokens_;
  bool assigns_ = false;
  std::size_t at_ = 0;
};

}  // namespace ambit::cedar
