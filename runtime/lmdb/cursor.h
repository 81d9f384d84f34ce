#pragma once

// What everybody who keeps something in LMDB needs: bytes as LMDB takes them, a cursor that closes
// itself, and what a code of LMDB's means to whoever runs the program.

#include "async/result.h"

#include <lmdb.h>

#include <string>
#include <string_view>

namespace ambit::lmdb {

// The bytes are borrowed.
MDB_val to_val(std::string_view bytes);
std::string_view to_view(const MDB_val& value);

// Goes through one table of a transaction, which outlives it.
class Cursor {
 public:
  Cursor(MDB_txn* transaction, MDB_dbi table) {
    code_ = mdb_cursor_open(transaction, table, &cursor_);
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
  // Of opening it.
  [[nodiscard]] int code() const { return code_; }
  [[nodiscard]] MDB_cursor* get() const { return cursor_; }
  [[nodiscard]] std::string_view key() const { return to_view(key_); }
  [[nodiscard]] std::string_view value() const { return to_view(value_); }

 private:
  MDB_cursor* cursor_ = nullptr;
  int code_ = MDB_SUCCESS;
  MDB_val key_{};
  MDB_val value_{};
};

// What LMDB cannot know of the files that it failed in.
struct Wording {
  std::string_view absent;  // "there is no log here"
  std::string_view full;    // its map has reached its greatest size, and what to do
};
// `what` failed ("log FOLDER: cannot write"), with one of LMDB's codes or an errno.
Error error_of(const std::string& what, int code, const Wording& wording);

}  // namespace ambit::lmdb
