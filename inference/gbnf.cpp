#include "inference/gbnf.h"

#include "inference/code_points.h"
#include "rpc/pattern.h"
#include "rpc/pattern_tree.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ambit::inference {
namespace {

constexpr std::size_t parts_max = 50'000;
constexpr std::size_t rules_max = 2'000;
constexpr std::size_t group_depth_max = 20;
constexpr std::size_t rule_depth_max = 30;  // rules that begin with rules that begin with ...
constexpr std::uint32_t repeats_max = 10'000;

struct Part {
  enum class Kind { set, text, sequence, either, repeat, rule };
  Kind kind = Kind::sequence;
  CodePointRanges ranges;
  std::u32string text;
  std::vector<Part> parts;
  std::uint32_t least = 1;
  std::uint32_t most = 1;
  std::size_t rule = 0;
};

struct Rule {
  std::string name;
  std::optional<Part> body;
  std::size_t line = 0;  // where it was first named
  bool may_be_empty = false;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(rpc::to_code_points(text)) {}

  Result<std::vector<Rule>> read() {
    skip(true);
    while (more()) {
      const std::string name = TRY(this->name());
      skip(false);
      if (!accept("::=")) return fault("\"::=\" must follow the rule's name " + name);
      skip(true);
      Part body = TRY(alternatives(0));
      Rule& rule = rules_[number_of(name)];
      if (rule.body) return fault("the rule " + name + " is there twice");
      rule.body = std::move(body);
      skip(true);
    }
    for (const Rule& rule : rules_)
      if (!rule.body)
        return Err(Code::invalid, "line " + std::to_string(rule.line) + ": the rule " + rule.name +
                                      " is not defined");
    if (rules_.size() > rules_max)
      return Err(Code::exhausted,
                 "the grammar has more than " + std::to_string(rules_max) + " rules");
    if (!numbers_.contains("root")) return Err(Code::invalid, "there is no rule named root");
    return std::move(rules_);
  }
  [[nodiscard]] std::size_t root() const { return numbers_.at("root"); }

 private:
  [[nodiscard]] bool more() const { return at_ < text_.size(); }
  [[nodiscard]] char32_t here() const { return more() ? text_[at_] : U'\0'; }
  tl::unexpected<Error> fault(const std::string& what) const {
    return Err(Code::invalid, "line " + std::to_string(line_) + ": " + what);
  }
  bool accept(std::string_view ascii) {
    if (text_.size() - at_ < ascii.size()) return false;
    for (std::size_t i = 0; i < ascii.size(); ++i)
      if (text_[at_ + i] != static_cast<unsigned char>(ascii[i])) return false;
    at_ += ascii.size();
    return true;
  }
  // White space and comments; `lines`: line ends too.
  void skip(bool lines) {
    while (more()) {
      if (here() == '#') {
        while (more() && here() != '\n') ++at_;
      } else if (here() == ' ' || here() == '\t' || here() == '\r') {
        ++at_;
      } else if (here() == '\n' && lines) {
        ++at_;
        ++line_;
      } else {
        return;
      }
    }
  }
  static bool is_name(char32_t point) {
    return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z') ||
           (point >= '0' && point <= '9') || point == '-' || point == '_';
  }
  Result<std::string> name() {
    std::string name;
    while (is_name(here())) name += static_cast<char>(text_[at_++]);
    if (name.empty()) return fault("a rule's name is expected");
    return name;
  }
  std::size_t number_of(const std::string& name) {
    const auto [at, is_new] = numbers_.emplace(name, rules_.size());
    if (is_new) rules_.push_back({name, std::nullopt, line_, false});
    return at->second;
  }

  Result<Part> alternatives(std::size_t depth) {
    if (depth > group_depth_max) return fault("the groups are nested too deeply");
    Part either;
    either.kind = Part::Kind::either;
    do {
      skip(depth > 0);
      either.parts.push_back(TRY(sequence(depth)));
      next_line_goes_on(depth);
    } while (accept("|"));
    if (either.parts.size() > 1) return either;
    return std::move(either.parts.front());
  }
  // Alternatives may stand on lines of their own: "\n  | more".
  void next_line_goes_on(std::size_t depth) {
    const auto before = std::pair(at_, line_);
    skip(true);
    if (depth == 0 && here() != '|') std::tie(at_, line_) = before;
  }

