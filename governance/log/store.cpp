#include "log/store.h"

#include "async/check.h"

#include <lmdb.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::log {
namespace {

constexpr std::array<const char*, 6> NAMES = {"leaf", "node",    "payload",
                                              "run",  "session", "checkpoint"};
constexpr std::size_t SALT_BYTES = 32;

void append_number(std::string& key, std::uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    key += static_cast<char>((number >> shift) & 0xFF);
  }
}

// Big-endian keys: LMDB's order of bytes is then the order of numbers.
std::string index_key(std::uint64_t index) {
  std::string key;
  append_number(key, index, 8);
  return key;
}
std::string node_key(unsigned level, std::uint64_t index) {
  std::string key(1, static_cast<char>(level / TILE_HEIGHT));
  append_number(key, index, 8);
  return key;
}
std::string payload_key(std::uint64_t index, std::size_t number) {
  std::string key = index_key(index);
  append_number(key, number, 2);
  return key;
}
std::string run_prefix(std::string_view run) {
  return std::string(run) + '\0';
}
std::string session_prefix(std::string_view run, std::string_view session) {
  return std::string(run) + '\0' + std::string(session) + '\0';
}

std::uint64_t number_at_end(std::string_view key) {
  std::uint64_t number = 0;
  for (const char c : key.substr(key.size() - 8)) {
    number = (number << 8) | static_cast<unsigned char>(c);
  }
  return number;
}

MDB_val to_val(std::string_view bytes) {
  // LMDB takes keys and values as void*, and only reads them.
  return {bytes.size(), const_cast<char*>(bytes.data())};
}
std::string_view to_view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

