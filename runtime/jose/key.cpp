#include "jose/key.h"

#include "async/check.h"
#include "jose/base64url.h"

#include <nlohmann/json.hpp>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>

namespace ambit::jose {
namespace {

using rpc::Json;

constexpr int rsa_bits_min = 2048;
constexpr int rsa_bits_max = 8192;
constexpr std::size_t part_bytes = 32;  // of an ES256 signature: r, then s

struct ReleaseSigning {
  void operator()(BIO* one) const { BIO_free(one); }
  void operator()(EVP_MD_CTX* one) const { EVP_MD_CTX_free(one); }
  void operator()(ECDSA_SIG* one) const { ECDSA_SIG_free(one); }
};
template <class T>
using OwnSigning = std::unique_ptr<T, ReleaseSigning>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

const EVP_MD* digest_of(Algorithm algorithm) {
  return algorithm == Algorithm::eddsa ? nullptr : EVP_sha256();
}

// OpenSSL writes DER, JWS wants r and s of fixed length, and back.
Result<std::string> raw_of(std::string_view der) {
  const unsigned char* at = bytes_of(der);
  const OwnSigning<ECDSA_SIG> both(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  std::string raw(2 * part_bytes, '\0');
  const bool good =
      both && BN_bn2binpad(ECDSA_SIG_get0_r(both.get()), bytes_of(raw), part_bytes) > 0 &&
      BN_bn2binpad(ECDSA_SIG_get0_s(both.get()), bytes_of(raw) + part_bytes, part_bytes) > 0;
  if (!good) return Err(Code::internal, "the signature could not be written");
  return raw;
}

std::string der_of(std::string_view raw) {
  if (raw.size() != 2 * part_bytes) return "";
  const OwnSigning<ECDSA_SIG> both(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(bytes_of(raw), part_bytes, nullptr);
  BIGNUM* s = BN_bin2bn(bytes_of(raw) + part_bytes, part_bytes, nullptr);
  if (!both || ECDSA_SIG_set0(both.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return "";
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(both.get(), &der);
  std::string text;
  if (size > 0) text.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return text;
}

std::string number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return "";
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, bytes_of(bytes));
  BN_free(number);
  return bytes;
}

}  // namespace

std::string_view to_string(Algorithm algorithm) {
  constexpr std::string_view names[] = {"ES256", "RS256", "EdDSA"};
  return names[static_cast<std::size_t>(algorithm)];
}

std::string sha256(std::string_view bytes) {
  std::string digest(32, '\0');
  unsigned int length = 0;
  INVARIANT(EVP_Digest(bytes.data(), bytes.size(), bytes_of(digest), &length, EVP_sha256(),
                       nullptr) == 1);
  return digest;
}

Result<Key> Key::checked(std::shared_ptr<evp_pkey_st> key, bool is_private) {
  if (!key) return Err(Code::invalid, "this is no key");
  const int kind = EVP_PKEY_get_base_id(key.get());
  if (kind == EVP_PKEY_ED25519) return Key(std::move(key), Algorithm::eddsa, is_private);
  if (kind == EVP_PKEY_RSA) {
    const int bits = EVP_PKEY_get_bits(key.get());
    if (bits < rsa_bits_min || bits > rsa_bits_max) {
      return Err(Code::invalid, "an RSA key must have 2048 to 8192 bits");
    }
    return Key(std::move(key), Algorithm::rs256, is_private);
  }
  std::array<char, 64> group{};
  std::size_t length = 0;
  const bool is_p256 =
      kind == EVP_PKEY_EC &&
      EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), &length) == 1 &&
      std::string_view(group.data(), length) == "prime256v1";
  if (!is_p256) return Err(Code::unsupported, "a key must be P-256, RSA or Ed25519");
  return Key(std::move(key), Algorithm::es256, is_private);
}

Result<Key> Key::make(Algorithm algorithm, std::string id) {
  EVP_PKEY* made = nullptr;
  switch (algorithm) {
    case Algorithm::es256:
      made = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
      break;
    case Algorithm::rs256:
      made = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(rsa_bits_min));
      break;
    case Algorithm::eddsa:
      made = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
      break;
  }
  Key key = TRY(checked({made, &EVP_PKEY_free}, true));
  key.id_ = id.empty() ? key.thumbprint() : std::move(id);
  return key;
}

