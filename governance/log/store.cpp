#include "log/store.h"

#include "async/check.h"
#include "lmdb/cursor.h"
#include "lmdb/key.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ambit::log {
namespace {

using lmdb::append_number;
using lmdb::Cursor;
using lmdb::to_val;
using lmdb::to_view;

constexpr std::array<const char*, 2> table_names = {"log", "index"};
constexpr char run_mark = 'r';
constexpr char head_mark = 's';  // sorts after run_mark
constexpr std::string_view transaction_key = "t";
constexpr std::size_t index_bytes = 8;
constexpr std::size_t count_bytes = 4;
constexpr std::size_t hash_bytes = 32;

// How many records an entry of a run stands for: 4 bytes, or none for one record.
void append_count(std::string& value, std::uint64_t count) {
  append_number(value, count, count_bytes);
}
// 0: no such value.
std::uint64_t count_of(std::string_view value) {
  if (value.empty()) return 1;
  if (value.size() != count_bytes) return 0;
  const std::uint64_t count = lmdb::number_at(value, 0, count_bytes);
  return count > 1 ? count : 0;
}

void append_index(std::string& key, std::uint64_t index) {
  append_number(key, index, index_bytes);
}
std::uint64_t index_at(std::string_view bytes) {
  return lmdb::number_at(bytes, 0, index_bytes);
}

std::string row_key(std::uint64_t index, RowKind kind, unsigned place = 0) {
  std::string key;
  append_index(key, index);
  key += static_cast<char>(kind);
  if (kind == RowKind::payload || kind == RowKind::node) key += static_cast<char>(place);
  return key;
}
// A node stands behind the last of its leaves, which completes it.
std::string node_key(unsigned level, std::uint64_t index) {
  return row_key(((index + 1) << level) - 1, RowKind::node, level);
}
std::string run_prefix(std::string_view run) {
  return run_mark + std::string(run) + '\0';
}
std::string head_key(std::string_view run, std::string_view session) {
  std::string key(1, head_mark);
  key += run;
  key += '\0';
  key += session;
  return key;
}

Hash to_hash(std::string_view bytes) {
  Hash hash;
  std::memcpy(hash.data(), bytes.data(), hash_bytes);
  return hash;
}

// False for a key or a value that no row of the log can have.
bool parse_row(std::string_view key, std::string_view value, LogRow& row) {
  if (key.size() < index_bytes + 1 || key[index_bytes] > 3) return false;
  row.index = index_at(key);
  row.kind = static_cast<RowKind>(key[index_bytes]);
  const bool placed = row.kind == RowKind::payload || row.kind == RowKind::node;
  if (key.size() != index_bytes + (placed ? 2 : 1)) return false;
  row.place = placed ? static_cast<unsigned char>(key.back()) : 0U;
  row.value = value;
  if (row.kind == RowKind::leaf) return value.size() > hash_bytes;
  return row.kind != RowKind::node || value.size() == hash_bytes;
}

}  // namespace

Error Store::error(const char* doing, int code) const {
  return lmdb::error_of("log " + folder_ + ": cannot " + doing, code,
                        {"there is no log here",
                         "the log has reached its greatest size; raise it or start a new log"});
}

Result<void> Store::open_environment(Mode mode, std::uint64_t map_bytes) {
  const int made = mdb_env_create(&environment_);
  if (made != MDB_SUCCESS) return Err(error("start LMDB", made));
  mdb_env_set_maxdbs(environment_, table_count);
  if (mode == Mode::write) mdb_env_set_mapsize(environment_, map_bytes);
  const unsigned flags = MDB_NOTLS | (mode == Mode::read ? MDB_RDONLY : 0U);
  int code = mdb_env_open(environment_, folder_.c_str(), flags, 0600);
  if (code == EACCES && mode == Mode::read) {
    // A reader without the right to write cannot take part in LMDB's locking: then nobody may be
    // writing.
    mdb_env_close(environment_);
    environment_ = nullptr;
    code = mdb_env_create(&environment_);
    if (code != MDB_SUCCESS) return Err(error("start LMDB", code));
    mdb_env_set_maxdbs(environment_, table_count);
    code = mdb_env_open(environment_, folder_.c_str(), flags | MDB_NOLOCK, 0600);
  }
  if (code != MDB_SUCCESS) return Err(error("open it", code));
  return {};
}

