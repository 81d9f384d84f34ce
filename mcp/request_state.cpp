#include "mcp/request_state.h"

#include "async/check.h"
#include "jose/base64url.h"

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include <memory>
#include <optional>

namespace ambit::mcp {
namespace {

constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t tag_bytes = 16;
constexpr std::size_t sealed_bytes_max = 1 << 20;

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

Error refused(const std::string& why) {
  return Error{Code::denied, "requestState: " + why + "; make the request again from its start"};
}

}  // namespace

StateSealer::StateSealer(io::Clock& clock, io::Entropy& entropy, Duration lifetime)
    : clock_(clock),
      entropy_(entropy),
      lifetime_ms_(std::chrono::duration_cast<std::chrono::milliseconds>(lifetime).count()) {
  entropy_.fill(key_);
}

std::string StateSealer::seal(const rpc::Value& state, std::string_view about) {
  const std::int64_t until_ms = clock_.unix_ns() / 1'000'000 + lifetime_ms_;
  const std::string plain = rpc::compact(rpc::Json{{"untilMs", until_ms}, {"state", state.json()}});
  std::array<std::uint8_t, nonce_bytes> nonce{};
  entropy_.fill(nonce);
  std::string out(nonce.begin(), nonce.end());
  out.resize(nonce_bytes + plain.size() + tag_bytes);
  const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int length = 0;
  INVARIANT(cipher != nullptr);
  INVARIANT(
      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), nonce.data()) == 1);
  INVARIANT(EVP_EncryptUpdate(cipher.get(), nullptr, &length, bytes_of(about),
                              static_cast<int>(about.size())) == 1);
  unsigned char* body = bytes_of(out) + nonce_bytes;
  INVARIANT(EVP_EncryptUpdate(cipher.get(), body, &length, bytes_of(plain),
                              static_cast<int>(plain.size())) == 1);
  INVARIANT(EVP_EncryptFinal_ex(cipher.get(), body + length, &length) == 1);
  INVARIANT(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(tag_bytes),
                                body + plain.size()) == 1);
  return jose::to_base64url(out);
}

Result<rpc::Value> StateSealer::open(std::string_view sealed, std::string_view about) const {
  auto decoded = sealed.size() <= sealed_bytes_max ? jose::from_base64url(sealed) : std::nullopt;
  if (!decoded || decoded->size() < nonce_bytes + tag_bytes) return Err(refused("is not ours"));
  std::string& in = *decoded;
  std::string plain(in.size() - nonce_bytes - tag_bytes, '\0');
  const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  INVARIANT(cipher != nullptr);
  int length = 0;
  unsigned char* body = bytes_of(in) + nonce_bytes;
  bool good =
      EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes_of(in)) == 1;
  good = good && EVP_DecryptUpdate(cipher.get(), nullptr, &length, bytes_of(about),
                                   static_cast<int>(about.size())) == 1;
  good = good && EVP_DecryptUpdate(cipher.get(), bytes_of(plain), &length, body,
                                   static_cast<int>(plain.size())) == 1;
  good = good && EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG,
                                     static_cast<int>(tag_bytes), body + plain.size()) == 1;
  good = good && EVP_DecryptFinal_ex(cipher.get(), bytes_of(plain) + length, &length) == 1;
  if (!good) return Err(refused("is not ours, was changed, or belongs to another request"));
  const rpc::Value value = TRY(rpc::Value::parse(plain));
  if (value.json()["untilMs"].get<std::int64_t>() < clock_.unix_ns() / 1'000'000) {
    return Err(refused("is too old"));
  }
  return rpc::Value(value.json()["state"]);
}

}  // namespace ambit::mcp