Result<Key> Key::from_pem(std::string_view pem, std::string id) {
  const OwnSigning<BIO> memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // No passphrase: an encrypted key must not ask at a terminal.
  const auto no_passphrase = [](char*, int, int, void*) { return 0; };
  EVP_PKEY* read =
      memory ? PEM_read_bio_PrivateKey(memory.get(), nullptr, no_passphrase, nullptr) : nullptr;
  if (read == nullptr) return Err(Code::invalid, "this is no private key in PEM");
  Key key = TRY(checked({read, &EVP_PKEY_free}, true));
  key.id_ = id.empty() ? key.thumbprint() : std::move(id);
  return key;
}

Result<std::string> Key::pem() const {
  const OwnSigning<BIO> memory(BIO_new(BIO_s_mem()));
  if (!is_private_ || !memory ||
      PEM_write_bio_PrivateKey(memory.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return Err(Code::internal, "the private key cannot be written");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

// The members that make the key, in the order in which a thumbprint has them.
Json Key::members() const {
  Json json = Json::object();
  if (algorithm_ == Algorithm::rs256) {
    json["e"] = to_base64url(number_of(key_.get(), OSSL_PKEY_PARAM_RSA_E));
    json["kty"] = "RSA";
    json["n"] = to_base64url(number_of(key_.get(), OSSL_PKEY_PARAM_RSA_N));
    return json;
  }
  if (algorithm_ == Algorithm::eddsa) {
    std::string raw(32, '\0');
    std::size_t size = raw.size();
    INVARIANT(EVP_PKEY_get_raw_public_key(key_.get(), bytes_of(raw), &size) == 1);
    json["crv"] = "Ed25519";
    json["kty"] = "OKP";
    json["x"] = to_base64url(raw);
    return json;
  }
  // Leading zeros belong to a coordinate.
  const auto coordinate = [&](const char* name) {
    std::string bytes = number_of(key_.get(), name);
    return to_base64url(std::string(part_bytes - std::min(bytes.size(), part_bytes), '\0') + bytes);
  };
  json["crv"] = "P-256";
  json["kty"] = "EC";
  json["x"] = coordinate(OSSL_PKEY_PARAM_EC_PUB_X);
  json["y"] = coordinate(OSSL_PKEY_PARAM_EC_PUB_Y);
  return json;
}

Json Key::public_jwk() const {
  Json json = members();
  json["kid"] = id_;
  json["alg"] = to_string(algorithm_);
  json["use"] = "sig";
  return json;
}

std::string Key::thumbprint() const {
  return to_base64url(sha256(rpc::compact(members())));
}

Result<std::string> Key::sign(std::string_view text) const {
  const OwnSigning<EVP_MD_CTX> context(EVP_MD_CTX_new());
  std::size_t size = 0;
  const bool begun =
      is_private_ && context &&
      EVP_DigestSignInit(context.get(), nullptr, digest_of(algorithm_), nullptr, key_.get()) == 1 &&
      EVP_DigestSign(context.get(), nullptr, &size, bytes_of(text), text.size()) == 1;
  if (!begun) return Err(Code::invalid, "the key " + id_ + " cannot sign");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), bytes_of(signature), &size, bytes_of(text), text.size()) != 1) {
    return Err(Code::internal, "the key " + id_ + " did not sign");
  }
  signature.resize(size);
  return algorithm_ == Algorithm::es256 ? raw_of(signature) : Result<std::string>(signature);
}

bool Key::verify(std::string_view text, std::string_view signature) const {
  const std::string given =
      algorithm_ == Algorithm::es256 ? der_of(signature) : std::string(signature);
  const OwnSigning<EVP_MD_CTX> context(EVP_MD_CTX_new());
  return !given.empty() && context &&
         EVP_DigestVerifyInit(context.get(), nullptr, digest_of(algorithm_), nullptr, key_.get()) ==
             1 &&
         EVP_DigestVerify(context.get(), bytes_of(std::string_view(given)), given.size(),
                          bytes_of(text), text.size()) == 1;
}

}  // namespace ambit::jose