Result<std::unique_ptr<Store>> Store::open(const std::string& folder, Mode mode,
                                           std::uint64_t map_bytes) {
  std::unique_ptr<Store> store(new Store(folder));
  TRY(store->open_environment(mode, map_bytes));
  TRY(store->open_tables(mode));
  return store;
}

Store::~Store() {
  if (environment_ != nullptr) mdb_env_close(environment_);
}

Result<void> Store::open_tables(Mode mode) {
  MDB_txn* transaction = nullptr;
  int code =
      mdb_txn_begin(environment_, nullptr, mode == Mode::read ? MDB_RDONLY : 0, &transaction);
  if (code != MDB_SUCCESS) return Err(error("read it", code));
  for (std::size_t i = 0; i < table_count && code == MDB_SUCCESS; ++i) {
    code =
        mdb_dbi_open(transaction, table_names[i], mode == Mode::read ? 0 : MDB_CREATE, &tables_[i]);
  }
  if (code != MDB_SUCCESS) {
    mdb_txn_abort(transaction);
    if (code != MDB_NOTFOUND) return Err(error("open its tables", code));
    return Err(Code::invalid,
               "log " + folder_ + ": data.mdb is damaged, holds no log, or one of an older format");
  }
  code = mdb_txn_commit(transaction);
  if (code != MDB_SUCCESS) return Err(error("make its tables", code));
  return {};
}

// One row at the end of the table, its value in two parts.
Result<void> Store::append(MDB_cursor* cursor, std::string_view key, std::string_view first,
                           std::string_view second) const {
  MDB_val k = to_val(key);
  MDB_val v{first.size() + second.size(), nullptr};
  const int code = mdb_cursor_put(cursor, &k, &v, MDB_APPEND | MDB_RESERVE);
  if (code == MDB_KEYEXIST) {
    return Err(Code::invalid,
               "log " + folder_ + ": an entry to be added is there already; verify the log");
  }
  if (code != MDB_SUCCESS) return Err(error("write", code));
  if (!first.empty()) std::memcpy(v.mv_data, first.data(), first.size());
  if (!second.empty()) {
    std::memcpy(static_cast<char*>(v.mv_data) + first.size(), second.data(), second.size());
  }
  return {};
}

Result<void> Store::fill_log(MDB_txn* transaction, const Batch& batch) const {
  Cursor cursor(transaction, tables_[log_table]);
  int code = cursor.move(MDB_LAST);
  // The checkpoint before this one goes, unless it is the last one of its span.
  if (code == MDB_SUCCESS && !batch.records.empty() && cursor.key().size() > index_bytes &&
      cursor.key()[index_bytes] == static_cast<char>(RowKind::checkpoint) &&
      (index_at(cursor.key()) + 1) / checkpoint_span == batch.size / checkpoint_span) {
    code = mdb_cursor_del(cursor.get(), 0);
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Err(error("write", code));
  auto node = batch.nodes.begin();
  for (const StoredRecord& record : batch.records) {
    TRY(append(cursor.get(), row_key(record.index, RowKind::leaf), bytes_of(record.hash),
               record.leaf));
    for (std::size_t i = 0; i < record.payloads.size(); ++i) {
      TRY(append(cursor.get(), row_key(record.index, RowKind::payload, static_cast<unsigned>(i)),
                 record.payloads[i], {}));
    }
    for (; node != batch.nodes.end() && ((node->index + 1) << node->level) == record.index + 1;
         ++node) {
      TRY(append(cursor.get(), node_key(node->level, node->index), bytes_of(node->hash), {}));
    }
  }
  INVARIANT(node == batch.nodes.end());
  return append(cursor.get(), row_key(batch.size - 1, RowKind::checkpoint), batch.checkpoint, {});
}

Result<void> Store::fill_index(MDB_txn* transaction, const Batch& batch) const {
  Cursor cursor(transaction, tables_[index_table]);
  if (cursor.code() != MDB_SUCCESS) return Err(error("write", cursor.code()));
  std::string key;
  // Of each session only its last record of the batch counts: each head is written once.
  std::vector<std::pair<std::string, const StoredRecord*>> heads;
  heads.reserve(batch.records.size());
  for (auto at = batch.records.begin(); at != batch.records.end();) {
    // Records of one run that follow each other are one entry.
    auto end = at;
    for (; end != batch.records.end() && end->run == at->run; ++end) {
      heads.emplace_back(head_key(end->run, end->session), &*end);
    }
    const auto count = static_cast<std::uint64_t>(end - at);
    key = run_prefix(at->run);
    append_index(key, at->index);
    std::string value;
    if (count > 1) append_count(value, count);
    MDB_val k = to_val(key);
    MDB_val v = to_val(value);
    const int code = mdb_cursor_put(cursor.get(), &k, &v, MDB_NOOVERWRITE);
    if (code != MDB_SUCCESS) return Err(error("write", code));
    at = end;
  }
  std::sort(heads.begin(), heads.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->index < b.second->index;
  });
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (i + 1 < heads.size() && heads[i].first == heads[i + 1].first) continue;
    std::string value;
    append_index(value, heads[i].second->index);
    value += bytes_of(heads[i].second->hash);
    MDB_val k = to_val(heads[i].first);
    MDB_val v = to_val(value);
    const int code = mdb_cursor_put(cursor.get(), &k, &v, 0);
    if (code != MDB_SUCCESS) return Err(error("write", code));
  }
  return {};
}

