#pragma once

// The Merkle tree of RFC 6962, section 2.1: hashes of leaves and nodes, the root of a growing tree
// from its right edge, inclusion and consistency proofs, made and verified. Pure: the hashes of
// stored subtrees come from a function.

#include "async/result.h"
#include "log/sha256.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace ambit::log {

Hash leaf_hash(std::string_view leaf);
Hash node_hash(const Hash& left, const Hash& right);
Hash empty_root();

// A growing tree, held as the roots of its perfect subtrees, the largest first: one for each bit of
// size.
class Tree {
 public:
  Tree() = default;
  // From the roots of the perfect subtrees of a tree of `size` leaves; CHECKs their number.
  Tree(std::uint64_t size, std::vector<Hash> roots);

  // `completed(level, index, hash)` hears of each perfect subtree that this leaf completes, the
  // leaf itself (level 0) first.
  using Completed = std::function<void(unsigned level, std::uint64_t index, const Hash& hash)>;
  void append(const Hash& leaf, const Completed& completed = nullptr);
  [[nodiscard]] Hash root() const;
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  std::uint64_t size_ = 0;
  std::vector<Hash> roots_;
};

// The hash of the perfect subtree over the leaves [index << level, (index + 1) << level).
using NodeReader = std::function<Result<Hash>(unsigned level, std::uint64_t index)>;

// The root over the first `size` leaves.
Result<Hash> root_of(std::uint64_t size, const NodeReader& node);
// The audit path of leaf `index` in the tree of `size` leaves, the leaf's side first.
Result<std::vector<Hash>> inclusion_proof(std::uint64_t index, std::uint64_t size,
                                          const NodeReader& node);
// The proof that the tree of `old_size` leaves is a prefix of that of `size` leaves.
Result<std::vector<Hash>> consistency_proof(std::uint64_t old_size, std::uint64_t size,
                                            const NodeReader& node);

// Errors (invalid) say why the proof does not hold.
Result<void> verify_inclusion(std::uint64_t index, std::uint64_t size, const Hash& leaf,
                              std::span<const Hash> proof, const Hash& root);
Result<void> verify_consistency(std::uint64_t old_size, std::uint64_t size, const Hash& old_root,
                                const Hash& root, std::span<const Hash> proof);

}  // namespace ambit::log
