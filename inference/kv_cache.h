#pragma once

// The keys and values of all sequences, in pages of 32 tokens. Full pages live in a tree keyed by
// what the tokens are, so equal beginnings are stored once, whoever computed them: they are the
// same bits (ops.h). A running sequence pins its path and owns its unfinished last pages; between
// the turns of a session its pages stay until memory is short (the least recently used goes first)
// or the session is gone. A sequence reserves all pages it can ever need when it is opened, so that
// no step runs out. With a disk (page_file.h) pages leave memory without being lost: they are
// copied there when a session is parked or memory becomes short, and come back when a session is
// about to go on. What lies on disk hangs below what is in memory. Bits are the same wherever a
// page has been.

#include "inference/backend.h"
#include "inference/ops.h"
#include "inference/page_file.h"
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
    std::size_t evicted = 0;  // lost: they would have to be computed again
    std::size_t sessions = 0;
    // Of the disk.
    std::size_t disk_pages_max = 0;
    std::size_t disk_pages = 0;
    std::size_t disk_written = 0;
    std::size_t disk_read = 0;
    std::size_t disk_damaged = 0;  // came back as something else, and were not used
    bool disk_failed = false;      // it took a page no longer, and is asked no more
    std::size_t disk_timed = 0;    // pages whose reading was timed
    std::int64_t disk_read_us = 0;
  };

  // Pages are made in `memory`, which outlives this; by default on the heap.
  KvCache(std::size_t page_bytes, std::size_t pages_max, PageMemory* memory = nullptr,
          std::unique_ptr<PageFile> disk = nullptr);

  // A sequence that begins with `tokens` and grows to at most `capacity`; all but the last token
  // may be found, if the caller may `reuse`. Nothing when its pages are not to be had now; whether
  // that is because they come from disk, awaits_disk() says.
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

  // ---- the disk; without one these do nothing

  // Whether it is worth its time, from now on. If not, nothing goes there, and what is there alone
  // counts as lost until it is again.
  void use_disk(bool uses) { uses_disk_ = uses; }
  // A session that begins with `tokens` is about to be opened: what is on disk begins to come back.
  void expect(std::span<const TokenId> tokens);
  void expect(const std::string& session);
  // A session will not go on for now: what is not on disk goes there, so that memory can be taken
  // from it at any time. `if_short`: only when memory is short.
  void park(const std::string& session, bool if_short);
  [[nodiscard]] bool awaits_disk() const { return awaits_disk_; }
  // Until something has been read or written, if anything is under way.
  void wait_for_disk() { settle(true); }
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
    bool moves = false;          // a write or a read of it is under way
    bool wanted = false;         // by the sequence that waits for the disk: stays where it is
    std::uint32_t resident = 0;  // children whose page is in memory
    std::uint64_t serial = 0;    // tells a reused slot from the node that was there
    std::uint64_t used = 0;
    std::byte* page = nullptr;           // null: on disk alone
    std::optional<PageFile::Slot> slot;  // of the copy on disk
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
  [[nodiscard]] bool takes_over(const Match& match) const;
  std::byte* take_page(Sequence& sequence);
  std::uint32_t insert(std::uint32_t parent, std::span<const TokenId> tokens, std::byte* page);
  // Takes a node out of the tree and gives its page back to the caller; null: it had none.
  std::byte* remove(std::uint32_t id);
  // The same with what hangs below it on disk; its page is free.
  void drop(std::uint32_t id);
  // Frees a page of the tree: one that is on disk too, else one that can go there, else the oldest.
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
  // Begins to copy a node, and what is above it, to disk. False: not now, or not at all.
  bool write_out(std::uint32_t id);
  bool write_one(std::uint32_t id);
  // Its page is in memory, or worth being read.
  [[nodiscard]] bool is_usable(std::uint32_t id) const {
    return nodes_[id].page != nullptr || uses_disk_;
  }
  // Begins to read a node that is on disk alone.
  void fetch(std::uint32_t id);
  // Makes room for a page on disk that was used at `used`: an older one loses its place.
  bool has_slot_for(std::uint64_t used);
  void settle(bool waits);
  void settle_write(std::uint32_t id, bool is_there, const PageFile::Done& done);
  void settle_read(std::uint32_t id, const PageFile::Done& done);

  std::size_t page_bytes_;
  std::size_t pages_max_;
  std::unique_ptr<PageMemory> own_memory_;  // where none is given
  PageMemory* memory_;
  std::size_t made_ = 0;  // pages
  std::vector<std::byte*> free_;
  std::vector<Node> nodes_;  // [0] is the root
  std::vector<std::uint32_t> free_nodes_;
  // By last use. Of unpinned pages without children in memory those that can leave it at once (they
  // are on disk, too), and those that cannot; leaves of the tree that hold a place on disk.
  std::set<std::pair<std::uint64_t, std::uint32_t>> copied_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> uncopied_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> on_disk_;
  std::unordered_map<std::string, std::vector<Held>> sessions_;
  std::size_t pinned_ = 0;    // pages of pinned nodes
  std::size_t owned_ = 0;     // pages of sequences that are not in the tree
  std::size_t reserved_ = 0;  // pages promised and not yet taken
  std::size_t peak_ = 0;
  std::size_t evicted_ = 0;
  std::uint64_t clock_ = 0;

  std::unique_ptr<PageFile> disk_;                  // null: there is none
  std::unordered_map<std::uint64_t, Held> moving_;  // by ticket
  std::uint64_t last_ticket_ = 0;
  std::size_t written_ = 0;
  std::size_t read_ = 0;
  std::size_t damaged_ = 0;
  std::size_t timed_ = 0;
  std::int64_t read_us_ = 0;
  bool disk_failed_ = false;
  bool uses_disk_ = true;
  bool awaits_disk_ = false;
  std::vector<Held> wanted_;
};

}  // namespace ambit::inference
