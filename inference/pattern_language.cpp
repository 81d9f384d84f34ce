#include "inference/pattern_language.h"

#include "rpc/pattern_tree.h"

namespace ambit::inference {
namespace {

using rpc::PatternTree;
using Kind = PatternTree::Kind;

class Writer {
 public:
  Writer(Automaton& automaton, Spelling spelling) : a_(automaton), spelling_(spelling) {}

  Result<ExpressionId> write(const PatternTree& tree) {
    if (++parts_ > parts_max) return Err(Code::exhausted, "the pattern is too large");
    switch (tree.kind) {
      case Kind::set:
        return one_of(a_, tree.ranges, spelling_);
      case Kind::sequence: {
        ExpressionId tail = Automaton::nothing;
        for (auto part = tree.parts.rbegin(); part != tree.parts.rend(); ++part)
          tail = a_.sequence(TRY(write(*part)), tail);
        return tail;
      }
      case Kind::either: {
        std::vector<ExpressionId> choices;
        for (const PatternTree& part : tree.parts) choices.push_back(TRY(write(part)));
        return a_.either(choices);
      }
      case Kind::repeat: {
        const bool endless = tree.most == PatternTree::endless;
        return a_.repeat(TRY(write(tree.parts.front())), tree.least,
                         endless ? Automaton::unbounded : tree.most);
      }
      default:
        return Err(Code::unsupported, "an anchor inside a pattern is not supported");
    }
  }

  // Each alternative by itself: "^a|b$" begins with a, or ends with b.
  Result<ExpressionId> search(const PatternTree& tree) {
    if (tree.kind == Kind::either) {
      std::vector<ExpressionId> choices;
      for (const PatternTree& part : tree.parts) choices.push_back(TRY(search(part)));
      return a_.either(choices);
    }
    PatternTree inner = tree;
    if (tree.kind != Kind::sequence) {
      inner = PatternTree();
      inner.parts.push_back(tree);
    }
    if (inner.parts.size() == 1 && inner.parts[0].kind == Kind::either)
      return search(PatternTree(inner.parts[0]));
    const bool from_begin = !inner.parts.empty() && inner.parts.front().kind == Kind::begin;
    if (from_begin) inner.parts.erase(inner.parts.begin());
    const bool to_end = !inner.parts.empty() && inner.parts.back().kind == Kind::end;
    if (to_end) inner.parts.pop_back();
    const ExpressionId any = a_.repeat(any_character(a_, spelling_), 0, Automaton::unbounded);
    const ExpressionId body = TRY(write(inner));
    return a_.sequence(
        {from_begin ? Automaton::nothing : any, body, to_end ? Automaton::nothing : any});
  }

 private:
  static constexpr std::size_t parts_max = 20'000;
  Automaton& a_;
  Spelling spelling_;
  std::size_t parts_ = 0;
};

}  // namespace

Result<ExpressionId> pattern_language(Automaton& automaton, std::string_view expression,
                                      Match match, Spelling spelling) {
  const PatternTree tree = TRY(PatternTree::parse(expression));
  Writer writer(automaton, spelling);
  return match == Match::whole ? writer.write(tree) : writer.search(tree);
}

}  // namespace ambit::inference
