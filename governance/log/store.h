#pragma once

// Store: the two tables of the log in one LMDB environment, and the only place that knows it. A
// Batch is one transaction: leaves, payloads, tree nodes, indexes and the checkpoint become durable
// together or not at all. Everything in the table `log` is appended in the order of the records; a
// Snapshot is a consistent view that never waits for a writer. FORMAT.md lists the keys.

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
struct MDB_cursor;

namespace ambit::log {

inline constexpr unsigned tile_height =
    8;  // nodes are stored at the levels 0, 8, 16, ... of the tree
// Of the checkpoints, the last one within each so many records is kept; any of them follows from
// the records and the newest one.
inline constexpr std::uint64_t checkpoint_span = 65'536;

// In the order in which the rows of one record stand.
enum class RowKind : std::uint8_t { leaf = 0, payload = 1, node = 2, checkpoint = 3 };

// What a Batch adds for one record. The views must last until commit() returns.
struct StoredRecord {
  std::uint64_t index = 0;
  std::string_view run;
  std::string_view session;
  Hash hash{};  // of the leaf
  std::string leaf;
  std::vector<std::string> payloads;  // as they are to be stored
};

struct StoredNode {
  unsigned level = 0;  // of the tree; a multiple of tile_height, not 0
  std::uint64_t index = 0;
  Hash hash{};
};

struct Batch {
  std::vector<StoredRecord> records;
  std::vector<StoredNode> nodes;  // in the order in which the records complete them
  std::uint64_t size = 0;         // of the tree after the batch
  std::string checkpoint;
};

struct LeafRow {
  Hash hash{};
  std::string_view bytes;
};

// A row of the table `log`: `place` is a payload's place in its record, or a node's level.
struct LogRow {
  std::uint64_t index = 0;
  RowKind kind = RowKind::leaf;
  unsigned place = 0;
  std::string_view value;
};

// Of one payload.
struct PayloadPlace {
  std::uint64_t index = 0;
  unsigned place = 0;
};

// The last record of a session.
struct Head {
  std::uint64_t index = 0;
  Hash hash{};
  friend bool operator==(const Head&, const Head&) = default;
};

class Store;

// Views returned by a Snapshot live as long as it does.
class Snapshot {
 public:
  Snapshot(Snapshot&& other) noexcept;
  Snapshot& operator=(Snapshot&& other) noexcept;
  ~Snapshot();

  [[nodiscard]] Result<std::uint64_t> size() const;
  // Errors, also of payload(): not_found, or invalid where the store is damaged.
  [[nodiscard]] Result<LeafRow> leaf_row(std::uint64_t index) const;
  [[nodiscard]] Result<std::string_view> leaf(std::uint64_t index) const;
  [[nodiscard]] Result<std::string_view> payload(std::uint64_t index, std::size_t place) const;
  // The hash of any perfect subtree; between the stored levels it is computed.
  [[nodiscard]] Result<Hash> node(unsigned level, std::uint64_t index) const;
  // The newest, or an empty text for an empty log.
  [[nodiscard]] Result<std::string> checkpoint() const;
  [[nodiscard]] Result<std::optional<Head>> head(std::string_view run,
                                                 std::string_view session) const;

  // Whether what is read here is what the last transaction wrote: a disk that has lost a write, and
  // says that it has not, would show an older state that is sound in itself.
  [[nodiscard]] Result<void> check_transaction() const;

  using Visit = std::function<bool(std::uint64_t)>;
  // The indexes of a run's records in order, until `visit` returns false.
  [[nodiscard]] Result<void> for_each_in_run(std::string_view run, const Visit& visit) const;

  // The leaves from `begin` on, in order, until `visit` returns false.
  using VisitLeaf = std::function<bool(std::uint64_t index, std::string_view leaf)>;
  [[nodiscard]] Result<void> for_each_leaf(std::uint64_t begin, const VisitLeaf& visit) const;

  // All rows from those of record `begin` on, in order, until `visit` returns an Error, which is
  // passed on.
  using VisitRow = std::function<Result<void>(const LogRow&)>;
  [[nodiscard]] Result<void> for_each_row(const VisitRow& visit, std::uint64_t begin = 0) const;
  // All entries of the table `index`: a run's records that follow each other, then the heads of all
  // sessions.
  // `chain`: run, 0x00, session.
  struct IndexVisitor {
    std::function<Result<void>(std::string_view run, std::uint64_t index, std::uint64_t count)>
        in_run;
    std::function<Result<void>(std::string_view chain, const Head& head)> head;
  };
  [[nodiscard]] Result<void> for_each_index(const IndexVisitor& visitor) const;

 private:
  friend class Store;
  Snapshot(const Store& store, MDB_txn* transaction) : store_(&store), transaction_(transaction) {}

  const Store* store_;
  MDB_txn* transaction_;
};

class Store {
 public:
  enum class Mode { write, read };
  // `write` makes the tables in an existing folder. At most one Store of a folder in a process.
  static Result<std::unique_ptr<Store>> open(const std::string& folder, Mode mode,
                                             std::uint64_t map_bytes);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Durable on return. An error means that nothing of the batch is stored.
  Result<void> commit(const Batch& batch);
  // The rows of payloads that are there, in one transaction: their pages are used again.
  Result<void> remove_payloads(const std::vector<PayloadPlace>& places);
  [[nodiscard]] Result<Snapshot> snapshot() const;
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  friend class Snapshot;
  enum Table { log_table, index_table, table_count };

  explicit Store(std::string folder) : folder_(std::move(folder)) {}
  Result<void> open_environment(Mode mode, std::uint64_t map_bytes);
  Result<void> open_tables(Mode mode);
  [[nodiscard]] Error error(const char* doing, int code) const;
  Result<void> write(const std::function<Result<void>(MDB_txn*)>& fill);
  [[nodiscard]] Result<void> fill_log(MDB_txn* transaction, const Batch& batch) const;
  [[nodiscard]] Result<void> fill_index(MDB_txn* transaction, const Batch& batch) const;
  [[nodiscard]] Result<void> append(MDB_cursor* cursor, std::string_view key,
                                    std::string_view first, std::string_view second) const;

  std::string folder_;
  MDB_env* environment_ = nullptr;
  unsigned tables_[table_count] = {};
};

// Whether the two header pages of a data file belong together: the transaction numbers must follow
// each other. A flipped bit there would silently bring back an older state. True for a file that
// has no data yet.
Result<void> check_header_pages(const std::string& data_file);
// Snapshot::check_transaction in a process of its own: LMDB trusts its file, and what a disk has
// left of one may end who reads it.
Result<void> check_last_write(const std::string& folder);

}  // namespace ambit::log
