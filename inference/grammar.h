#pragma once

// Which tokens may come next: the automaton's byte languages over the tokenizer's vocabulary. A
// state's mask is made when the state is first met and kept, so sessions that offer the same tools
// share it. Used by one thread at a time.

#include "inference/automaton.h"
#include "inference/sampler.h"
#include "inference/tokenizer.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ambit::inference {

class Grammar {
 public:
  explicit Grammar(const Tokenizer& tokenizer, std::size_t mask_bytes_max = 64U << 20U);

  [[nodiscard]] Automaton& automaton() { return automaton_; }
  // Valid until the next call. Ends of turns are allowed where the text may end.
  const TokenMask& mask(ExpressionId state);
  // The state after this token; `never` if it is not allowed. An end of a turn leads to `nothing`.
  ExpressionId advance(ExpressionId state, TokenId token);

  struct Stats {
    std::size_t masks_made = 0;
    std::size_t masks_found = 0;
    std::size_t expressions = 0;
  };
  [[nodiscard]] Stats stats() const { return {made_, found_, automaton_.size()}; }

 private:
  struct Entry {
    std::string_view bytes;
    TokenId token;
    std::size_t common;  // bytes shared with the entry before
  };
  TokenMask make_mask(ExpressionId state);

  const Tokenizer& tokenizer_;
  std::size_t mask_bytes_max_;
  Automaton automaton_;
  std::vector<Entry> entries_;  // sorted by bytes: the trie, walked from left to right
  std::unordered_map<ExpressionId, TokenMask> masks_;
  std::size_t mask_bytes_ = 0;
  std::size_t made_ = 0;
  std::size_t found_ = 0;
};

}  // namespace ambit::inference
