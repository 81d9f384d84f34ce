#include "log/merkle.h"

#include "async/check.h"

#include <array>
#include <bit>

namespace ambit::log {
namespace {

using namespace std::string_view_literals;

// The largest power of two below `size` (which is at least 2).
std::uint64_t split(std::uint64_t size) {
  return std::bit_floor(size - 1);
}

// The root over the leaves [begin, begin + size); begin is a multiple of the largest subtree in it.
Result<Hash> range_root(std::uint64_t begin, std::uint64_t size, const NodeReader& node) {
  if (std::has_single_bit(size)) {
    const auto level = static_cast<unsigned>(std::countr_zero(size));
    return node(level, begin >> level);
  }
  const std::uint64_t left = split(size);
  const Hash a = TRY(range_root(begin, left, node));
  const Hash b = TRY(range_root(begin + left, size - left, node));
  return node_hash(a, b);
}

Result<void> path(std::uint64_t index, std::uint64_t begin, std::uint64_t size,
                  const NodeReader& node, std::vector<Hash>& proof) {
  if (size == 1) return {};
  const std::uint64_t left = split(size);
  if (index < left) {
    TRY(path(index, begin, left, node, proof));
    proof.push_back(TRY(range_root(begin + left, size - left, node)));
  } else {
    TRY(path(index - left, begin + left, size - left, node, proof));
    proof.push_back(TRY(range_root(begin, left, node)));
  }
  return {};
}

// RFC 6962 SUBPROOF; `whole`: the old tree is this subtree itself, so its root is known to the
// verifier.
Result<void> subproof(std::uint64_t old_size, std::uint64_t begin, std::uint64_t size, bool whole,
                      const NodeReader& node, std::vector<Hash>& proof) {
  if (old_size == size) {
    if (!whole) proof.push_back(TRY(range_root(begin, size, node)));
    return {};
  }
  const std::uint64_t left = split(size);
  if (old_size <= left) {
    TRY(subproof(old_size, begin, left, whole, node, proof));
    proof.push_back(TRY(range_root(begin + left, size - left, node)));
  } else {
    TRY(subproof(old_size - left, begin + left, size - left, false, node, proof));
    proof.push_back(TRY(range_root(begin, left, node)));
  }
  return {};
}

}  // namespace

Hash leaf_hash(std::string_view leaf) {
  return sha256({"\0"sv, leaf});
}

Hash node_hash(const Hash& left, const Hash& right) {
  std::array<char, 65> bytes;
  bytes[0] = 1;
  std::copy(left.begin(), left.end(), reinterpret_cast<std::uint8_t*>(bytes.data() + 1));
  std::copy(right.begin(), right.end(), reinterpret_cast<std::uint8_t*>(bytes.data() + 33));
  return sha256(std::string_view(bytes.data(), bytes.size()));
}

Hash empty_root() {
  return sha256("");
}

Tree::Tree(std::uint64_t size, std::vector<Hash> roots) : size_(size), roots_(std::move(roots)) {
  INVARIANT(roots_.size() == static_cast<std::size_t>(std::popcount(size)));
}

void Tree::append(const Hash& leaf, const Completed& completed) {
  Hash hash = leaf;
  std::uint64_t index = size_;
  unsigned level = 0;
  if (completed) completed(level, index, hash);
  for (; (index & 1) != 0; index >>= 1) {
    hash = node_hash(roots_.back(), hash);
    roots_.pop_back();
    ++level;
    if (completed) completed(level, index >> 1, hash);
  }
  roots_.push_back(hash);
  ++size_;
}

Hash Tree::root() const {
  if (roots_.empty()) return empty_root();
  Hash root = roots_.back();
  for (auto at = roots_.rbegin() + 1; at != roots_.rend(); ++at) root = node_hash(*at, root);
  return root;
}

Result<Hash> root_of(std::uint64_t size, const NodeReader& node) {
  if (size == 0) return empty_root();
  return range_root(0, size, node);
}

Result<std::vector<Hash>> inclusion_proof(std::uint64_t index, std::uint64_t size,
                                          const NodeReader& node) {
  if (index >= size) {
    return Err(Code::invalid, "there is no leaf " + std::to_string(index) + " in a tree of " +
                                  std::to_string(size));
  }
  std::vector<Hash> proof;
  TRY(path(index, 0, size, node, proof));
  return proof;
}

Result<std::vector<Hash>> consistency_proof(std::uint64_t old_size, std::uint64_t size,
                                            const NodeReader& node) {
  if (old_size > size) {
    return Err(Code::invalid, "the old tree (" + std::to_string(old_size) +
                                  ") is larger than the new one (" + std::to_string(size) + ")");
  }
  std::vector<Hash> proof;
  if (old_size == 0) return proof;
  TRY(subproof(old_size, 0, size, true, node, proof));
  return proof;
}

Result<void> verify_inclusion(std::uint64_t index, std::uint64_t size, const Hash& leaf,
                              std::span<const Hash> proof, const Hash& root) {
  if (index >= size) return Err(Code::invalid, "the leaf lies beyond the tree");
  std::uint64_t here = index;
  std::uint64_t last = size - 1;
  Hash hash = leaf;
  for (const Hash& sibling : proof) {
    if (last == 0) return Err(Code::invalid, "the inclusion proof is too long");
    if ((here & 1) != 0 || here == last) {
      hash = node_hash(sibling, hash);
      while ((here & 1) == 0 && here != 0) {
        here >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    here >>= 1;
    last >>= 1;
  }
  if (last != 0) return Err(Code::invalid, "the inclusion proof is too short");
  if (hash != root) return Err(Code::invalid, "the inclusion proof leads to another root");
  return {};
}

Result<void> verify_consistency(std::uint64_t old_size, std::uint64_t size, const Hash& old_root,
                                const Hash& root, std::span<const Hash> proof) {
  if (old_size > size) return Err(Code::invalid, "the old tree is larger than the new one");
  if (old_size == 0)
    return Err(Code::invalid, "the empty tree is a prefix of all: nothing is proved");
  if (old_size == size) {
    if (!proof.empty()) return Err(Code::invalid, "the consistency proof must be empty here");
    if (old_root != root) return Err(Code::invalid, "two roots for one size");
    return {};
  }
  if (proof.empty()) return Err(Code::invalid, "the consistency proof is empty");
  std::uint64_t here = old_size - 1;
  std::uint64_t last = size - 1;
  while ((here & 1) != 0) {
    here >>= 1;
    last >>= 1;
  }
  // If the old tree is one perfect subtree, the proof leaves its root out.
  const bool known = here == 0;
  Hash old_hash = known ? old_root : proof.front();
  Hash new_hash = old_hash;
  for (const Hash& sibling : proof.subspan(known ? 0 : 1)) {
    if (last == 0) return Err(Code::invalid, "the consistency proof is too long");
    if ((here & 1) != 0 || here == last) {
      old_hash = node_hash(sibling, old_hash);
      new_hash = node_hash(sibling, new_hash);
      while ((here & 1) == 0 && here != 0) {
        here >>= 1;
        last >>= 1;
      }
    } else {
      new_hash = node_hash(new_hash, sibling);
    }
    here >>= 1;
    last >>= 1;
  }
  if (last != 0) return Err(Code::invalid, "the consistency proof is too short");
  if (old_hash != old_root) return Err(Code::invalid, "the proof leads to another old root");
  if (new_hash != root) return Err(Code::invalid, "the proof leads to another new root");
  return {};
}

}  // namespace ambit::log
