#include "lmdb/cursor.h"

#include <cerrno>

namespace ambit::lmdb {

MDB_val to_val(std::string_view bytes) {
  // LMDB takes keys and values as void*, and only reads them.
  return {bytes.size(), const_cast<char*>(bytes.data())};
}

std::string_view to_view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

Error error_of(const std::string& what, int code, const Wording& wording) {
  const std::string failed = what + ": ";
  switch (code) {
    case ENOSPC:
      return {Code::exhausted, failed + "the disk is full; free some space"};
    // LMDB reports a write that was cut short as EIO, and a full disk cuts writes short.
    case EIO:
      return {Code::exhausted,
              failed + "the disk is full, or failing; check its space and its health"};
    case EDQUOT:
      return {Code::exhausted, failed + "the disk quota is used up"};
    case EFBIG:
      return {Code::exhausted, failed + "the file has reached the size that this user may write"};
    case MDB_MAP_FULL:
      return {Code::exhausted, failed + std::string(wording.full)};
    case EACCES:
    case EPERM:
      return {Code::denied, failed + "no permission; check who owns the folder and its mode"};
    case EROFS:
      return {Code::denied, failed + "the folder is read-only"};
    case ENOENT:
      return {Code::not_found, failed + std::string(wording.absent)};
    case MDB_NOTFOUND:
      return {Code::not_found, failed + "the entry is missing"};
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
    case MDB_CURSOR_FULL:
      return {Code::invalid,
              failed + "data.mdb is damaged (" + std::string(mdb_strerror(code)) + ")"};
    case MDB_PANIC:
      return {Code::unavailable,
              failed + "an earlier write failed half-way; close it and open it again"};
    default:
      return {Code::unavailable, failed + mdb_strerror(code)};
  }
}

}  // namespace ambit::lmdb