Result<void> Store::commit(const Batch& batch) {
  return write([&](MDB_txn* transaction) -> Result<void> {
    TRY(fill_log(transaction, batch));
    return fill_index(transaction, batch);
  });
}

Result<void> Store::remove_payloads(const std::vector<PayloadPlace>& places) {
  return write([&](MDB_txn* transaction) -> Result<void> {
    for (const PayloadPlace& each : places) {
      const std::string key = row_key(each.index, RowKind::payload, each.place);
      MDB_val k = to_val(key);
      const int code = mdb_del(transaction, tables_[log_table], &k, nullptr);
      if (code != MDB_SUCCESS) return Err(error("remove a payload", code));
    }
    return {};
  });
}

Result<void> Store::write(const std::function<Result<void>(MDB_txn*)>& fill) {
  MDB_txn* transaction = nullptr;
  int code = mdb_txn_begin(environment_, nullptr, 0, &transaction);
  if (code != MDB_SUCCESS) return Err(error("write", code));
  auto filled = fill(transaction);
  if (filled) {
    std::string number;
    append_index(number, mdb_txn_id(transaction));
    MDB_val k = to_val(transaction_key);
    MDB_val v = to_val(number);
    code = mdb_put(transaction, tables_[index_table], &k, &v, 0);
    if (code != MDB_SUCCESS) filled = Err(error("write", code));
  }
  if (!filled) {
    mdb_txn_abort(transaction);
    return filled;
  }
  code = mdb_txn_commit(transaction);
  if (code != MDB_SUCCESS) return Err(error("write", code));
  return {};
}

Result<Snapshot> Store::snapshot() const {
  MDB_txn* transaction = nullptr;
  const int code = mdb_txn_begin(environment_, nullptr, MDB_RDONLY, &transaction);
  if (code != MDB_SUCCESS) return Err(error("read it", code));
  return Snapshot(*this, transaction);
}

// ---- Snapshot ----

Snapshot::Snapshot(Snapshot&& other) noexcept
    : store_(other.store_), transaction_(std::exchange(other.transaction_, nullptr)) {}

Snapshot& Snapshot::operator=(Snapshot&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(transaction_, other.transaction_);
  return *this;
}

Snapshot::~Snapshot() {
  if (transaction_ != nullptr) mdb_txn_abort(transaction_);
}

