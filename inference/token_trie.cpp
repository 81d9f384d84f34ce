#include "inference/token_trie.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace ambit::inference {

namespace {

constexpr std::size_t summarized_min = 16;  // nodes of a subtree that is worth a summary
constexpr std::size_t token_bytes_max = std::numeric_limits<std::uint16_t>::max() - 1;

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) {
  for (std::size_t i = 0; i < tokenizer.size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    const std::size_t size = tokenizer.bytes(token).size();
    if (size == 0 || size > token_bytes_max || tokenizer.ends_turn(token)) continue;
    tokens_.push_back(token);
  }
  std::sort(tokens_.begin(), tokens_.end(), [&](TokenId a, TokenId b) {
    return std::pair(tokenizer.bytes(a), a) < std::pair(tokenizer.bytes(b), b);
  });
  nodes_.emplace_back();
  std::vector<std::uint32_t> path = {0};  // the nodes of the token at hand
  const auto close_to = [&](std::size_t depth) {
    for (; path.size() > depth + 1; path.pop_back())
      nodes_[path.back()].end = static_cast<std::uint32_t>(nodes_.size());
  };
  std::string_view before;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view bytes = tokenizer.bytes(tokens_[i]);
    const auto common = static_cast<std::size_t>(
        std::mismatch(before.begin(), before.end(), bytes.begin(), bytes.end()).first -
        before.begin());
    close_to(common);
    for (std::size_t depth = common; depth < bytes.size(); ++depth) {
      path.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<std::uint32_t>(i), 0, static_cast<std::uint16_t>(depth + 1),
                        static_cast<unsigned char>(bytes[depth])});
    }
    height_ = std::max(height_, bytes.size());
    before = bytes;
  }
  close_to(0);
  nodes_[0].end = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({0, static_cast<std::uint32_t>(tokens_.size()), 0, 0, 0});
  summarize();
}

void TokenTrie::summarize() {
  summaries_.emplace_back();
  // From the last node to the root: what is below a node's children is known then.
  std::vector<Summary> below(nodes_.size());
  for (std::size_t at = nodes_.size() - 1; at-- > 0;) {
    Node& node = nodes_[at];
    for (std::size_t child = at + 1; child < node.end; child = nodes_[child].end) {
      below[at].bytes |= below[child].bytes;
      below[at].bytes.set(nodes_[child].byte);
      below[at].height = std::max(below[at].height, below[child].height + 1);
    }
    if (node.end - at < summarized_min) continue;
    node.summary = static_cast<std::uint32_t>(summaries_.size());
    summaries_.push_back(below[at]);
  }
}

}  // namespace ambit::inference
