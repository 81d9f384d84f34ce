#include "agents/document.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace ambit::agents {
namespace {

constexpr std::size_t text_bytes_max = 8 << 20;
constexpr int depth_max = 64;
constexpr std::size_t members_max = 2000;  // also keeps the look for duplicate keys cheap

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Node> parse() {
    if (text_.size() > text_bytes_max) {
      return Err(Code::invalid,
                 "the file is larger than " + std::to_string(text_bytes_max >> 20) + " MiB");
    }
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
    TRY(skip());
    Node root = TRY(value(0));
    TRY(skip());
    if (at_ < text_.size()) return fail("expected the end of the file but found " + found());
    return root;
  }

 private:
  tl::unexpected<Error> fail(const std::string& what) const {
    return fail_at(line_, column(), what);
  }
  static tl::unexpected<Error> fail_at(int line, int column, const std::string& what) {
    return Err(Code::invalid,
               "line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + what);
  }
  [[nodiscard]] int column() const { return static_cast<int>(at_ - line_start_) + 1; }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  [[nodiscard]] std::string found() const {
    if (at_ >= text_.size()) return "the end of the file";
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte < 0x20 || byte == 0x7F) {
      char hex[16];
      std::snprintf(hex, sizeof hex, "byte 0x%02X", byte);
      return hex;
    }
    std::size_t end = at_ + 1;
    while (
        end < text_.size() && end - at_ < 12 &&
        (std::isalnum(static_cast<unsigned char>(text_[end])) != 0 || (text_[end] & 0x80) != 0)) {
      ++end;
    }
    return "'" + std::string(text_.substr(at_, end - at_)) + "'";
  }
  void newline() {
    ++line_;
    line_start_ = at_;
  }