Result<std::uint64_t> Snapshot::size() const {
  Cursor cursor(transaction_, store_->tables_[Store::log_table]);
  const int code = cursor.move(MDB_LAST);
  if (code == MDB_NOTFOUND) return std::uint64_t{0};
  if (code != MDB_SUCCESS) return Err(store_->error("read its size", code));
  if (cursor.key().size() <= index_bytes) {
    return Err(store_->error("read its size", MDB_CORRUPTED));
  }
  return index_at(cursor.key()) + 1;
}

Result<LeafRow> Snapshot::leaf_row(std::uint64_t index) const {
  const std::string place = row_key(index, RowKind::leaf);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->tables_[Store::log_table], &key, &value);
  if (code == MDB_NOTFOUND) {
    return Err(Code::not_found,
               "log " + store_->folder_ + ": there is no record " + std::to_string(index));
  }
  if (code != MDB_SUCCESS || value.mv_size <= hash_bytes) {
    return Err(store_->error("read a record", code != MDB_SUCCESS ? code : MDB_CORRUPTED));
  }
  return LeafRow{to_hash(to_view(value)), to_view(value).substr(hash_bytes)};
}

Result<std::string_view> Snapshot::leaf(std::uint64_t index) const {
  const LeafRow row = TRY(leaf_row(index));
  return row.bytes;
}

Result<std::string_view> Snapshot::payload(std::uint64_t index, std::size_t place) const {
  const std::string key_text = row_key(index, RowKind::payload, static_cast<unsigned>(place));
  MDB_val key = to_val(key_text);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->tables_[Store::log_table], &key, &value);
  if (code == MDB_NOTFOUND) {
    return Err(Code::not_found, "log " + store_->folder_ + ": record " + std::to_string(index) +
                                    " has no payload " + std::to_string(place));
  }
  if (code != MDB_SUCCESS) return Err(store_->error("read a payload", code));
  return to_view(value);
}

Result<Hash> Snapshot::node(unsigned level, std::uint64_t index) const {
  if (level == 0) {
    const LeafRow row = TRY(leaf_row(index));
    return row.hash;
  }
  if (level % tile_height == 0) {
    const std::string place = node_key(level, index);
    MDB_val key = to_val(place);
    MDB_val value{};
    const int code = mdb_get(transaction_, store_->tables_[Store::log_table], &key, &value);
    if (code != MDB_SUCCESS) return Err(store_->error("read a hash of the tree", code));
    return hash_from(to_view(value));
  }
  const Hash left = TRY(node(level - 1, 2 * index));
  const Hash right = TRY(node(level - 1, 2 * index + 1));
  return sha256({std::string_view("\1", 1), bytes_of(left), bytes_of(right)});
}

Result<std::string> Snapshot::checkpoint() const {
  Cursor cursor(transaction_, store_->tables_[Store::log_table]);
  const int code = cursor.move(MDB_LAST);
  if (code == MDB_NOTFOUND) return std::string();
  if (code != MDB_SUCCESS) return Err(store_->error("read its checkpoint", code));
  LogRow row;
  if (!parse_row(cursor.key(), cursor.value(), row) || row.kind != RowKind::checkpoint) {
    return Err(Code::invalid,
               "log " + store_->folder_ + ": its last records have no checkpoint; verify the log");
  }
  return std::string(row.value);
}

Result<std::optional<Head>> Snapshot::head(std::string_view run, std::string_view session) const {
  const std::string place = head_key(run, session);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->tables_[Store::index_table], &key, &value);
  if (code == MDB_NOTFOUND) return std::optional<Head>();
  if (code != MDB_SUCCESS || value.mv_size != index_bytes + hash_bytes) {
    return Err(store_->error("read a session", code != MDB_SUCCESS ? code : MDB_CORRUPTED));
  }
  const std::string_view bytes = to_view(value);
  return std::optional<Head>(Head{index_at(bytes), to_hash(bytes.substr(index_bytes))});
}

