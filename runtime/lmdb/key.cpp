#include "lmdb/key.h"

namespace ambit::lmdb {

void append_number(std::string& key, std::uint64_t number, std::size_t width) {
  for (std::size_t shift = 8 * width; shift > 0;) {
    shift -= 8;
    key += static_cast<char>((number >> shift) & 0xFF);
  }
}

std::uint64_t number_at(std::string_view bytes, std::size_t at, std::size_t width) {
  std::uint64_t number = 0;
  for (const char c : bytes.substr(at, width)) {
    number = (number << 8) | static_cast<unsigned char>(c);
  }
  return number;
}

}  // namespace ambit::lmdb