class Cursor {
 public:
  Cursor(MDB_txn* transaction, unsigned database) {
    code_ = mdb_cursor_open(transaction, database, &cursor_);
  }
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  // An LMDB code; on success key() and value() are set.
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

// ---- Store ----

Error Store::error(const char* doing, int code) const {
  const std::string what = "log " + folder_ + ": cannot " + doing + ": ";
  switch (code) {
    case ENOSPC:
      return {Code::exhausted, what + "the disk is full; free some space"};
    // LMDB reports a write that was cut short as EIO, and a full disk cuts writes short.
    case EIO:
      return {Code::exhausted,
              what + "the disk is full, or failing; check its space and its health"};
    case EDQUOT:
      return {Code::exhausted, what + "the disk quota is used up"};
    case EFBIG:
      return {Code::exhausted, what + "the file has reached the size that this user may write"};
    case MDB_MAP_FULL:
      return {Code::exhausted,
              what + "the log has reached its greatest size; raise it or start a new log"};
    case EACCES:
    case EPERM:
      return {Code::denied, what + "no permission; check who owns the folder and its mode"};
    case EROFS:
      return {Code::denied, what + "the folder is read-only"};
    case ENOENT:
      return {Code::not_found, what + "there is no log here"};
    case MDB_NOTFOUND:
      return {Code::not_found, what + "the entry is missing"};
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
    case MDB_CURSOR_FULL:
      return {Code::invalid,
              what + "data.mdb is damaged (" + std::string(mdb_strerror(code)) + ")"};
    case MDB_PANIC:
      return {Code::unavailable,
              what + "an earlier write failed half-way; close the log and open it again"};
    default:
      return {Code::unavailable, what + mdb_strerror(code)};
  }
}

Result<std::unique_ptr<Store>> Store::open(const std::string& folder, Mode mode,
                                           std::uint64_t map_bytes) {
  std::unique_ptr<Store> store(new Store(folder));
  int code = mdb_env_create(&store->environment_);
  if (code != MDB_SUCCESS) return Err(store->error("start LMDB", code));
  mdb_env_set_maxdbs(store->environment_, DATABASES);
  if (mode == Mode::write) mdb_env_set_mapsize(store->environment_, map_bytes);
  unsigned flags = MDB_NOTLS | (mode == Mode::read ? MDB_RDONLY : 0U);
  code = mdb_env_open(store->environment_, folder.c_str(), flags, 0600);
  if (code == EACCES && mode == Mode::read) {
    // A reader without the right to write cannot take part in LMDB's locking: then nobody may be
    // writing.
    mdb_env_close(store->environment_);
    store->environment_ = nullptr;
    code = mdb_env_create(&store->environment_);
    if (code != MDB_SUCCESS) return Err(store->error("start LMDB", code));
    mdb_env_set_maxdbs(store->environment_, DATABASES);
    code = mdb_env_open(store->environment_, folder.c_str(), flags | MDB_NOLOCK, 0600);
  }
  if (code != MDB_SUCCESS) return Err(store->error("open it", code));
  TRY(store->open_databases(mode));
  return store;
}

Store::~Store() {
  if (environment_ != nullptr) mdb_env_close(environment_);
}

Result<void> Store::open_databases(Mode mode) {
  MDB_txn* transaction = nullptr;
  int code =
      mdb_txn_begin(environment_, nullptr, mode == Mode::read ? MDB_RDONLY : 0, &transaction);
  if (code != MDB_SUCCESS) return Err(error("read it", code));
  for (std::size_t i = 0; i < DATABASES && code == MDB_SUCCESS; ++i) {
    code = mdb_dbi_open(transaction, NAMES[i], mode == Mode::read ? 0 : MDB_CREATE, &databases_[i]);
  }
  if (code != MDB_SUCCESS) {
    mdb_txn_abort(transaction);
    if (code != MDB_NOTFOUND) return Err(error("open its databases", code));
    return Err(Code::invalid, "log " + folder_ + ": data.mdb is damaged or holds no log");
  }
  code = mdb_txn_commit(transaction);
  if (code != MDB_SUCCESS) return Err(error("make its databases", code));
  return {};
}

Result<void> Store::put(MDB_txn* transaction, Database database, std::string_view key,
                        std::string_view value, bool append) const {
  MDB_val k = to_val(key);
  MDB_val v = to_val(value);
  const int code =
      mdb_put(transaction, databases_[database], &k, &v, append ? MDB_APPEND : MDB_NOOVERWRITE);
  if (code == MDB_KEYEXIST) {
    return Err(Code::invalid,
               "log " + folder_ + ": an entry to be added is there already; verify the log");
  }
  if (code != MDB_SUCCESS) return Err(error("write", code));
  return {};
}

Result<void> Store::fill(MDB_txn* transaction, const Batch& batch) const {
  for (const StoredRecord& record : batch.records) {
    const std::string key = index_key(record.index);
    TRY(put(transaction, LEAF, key, record.leaf, true));
    TRY(put(transaction, RUN, run_prefix(record.run) + key, "", false));
    TRY(put(transaction, SESSION, session_prefix(record.run, record.session) + key, "", false));
    for (std::size_t i = 0; i < record.payloads.size(); ++i) {
      const StoredPayload& payload = record.payloads[i];
      CHECK(payload.salt.size() == SALT_BYTES);
      // One allocation in the database, filled in place: no copy of a long payload.
      const std::string place = payload_key(record.index, i);
      MDB_val k = to_val(place);
      MDB_val v{payload.salt.size() + payload.bytes.size(), nullptr};
      const int code = mdb_put(transaction, databases_[PAYLOAD], &k, &v, MDB_APPEND | MDB_RESERVE);
      if (code != MDB_SUCCESS) return Err(error("write", code));
      std::memcpy(v.mv_data, payload.salt.data(), payload.salt.size());
      std::memcpy(static_cast<char*>(v.mv_data) + payload.salt.size(), payload.bytes.data(),
                  payload.bytes.size());
    }
  }
  for (const StoredNode& node : batch.nodes) {
    TRY(put(transaction, NODE, node_key(node.level, node.index), bytes_of(node.hash), false));
  }
  return put(transaction, CHECKPOINT, index_key(batch.size), batch.checkpoint, true);
}

Result<void> Store::commit(const Batch& batch) {
  MDB_txn* transaction = nullptr;
  int code = mdb_txn_begin(environment_, nullptr, 0, &transaction);
  if (code != MDB_SUCCESS) return Err(error("write", code));
  const auto filled = fill(transaction, batch);
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
  Cursor cursor(transaction_, store_->databases_[Store::LEAF]);
  const int code = cursor.move(MDB_LAST);
  if (code == MDB_NOTFOUND) return std::uint64_t{0};
  if (code != MDB_SUCCESS) return Err(store_->error("read its size", code));
  if (cursor.key().size() != 8) return Err(store_->error("read its size", MDB_CORRUPTED));
  return number_at_end(cursor.key()) + 1;
}

Result<std::string_view> Snapshot::leaf(std::uint64_t index) const {
  const std::string place = index_key(index);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->databases_[Store::LEAF], &key, &value);
  if (code == MDB_NOTFOUND) {
    return Err(Code::not_found,
               "log " + store_->folder_ + ": there is no record " + std::to_string(index));
  }
  if (code != MDB_SUCCESS) return Err(store_->error("read a record", code));
  return to_view(value);
}

