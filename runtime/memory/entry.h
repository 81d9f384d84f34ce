#pragma once

// Entry: one kept value with where it came from, and its bytes in the table.

#include "agents/memory.h"
#include "async/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::memory {

struct Entry {
  std::string key;
  std::string value;
  std::int64_t written_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;  // 0: never
  // What was known of the value when it was written.
  agents::Trust trust = agents::Trust::untrusted;
  std::vector<std::string> sources;
  bool tainted = true;
  std::string run;
  std::string session;
  std::string agent;
  std::string person;  // for whom it was written
  friend bool operator==(const Entry&, const Entry&) = default;
};

// As it lies in the table, which has the key beside it.
struct EntryRow {
  std::uint64_t document = 0;
  Entry entry;
};
std::string to_bytes(const EntryRow& row);
// Errors (invalid): the bytes are none of ours.
Result<EntryRow> row_of_bytes(std::string_view key, std::string_view bytes);

}  // namespace ambit::memory