Result<void> Snapshot::check_transaction() const {
  const std::uint64_t records = TRY(size());
  if (records == 0) return {};
  MDB_val key = to_val(transaction_key);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->tables_[Store::index_table], &key, &value);
  if (code == MDB_SUCCESS && value.mv_size == index_bytes &&
      index_at(to_view(value)) == mdb_txn_id(transaction_)) {
    return {};
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) {
    return Err(store_->error("read its transaction", code));
  }
  return Err(Code::invalid, "log " + store_->folder_ +
                                ": data.mdb is damaged: its pages are of another transaction than "
                                "its header; the disk has lost a write, restore a copy");
}

Result<void> Snapshot::for_each_in_run(std::string_view run, const Visit& visit) const {
  Cursor cursor(transaction_, store_->tables_[Store::index_table]);
  const std::string prefix = run_prefix(run);
  int code = cursor.move(MDB_SET_RANGE, prefix);
  while (code == MDB_SUCCESS && cursor.key().starts_with(prefix)) {
    if (cursor.key().size() != prefix.size() + index_bytes)
      return Err(store_->error("read a run", MDB_CORRUPTED));
    const std::uint64_t first = index_at(cursor.key().substr(prefix.size()));
    const std::uint64_t count = count_of(cursor.value());
    if (count == 0) return Err(store_->error("read a run", MDB_CORRUPTED));
    for (std::uint64_t at = first; at < first + count; ++at) {
      if (!visit(at)) return {};
    }
    code = cursor.move(MDB_NEXT);
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Err(store_->error("read a run", code));
  return {};
}

Result<void> Snapshot::for_each_leaf(std::uint64_t begin, const VisitLeaf& visit) const {
  Cursor cursor(transaction_, store_->tables_[Store::log_table]);
  LogRow row;
  int code = cursor.move(MDB_SET_RANGE, row_key(begin, RowKind::leaf));
  for (; code == MDB_SUCCESS; code = cursor.move(MDB_NEXT)) {
    if (!parse_row(cursor.key(), cursor.value(), row)) {
      return Err(store_->error("read its records", MDB_CORRUPTED));
    }
    if (row.kind == RowKind::leaf && !visit(row.index, row.value.substr(hash_bytes))) return {};
  }
  if (code != MDB_NOTFOUND) return Err(store_->error("read its records", code));
  return {};
}

Result<void> Snapshot::for_each_row(const VisitRow& visit, std::uint64_t begin) const {
  Cursor cursor(transaction_, store_->tables_[Store::log_table]);
  LogRow row;
  // From the first row on, whatever it is: what no log can hold is found too.
  int code = begin == 0 ? cursor.move(MDB_FIRST)
                        : cursor.move(MDB_SET_RANGE, row_key(begin, RowKind::leaf));
  for (; code == MDB_SUCCESS; code = cursor.move(MDB_NEXT)) {
    if (!parse_row(cursor.key(), cursor.value(), row)) {
      return Err(Code::invalid, "there is an entry that belongs to no record");
    }
    TRY(visit(row));
  }
  if (code != MDB_NOTFOUND) return Err(store_->error("read it", code));
  return {};
}

Result<void> Snapshot::for_each_index(const IndexVisitor& visitor) const {
  Cursor cursor(transaction_, store_->tables_[Store::index_table]);
  int code = MDB_SUCCESS;
  while ((code = cursor.move(MDB_NEXT)) == MDB_SUCCESS) {
    const std::string_view key = cursor.key();
    const std::string_view value = cursor.value();
    const bool in_run = key.size() >= 2 + index_bytes && key.front() == run_mark &&
                        key[key.size() - index_bytes - 1] == '\0' && count_of(value) > 0;
    if (key == transaction_key && value.size() == index_bytes) continue;
    if (in_run) {
      TRY(visitor.in_run(key.substr(1, key.size() - index_bytes - 2),
                         index_at(key.substr(key.size() - index_bytes)), count_of(value)));
    } else if (key.size() >= 2 && key.front() == head_mark &&
               value.size() == index_bytes + hash_bytes) {
      TRY(visitor.head(key.substr(1), Head{index_at(value), to_hash(value.substr(index_bytes))}));
    } else {
      return Err(Code::invalid, "there is an index entry that belongs to no record");
    }
  }
  if (code != MDB_NOTFOUND) return Err(store_->error("read its index", code));
  return {};
}

}  // namespace ambit::log
