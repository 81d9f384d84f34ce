#include "rpc/pattern.h"

#include <algorithm>
#include <optional>

namespace ambit::rpc {
namespace {

constexpr std::size_t instructions_max = 4000;
constexpr int depth_max = 50;
constexpr std::uint32_t repeats_max = 1000;
constexpr std::uint32_t endless = UINT32_MAX;
constexpr char32_t point_max = 0x10FFFF;

using Ranges = std::vector<std::pair<char32_t, char32_t>>;

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

const Ranges digits = {{'0', '9'}};
const Ranges word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
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
      return word;
    case 'W':
      return inverted(word);
    case 's':
      return space;
    case 'S':
      return inverted(space);
    default:
      return std::nullopt;
  }
}

bool is_word(char32_t point) {
  return std::any_of(word.begin(), word.end(), [&](const auto& range) {
    return point >= range.first && point <= range.second;
  });
}

int hex_digit(char32_t point) {
  if (point >= '0' && point <= '9') return static_cast<int>(point - '0');
  if (point >= 'a' && point <= 'f') return static_cast<int>(point - 'a') + 10;
  if (point >= 'A' && point <= 'F') return static_cast<int>(point - 'A') + 10;
  return -1;
}

}  // namespace

// A recursive descent over the expression that appends instructions as it goes. A repeat copies
// what it repeats, so the size of the program bounds counted repeats inside each other.
class PatternCompiler {
 public:
  explicit PatternCompiler(std::string_view expression) : text_(to_code_points(expression)) {}

  Result<Pattern> compile() {
    TRY(alternatives(0));
    if (at_ < text_.size()) return fault("a \")\" that closes nothing");
    TRY(emit(Op::match, 0, 0));
    return std::move(out_);
  }

 private:
  using Op = Pattern::Op;
  using Instruction = Pattern::Instruction;

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
  [[nodiscard]] std::uint32_t here() const {
    return static_cast<std::uint32_t>(out_.program_.size());
  }

  Result<void> emit(Op op, std::uint32_t a, std::uint32_t b) {
    if (out_.program_.size() >= instructions_max)
      return Err(Code::exhausted, "the pattern is too large");
    out_.program_.push_back({op, a, b});
    return {};
  }
  Result<void> emit_set(Ranges ranges) {
    out_.sets_.push_back(std::move(ranges));
    return emit(Op::set, static_cast<std::uint32_t>(out_.sets_.size() - 1), 0);
  }
  // Puts an instruction before what was emitted since `start`; jumps inside move with it.
  Result<void> insert(std::uint32_t start, Op op, std::uint32_t a, std::uint32_t b) {
    TRY(emit(Op::match, 0, 0));
    auto& program = out_.program_;
    for (std::size_t i = program.size() - 1; i > start; --i)
      program[i] = moved(program[i - 1], start, 1);
    program[start] = {op, a, b};
    return {};
  }
  static Instruction moved(Instruction instruction, std::uint32_t from, std::uint32_t by) {
    const bool jumps = instruction.op == Op::split || instruction.op == Op::jump;
    if (jumps && instruction.a >= from) instruction.a += by;
    if (instruction.op == Op::split && instruction.b >= from) instruction.b += by;
    return instruction;
  }

  Result<void> alternatives(int depth) {
    if (depth > depth_max) return Err(Code::exhausted, "the pattern is nested too deeply");
    const std::uint32_t start = here();
    TRY(sequence(depth));
    std::vector<std::uint32_t> exits;
    std::uint32_t branch = start;
    while (accept("|")) {
      TRY(insert(branch, Op::split, branch + 1, 0));
      exits.push_back(here());
      TRY(emit(Op::jump, 0, 0));
      out_.program_[branch].b = here();
      branch = here();
      TRY(sequence(depth));
    }
    for (const std::uint32_t exit : exits) out_.program_[exit].a = here();
    return {};
  }

  Result<void> sequence(int depth) {
    while (more() && !looking_at("|") && !looking_at(")")) {
      const std::uint32_t start = here();
      const bool repeatable = TRY(atom(depth));
      TRY(repeat(start, repeatable));
    }
    return {};
  }

  // False for an assertion, which cannot be repeated.
  Result<bool> atom(int depth) {
    if (accept("^")) return assertion(Op::begin);
    if (accept("$")) return assertion(Op::end);
    if (accept("\\b")) return assertion(Op::boundary);
    if (accept("\\B")) return assertion(Op::no_boundary);
    if (accept("(")) return group(depth);
    if (accept("[")) {
      Ranges ranges = TRY(bracket());
      TRY(emit_set(std::move(ranges)));
      return true;
    }
    if (accept(".")) {
      TRY(emit_set(inverted(line_ends)));
      return true;
    }
    if (looking_at("*") || looking_at("+") || looking_at("?")) return fault("nothing to repeat");
    Ranges ranges = TRY(character());
    TRY(emit_set(std::move(ranges)));
    return true;
  }
  Result<bool> assertion(Op op) {
    TRY(emit(op, 0, 0));
    return false;
  }
  Result<bool> group(int depth) {
    if (looking_at("?=") || looking_at("?!")) return unsupported("a lookahead");
    if (looking_at("?<=") || looking_at("?<!")) return unsupported("a lookbehind");
    if (accept("?<")) {
      while (more() && !looking_at(">")) ++at_;
      if (!accept(">")) return fault("a group name without end");
    } else if (!accept("?:") && looking_at("?")) {
      return unsupported("this kind of group");
    }
    TRY(alternatives(depth + 1));
    if (!accept(")")) return fault("a group that is not closed");
    return true;
  }