  Result<Part> sequence(std::size_t depth) {
    Part whole;
    for (;;) {
      skip(depth > 0);
      if (++parts_ > parts_max) return Err(Code::exhausted, "the grammar is too large");
      Part part;
      if (accept("\"")) {
        part.kind = Part::Kind::text;
        while (here() != '"') part.text += TRY(character("a text"));
        ++at_;
      } else if (accept("[")) {
        part = TRY(bracket());
      } else if (accept(".")) {
        part.kind = Part::Kind::set;
        part.ranges = {{0, 0x10FFFF}};
      } else if (accept("(")) {
        part = TRY(alternatives(depth + 1));
        skip(true);
        if (!accept(")")) return fault("a group is not closed");
      } else if (is_name(here())) {
        const auto before = at_;
        const std::string rule = TRY(name());
        skip(false);
        if (accept("::=")) {  // the next rule begins on this line
          at_ = before;
          return fault("a rule begins on a line of its own");
        }
        part.kind = Part::Kind::rule;
        part.rule = number_of(rule);
      } else {
        return whole;
      }
      whole.parts.push_back(TRY(repeated(std::move(part))));
    }
  }

  Result<Part> repeated(Part part) {
    for (;;) {
      skip(false);
      Part repeat;
      repeat.kind = Part::Kind::repeat;
      if (accept("*")) {
        repeat.least = 0, repeat.most = Automaton::unbounded;
      } else if (accept("+")) {
        repeat.most = Automaton::unbounded;
      } else if (accept("?")) {
        repeat.least = 0;
      } else if (accept("{")) {
        repeat.least = TRY(count());
        repeat.most = repeat.least;
        if (accept(",")) repeat.most = here() == '}' ? Automaton::unbounded : TRY(count());
        if (!accept("}")) return fault("a count is not closed");
        if (repeat.most < repeat.least) return fault("a count's bounds are the wrong way round");
      } else {
        return part;
      }
      if (part.kind == Part::Kind::sequence && part.parts.empty())
        return fault("nothing to repeat");
      repeat.parts.push_back(std::move(part));
      part = std::move(repeat);
    }
  }
  Result<std::uint32_t> count() {
    std::uint32_t value = 0;
    const std::size_t before = at_;
    while (here() >= '0' && here() <= '9' && value <= repeats_max)
      value = value * 10 + static_cast<std::uint32_t>(text_[at_++] - '0');
    if (at_ == before) return fault("a count is expected");
    if (value > repeats_max) return fault("a count of more than 10000");
    return value;
  }

  Result<Part> bracket() {
    Part part;
    part.kind = Part::Kind::set;
    const bool inverse = accept("^");
    while (here() != ']') {
      const char32_t low = TRY(character("a class"));
      char32_t high = low;
      if (here() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        high = TRY(character("a class"));
      }
      if (high < low) return fault("a range in a class is the wrong way round");
      part.ranges.emplace_back(low, high);
    }
    ++at_;
    if (inverse) part.ranges = rpc::inverted(std::move(part.ranges));
    return part;
  }

  Result<char32_t> character(const char* where) {
    if (!more() || here() == '\n') return fault(std::string(where) + " is not closed");
    const char32_t point = text_[at_++];
    if (point != '\\') return point;
    const char32_t letter = more() ? text_[at_++] : U'\0';
    switch (letter) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return letter;
      default:
        return fault("an unknown escape");
    }
  }
  Result<char32_t> hex(int length) {
    char32_t point = 0;
    for (int i = 0; i < length; ++i) {
      const char32_t digit = more() ? text_[at_++] : U'\0';
      if (digit >= '0' && digit <= '9')
        point = point * 16 + (digit - '0');
      else if (digit >= 'a' && digit <= 'f')
        point = point * 16 + (digit - 'a' + 10);
      else if (digit >= 'A' && digit <= 'F')
        point = point * 16 + (digit - 'A' + 10);
      else
        return fault("a hexadecimal escape is too short");
    }
    if (point > 0x10FFFF) return fault("an escape beyond U+10FFFF");
    return point;
  }

  std::u32string text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t parts_ = 0;
  std::vector<Rule> rules_;
  std::map<std::string, std::size_t> numbers_;
};

// What must be known of the rules before they are written: which may be empty, and that none begins
// with itself.
class Rules {
 public:
  explicit Rules(std::vector<Rule>& rules) : rules_(rules) {}

