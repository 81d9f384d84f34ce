#pragma once

// The vocabulary as a trie over bytes, in preorder, so that a walk is one pass over an array: from
// a node either to the one after it or, when nothing below it matters, to its end. Large subtrees
// have a summary by which they can be judged as one.

#include "inference/automaton.h"
#include "inference/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ambit::inference {

class TokenTrie {
 public:
  struct Node {
    std::uint32_t end = 0;      // the first node after the subtree
    std::uint32_t tokens = 0;   // where its own tokens begin, and those of its subtree
    std::uint32_t summary = 0;  // 0: it has none
    std::uint16_t depth = 0;    // bytes up to here
    unsigned char byte = 0;     // the last of them
  };
  // What is below a node.
  struct Summary {
    ByteSet bytes;  // that its tokens go on with
    std::size_t height = 0;
  };

  // Of all tokens that are text; those that end turns are not, nor what no text needs: more than
  // 65,534 bytes in one token.
  explicit TokenTrie(const Tokenizer& tokenizer);

  // [0] is the root; the last is none, and stands after all others.
  [[nodiscard]] std::span<const Node> nodes() const { return nodes_; }
  [[nodiscard]] const Summary& summary(const Node& node) const { return summaries_[node.summary]; }
  [[nodiscard]] std::size_t height() const { return height_; }
  // The tokens that end at a node of [begin, end).
  [[nodiscard]] std::span<const TokenId> tokens(std::size_t begin, std::size_t end) const {
    return std::span(tokens_).subspan(nodes_[begin].tokens,
                                      nodes_[end].tokens - nodes_[begin].tokens);
  }

 private:
  void summarize();

  std::vector<Node> nodes_;
  std::vector<TokenId> tokens_;  // by their bytes
  std::vector<Summary> summaries_;
  std::size_t height_ = 0;
};

}  // namespace ambit::inference
