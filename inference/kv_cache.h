#pragma once

// The keys and values of all sequences, in pages of 32 tokens. Full pages live in a tree keyed by
// what the tokens are, so equal beginnings are stored once, whoever computed them: they are the
// same bits (ops.h). A running sequence pins its path and owns its unfinished last pages; between
// the turns of a session its pages stay until memory is short (the least recently used goes first)
// or the session is gone. A sequence reserves all pages it can ever need when it is opened, so that
// no step runs out. With a tier below (page_tier.h) pages leave memory without being lost: they are
// copied there when a session is parked or memory becomes short, and come back when a session is
// about to go on. What lies there alone hangs below what is in memory. Bits are the same wherever a
// page has been.

#include "inference/backend.h"
#include "inference/ops.h"
#include "inference/page_tier.h"
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
  // Of a tier below.
  struct TierStats {
    std::size_t pages_max = 0;
    std::size_t pages = 0;
    std::size_t written = 0;
    std::size_t read = 0;
    std::size_t damaged = 0;  // came back as something else, and were not used
    bool failed = false;      // it took a page no longer, and is asked no more
    std::size_t timed = 0;    // pages whose reading was timed
    std::int64_t read_us = 0;
    std::size_t probes = 0;  // pages that tried it while it was not used
    std::int64_t probe_us = 0;
  };
  struct Stats {
    std::size_t pages_max = 0;
    std::size_t pages_used = 0;    // by sequences and by what is kept
    std::size_t pages_pinned = 0;  // of these, by running sequences
    std::size_t pages_peak = 0;
    std::size_t evicted = 0;  // lost: they would have to be computed again
    std::size_t sessions = 0;
    TierStats host, disk;
  };

  // Pages are made in `memory`, which outlives this; by default on the heap.
  KvCache(std::size_t page_bytes, std::size_t pages_max, PageMemory* memory = nullptr,
          std::unique_ptr<PageTier> tier = nullptr);

  // A sequence that begins with `tokens` and grows to at most `capacity`; all but the last token
  // may be found, if the caller may `reuse`. Nothing when its pages are not to be had now; whether
  // that is because they come from the tier below, awaits_pages() says.
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
  // Nobody holds what this session used any more: it stays findable until memory is short.
  void leave(const std::string& session);
  // Frees at once what only this session used.
  void forget(const std::string& session);
  [[nodiscard]] Stats stats() const;

  // ---- the tier below; without one these do nothing

  // Whether a part of it is worth its time, from now on. If not, nothing goes there, and what is
  // there alone counts as lost until it is again; of the pages that are lost meanwhile one of many
  // tries how long it would take.
  void use(Tier tier, bool uses);
  // A session that begins with `tokens` is about to be opened: what is below begins to come back.
  void expect(std::span<const TokenId> tokens);
  void expect(const std::string& session);
  // A session will not go on for now: what has no copy below gets one, so that memory can be taken
  // from it at any time. `if_short`: only when memory is short.
  void park(const std::string& session, bool if_short);
  [[nodiscard]] bool awaits_pages() const { return awaits_pages_; }
  // Until a copy has got on, if any is under way.
  void wait_for_pages() { settle(true); }
  // Between steps: takes what has come back; copies the oldest pages when memory is short.
  void tend();

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
    std::uint64_t move = 0;      // the ticket of a write or a read that is under way; 0: none
    bool arrives = false;        // its page is there, but what it holds is still on the way
    bool wanted = false;         // by the sequence that waits for pages: stays where it is
    std::uint32_t resident = 0;  // children whose page is in memory
    std::uint64_t serial = 0;    // tells a reused slot from the node that was there
    std::uint64_t used = 0;
    std::byte* page = nullptr;           // null: below alone
    std::optional<PageTier::Slot> slot;  // of the copy below
    std::vector<TokenId> tokens;
    std::map<std::vector<TokenId>, std::uint32_t, Less> children;
  };
  struct Held {
    std::uint32_t node;
    std::uint64_t serial;
  };
  struct Moving {
    Held held;
    std::byte* page;  // of what arrives: the one that it was given
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
  [[nodiscard]] bool takes_over(const Match& match) const;
  std::byte* take_page(Sequence& sequence);
  std::uint32_t insert(std::uint32_t parent, std::span<const TokenId> tokens, std::byte* page);
  // Takes a node out of the tree and gives its page back to the caller; null: it has none that is
  // free to be used.
  std::byte* remove(std::uint32_t id);
  // The same with what hangs below it; its page is free.
  void drop(std::uint32_t id);
  // Frees a page of the tree: one that has a copy below, else one that can get one, else the
  // oldest.
  void make_room();
  std::byte* free_page();
  void pin(std::uint32_t id);
  void unpin(std::uint32_t id);
  void touch(std::uint32_t id);
  // Keeps the lists below true after a change of pins, children, places or use.
  void relist(std::uint32_t id, std::uint64_t new_use);
  // A session holds this path no longer: what nobody else ever used is free at once.
  void release(const std::vector<Held>& path);

  // The node is still the one that was meant.
  [[nodiscard]] bool is_current(const Held& held) const {
    return nodes_[held.node].alive && nodes_[held.node].serial == held.serial;
  }
  // The nodes that a sequence waits for keep their places until something else is opened.
  void want(const std::vector<std::uint32_t>& path);
  void want_nothing();
  [[nodiscard]] bool is_short() const;
  // Begins to copy a node, and what is above it, down. False: not now, or not at all.
  bool write_out(std::uint32_t id);
  bool write_one(std::uint32_t id);
  // Its keys and values can be read by what computes.
  [[nodiscard]] bool is_there(std::uint32_t id) const {
    return nodes_[id].page != nullptr && !nodes_[id].arrives;
  }
  // They are, or they are worth being read.
  [[nodiscard]] bool is_usable(std::uint32_t id) const {
    return nodes_[id].page != nullptr ||
           (nodes_[id].slot && tier_->is_worth_reading(*nodes_[id].slot));
  }
  // Begins to read a node that is below alone.
  void fetch(std::uint32_t id);
  // Makes room below for a page that was used at `used`: older ones lose their places.
  bool has_slot_for(std::uint64_t used);
  // The page of a node is about to be lost: now and then it tries what is not used.
  void try_unused(std::uint32_t id);
  void settle(bool waits);
  void settle_write(std::uint32_t id, bool is_mine, const PageTier::Done& done);
  void settle_read(std::uint32_t id, const PageTier::Done& done);
  void settle_placing(const Moving& moving, bool is_mine, const PageTier::Done& done);
  void count(const PageTier::Done& done);
  // Where a node that was read can come to; null: nowhere, or it is no longer wanted there.
  std::byte* page_for(std::uint32_t id, PageTier::Slot slot);
  void damaged(std::uint32_t id, Tier tier);
  [[nodiscard]] TierStats& of(Tier tier) { return tier == Tier::host ? host_ : disk_; }

  std::size_t page_bytes_;
  std::size_t pages_max_;
  std::unique_ptr<PageMemory> own_memory_;  // where none is given
  PageMemory* memory_;
  std::size_t made_ = 0;  // pages
  std::vector<std::byte*> free_;
  std::vector<Node> nodes_;  // [0] is the root
  std::vector<std::uint32_t> free_nodes_;
  // By last use. Of unpinned pages without children in memory those that can leave it at once (they
  // are below, too), and those that cannot; leaves of the tree that hold a place below.
  std::set<std::pair<std::uint64_t, std::uint32_t>> copied_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> uncopied_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> below_;
  std::unordered_map<std::string, std::vector<Held>> sessions_;
  std::size_t pinned_ = 0;    // pages of pinned nodes
  std::size_t owned_ = 0;     // pages of sequences that are not in the tree
  std::size_t reserved_ = 0;  // pages promised and not yet taken
  std::size_t peak_ = 0;
  std::size_t evicted_ = 0;
  std::uint64_t clock_ = 0;

  std::unique_ptr<PageTier> tier_;                    // null: there is none
  std::unordered_map<std::uint64_t, Moving> moving_;  // by ticket
  std::uint64_t last_ticket_ = 0;
  std::size_t lost_untried_ = 0;
  TierStats host_, disk_;  // what is counted here
  bool awaits_pages_ = false;
  std::vector<Held> wanted_;
};

}  // namespace ambit::inference
