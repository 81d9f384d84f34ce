#include "async/check.h"
#include "lmdb/key.h"
#include "log/sha256.h"
#include "log/subjects.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace ambit::log {
namespace {

// A stored payload: version (1), number of the subject (8), nonce (12), tag (16), then as many
// bytes as salt and payload have.
constexpr char format_version = 1;
constexpr std::size_t number_bytes = 8;
constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t tag_bytes = 16;
constexpr std::size_t header_bytes = 1 + number_bytes + nonce_bytes + tag_bytes;

std::array<std::uint8_t, 9> place_bytes(std::uint64_t index, std::size_t place) {
  std::array<std::uint8_t, 9> bytes{};
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(index >> (56 - 8 * i));
  bytes[8] = static_cast<std::uint8_t>(place);
  return bytes;
}

std::uint8_t* raw(char* bytes) {
  return reinterpret_cast<std::uint8_t*>(bytes);
}
const std::uint8_t* raw(const char* bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}

}  // namespace

struct PayloadCipher::State {
  EVP_CIPHER_CTX* sealing = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX* opening = EVP_CIPHER_CTX_new();
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  // The keys that the two contexts are set up for: to set one up costs more than a short payload.
  std::optional<SubjectKey> sealing_key;
  std::optional<SubjectKey> opening_key;
};

PayloadCipher::PayloadCipher() : state_(std::make_unique<State>()) {
  INVARIANT(state_->sealing != nullptr && state_->opening != nullptr && state_->cipher != nullptr);
  INVARIANT(EVP_EncryptInit_ex(state_->sealing, state_->cipher, nullptr, nullptr, nullptr) == 1);
  INVARIANT(EVP_DecryptInit_ex(state_->opening, state_->cipher, nullptr, nullptr, nullptr) == 1);
}

PayloadCipher::~PayloadCipher() {
  EVP_CIPHER_CTX_free(state_->sealing);
  EVP_CIPHER_CTX_free(state_->opening);
  EVP_CIPHER_free(state_->cipher);
}

std::string PayloadCipher::seal(std::uint64_t subject, const SubjectKey& key, std::uint64_t index,
                                std::size_t place, std::string_view salt, std::string_view bytes) {
  INVARIANT(salt.size() == salt_bytes);
  std::string out(header_bytes + salt.size() + bytes.size(), '\0');
  out[0] = format_version;
  for (std::size_t i = 0; i < number_bytes; ++i) {
    out[1 + i] = static_cast<char>(subject >> (56 - 8 * i));
  }
  // The salt is 32 random bytes used once: so is what is derived from it.
  const Hash derived = sha256({"nonce", salt});
  char* const nonce = out.data() + 1 + number_bytes;
  std::memcpy(nonce, derived.data(), nonce_bytes);
  const auto bound = place_bytes(index, place);
  EVP_CIPHER_CTX* context = state_->sealing;
  const bool is_set_up = state_->sealing_key == key;
  INVARIANT(EVP_EncryptInit_ex(context, nullptr, nullptr, is_set_up ? nullptr : key.data(),
                               raw(nonce)) == 1);
  state_->sealing_key = key;
  int count = 0;
  INVARIANT(EVP_EncryptUpdate(context, nullptr, &count, bound.data(), bound.size()) == 1);
  std::uint8_t* at = raw(out.data() + header_bytes);
  INVARIANT(EVP_EncryptUpdate(context, at, &count, raw(salt.data()), salt_bytes) == 1);
  at += count;
  // OpenSSL counts with int.
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, std::size_t{1} << 30);
    INVARIANT(EVP_EncryptUpdate(context, at, &count, raw(part.data()),
                                static_cast<int>(part.size())) == 1);
    at += count;
    bytes.remove_prefix(part.size());
  }
  INVARIANT(EVP_EncryptFinal_ex(context, at, &count) == 1);
  INVARIANT(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, tag_bytes,
                                out.data() + header_bytes - tag_bytes) == 1);
  return out;
}

Result<std::uint64_t> PayloadCipher::subject_of(std::string_view stored) {
  if (stored.size() < header_bytes + salt_bytes || stored[0] != format_version) {
    return Err(Code::invalid, "it is not a stored payload");
  }
  return lmdb::number_at(stored, 1, number_bytes);
}

Result<void> PayloadCipher::open(std::string_view stored, const SubjectKey& key,
                                 std::uint64_t index, std::size_t place, std::string& opened) {
  TRY(subject_of(stored));
  const auto bound = place_bytes(index, place);
  EVP_CIPHER_CTX* context = state_->opening;
  std::array<std::uint8_t, tag_bytes> tag{};
  std::memcpy(tag.data(), stored.data() + header_bytes - tag_bytes, tag_bytes);
  std::string_view rest = stored.substr(header_bytes);
  opened.resize(rest.size());
  int count = 0;
  const bool is_set_up = state_->opening_key == key;
  state_->opening_key = key;
  bool good = EVP_DecryptInit_ex(context, nullptr, nullptr, is_set_up ? nullptr : key.data(),
                                 raw(stored.data() + 1 + number_bytes)) == 1 &&
              EVP_DecryptUpdate(context, nullptr, &count, bound.data(), bound.size()) == 1;
  std::uint8_t* at = raw(opened.data());
  while (good && !rest.empty()) {
    const std::string_view part = rest.substr(0, std::size_t{1} << 30);
    good = EVP_DecryptUpdate(context, at, &count, raw(part.data()),
                             static_cast<int>(part.size())) == 1;
    at += count;
    rest.remove_prefix(part.size());
  }
  good = good && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, tag_bytes, tag.data()) == 1 &&
         EVP_DecryptFinal_ex(context, at, &count) == 1;
  if (!good) return Err(Code::invalid, "it is not what was stored");
  return {};
}

}  // namespace ambit::log
