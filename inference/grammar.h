#pragma once

// Which tokens may come next: the automaton's byte languages over the tokenizer's vocabulary. A
// state's mask is made when the state is first met and kept, so sessions that offer the same tools
// share it. Used by one thread at a time.

#include "inference/automaton.h"
#include "inference/sampler.h"
#include "inference/token_trie.h"
#include "inference/tokenizer.h"

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <vector>

namespace ambit::inference {

class Grammar {
 public:
  explicit Grammar(const Tokenizer& tokenizer, std::size_t mask_bytes_max = 64U << 20U);

  [[nodiscard]] Automaton& automaton() { return automaton_; }
  // Valid until the next call. Ends of turns are allowed where the text may end. Without a meaning
  // when the automaton has overrun its work.
  const TokenMask& mask(ExpressionId state) { return *shared_mask(state); }
  // The same, to be kept: states that are equal have one mask. The reference is as short-lived.
  const std::shared_ptr<const TokenMask>& shared_mask(ExpressionId state);
  // The state after this token; `never` if it is not allowed. An end of a turn leads to `nothing`.
  ExpressionId advance(ExpressionId state, TokenId token);

  struct Stats {
    std::size_t masks_made = 0;
    std::size_t masks_found = 0;
    std::size_t expressions = 0;
  };
  [[nodiscard]] Stats stats() const { return {made_, found_, automaton_.size()}; }

 private:
  TokenMask make_mask(ExpressionId state);
  // Whether all tokens of a subtree go on from here, as far as that can be told at a glance.
  bool passes(ExpressionId state, const TokenTrie::Summary& below);

  const Tokenizer& tokenizer_;
  std::size_t mask_bytes_max_;
  Automaton automaton_;
  TokenTrie trie_;
  std::vector<ExpressionId> path_;  // of a walk: the state after so many bytes
  std::unordered_map<ExpressionId, std::shared_ptr<const TokenMask>> masks_;
  std::shared_ptr<const TokenMask> unfinished_;
  std::size_t mask_bytes_ = 0;
  std::size_t made_ = 0;
  std::size_t found_ = 0;
};

}  // namespace ambit::inference
