#include "io/uuid.h"

namespace ambit::io {
namespace {

using Bytes = std::array<std::uint8_t, 16>;

std::string text_of(Bytes bytes, unsigned version) {
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0FU) | (version << 4U));
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3FU) | 0x80U);
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += digits[bytes[i] >> 4U];
    text += digits[bytes[i] & 0x0FU];
  }
  return text;
}

}  // namespace

std::string uuid_v4(Entropy& entropy) {
  Bytes bytes{};
  entropy.fill(bytes);
  return text_of(bytes, 4);
}

std::string uuid_v7(Clock& clock, Entropy& entropy) {
  Bytes bytes{};
  entropy.fill(bytes);
  auto ms = static_cast<std::uint64_t>(clock.unix_ns() / 1'000'000);
  for (std::size_t i = 6; i-- > 0; ms >>= 8U) bytes[i] = static_cast<std::uint8_t>(ms);
  return text_of(bytes, 7);
}

}  // namespace ambit::io