  Result<void> check() {
    for (bool grows = true; grows;) {
      grows = false;
      for (Rule& rule : rules_) {
        if (rule.may_be_empty || !may_be_empty(*rule.body)) continue;
        rule.may_be_empty = grows = true;
      }
    }
    std::vector<std::vector<std::size_t>> first(rules_.size());
    for (std::size_t i = 0; i < rules_.size(); ++i) begins_with(*rules_[i].body, first[i]);
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      std::vector<bool> seen(rules_.size());
      std::vector<std::size_t> open = first[i];
      while (!open.empty()) {
        const std::size_t rule = open.back();
        open.pop_back();
        if (rule == i)
          return Err(Code::invalid, "line " + std::to_string(rules_[i].line) + ": the rule " +
                                        rules_[i].name + " begins with itself");
        if (seen[rule]) continue;
        seen[rule] = true;
        open.insert(open.end(), first[rule].begin(), first[rule].end());
      }
    }
    return check_depth(first);
  }

 private:
  // To step through a rule is to step through what it begins with, in all less deep than
  // Automaton can go.
  [[nodiscard]] Result<void> check_depth(const std::vector<std::vector<std::size_t>>& first) const {
    std::vector<std::size_t> depth(rules_.size(), 1);
    for (bool grows = true; grows;) {
      grows = false;
      for (std::size_t i = 0; i < rules_.size(); ++i) {
        for (const std::size_t rule : first[i]) {
          if (depth[rule] < depth[i]) continue;
          depth[i] = depth[rule] + 1;
          grows = true;
        }
        if (depth[i] > rule_depth_max)
          return Err(Code::exhausted, "line " + std::to_string(rules_[i].line) + ": the rule " +
                                          rules_[i].name + " begins with rules that begin with " +
                                          "rules, more than " + std::to_string(rule_depth_max) +
                                          " deep");
      }
    }
    return {};
  }
  [[nodiscard]] bool may_be_empty(const Part& part) const {
    switch (part.kind) {
      case Part::Kind::set:
        return false;
      case Part::Kind::text:
        return part.text.empty();
      case Part::Kind::sequence:
        return std::all_of(part.parts.begin(), part.parts.end(),
                           [this](const Part& each) { return may_be_empty(each); });
      case Part::Kind::either:
        return std::any_of(part.parts.begin(), part.parts.end(),
                           [this](const Part& each) { return may_be_empty(each); });
      case Part::Kind::repeat:
        return part.least == 0 || may_be_empty(part.parts.front());
      case Part::Kind::rule:
        return rules_[part.rule].may_be_empty;
    }
    return false;
  }
  void begins_with(const Part& part, std::vector<std::size_t>& rules) const {
    if (part.kind == Part::Kind::rule) rules.push_back(part.rule);
    for (const Part& each : part.parts) {
      begins_with(each, rules);
      if (part.kind == Part::Kind::sequence && !may_be_empty(each)) return;
    }
  }

  std::vector<Rule>& rules_;
};

class GrammarWriter {
 public:
  GrammarWriter(Automaton& automaton, const std::vector<Rule>& rules)
      : a_(automaton), rules_(rules) {
    for (const Rule& rule : rules_) ids_.push_back(a_.declare(rule.may_be_empty));
    for (std::size_t i = 0; i < rules_.size(); ++i) a_.define(ids_[i], write(*rules_[i].body));
  }
  [[nodiscard]] ExpressionId rule(std::size_t number) const { return ids_[number]; }

 private:
  ExpressionId write(const Part& part) {
    switch (part.kind) {
      case Part::Kind::set:
        return one_of(a_, part.ranges, Spelling::plain);
      case Part::Kind::text: {
        ExpressionId tail = Automaton::nothing;
        for (auto point = part.text.rbegin(); point != part.text.rend(); ++point)
          tail = a_.sequence(one_of(a_, {{*point, *point}}, Spelling::plain), tail);
        return tail;
      }
      case Part::Kind::sequence: {
        ExpressionId tail = Automaton::nothing;
        for (auto each = part.parts.rbegin(); each != part.parts.rend(); ++each)
          tail = a_.sequence(write(*each), tail);
        return tail;
      }
      case Part::Kind::either: {
        std::vector<ExpressionId> choices;
        for (const Part& each : part.parts) choices.push_back(write(each));
        return a_.either(choices);
      }
      case Part::Kind::repeat:
        return a_.repeat(write(part.parts.front()), part.least, part.most);
      case Part::Kind::rule:
        return ids_[part.rule];
    }
    return Automaton::never;
  }

  Automaton& a_;
  const std::vector<Rule>& rules_;
  std::vector<ExpressionId> ids_;
};

}  // namespace

Result<ExpressionId> gbnf_language(Automaton& automaton, std::string_view grammar) {
  Reader reader(grammar);
  std::vector<Rule> rules = TRY(reader.read());
  TRY(Rules(rules).check());
  const ExpressionId root = GrammarWriter(automaton, rules).rule(reader.root());
  if (!automaton.has_text(root)) return Err(Code::invalid, "no text fits the grammar");
  return root;
}

}  // namespace ambit::inference