Result<StoredPayload> Snapshot::payload(std::uint64_t index, std::size_t number) const {
  const std::string place = payload_key(index, number);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->databases_[Store::PAYLOAD], &key, &value);
  if (code != MDB_SUCCESS) return Err(store_->error("read a payload", code));
  const std::string_view bytes = to_view(value);
  if (bytes.size() < SALT_BYTES) return Err(store_->error("read a payload", MDB_CORRUPTED));
  return StoredPayload{std::string(bytes.substr(0, SALT_BYTES)),
                       std::string(bytes.substr(SALT_BYTES))};
}

Result<Hash> Snapshot::stored_node(unsigned level, std::uint64_t index) const {
  const std::string place = node_key(level, index);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->databases_[Store::NODE], &key, &value);
  if (code != MDB_SUCCESS) return Err(store_->error("read a hash of the tree", code));
  return hash_from(to_view(value));
}

Result<Hash> Snapshot::node(unsigned level, std::uint64_t index) const {
  if (level % TILE_HEIGHT == 0) return stored_node(level, index);
  const Hash left = TRY(node(level - 1, 2 * index));
  const Hash right = TRY(node(level - 1, 2 * index + 1));
  return sha256({std::string_view("\1", 1), bytes_of(left), bytes_of(right)});
}

Result<std::string> Snapshot::checkpoint() const {
  Cursor cursor(transaction_, store_->databases_[Store::CHECKPOINT]);
  const int code = cursor.move(MDB_LAST);
  if (code == MDB_NOTFOUND) return std::string();
  if (code != MDB_SUCCESS) return Err(store_->error("read its checkpoint", code));
  return std::string(cursor.value());
}

Result<std::optional<Snapshot::SizedCheckpoint>> Snapshot::checkpoint_from(
    std::uint64_t size) const {
  Cursor cursor(transaction_, store_->databases_[Store::CHECKPOINT]);
  const std::string from = index_key(size);
  const int code = cursor.move(MDB_SET_RANGE, from);
  if (code == MDB_NOTFOUND) return std::optional<SizedCheckpoint>();
  if (code != MDB_SUCCESS) return Err(store_->error("read its checkpoints", code));
  if (cursor.key().size() != 8) return Err(store_->error("read its checkpoints", MDB_CORRUPTED));
  return std::optional<SizedCheckpoint>(
      SizedCheckpoint{number_at_end(cursor.key()), std::string(cursor.value())});
}