  Result<void> repeat(std::uint32_t start, bool repeatable) {
    std::uint32_t least = 1;
    std::uint32_t most = 1;
    if (accept("*")) {
      least = 0, most = endless;
    } else if (accept("+")) {
      most = endless;
    } else if (accept("?")) {
      least = 0;
    } else if (!TRY(counts(least, most))) {
      return {};
    }
    if (!repeatable) return fault("an assertion cannot be repeated");
    accept("?");  // a lazy repeat finds the same texts
    return copies(start, least, most);
  }

  // "{2}", "{2,}", "{2,5}"; anything else after a brace is the brace itself.
  Result<bool> counts(std::uint32_t& least, std::uint32_t& most) {
    const std::size_t before = at_;
    if (!accept("{")) return false;
    const auto low = number();
    std::optional<std::uint32_t> high = low;
    if (low && accept(",")) high = looking_at("}") ? std::optional(endless) : number();
    if (!low || !high || !accept("}")) {
      at_ = before;
      return false;
    }
    if (*low > repeats_max || (*high != endless && *high > repeats_max)) {
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

  // Replaces the one copy since `start` by `least` to `most` of it.
  Result<void> copies(std::uint32_t start, std::uint32_t least, std::uint32_t most) {
    auto& program = out_.program_;
    const std::vector<Instruction> body(program.begin() + start, program.end());
    program.resize(start);
    for (std::uint32_t i = 0; i < least; ++i) TRY(append(body, start));
    if (most == endless) {
      // L: split(body, out); body; jump L
      const std::uint32_t loop = here();
      TRY(emit(Op::split, loop + 1, 0));
      TRY(append(body, start));
      TRY(emit(Op::jump, loop, 0));
      program[loop].b = here();
      return {};
    }
    std::vector<std::uint32_t> splits;
    for (std::uint32_t i = least; i < most; ++i) {
      splits.push_back(here());
      TRY(emit(Op::split, here() + 1, 0));
      TRY(append(body, start));
    }
    for (const std::uint32_t split : splits) program[split].b = here();
    return {};
  }
  Result<void> append(const std::vector<Instruction>& body, std::uint32_t compiled_at) {
    const std::uint32_t by = here() - compiled_at;
    for (const Instruction& instruction : body) {
      const Instruction copy = moved(instruction, compiled_at, by);
      TRY(emit(copy.op, copy.a, copy.b));
    }
    return {};
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
  Pattern out_;
};

Result<Pattern> Pattern::compile(std::string_view expression) {
  return PatternCompiler(expression).compile();
}

// Adds to `list` the sets that can come next from `start` without reading; `seen` holds `mark`
// where an instruction was visited at this position.
void Pattern::follow(std::uint32_t start, bool at_begin, bool at_end, bool at_boundary,
                     std::vector<std::uint32_t>& list, std::vector<std::uint32_t>& seen,
                     std::uint32_t mark) const {
  std::vector<std::uint32_t> stack = {start};
  while (!stack.empty()) {
    const std::uint32_t at = stack.back();
    stack.pop_back();
    if (seen[at] == mark) continue;
    seen[at] = mark;
    const Instruction& instruction = program_[at];
    switch (instruction.op) {
      case Op::set:
      case Op::match:
        list.push_back(at);
        break;
      case Op::split:
        stack.push_back(instruction.b);
        stack.push_back(instruction.a);
        break;
      case Op::jump:
        stack.push_back(instruction.a);
        break;
      case Op::begin:
        if (at_begin) stack.push_back(at + 1);
        break;
      case Op::end:
        if (at_end) stack.push_back(at + 1);
        break;
      case Op::boundary:
        if (at_boundary) stack.push_back(at + 1);
        break;
      case Op::no_boundary:
        if (!at_boundary) stack.push_back(at + 1);
        break;
    }
  }
}

bool Pattern::in_set(std::uint32_t set, char32_t point) const {
  const Ranges& ranges = sets_[set];
  return std::any_of(ranges.begin(), ranges.end(), [&](const auto& range) {
    return point >= range.first && point <= range.second;
  });
}

bool Pattern::found_in(std::string_view text) const {
  const std::u32string points = to_code_points(text);
  std::vector<std::uint32_t> list;
  std::vector<std::uint32_t> next;
  std::vector<std::uint32_t> seen(program_.size(), UINT32_MAX);
  std::vector<std::uint32_t> starts = {0};
  for (std::size_t i = 0; i <= points.size(); ++i) {
    const bool word_before = i > 0 && is_word(points[i - 1]);
    const bool word_after = i < points.size() && is_word(points[i]);
    list.clear();
    for (const std::uint32_t start : starts) {
      follow(start, i == 0, i == points.size(), word_before != word_after, list, seen,
             static_cast<std::uint32_t>(i));
    }
    next.clear();
    for (const std::uint32_t at : list) {
      if (program_[at].op == Op::match) return true;
      if (i < points.size() && in_set(program_[at].a, points[i])) next.push_back(at + 1);
    }
    next.push_back(0);  // a match may begin at any character
    starts.swap(next);
  }
  return false;
}

std::u32string to_code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80    ? 1
                               : lead >= 0xF0 ? 4
                               : lead >= 0xE0 ? 3
                               : lead >= 0xC0 ? 2
                                              : 0;
    char32_t point = length == 1 ? lead : length == 0 ? 0 : lead & (0x7FU >> length);
    bool good = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; good && k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      good = (byte & 0xC0U) == 0x80U;
      point = (point << 6U) | (byte & 0x3FU);
    }
    out.push_back(good ? point : U'\uFFFD');
    i += good ? length : 1;
  }
  return out;
}

std::size_t count_code_points(std::string_view text) {
  return to_code_points(text).size();
}

}  // namespace ambit::rpc
