#include "log/canonical_json.h"

#include "log/canonical_scan.h"
#include "log/sha256.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

namespace ambit::log {
namespace {

void append_escaped(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += hex_digits[static_cast<unsigned char>(c) >> 4];
      out += hex_digits[static_cast<unsigned char>(c) & 0xF];
  }
}

void append_utf8(std::uint32_t code, std::string& out) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    if (code < 0x20 || code == '"' || code == '\\') {
      append_escaped(static_cast<char>(code), out);
    } else {
      put(code);
    }
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

tl::unexpected<Error> not_json() {
  return Err(Code::invalid, "this is not JSON (or not UTF-8)");
}

// Reads JSON and writes its canonical form. Members are written as they come; an object whose
// members came in another order is put in order when it closes.
class Writer {
 public:
  explicit Writer(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {
    out_.reserve(text.size());
  }

  Result<std::string> run() {
    skip_blanks();
    TRY(value(0));
    skip_blanks();
    if (at_ != end_) return not_json();
    return std::move(out_);
  }

 private:
  // Places in out_: of the member, of what stands between the quotes of its name, and its end.
  struct Member {
    std::size_t begin = 0;
    std::size_t name_end = 0;
    std::size_t end = 0;
  };

  void skip_blanks() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  Result<void> value(unsigned depth) {
    if (depth > canonical_depth_max) {
      return Err(Code::invalid, "the JSON is nested deeper than 64 levels");
    }
    skip_blanks();
    if (at_ == end_) return not_json();
    switch (*at_) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  Result<void> word(std::string_view expected) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected)) {
      return not_json();
    }
    at_ += expected.size();
    out_ += expected;
    return {};
  }

  Result<void> string() {
    ++at_;
    out_ += '"';
    for (;;) {
      const char* const plain = at_;
      at_ = scan::skip_plain(at_, end_);
      out_.append(plain, static_cast<std::size_t>(at_ - plain));
      if (at_ == end_) return not_json();
      if (*at_ == '"') break;
      if (*at_ == '\\') {
        TRY(escape());
        continue;
      }
      const std::size_t length = scan::utf8_length(at_, end_);
      if (length == 0) return not_json();
      out_.append(at_, length);
      at_ += length;
    }
    ++at_;
    out_ += '"';
    return {};
  }

  // The four digits of \uXXXX at `at_`, or more than 0xFFFF.
  std::uint32_t code_unit() {
    constexpr std::uint32_t none = 0x10000;
    if (end_ - at_ < 6 || at_[0] != '\\' || at_[1] != 'u') return none;
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(at_ + 2, at_ + 6, code, 16);
    if (error != std::errc() || end != at_ + 6) return none;
    return code;
  }

