#include "inference/template_tokens.h"

#include "inference/unicode.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>

namespace ambit::inference::jinja {

namespace {

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

}  // namespace

Error fault(std::size_t line, const std::string& what) {
  return Error{Code::invalid, "chat template, line " + std::to_string(line) + ": " + what};
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

}  // namespace ambit::inference::jinja
