// The one-shot digests of OpenSSL 3 look the algorithm up anew each time; the direct calls do not.
#define OPENSSL_API_COMPAT 0x10100000L

#include "log/sha256.h"

#include <openssl/sha.h>

#include <algorithm>

namespace ambit::log {
namespace {

constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

Hash sha256(std::string_view bytes) {
  return sha256({bytes});
}

Hash sha256(std::initializer_list<std::string_view> parts) {
  SHA256_CTX context;
  SHA256_Init(&context);
  for (const std::string_view part : parts) SHA256_Update(&context, part.data(), part.size());
  Hash hash;
  SHA256_Final(hash.data(), &context);
  return hash;
}

struct Sha256::State {
  SHA256_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  SHA256_Init(&state_->context);
}
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  SHA256_Update(&state_->context, bytes.data(), bytes.size());
}

Hash Sha256::finish() {
  Hash hash;
  SHA256_Final(hash.data(), &state_->context);
  return hash;
}

Result<Hash> hash_from(std::string_view bytes) {
  Hash hash{};
  if (bytes.size() != hash.size()) {
    return Err(Code::invalid, "a hash has 32 bytes, found " + std::to_string(bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(hash.data()));
  return hash;
}

void append_hex(std::string_view bytes, std::string& out) {
  std::size_t at = out.size();
  out.resize(at + bytes.size() * 2);
  for (const char c : bytes) {
    out[at++] = hex_digits[static_cast<unsigned char>(c) >> 4];
    out[at++] = hex_digits[static_cast<unsigned char>(c) & 0xF];
  }
}

std::string to_hex(std::string_view bytes) {
  std::string text;
  append_hex(bytes, text);
  return text;
}

std::string to_hex(const Hash& hash) {
  return to_hex(bytes_of(hash));
}

Result<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return Err(Code::invalid, "hex text has an even number of digits");
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const std::size_t high = hex_digits.find(hex[i]);
    const std::size_t low = hex_digits.find(hex[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) {
      return Err(Code::invalid, "this is not lower-case hex: " + std::string(hex.substr(0, 80)));
    }
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? base64_digits[(group >> (18 - 6 * k)) & 0x3F] : '=';
    }
  }
  return text;
}

Result<std::string> from_base64(std::string_view text) {
  const auto bad = [&text] {
    return Err(Code::invalid, "this is not base64: " + std::string(text.substr(0, 80)));
  };
  if (text.size() % 4 != 0) return bad();
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::size_t padding = 0;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const char c = text[i + k];
      const std::size_t digit = base64_digits.find(c);
      if (c == '=' && k >= 2 && i + 4 == text.size()) {
        ++padding;
      } else if (digit == std::string_view::npos || padding > 0) {
        return bad();
      }
      group = (group << 6) | static_cast<std::uint32_t>(c == '=' ? 0 : digit);
    }
    if ((padding == 1 && (group & 0xFF) != 0) || (padding == 2 && (group & 0xFFFF) != 0))
      return bad();
    for (std::size_t k = 0; k + padding < 3; ++k)
      bytes += static_cast<char>((group >> (16 - 8 * k)) & 0xFF);
  }
  return bytes;
}

}  // namespace ambit::log