  Result<void> escape() {
    if (end_ - at_ < 2) return not_json();
    constexpr std::string_view kinds = "\"\\/bfnrt";
    constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
    if (const std::size_t kind = kinds.find(at_[1]); kind != std::string_view::npos) {
      append_utf8(static_cast<unsigned char>(meant[kind]), out_);
      at_ += 2;
      return {};
    }
    std::uint32_t code = code_unit();
    if (code > 0xFFFF || (code >= 0xDC00 && code <= 0xDFFF)) return not_json();
    at_ += 6;
    if (code >= 0xD800 && code <= 0xDBFF) {
      const std::uint32_t low = code_unit();
      if (low < 0xDC00 || low > 0xDFFF) return not_json();
      at_ += 6;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(code, out_);
    return {};
  }

  Result<void> number() {
    const scan::Number found = scan::number_at(at_, end_);
    if (found.length == 0) return not_json();
    const std::string_view text(at_, found.length);
    at_ += found.length;
    if (found.whole && text.size() <= 15) {
      out_ += text == "-0" ? "0" : text;
      return {};
    }
    double value = 0;
    if (!scan::to_double(text, value)) return not_json();
    const std::string canonical = number_text(value);
    if (found.whole && canonical != text) {
      return Err(Code::invalid,
                 "the number " + std::string(text.substr(0, 40)) +
                     " is beyond 2^53, where readers of JSON round; write it as a string");
    }
    out_ += canonical;
    return {};
  }

  Result<void> array(unsigned depth) {
    ++at_;
    out_ += '[';
    if (!take(']')) {
      for (bool first = true; first || take(','); first = false) {
        if (!first) out_ += ',';
        TRY(value(depth + 1));
      }
      if (!take(']')) return not_json();
    }
    out_ += ']';
    return {};
  }

  Result<void> object(unsigned depth) {
    ++at_;
    const std::size_t mine = members_.size();
    out_ += '{';
    if (!take('}')) {
      for (bool first = true; first || take(','); first = false) {
        if (!first) out_ += ',';
        Member member;
        member.begin = out_.size();
        skip_blanks();
        if (at_ == end_ || *at_ != '"') return not_json();
        TRY(string());
        member.name_end = out_.size() - 1;
        if (!take(':')) return not_json();
        out_ += ':';
        TRY(value(depth + 1));
        member.end = out_.size();
        members_.push_back(member);
      }
      if (!take('}')) return not_json();
      TRY(put_in_order(mine));
    }
    out_ += '}';
    members_.resize(mine);
    return {};
  }

  [[nodiscard]] std::string_view name(const Member& member) const {
    return std::string_view(out_).substr(member.begin + 1, member.name_end - member.begin - 1);
  }

  // Sorts the members from `mine` on, which are the last bytes of out_.
  Result<void> put_in_order(std::size_t mine) {
    const auto begin = members_.begin() + static_cast<std::ptrdiff_t>(mine);
    const auto before = [this](const Member& a, const Member& b) {
      return scan::compare_keys(name(a), name(b)) < 0;
    };
    const std::size_t start = begin->begin;
    const bool sorted = std::is_sorted(begin, members_.end(), before);
    if (!sorted) std::sort(begin, members_.end(), before);
    for (auto at = begin; at + 1 != members_.end(); ++at) {
      if (name(*at) == name(*(at + 1))) {
        return Err(Code::invalid, "the member \"" + std::string(name(*at)) + "\" is given twice");
      }
    }
    if (sorted) return {};
    scratch_.clear();
    for (auto at = begin; at != members_.end(); ++at) {
      if (!scratch_.empty()) scratch_ += ',';
      scratch_.append(out_, at->begin, at->end - at->begin);
    }
    out_.replace(start, std::string::npos, scratch_);
    return {};
  }

  const char* at_;
  const char* end_;
  std::string out_;
  std::string scratch_;
  std::vector<Member> members_;  // of all open objects
};

}  // namespace

Result<std::string> canonical_json(std::string_view text) {
  if (is_canonical_json(text)) return std::string(text);
  return Writer(text).run();
}

bool append_quoted(std::string_view text, std::string& out) {
  const char* at = text.data();
  const char* const end = at + text.size();
  out += '"';
  while (at != end) {
    const char* const plain = at;
    at = scan::skip_plain(at, end);
    out.append(plain, static_cast<std::size_t>(at - plain));
    if (at == end) break;
    if (static_cast<unsigned char>(*at) < 0x80) {
      append_escaped(*at++, out);
      continue;
    }
    const std::size_t length = scan::utf8_length(at, end);
    if (length == 0) return false;
    out.append(at, length);
    at += length;
  }
  out += '"';
  return true;
}

std::string number_text(double number) {
  if (number == 0) return "0";
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(number),
                                 std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c != '.') digits += c;
  }
  const int exponent = std::stoi(std::string(text.substr(e + 1)));
  const int point = exponent + 1;  // digits before the point
  const int count = static_cast<int>(digits.size());
  std::string out = number < 0 ? "-" : "";
  if (count <= point && point <= 21) {
    out += digits + std::string(static_cast<std::size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    out += digits.substr(0, static_cast<std::size_t>(point)) + "." +
           digits.substr(static_cast<std::size_t>(point));
  } else if (-6 < point && point <= 0) {
    out += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    out += std::to_string(std::abs(exponent));
  }
  return out;
}

}  // namespace ambit::log