  // White space and comments.
  Result<void> skip() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++at_;
        newline();
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (text_.substr(at_, 2) == "/*") {
        const int line = line_;
        const int start = column();
        at_ += 2;
        while (at_ < text_.size() && text_.substr(at_, 2) != "*/") {
          if (text_[at_++] == '\n') newline();
        }
        if (at_ >= text_.size())
          return fail_at(line, start, "this comment is never closed: add */");
        at_ += 2;
      } else {
        break;
      }
    }
    return {};
  }

  Result<Node> value(int depth) {
    if (depth > depth_max)
      return fail("nested deeper than " + std::to_string(depth_max) + " levels");
    Node node;
    node.line = line_;
    node.column = column();
    const char c = peek();
    if (c == '{') {
      TRY(object(node, depth));
    } else if (c == '[') {
      TRY(array(node, depth));
    } else if (c == '"') {
      node.kind = Node::Kind::string;
      node.string = TRY(string());
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      TRY(number(node));
    } else if (word("true")) {
      node.kind = Node::Kind::boolean;
      node.boolean = true;
    } else if (word("false")) {
      node.kind = Node::Kind::boolean;
    } else if (!word("null")) {
      return fail("expected a value but found " + found());
    }
    return node;
  }

  bool word(std::string_view text) {
    if (!text_.substr(at_).starts_with(text)) return false;
    const std::size_t after = at_ + text.size();
    if (after < text_.size() && std::isalnum(static_cast<unsigned char>(text_[after])) != 0)
      return false;
    at_ = after;
    return true;
  }

  Result<void> object(Node& node, int depth) {
    node.kind = Node::Kind::object;
    ++at_;
    TRY(skip());
    if (peek() == '}') {
      ++at_;
      return {};
    }
    while (true) {
      if (peek() == '}') return fail("a comma before '}': remove it");
      if (peek() != '"') return fail("expected a key in double quotes but found " + found());
      Node::Member member;
      member.line = line_;
      member.column = column();
      member.key = TRY(string());
      if (const Node* first = node.find(member.key)) {
        return fail_at(member.line, member.column,
                       "the key \"" + member.key + "\" is there already, in line " +
                           std::to_string(first->line));
      }
      if (node.members.size() >= members_max) {
        return fail("an object of more than " + std::to_string(members_max) + " keys");
      }
      TRY(skip());
      if (peek() != ':')
        return fail("expected ':' after the key \"" + member.key + "\" but found " + found());
      ++at_;
      TRY(skip());
      member.value = TRY(value(depth + 1));
      node.members.push_back(std::move(member));
      TRY(skip());
      if (peek() == '}') break;
      if (peek() != ',') return fail("expected ',' or '}' but found " + found());
      ++at_;
      TRY(skip());
    }
    ++at_;
    return {};
  }

  Result<void> array(Node& node, int depth) {
    node.kind = Node::Kind::array;
    ++at_;
    TRY(skip());
    if (peek() == ']') {
      ++at_;
      return {};
    }
    while (true) {
      if (peek() == ']') return fail("a comma before ']': remove it");
      node.items.push_back(TRY(value(depth + 1)));
      TRY(skip());
      if (peek() == ']') break;
      if (peek() != ',') return fail("expected ',' or ']' but found " + found());
      ++at_;
      TRY(skip());
    }
    ++at_;
    return {};
  }

  Result<std::string> string() {
    const int line = line_;
    const int start = column();
    std::string out;
    ++at_;
    while (true) {
      if (at_ >= text_.size() || text_[at_] == '\n') {
        return fail_at(line, start, "this string is never closed: add a double quote");
      }
      const char c = text_[at_];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20)
        return fail("a control character in a string: write it as an escape");
      if (c == '\\') {
        TRY(escape(out));
      } else {
        out += c;
        ++at_;
      }
    }
    ++at_;
    return out;
  }

  Result<void> escape(std::string& out) {
    const char kind = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    switch (kind) {
      case '"':
        out += '"';
        break;
      case '\\':
        out += '\\';
        break;
      case '/':
        out += '/';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u':
        return unicode_escape(out);
      default:
        return fail("an unknown escape in a string: use \\\\ for a backslash");
    }
    at_ += 2;
    return {};
  }

  Result<std::uint32_t> hex4() {
    std::uint32_t code = 0;
    const std::string_view digits = text_.substr(at_ + 2, 4);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) {
      return fail("\\u needs four hexadecimal digits");
    }
    return code;
  }

  Result<void> unicode_escape(std::string& out) {
    std::uint32_t code = TRY(hex4());
    if (code >= 0xDC00 && code < 0xE000) return fail("half a surrogate pair in a string");
    if (code >= 0xD800 && code < 0xDC00) {
      at_ += 6;
      if (text_.substr(at_, 2) != "\\u") return fail("half a surrogate pair in a string");
      const std::uint32_t low = TRY(hex4());
      if (low < 0xDC00 || low >= 0xE000) return fail("half a surrogate pair in a string");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
    at_ += 6;
    return {};
  }

  Result<void> number(Node& node) {
    const std::size_t start = at_;
    auto digits = [&] {
      const std::size_t from = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      return at_ > from;
    };
    bool integral = true;
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else if (!digits()) {
      return fail("expected a digit but found " + found());
    }
    if (peek() == '.') {
      integral = false;
      ++at_;
      if (!digits()) return fail("expected a digit after the decimal point but found " + found());
    }
    if (peek() == 'e' || peek() == 'E') {
      integral = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) return fail("expected a digit in the exponent but found " + found());
    }
    node.string = std::string(text_.substr(start, at_ - start));
    const char* first = node.string.data();
    const char* last = first + node.string.size();
    if (integral && std::from_chars(first, last, node.integer).ec == std::errc()) {
      node.kind = Node::Kind::integer;
      node.number = static_cast<double>(node.integer);
      return {};
    }
    node.kind = Node::Kind::number;
    if (std::from_chars(first, last, node.number).ec != std::errc() ||
        !std::isfinite(node.number)) {
      return fail("the number " + node.string + " is out of range");
    }
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_start_ = 0;
  int line_ = 1;
};

void write(const Node& node, std::string& out) {
  switch (node.kind) {
    case Node::Kind::null:
      out += "null";
      break;
    case Node::Kind::boolean:
      out += node.boolean ? "true" : "false";
      break;
    case Node::Kind::integer:
    case Node::Kind::number:
      out += node.string;
      break;
    case Node::Kind::string:
      out += json_quoted(node.string);
      break;
    case Node::Kind::array: {
      out += '[';
      for (std::size_t i = 0; i < node.items.size(); ++i) {
        if (i > 0) out += ',';
        write(node.items[i], out);
      }
      out += ']';
      break;
    }
    case Node::Kind::object: {
      out += '{';
      for (std::size_t i = 0; i < node.members.size(); ++i) {
        if (i > 0) out += ',';
        out += json_quoted(node.members[i].key);
        out += ':';
        write(node.members[i].value, out);
      }
      out += '}';
      break;
    }
  }
}

}  // namespace

std::string_view to_string(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::boolean:
      return "a boolean";
    case Node::Kind::integer:
      return "an integer";
    case Node::Kind::number:
      return "a number";
    case Node::Kind::string:
      return "a string";
    case Node::Kind::array:
      return "an array";
    case Node::Kind::object:
      return "an object";
  }
  return "nothing";
}

const Node* Node::find(std::string_view key) const {
  for (const Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

std::string Node::to_json() const {
  std::string out;
  write(*this, out);
  return out;
}

Result<Node> parse_document(std::string_view text) {
  return Parser(text).parse();
}

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace ambit::agents
