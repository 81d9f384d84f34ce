#include "memory/table.h"

#include <lmdb.h>

#include <cerrno>
#include <utility>

namespace ambit::memory {
namespace {

constexpr std::array<const char*, table_count> table_names = {
    "spaces", "entries", "documents", "words", "times", "done", "done_order"};

MDB_val to_val(std::string_view bytes) {
  // LMDB takes keys and values as void*, and only reads them.
  return {bytes.size(), const_cast<char*>(bytes.data())};
}
std::string_view to_view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

class Cursor {
 public:
  Cursor(MDB_txn* transaction, unsigned table) {
    code_ = mdb_cursor_open(transaction, table, &cursor_);
  }
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  int move(MDB_cursor_op op, std::string_view to = {}) {
    if (code_ != MDB_SUCCESS) return code_;
    key_ = to_val(to);
    return mdb_cursor_get(cursor_, &key_, &value_, op);
  }
  [[nodiscard]] std::string_view key() const { return to_view(key_); }
  [[nodiscard]] std::string_view value() const { return to_view(value_); }

 private:
  MDB_cursor* cursor_ = nullptr;
  int code_ = MDB_SUCCESS;
  MDB_val key_{};
  MDB_val value_{};
};

}  // namespace

void append_number(std::string& key, std::uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    key += static_cast<char>((number >> shift) & 0xFF);
  }
}

std::uint64_t number_at(std::string_view bytes, std::size_t at, int width) {
  std::uint64_t number = 0;
  for (const char c : bytes.substr(at, static_cast<std::size_t>(width))) {
    number = (number << 8) | static_cast<unsigned char>(c);
  }
  return number;
}

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
  const std::string what = "memory " + folder_ + ": cannot " + doing + ": ";
  switch (code) {
    case ENOSPC:
    case EDQUOT:
    // A write that was cut short.
    case EIO:
      return {Code::exhausted, what + "the disk is full, or failing"};
    case MDB_MAP_FULL:
      return {Code::exhausted, what + "all memories together have reached their greatest size"};
    case EACCES:
    case EPERM:
    case EROFS:
      return {Code::denied, what + "no permission; check who owns the folder and its mode"};
    case ENOENT:
      return {Code::not_found, what + "there is no memory here"};
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
      return {Code::invalid,
              what + "data.mdb is damaged (" + std::string(mdb_strerror(code)) + ")"};
    default:
      return {Code::unavailable, what + mdb_strerror(code)};
  }
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
