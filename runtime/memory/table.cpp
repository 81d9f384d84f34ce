#include "memory/table.h"

#include "lmdb/cursor.h"

#include <cerrno>
#include <utility>

namespace ambit::memory {
namespace {

using lmdb::Cursor;
using lmdb::to_val;
using lmdb::to_view;

constexpr std::array<const char*, table_count> table_names = {
    "spaces", "entries", "documents", "words", "times", "done", "done_order"};

}  // namespace

Transaction::Transaction(Transaction&& other) noexcept
    : of_(other.of_), transaction_(std::exchange(other.transaction_, nullptr)) {}

Transaction::~Transaction() {
  if (transaction_ != nullptr) mdb_txn_abort(transaction_);
}

Result<std::optional<std::string_view>> Transaction::get(Table table, std::string_view key) const {
  MDB_val k = to_val(key);
  MDB_val v{};
  const int code = mdb_get(transaction_, of_->tables_[static_cast<std::size_t>(table)], &k, &v);
  if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
  if (code != MDB_SUCCESS) return Err(of_->error("read", code));
  return std::optional<std::string_view>(to_view(v));
}

Result<void> Transaction::put(Table table, std::string_view key, std::string_view value) {
  MDB_val k = to_val(key);
  MDB_val v = to_val(value);
  const int code = mdb_put(transaction_, of_->tables_[static_cast<std::size_t>(table)], &k, &v, 0);
  if (code != MDB_SUCCESS) return Err(of_->error("write", code));
  return {};
}

Result<bool> Transaction::erase(Table table, std::string_view key) {
  MDB_val k = to_val(key);
  const int code =
      mdb_del(transaction_, of_->tables_[static_cast<std::size_t>(table)], &k, nullptr);
  if (code == MDB_NOTFOUND) return false;
  if (code != MDB_SUCCESS) return Err(of_->error("write", code));
  return true;
}

Result<void> Transaction::each(Table table, std::string_view prefix, std::string_view from,
                               const Visit& visit) const {
  Cursor cursor(transaction_, of_->tables_[static_cast<std::size_t>(table)]);
  const std::string_view first = from < prefix ? prefix : from;
  int code = first.empty() ? cursor.move(MDB_FIRST) : cursor.move(MDB_SET_RANGE, first);
  while (code == MDB_SUCCESS && cursor.key().starts_with(prefix)) {
    if (!visit(cursor.key(), cursor.value())) return {};
    code = cursor.move(MDB_NEXT);
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Err(of_->error("read", code));
  return {};
}

Result<void> Transaction::commit() {
  const int code = mdb_txn_commit(std::exchange(transaction_, nullptr));
  if (code != MDB_SUCCESS) return Err(of_->error("write", code));
  return {};
}

Error Environment::error(const char* doing, int code) const {
  return lmdb::error_of(
      "memory " + folder_ + ": cannot " + doing, code,
      {"there is no memory here", "all memories together have reached their greatest size"});
}

Result<std::unique_ptr<Environment>> Environment::open(const std::string& folder, Mode mode,
                                                       std::uint64_t map_bytes) {
  std::unique_ptr<Environment> made(new Environment(folder));
  const int created = mdb_env_create(&made->environment_);
  if (created != MDB_SUCCESS) return Err(made->error("start LMDB", created));
  mdb_env_set_maxdbs(made->environment_, table_count);
  if (mode == Mode::write) mdb_env_set_mapsize(made->environment_, map_bytes);
  const unsigned flags = MDB_NOTLS | (mode == Mode::read ? MDB_RDONLY : 0U);
  const int code = mdb_env_open(made->environment_, folder.c_str(), flags, 0600);
  if (code != MDB_SUCCESS) return Err(made->error("open it", code));
  TRY(made->open_tables(mode));
  return made;
}

Environment::~Environment() {
  if (environment_ != nullptr) mdb_env_close(environment_);
}

Result<void> Environment::open_tables(Mode mode) {
  Transaction transaction = TRY(begin(mode));
  for (std::size_t i = 0; i < table_count; ++i) {
    const int code = mdb_dbi_open(transaction.transaction_, table_names[i],
                                  mode == Mode::read ? 0 : MDB_CREATE, &tables_[i]);
    if (code == MDB_NOTFOUND) return Err(error("open it", ENOENT));
    if (code != MDB_SUCCESS) return Err(error("open its tables", code));
  }
  return transaction.commit();
}

Result<Transaction> Environment::begin(Mode mode) const {
  MDB_txn* transaction = nullptr;
  const int code =
      mdb_txn_begin(environment_, nullptr, mode == Mode::read ? MDB_RDONLY : 0U, &transaction);
  if (code != MDB_SUCCESS) return Err(error(mode == Mode::read ? "read" : "write", code));
  return Transaction(*this, transaction);
}

}  // namespace ambit::memory
