#pragma once

// SHA-256 and the small codecs that go with it: hex and base64 (RFC 4648, padded, strict).

#include "async/result.h"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace ambit::log {

inline constexpr std::string_view hex_digits = "0123456789abcdef";

using Hash = std::array<std::uint8_t, 32>;

Hash sha256(std::string_view bytes);
// The hash of the parts one after another, without joining them first.
Hash sha256(std::initializer_list<std::string_view> parts);

// The same in pieces, for what is too long to be held.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view bytes);
  Hash finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

inline std::string_view bytes_of(const Hash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}
// Error: a size other than 32 bytes.
Result<Hash> hash_from(std::string_view bytes);

void append_hex(std::string_view bytes, std::string& out);
std::string to_hex(std::string_view bytes);
std::string to_hex(const Hash& hash);
Result<std::string> from_hex(std::string_view hex);
std::string to_base64(std::string_view bytes);
// Refuses what to_base64 would not write: other characters, missing padding, bits left over.
Result<std::string> from_base64(std::string_view text);

}  // namespace ambit::log
