#include "rpc/pattern_tree.h"

#include "rpc/pattern.h"

#include <algorithm>
#include <optional>
#include <string>

namespace ambit::rpc {
namespace {

constexpr int depth_max = 50;
constexpr std::uint32_t repeats_max = 1000;
constexpr char32_t point_max = 0x10FFFF;

using Ranges = PatternTree::Ranges;
using Kind = PatternTree::Kind;

const Ranges digits = {{'0', '9'}};
const Ranges word_class = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Ranges space = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                      {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                      {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const Ranges line_ends = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

std::optional<Ranges> named_class(char32_t letter) {
  switch (letter) {
    case 'd':
      return digits;
    case 'D':
      return inverted(digits);
    case 'w':
      return word_class;
    case 'W':
      return inverted(word_class);
    case 's':
      return space;
    case 'S':
      return inverted(space);
    default:
      return std::nullopt;
  }
}

int hex_digit(char32_t point) {
  if (point >= '0' && point <= '9') return static_cast<int>(point - '0');
  if (point >= 'a' && point <= 'f') return static_cast<int>(point - 'a') + 10;
  if (point >= 'A' && point <= 'F') return static_cast<int>(point - 'A') + 10;
  return -1;
}

// A recursive descent over the expression.
class PatternParser {
 public:
  explicit PatternParser(std::string_view expression) : text_(to_code_points(expression)) {}

  Result<PatternTree> parse() {
    PatternTree tree = TRY(alternatives(0));
    if (at_ < text_.size()) return fault("a \")\" that closes nothing");
    return tree;
  }

 private:
  tl::unexpected<Error> fault(const std::string& what) const {
    return Err(Code::invalid, what + " at character " + std::to_string(at_));
  }
  tl::unexpected<Error> unsupported(const std::string& what) const {
    return Err(Code::unsupported,
               what + " at character " + std::to_string(at_) + " is not supported");
  }
  [[nodiscard]] bool more() const { return at_ < text_.size(); }
  [[nodiscard]] bool looking_at(std::string_view ascii) const {
    if (text_.size() - at_ < ascii.size()) return false;
    return std::equal(ascii.begin(), ascii.end(), text_.begin() + static_cast<std::ptrdiff_t>(at_),
                      [](char a, char32_t b) { return static_cast<char32_t>(a) == b; });
  }
  bool accept(std::string_view ascii) {
    if (!looking_at(ascii)) return false;
    at_ += ascii.size();
    return true;
  }

  Result<PatternTree> alternatives(int depth) {
    if (depth > depth_max) return Err(Code::exhausted, "the pattern is nested too deeply");
    PatternTree first = TRY(sequence(depth));
    if (!looking_at("|")) return first;
    PatternTree tree;
    tree.kind = Kind::either;
    tree.parts.push_back(std::move(first));
    while (accept("|")) tree.parts.push_back(TRY(sequence(depth)));
    return tree;
  }

  Result<PatternTree> sequence(int depth) {
    PatternTree tree;
    while (more() && !looking_at("|") && !looking_at(")")) {
      PatternTree part = TRY(atom(depth));
      tree.parts.push_back(TRY(repeated(std::move(part))));
    }
    return tree;
  }

  Result<PatternTree> atom(int depth) {
    if (accept("^")) return assertion(Kind::begin);
    if (accept("$")) return assertion(Kind::end);
    if (accept("\\b")) return assertion(Kind::boundary);
    if (accept("\\B")) return assertion(Kind::no_boundary);
    if (accept("(")) return group(depth);
    if (accept("[")) return set(TRY(bracket()));
    if (accept(".")) return set(inverted(line_ends));
    if (looking_at("*") || looking_at("+") || looking_at("?")) return fault("nothing to repeat");
    return set(TRY(character()));
  }
  static PatternTree assertion(Kind kind) {
    PatternTree tree;
    tree.kind = kind;
    return tree;
  }
  static PatternTree set(Ranges ranges) {
    PatternTree tree;
    tree.kind = Kind::set;
    tree.ranges = std::move(ranges);
    return tree;
  }
  Result<PatternTree> group(int depth) {
    if (looking_at("?=") || looking_at("?!")) return unsupported("a lookahead");
    if (looking_at("?<=") || looking_at("?<!")) return unsupported("a lookbehind");
    if (accept("?<")) {
      while (more() && !looking_at(">")) ++at_;
      if (!accept(">")) return fault("a group name without end");
    } else if (!accept("?:") && looking_at("?")) {
      return unsupported("this kind of group");
    }
    PatternTree inside = TRY(alternatives(depth + 1));
    if (!accept(")")) return fault("a group that is not closed");
    return inside;
  }

  Result<PatternTree> repeated(PatternTree part) {
    const bool repeatable = part.kind == Kind::set || part.kind == Kind::sequence ||
                            part.kind == Kind::either || part.kind == Kind::repeat;
    PatternTree tree;
    tree.kind = Kind::repeat;
    if (accept("*")) {
      tree.least = 0, tree.most = PatternTree::endless;
    } else if (accept("+")) {
      tree.most = PatternTree::endless;
    } else if (accept("?")) {
      tree.least = 0;
    } else if (!TRY(counts(tree.least, tree.most))) {
      return part;
    }
    if (!repeatable) return fault("an assertion cannot be repeated");
    accept("?");  // a lazy repeat finds the same texts
    tree.parts.push_back(std::move(part));
    return tree;
  }

  // "{2}", "{2,}", "{2,5}"; anything else after a brace is the brace itself.
  Result<bool> counts(std::uint32_t& least, std::uint32_t& most) {
    const std::size_t before = at_;
    if (!accept("{")) return false;
    const auto low = number();
    std::optional<std::uint32_t> high = low;
    if (low && accept(",")) high = looking_at("}") ? std::optional(PatternTree::endless) : number();
    if (!low || !high || !accept("}")) {
      at_ = before;
      return false;
    }
    if (*low > repeats_max || (*high != PatternTree::endless && *high > repeats_max)) {
      return fault("a repeat of more than 1000 times");
    }
    if (*low > *high) return fault("a repeat whose bounds are the wrong way round");
    least = *low;
    most = *high;
    return true;
  }
  std::optional<std::uint32_t> number() {
    const std::size_t before = at_;
    std::uint32_t value = 0;
    while (more() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = std::min<std::uint32_t>(value * 10 + static_cast<std::uint32_t>(text_[at_++] - '0'),
                                      1'000'000);
    }
    if (at_ == before) return std::nullopt;
    return value;
  }

  // One character or class escape outside brackets.
  Result<Ranges> character() {
    if (!accept("\\")) {
      const char32_t point = text_[at_++];
      return Ranges{{point, point}};
    }
    if (!more()) return fault("an escape without its letter");
    if (text_[at_] >= '1' && text_[at_] <= '9') return unsupported("a back reference");
    if (looking_at("k<")) return unsupported("a named back reference");
    return escape();
  }

  Result<Ranges> escape() {
    const char32_t letter = text_[at_++];
    if (auto ranges = named_class(letter)) return std::move(*ranges);
    const auto one = [](char32_t point) { return Ranges{{point, point}}; };
    switch (letter) {
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        return one(0);
      case 'c': {
        const bool is_letter = more() && ((text_[at_] >= 'a' && text_[at_] <= 'z') ||
                                          (text_[at_] >= 'A' && text_[at_] <= 'Z'));
        if (!is_letter) return fault("\\c without a letter");
        return one(text_[at_++] & 31U);
      }
      case 'x':
        return one(TRY(hex(2)));
      case 'u':
        return one(TRY(unicode()));
      case 'p':
      case 'P':
        return unsupported("a Unicode property (\\p)");
      default:
        break;
    }
    const bool alphabetic = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (alphabetic) return fault("an unknown escape");
    return one(letter);
  }
  Result<char32_t> hex(int length) {
    char32_t point = 0;
    for (int i = 0; i < length; ++i) {
      const int digit = more() ? hex_digit(text_[at_]) : -1;
      if (digit < 0) return fault("a hexadecimal escape that is too short");
      point = point * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    return point;
  }
  Result<char32_t> unicode() {
    if (!accept("{")) {
      const char32_t first = TRY(hex(4));
      if (first < 0xD800 || first > 0xDBFF || !accept("\\u")) return first;
      const char32_t second = TRY(hex(4));
      if (second < 0xDC00 || second > 0xDFFF) return fault("half of a surrogate pair");
      return 0x10000 + ((first - 0xD800) << 10U) + (second - 0xDC00);
    }
    char32_t point = 0;
    while (more() && hex_digit(text_[at_]) >= 0 && point <= point_max) {
      point = point * 16 + static_cast<char32_t>(hex_digit(text_[at_++]));
    }
    if (point > point_max || !accept("}")) return fault("a bad \\u{...}");
    return point;
  }

  Result<Ranges> bracket() {
    const bool inverse = accept("^");
    Ranges ranges;
    while (!accept("]")) {
      if (!more()) return fault("a class that is not closed");
      const Ranges low = TRY(bracket_item());
      const bool is_range = looking_at("-") && !looking_at("-]");
      if (!is_range) {
        ranges.insert(ranges.end(), low.begin(), low.end());
        continue;
      }
      accept("-");
      if (!more()) return fault("a class that is not closed");
      const Ranges high = TRY(bracket_item());
      const bool single = low.size() == 1 && high.size() == 1 && low[0].first == low[0].second &&
                          high[0].first == high[0].second;
      if (!single || low[0].first > high[0].first) return fault("a bad range in a class");
      ranges.emplace_back(low[0].first, high[0].first);
    }
    return inverse ? inverted(std::move(ranges)) : std::move(ranges);
  }
  Result<Ranges> bracket_item() {
    if (!accept("\\")) {
      const char32_t point = text_[at_++];
      return Ranges{{point, point}};
    }
    if (!more()) return fault("an escape without its letter");
    if (accept("b")) return Ranges{{8, 8}};
    if (accept("-")) return Ranges{{'-', '-'}};
    return escape();
  }

  std::u32string text_;
  std::size_t at_ = 0;
};

}  // namespace

Ranges inverted(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges out;
  char32_t next = 0;
  for (const auto& [low, high] : ranges) {
    if (low > next) out.emplace_back(next, static_cast<char32_t>(low - 1));
    next = std::max<char32_t>(next, high + 1);
  }
  if (next <= point_max) out.emplace_back(next, point_max);
  return out;
}

const Ranges& word_characters() {
  return word_class;
}

Result<PatternTree> PatternTree::parse(std::string_view expression) {
  return PatternParser(expression).parse();
}

}  // namespace ambit::rpc
