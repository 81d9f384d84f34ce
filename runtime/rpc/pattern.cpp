#include "rpc/pattern.h"

#include "rpc/pattern_tree.h"

#include <algorithm>

namespace ambit::rpc {
namespace {

constexpr std::size_t instructions_max = 4000;

bool is_word(char32_t point) {
  const auto& word = word_characters();
  return std::any_of(word.begin(), word.end(), [&](const auto& range) {
    return point >= range.first && point <= range.second;
  });
}

}  // namespace

// From the tree to instructions. A repeat writes what it repeats several times, so the size of the
// program bounds counted repeats inside each other.
class PatternCompiler {
 public:
  Result<Pattern> compile(const PatternTree& tree) {
    TRY(write(tree));
    TRY(emit(Op::match, 0, 0));
    return std::move(out_);
  }

 private:
  using Op = Pattern::Op;
  using Kind = PatternTree::Kind;

  [[nodiscard]] std::uint32_t here() const {
    return static_cast<std::uint32_t>(out_.program_.size());
  }
  Result<void> emit(Op op, std::uint32_t a, std::uint32_t b) {
    if (out_.program_.size() >= instructions_max)
      return Err(Code::exhausted, "the pattern is too large");
    out_.program_.push_back({op, a, b});
    return {};
  }

  Result<void> write(const PatternTree& tree) {
    switch (tree.kind) {
      case Kind::set:
        out_.sets_.push_back(tree.ranges);
        return emit(Op::set, static_cast<std::uint32_t>(out_.sets_.size() - 1), 0);
      case Kind::sequence:
        for (const PatternTree& part : tree.parts) TRY(write(part));
        return {};
      case Kind::either:
        return write_either(tree.parts);
      case Kind::repeat:
        return write_repeat(tree);
      case Kind::begin:
        return emit(Op::begin, 0, 0);
      case Kind::end:
        return emit(Op::end, 0, 0);
      case Kind::boundary:
        return emit(Op::boundary, 0, 0);
      case Kind::no_boundary:
        return emit(Op::no_boundary, 0, 0);
    }
    return {};
  }

  // split(branch, next); branch; jump out; next: ...
  Result<void> write_either(const std::vector<PatternTree>& branches) {
    std::vector<std::uint32_t> exits;
    for (std::size_t i = 0; i < branches.size(); ++i) {
      const bool last = i + 1 == branches.size();
      const std::uint32_t split = here();
      if (!last) TRY(emit(Op::split, split + 1, 0));
      TRY(write(branches[i]));
      if (last) break;
      exits.push_back(here());
      TRY(emit(Op::jump, 0, 0));
      out_.program_[split].b = here();
    }
    for (const std::uint32_t exit : exits) out_.program_[exit].a = here();
    return {};
  }

  Result<void> write_repeat(const PatternTree& tree) {
    const PatternTree& body = tree.parts.front();
    const std::uint32_t start = here();
    for (std::uint32_t i = 0; i < tree.least; ++i) {
      TRY(write(body));
      if (here() == start) return {};  // of nothing there is only one
    }
    if (tree.most == PatternTree::endless) {
      // L: split(body, out); body; jump L
      const std::uint32_t loop = here();
      TRY(emit(Op::split, loop + 1, 0));
      TRY(write(body));
      TRY(emit(Op::jump, loop, 0));
      out_.program_[loop].b = here();
      return {};
    }
    std::vector<std::uint32_t> splits;
    for (std::uint32_t i = tree.least; i < tree.most; ++i) {
      splits.push_back(here());
      TRY(emit(Op::split, here() + 1, 0));
      TRY(write(body));
    }
    for (const std::uint32_t split : splits) out_.program_[split].b = here();
    return {};
  }

  Pattern out_;
};

Result<Pattern> Pattern::compile(std::string_view expression) {
  return PatternCompiler().compile(TRY(PatternTree::parse(expression)));
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
