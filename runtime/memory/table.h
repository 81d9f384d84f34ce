#pragma once

// Tables of keys and values in one LMDB environment, and transactions over them: all that the
// memories need of LMDB. A transaction that is not
// committed leaves nothing; what it gives lives as long as it does, or until its next write.

#include "async/result.h"
#include "lmdb/key.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct MDB_env;
struct MDB_txn;

namespace ambit::memory {

using lmdb::append_number;
using lmdb::number_at;

enum class Table { spaces, entries, documents, words, times, done, done_order };
inline constexpr std::size_t table_count = 7;

class Environment;

class Transaction {
 public:
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  [[nodiscard]] Result<std::optional<std::string_view>> get(Table table,
                                                            std::string_view key) const;
  Result<void> put(Table table, std::string_view key, std::string_view value);
  // False: there was none.
  Result<bool> erase(Table table, std::string_view key);
  // The rows from `from` on whose keys begin with `prefix`, in order, until `visit` returns false.
  // Nothing may be written meanwhile.
  using Visit = std::function<bool(std::string_view key, std::string_view value)>;
  [[nodiscard]] Result<void> each(Table table, std::string_view prefix, std::string_view from,
                                  const Visit& visit) const;
  // Durable on return.
  Result<void> commit();

 private:
  friend class Environment;
  Transaction(const Environment& of, MDB_txn* transaction) : of_(&of), transaction_(transaction) {}

  const Environment* of_;
  MDB_txn* transaction_;
};

class Environment {
 public:
  enum class Mode { write, read };
  // `write` makes what is missing in an existing folder. At most one of a folder in a process; its
  // methods may be called from any thread.
  static Result<std::unique_ptr<Environment>> open(const std::string& folder, Mode mode,
                                                   std::uint64_t map_bytes);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  // Writers wait for each other; a transaction stays on its thread.
  [[nodiscard]] Result<Transaction> begin(Mode mode) const;

 private:
  friend class Transaction;
  explicit Environment(std::string folder) : folder_(std::move(folder)) {}
  [[nodiscard]] Error error(const char* doing, int code) const;
  Result<void> open_tables(Mode mode);

  std::string folder_;
  MDB_env* environment_ = nullptr;
  std::array<unsigned, table_count> tables_{};
};

}  // namespace ambit::memory
