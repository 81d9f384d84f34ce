#include "inference/grammar.h"

#include <algorithm>

namespace ambit::inference {

Grammar::Grammar(const Tokenizer& tokenizer, std::size_t mask_bytes_max)
    : tokenizer_(tokenizer), mask_bytes_max_(mask_bytes_max) {
  for (std::size_t i = 0; i < tokenizer.size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    if (!tokenizer.bytes(token).empty() && !tokenizer.ends_turn(token))
      entries_.push_back({tokenizer.bytes(token), token, 0});
  }
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.bytes < b.bytes; });
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    const std::string_view a = entries_[i - 1].bytes;
    const std::string_view b = entries_[i].bytes;
    while (entries_[i].common < std::min(a.size(), b.size()) &&
           a[entries_[i].common] == b[entries_[i].common])
      ++entries_[i].common;
  }
}

const TokenMask& Grammar::mask(ExpressionId state) {
  const auto known = masks_.find(state);
  if (known != masks_.end()) {
    ++found_;
    return known->second;
  }
  ++made_;
  TokenMask made = make_mask(state);
  if (mask_bytes_ + made.bytes() > mask_bytes_max_) {
    masks_.clear();
    mask_bytes_ = 0;
  }
  mask_bytes_ += made.bytes();
  return masks_.emplace(state, std::move(made)).first->second;
}

TokenMask Grammar::make_mask(ExpressionId state) {
  TokenMask mask(tokenizer_.size());
  if (automaton_.may_end(state))
    for (const TokenId end : tokenizer_.turn_ends()) mask.allow(end);
  std::vector<ExpressionId> path = {state};  // path[n]: after n bytes of the entry at hand
  for (const Entry& entry : entries_) {
    // A beginning that failed fails for all entries that share it.
    if (entry.common + 1 < path.size()) path.resize(entry.common + 1);
    if (path.back() == Automaton::never) {
      if (entry.common + 1 >= path.size()) continue;
      path.pop_back();
    }
    while (path.size() <= entry.bytes.size() && path.back() != Automaton::never)
      path.push_back(
          automaton_.step(path.back(), static_cast<unsigned char>(entry.bytes[path.size() - 1])));
    if (path.back() != Automaton::never) mask.allow(entry.token);
  }
  return mask;
}

ExpressionId Grammar::advance(ExpressionId state, TokenId token) {
  if (tokenizer_.ends_turn(token))
    return automaton_.may_end(state) ? Automaton::nothing : Automaton::never;
  for (const char c : tokenizer_.bytes(token))
    state = automaton_.step(state, static_cast<unsigned char>(c));
  return state;
}

}  // namespace ambit::inference
