#pragma once

// Numbers as LMDB's keys and values.

#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::lmdb {

// The lowest `width` bytes of a number, big-endian: LMDB's order of bytes is then the order of
// numbers.
void append_number(std::string& key, std::uint64_t number, std::size_t width);
// There are `width` bytes at `at`.
std::uint64_t number_at(std::string_view bytes, std::size_t at, std::size_t width);

}  // namespace ambit::lmdb
