#pragma once

// Keys that sign and check (JWK, RFC 7517; JWS, RFC 7515): ES256, RS256 and EdDSA, one algorithm a
// key. The key decides the algorithm, never what is checked. OpenSSL stays behind this header.

#include "async/result.h"
#include "rpc/value.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;

namespace ambit::jose {

enum class Algorithm : std::uint8_t { es256, rs256, eddsa };
std::string_view to_string(Algorithm algorithm);  // "ES256"

class Key {
 public:
  // A new private key; RSA has 2048 bits.
  static Result<Key> make(Algorithm algorithm, std::string id);
  // A private key in PEM: P-256, RSA of 2048 to 8192 bits, or Ed25519. An empty id: the thumbprint.
  static Result<Key> from_pem(std::string_view pem, std::string id);
  // A public key. Code::unsupported: a kind or use that is none of ours.
  static Result<Key> from_jwk(const rpc::Json& jwk);

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] Algorithm algorithm() const { return algorithm_; }
  [[nodiscard]] bool is_private() const { return is_private_; }
  // With kid, alg and use.
  [[nodiscard]] rpc::Json public_jwk() const;
  // RFC 7638, SHA-256.
  [[nodiscard]] std::string thumbprint() const;
  // Of a private key.
  [[nodiscard]] Result<std::string> pem() const;

  // The signature's bytes as JWS has them. Error: the key is public.
  [[nodiscard]] Result<std::string> sign(std::string_view text) const;
  [[nodiscard]] bool verify(std::string_view text, std::string_view signature) const;

 private:
  Key(std::shared_ptr<evp_pkey_st> key, Algorithm algorithm, bool is_private)
      : key_(std::move(key)), algorithm_(algorithm), is_private_(is_private) {}
  static Result<Key> checked(std::shared_ptr<evp_pkey_st> key, bool is_private);
  [[nodiscard]] rpc::Json members() const;

  std::shared_ptr<evp_pkey_st> key_;  // never changed once it is made
  Algorithm algorithm_;
  bool is_private_;
  std::string id_;
};

// {"keys": [...]}, public halves alone.
rpc::Json jwks_of(const std::vector<Key>& keys);
// The keys of a set that are of our kinds, at most 100; others are left out.
Result<std::vector<Key>> read_jwks(const rpc::Json& json);

// header.payload.signature. `header` gets alg and kid.
Result<std::string> sign_jwt(const Key& key, rpc::Json header, const rpc::Json& claims);
// Checks the signature of a compact JWS by the key that its kid names, and gives header and
// payload; what they claim is the caller's to check. Every error says what is wrong, not the token.
struct Verified {
  rpc::Value header;
  rpc::Value claims;
  std::string key_id;
};
Result<Verified> verify_jwt(const std::vector<Key>& keys, std::string_view token);

// SHA-256, as bytes.
std::string sha256(std::string_view bytes);

}  // namespace ambit::jose
