#pragma once

// The keys and values of all sequences, in pages of 32 tokens. Full pages live in a tree keyed by
// what the tokens are, so equal beginnings are stored once, whoever computed them: they are the
// same bits (ops.h). A running sequence pins its path and owns its unfinished last pages; between
// the turns of a session its pages stay until memory is short (the least recently used goes first)
// or the session is gone. A sequence reserves all pages it can ever need when it is opened, so that
// no step runs out.

#include "inference/backend.h"
#include "inference/ops.h"
#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace ambit::inference {

class KvCache {
 public:
  struct Sequence {
    std::vector<std::byte*> pages;     // storage, in order: of the nodes, then its own
    std::size_t length = 0;            // tokens whose keys and values are there
    std::size_t cached = 0;            // of these, found and not computed
    std::vector<std::uint32_t> nodes;  // pinned, one a full page
    std::size_t reserved = 0;          // pages that it may still take
  };
  struct Stats {
    std::size_t pages_max = 0;
    std::size_t pages_used = 0;    // by sequences and by what is kept
    std::size_t pages_pinned = 0;  // of these, by running sequences
    std::size_t pages_peak = 0;
    std::size_t evicted = 0;
    std::size_t sessions = 0;
  };

  // Pages are made in `memory`, which outlives this; by default on the heap.
  KvCache(std::size_t page_bytes, std::size_t pages_max, PageMemory* memory = nullptr);

  // A sequence that begins with `tokens` and grows to at most `capacity`; all but the last token
  // may be found, if the caller may `reuse`. Nothing when its pages are not to be had now.
  std::optional<Sequence> open(std::span<const TokenId> tokens, std::size_t capacity,
                               bool reuse = true);
  // Whether a sequence of this capacity could be opened if it were alone.
  [[nodiscard]] bool fits(std::size_t capacity) const { return pages_for(capacity) <= pages_max_; }
  // At a page border: goes on with pages that others have computed meanwhile. `tokens` is all of
  // its text.
  void adopt(Sequence& sequence, std::span<const TokenId> tokens);
  // Makes room for `count` more tokens.
  void extend(Sequence& sequence, std::size_t count);
  // The first `length` of `tokens` are computed now; full pages become findable.
  void commit(Sequence& sequence, std::span<const TokenId> tokens, std::size_t length);
  // Ends a sequence; what it knew stays findable and is held for `session` (empty: for nobody).
  void close(Sequence sequence, std::span<const TokenId> tokens, const std::string& session);
  // Frees at once what only this session used.
  void forget(const std::string& session);
  [[nodiscard]] Stats stats() const;

  // Where a sequence's next full page would go: equal values mean equal work.
  struct NextPage {
    std::uint32_t parent;
    std::span<const TokenId> tokens;
  };
  static NextPage next_page(const Sequence& sequence, std::span<const TokenId> tokens) {
    return {sequence.nodes.empty() ? 0U : sequence.nodes.back(),
            tokens.subspan(sequence.length, page_tokens)};
  }

 private:
  struct Less {
    using is_transparent = void;
    bool operator()(std::span<const TokenId> a, std::span<const TokenId> b) const;
  };
  struct Node {
    std::uint32_t parent = 0;
    std::uint32_t pins = 0;     // running sequences
    std::uint32_t holders = 0;  // sessions
    bool shared = false;        // was held by two sessions at once
    bool alive = false;
    std::uint64_t serial = 0;  // tells a reused slot from the node that was there
    std::uint64_t used = 0;
    std::byte* page = nullptr;
    std::vector<TokenId> tokens;
    std::map<std::vector<TokenId>, std::uint32_t, Less> children;
  };
  struct Held {
    std::uint32_t node;
    std::uint64_t serial;
  };
  struct Match {
    std::uint32_t node = 0;
    std::size_t common = 0;
  };

  static std::size_t pages_for(std::size_t tokens) {
    return (tokens + page_tokens - 1) / page_tokens;
  }
  [[nodiscard]] Match best_child(std::uint32_t parent, std::span<const TokenId> tokens) const;
  [[nodiscard]] std::optional<std::uint32_t> full_child(std::uint32_t parent,
                                                        std::span<const TokenId> tokens) const;
  std::byte* take_page(Sequence& sequence);
  std::uint32_t insert(std::uint32_t parent, std::span<const TokenId> tokens, std::byte* page);
  // Takes a node out of the tree and gives its page back to the caller.
  std::byte* remove(std::uint32_t id);
  void pin(std::uint32_t id);
  void unpin(std::uint32_t id);
  void touch(std::uint32_t id);
  // Keeps evictable_ true after a change of pins, children or use.
  void relist(std::uint32_t id, std::uint64_t new_use);
  // A session holds this path no longer: what nobody else ever used is free at once.
  void release(const std::vector<Held>& path);

  std::size_t page_bytes_;
  std::size_t pages_max_;
  std::unique_ptr<PageMemory> own_memory_;  // where none is given
  PageMemory* memory_;
  std::size_t made_ = 0;  // pages
  std::vector<std::byte*> free_;
  std::vector<Node> nodes_;  // [0] is the root
  std::vector<std::uint32_t> free_nodes_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> evictable_;  // unpinned leaves, by last use
  std::unordered_map<std::string, std::vector<Held>> sessions_;
  std::size_t pinned_ = 0;    // pages of pinned nodes
  std::size_t owned_ = 0;     // pages of sequences that are not in the tree
  std::size_t reserved_ = 0;  // pages promised and not yet taken
  std::size_t peak_ = 0;
  std::size_t evicted_ = 0;
  std::uint64_t clock_ = 0;
};

}  // namespace ambit::inference
