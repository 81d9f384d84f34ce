#pragma once

// Store: what the agents of a fleet remember, in one LMDB environment. A space is one store of one
// agent, or a shared one; it holds entries by key and an inverted index over their words (BM25).
// Every change is one transaction, durable when it returns; a change that names its call is made
// once, also when it is asked for again after a crash. Blocking: for worker threads, and from any
// of them.

#include "agents/memory.h"
#include "memory/entry.h"
#include "memory/table.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::memory {

inline constexpr std::size_t key_bytes_max = 200;
inline constexpr std::size_t query_words_max = 32;
// So many of the newest calls are known again.
inline constexpr std::uint64_t calls_kept_max = 65'536;

struct Space {
  std::string name;  // "notes", or "notes/clerk"
  // Of its bounds; the newest ones hold.
  agents::MemorySpec bounds;
};

struct SpaceFacts {
  std::string name;
  std::int64_t entries = 0;  // with those that have expired and are not cleared away yet
  std::int64_t bytes = 0;    // of keys and values
  friend bool operator==(const SpaceFacts&, const SpaceFacts&) = default;
};

struct Listing {
  std::vector<Entry> entries;
  bool more = false;
};

struct Hit {
  Entry entry;
  double score = 0;
};

class Store {
 public:
  using Mode = Environment::Mode;
  static Result<std::unique_ptr<Store>> open(const std::string& folder, Mode mode,
                                             std::uint64_t map_bytes = std::uint64_t{1} << 34);

  // `once` names the call that asks; empty: it has no name. True: an entry was replaced. Errors:
  // invalid (the key), exhausted (a bound of the space); then nothing has changed.
  Result<bool> put(const Space& space, Entry entry, std::string_view once, std::int64_t now_ms);
  // False: there was none.
  Result<bool> erase(const Space& space, std::string_view key, std::string_view once,
                     std::int64_t now_ms);
  [[nodiscard]] Result<std::optional<Entry>> get(std::string_view space, std::string_view key,
                                                 std::int64_t now_ms) const;
  // In the order of the keys, those that begin with `prefix` and come after `after`.
  [[nodiscard]] Result<Listing> list(std::string_view space, std::string_view prefix,
                                     std::string_view after, std::size_t limit,
                                     std::int64_t now_ms) const;
  // Those that hold a word of the query, the best first; of equals the one that was kept first.
  [[nodiscard]] Result<std::vector<Hit>> search(std::string_view space, std::string_view query,
                                                std::size_t limit, std::int64_t now_ms) const;
  // In the order of their names.
  [[nodiscard]] Result<std::vector<SpaceFacts>> spaces() const;

 private:
  struct SpaceRow;
  class Change;
  explicit Store(std::unique_ptr<Environment> environment) : environment_(std::move(environment)) {}
  static Result<std::optional<SpaceRow>> find(const Transaction& transaction,
                                              std::string_view name);

  std::unique_ptr<Environment> environment_;
};

// What a word that `having` of `all` texts hold is worth (BM25).
double rarity(double having, double all);
// What `count` times a word are worth in a text of `length` words, of `average` ones.
double weight(double count, double length, double average);

}  // namespace ambit::memory
