#pragma once

// Store: the log's databases in one LMDB environment, and the only place that knows <lmdb.h>. A
// Batch is one transaction: leaves, tree nodes, payloads, indexes and the checkpoint become durable
// together or not at all. A Snapshot is a consistent view; it never waits for a writer. FORMAT.md
// lists the databases.

#include "async/result.h"
#include "log/sha256.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct MDB_env;
struct MDB_txn;

namespace ambit::log {

inline constexpr unsigned TILE_HEIGHT =
    8;  // nodes are stored at the levels 0, 8, 16, ... of the tree

struct StoredPayload {
  std::string salt;
  std::string bytes;
};

struct StoredRecord {
  std::uint64_t index = 0;
  std::string run;
  std::string session;
  std::string leaf;
  std::vector<StoredPayload> payloads;
};

struct StoredNode {
  unsigned level = 0;  // of the tree; a multiple of TILE_HEIGHT
  std::uint64_t index = 0;
  Hash hash{};
};

struct Batch {
  std::vector<StoredRecord> records;
  std::vector<StoredNode> nodes;
  std::uint64_t size = 0;  // of the tree after the batch
  std::string checkpoint;
};

class Store;

// Views returned by a Snapshot live as long as it does.
class Snapshot {
 public:
  Snapshot(Snapshot&& other) noexcept;
  Snapshot& operator=(Snapshot&& other) noexcept;
  ~Snapshot();

  [[nodiscard]] Result<std::uint64_t> size() const;
  // Errors: not_found, or invalid where the store is damaged.
  [[nodiscard]] Result<std::string_view> leaf(std::uint64_t index) const;
  [[nodiscard]] Result<StoredPayload> payload(std::uint64_t index, std::size_t number) const;
  // The hash of any perfect subtree; between the stored levels it is computed.
  [[nodiscard]] Result<Hash> node(unsigned level, std::uint64_t index) const;
  // The stored hash alone; `level` is a multiple of TILE_HEIGHT.
  [[nodiscard]] Result<Hash> stored_node(unsigned level, std::uint64_t index) const;
  // The newest, or an empty text for an empty log.
  [[nodiscard]] Result<std::string> checkpoint() const;

  using Visit = std::function<bool(std::uint64_t)>;
  // The indexes of a run's records in order, until `visit` returns false.
  [[nodiscard]] Result<void> for_each_in_run(std::string_view run, const Visit& visit) const;
  [[nodiscard]] Result<bool> is_in_run(std::string_view run, std::uint64_t index) const;
  // The last record of the session with an index below `below`.
  [[nodiscard]] Result<std::optional<std::uint64_t>> last_in_session(std::string_view run,
                                                                     std::string_view session,
                                                                     std::uint64_t below) const;
  [[nodiscard]] Result<bool> is_in_session(std::string_view run, std::string_view session,
                                           std::uint64_t index) const;
  // The first checkpoint over at least `size` leaves.
  struct SizedCheckpoint {
    std::uint64_t size = 0;
    std::string note;
  };
  [[nodiscard]] Result<std::optional<SizedCheckpoint>> checkpoint_from(std::uint64_t size) const;

  // How many entries each database has: for verification, which must see that nothing was added.
  struct Counts {
    std::uint64_t leaves = 0;
    std::uint64_t nodes = 0;
    std::uint64_t payloads = 0;
    std::uint64_t runs = 0;
    std::uint64_t sessions = 0;
    std::uint64_t checkpoints = 0;
  };
  [[nodiscard]] Result<Counts> counts() const;

 private:
  friend class Store;
  Snapshot(const Store& store, MDB_txn* transaction) : store_(&store), transaction_(transaction) {}

  const Store* store_;
  MDB_txn* transaction_;
};

class Store {
 public:
  enum class Mode { write, read };
  // `write` makes the databases in an existing folder. At most one Store of a folder in a process.
  static Result<std::unique_ptr<Store>> open(const std::string& folder, Mode mode,
                                             std::uint64_t map_bytes);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Durable on return. An error means that nothing of the batch is stored.
  Result<void> commit(const Batch& batch);
  [[nodiscard]] Result<Snapshot> snapshot() const;
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  friend class Snapshot;
  enum Database { LEAF, NODE, PAYLOAD, RUN, SESSION, CHECKPOINT, DATABASES };

  explicit Store(std::string folder) : folder_(std::move(folder)) {}
  Result<void> open_databases(Mode mode);
  [[nodiscard]] Error error(const char* doing, int code) const;
  [[nodiscard]] Result<void> put(MDB_txn* transaction, Database database, std::string_view key,
                                 std::string_view value, bool append) const;
  [[nodiscard]] Result<void> fill(MDB_txn* transaction, const Batch& batch) const;

  std::string folder_;
  MDB_env* environment_ = nullptr;
  unsigned databases_[DATABASES] = {};
};

// Whether the two header pages of a data file belong together: the transaction numbers must follow
// each other. A flipped bit there would silently bring back an older state. True for a file that
// has no data yet.
Result<void> check_header_pages(const std::string& data_file);

}  // namespace ambit::log