Result<void> Snapshot::for_each_in_run(std::string_view run, const Visit& visit) const {
  Cursor cursor(transaction_, store_->databases_[Store::RUN]);
  const std::string prefix = run_prefix(run);
  int code = cursor.move(MDB_SET_RANGE, prefix);
  while (code == MDB_SUCCESS && cursor.key().starts_with(prefix)) {
    if (cursor.key().size() != prefix.size() + 8)
      return Err(store_->error("read a run", MDB_CORRUPTED));
    if (!visit(number_at_end(cursor.key()))) return {};
    code = cursor.move(MDB_NEXT);
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Err(store_->error("read a run", code));
  return {};
}

Result<bool> Snapshot::is_in_run(std::string_view run, std::uint64_t index) const {
  const std::string place = run_prefix(run) + index_key(index);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->databases_[Store::RUN], &key, &value);
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Err(store_->error("read a run", code));
  return code == MDB_SUCCESS && value.mv_size == 0;
}

Result<bool> Snapshot::is_in_session(std::string_view run, std::string_view session,
                                     std::uint64_t index) const {
  const std::string place = session_prefix(run, session) + index_key(index);
  MDB_val key = to_val(place);
  MDB_val value{};
  const int code = mdb_get(transaction_, store_->databases_[Store::SESSION], &key, &value);
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND)
    return Err(store_->error("read a session", code));
  return code == MDB_SUCCESS && value.mv_size == 0;
}

Result<std::optional<std::uint64_t>> Snapshot::last_in_session(std::string_view run,
                                                               std::string_view session,
                                                               std::uint64_t below) const {
  Cursor cursor(transaction_, store_->databases_[Store::SESSION]);
  const std::string prefix = session_prefix(run, session);
  const std::string place = prefix + index_key(below);
  // The first entry not below, and one back; or the very last one.
  int code = cursor.move(MDB_SET_RANGE, place);
  code = code == MDB_NOTFOUND ? cursor.move(MDB_LAST)
                              : (code == MDB_SUCCESS ? cursor.move(MDB_PREV) : code);
  if (code == MDB_NOTFOUND) return std::optional<std::uint64_t>();
  if (code != MDB_SUCCESS) return Err(store_->error("read a session", code));
  const std::string_view key = cursor.key();
  if (!key.starts_with(prefix) || key.size() != prefix.size() + 8) {
    return std::optional<std::uint64_t>();
  }
  return std::optional<std::uint64_t>(number_at_end(key));
}

Result<Snapshot::Counts> Snapshot::counts() const {
  std::array<std::uint64_t, Store::DATABASES> entries{};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    MDB_stat stat{};
    const int code = mdb_stat(transaction_, store_->databases_[i], &stat);
    if (code != MDB_SUCCESS) return Err(store_->error("count its entries", code));
    entries[i] = stat.ms_entries;
  }
  return Counts{entries[0], entries[1], entries[2], entries[3], entries[4], entries[5]};
}

// ---- header pages ----

Result<void> check_header_pages(const std::string& data_file) {
  // LMDB writes its two header pages in turn. Of each: 16 bytes of page header, magic, version,
  // then the transaction number at byte 144. The pages are as large as the system's.
  const int file = ::open(data_file.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return Err(Code::not_found,
               data_file + ": cannot be read: " + std::string(std::strerror(errno)));
  }
  std::array<std::uint64_t, 2> transactions{};
  std::array<std::uint32_t, 2> magics{};
  bool complete = true;
  for (std::size_t page = 0; page < 2; ++page) {
    const auto start = static_cast<off_t>(page) * sysconf(_SC_PAGESIZE);
    complete = complete && ::pread(file, &magics[page], 4, start + 16) == 4 &&
               ::pread(file, &transactions[page], 8, start + 144) == 8;
  }
  ::close(file);
  constexpr std::uint32_t MAGIC = 0xBEEFC0DE;
  if (!complete || magics[0] != MAGIC || magics[1] != MAGIC) {
    return Err(Code::invalid, data_file + " is damaged: its header pages are not those of a log");
  }
  const auto [low, high] = std::minmax(transactions[0], transactions[1]);
  if (high - low > 1 || (high == low && high != 0)) {
    return Err(Code::invalid, data_file + " is damaged: its header pages disagree");
  }
  return {};
}

}  // namespace ambit::log
