#pragma once

// What the table of spaces holds of one, and the keys of its rows in the other tables. For the
// files of this folder alone.

#include "memory/store.h"

#include <string>
#include <string_view>

namespace ambit::memory {

struct Store::SpaceRow {
  std::uint64_t id = 0;
  std::uint64_t next_document = 0;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  // of keys and values
  std::uint64_t words = 0;  // of all texts together
};

inline constexpr int id_width = 4;
inline constexpr int document_width = 8;
inline constexpr int time_width = 8;
inline constexpr int count_width = 4;

inline std::string row_key(std::uint64_t space, std::string_view rest = {}) {
  std::string key;
  append_number(key, space, id_width);
  key += rest;
  return key;
}
// A word's rows in order of the texts that hold it.
inline std::string word_key(std::uint64_t space, std::string_view word) {
  std::string key = row_key(space, word);
  key += '\0';
  return key;
}
inline bool is_live(std::int64_t expires_ms, std::int64_t now_ms) {
  return expires_ms == 0 || expires_ms > now_ms;
}

}  // namespace ambit::memory
