#include "inference/grammar.h"

#include <span>

namespace ambit::inference {

namespace {

constexpr std::size_t lanes_max = 32;  // states that one glance looks ahead

}  // namespace

Grammar::Grammar(const Tokenizer& tokenizer, std::size_t mask_bytes_max)
    : tokenizer_(tokenizer),
      mask_bytes_max_(mask_bytes_max),
      trie_(tokenizer),
      path_(trie_.height() + 1) {}

const std::shared_ptr<const TokenMask>& Grammar::shared_mask(ExpressionId state) {
  const auto known = masks_.find(state);
  if (known != masks_.end()) {
    ++found_;
    return known->second;
  }
  ++made_;
  auto made = std::make_shared<const TokenMask>(make_mask(state));
  if (automaton_.is_overrun()) return unfinished_ = std::move(made);
  if (mask_bytes_ + made->bytes() > mask_bytes_max_) {
    masks_.clear();
    mask_bytes_ = 0;
  }
  mask_bytes_ += made->bytes();
  return masks_.emplace(state, std::move(made)).first->second;
}

TokenMask Grammar::make_mask(ExpressionId state) {
  TokenMask mask(tokenizer_.size());
  if (automaton_.may_end(state))
    for (const TokenId end : tokenizer_.turn_ends()) mask.allow(end);
  const auto allow = [&](std::size_t begin, std::size_t end) {
    for (const TokenId token : trie_.tokens(begin, end)) mask.allow(token);
  };
  const std::span<const TokenTrie::Node> nodes = trie_.nodes();
  path_[0] = state;
  for (std::size_t at = 1; at < nodes[0].end && !automaton_.is_overrun();) {
    const TokenTrie::Node& node = nodes[at];
    const ExpressionId next = automaton_.step(path_[node.depth - 1U], node.byte);
    if (next == Automaton::never) {
      at = node.end;
    } else if (node.summary > 0 && passes(next, trie_.summary(node))) {
      allow(at, node.end);
      at = node.end;
    } else {
      path_[node.depth] = next;
      allow(at, at + 1);
      ++at;
    }
  }
  return mask;
}

bool Grammar::passes(ExpressionId state, const TokenTrie::Summary& below) {
  for (std::size_t bytes = 0; bytes < below.height; ++bytes) {
    const Automaton::Lane& lane = automaton_.lane(state);
    if (bytes == lanes_max || (below.bytes & ~lane.bytes).any()) return false;
    if (lane.next == state) return true;
    state = lane.next;
  }
  return true;
}

ExpressionId Grammar::advance(ExpressionId state, TokenId token) {
  if (tokenizer_.ends_turn(token))
    return automaton_.may_end(state) ? Automaton::nothing : Automaton::never;
  for (const char c : tokenizer_.bytes(token))
    state = automaton_.step(state, static_cast<unsigned char>(c));
  return state;
}

}  // namespace ambit::inference
