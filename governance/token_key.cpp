#include "governance/token_key.h"

#include "governance/identity.h"
#include "governance/token.h"
#include "log/canonical_json.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <array>
#include <memory>
#include <set>

namespace ambit::governance {
namespace {

using nlohmann::json;

constexpr int rsa_bits_min = 2048;
constexpr int rsa_bits_max = 8192;
constexpr std::size_t keys_max = 100;

struct Free {
  void operator()(BIO* one) const { BIO_free(one); }
  void operator()(EVP_PKEY* one) const { EVP_PKEY_free(one); }
  void operator()(EVP_PKEY_CTX* one) const { EVP_PKEY_CTX_free(one); }
  void operator()(OSSL_PARAM_BLD* one) const { OSSL_PARAM_BLD_free(one); }
  void operator()(OSSL_PARAM* one) const { OSSL_PARAM_free(one); }
  void operator()(BIGNUM* one) const { BN_free(one); }
  void operator()(EVP_MD_CTX* one) const { EVP_MD_CTX_free(one); }
  void operator()(ECDSA_SIG* one) const { ECDSA_SIG_free(one); }
};
template <class T>
using Own = std::unique_ptr<T, Free>;

Own<EVP_PKEY> read_pem(std::string_view pem, bool is_private) {
  Own<BIO> memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!memory) return nullptr;
  // No passphrase: an encrypted key must not ask at a terminal.
  const auto no_passphrase = [](char*, int, int, void*) { return 0; };
  return Own<EVP_PKEY>(is_private
                           ? PEM_read_bio_PrivateKey(memory.get(), nullptr, no_passphrase, nullptr)
                           : PEM_read_bio_PUBKEY(memory.get(), nullptr, nullptr, nullptr));
}

std::string text_of(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

Result<std::string> public_pem(EVP_PKEY* key) {
  Own<BIO> memory(BIO_new(BIO_s_mem()));
  if (!memory || PEM_write_bio_PUBKEY(memory.get(), key) != 1) {
    return Err(Code::internal, "the public key could not be written");
  }
  return text_of(memory.get());
}

Result<EVP_PKEY*> build(const char* kind, OSSL_PARAM_BLD* builder) {
  const Own<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const Own<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  const bool made =
      parameters && context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) == 1;
  if (!made) return Err(Code::invalid, "its numbers make no key");
  return key;
}

Result<std::string> number_of(const json& key, const char* name) {
  const auto at = key.find(name);
  if (at == key.end() || !at->is_string()) {
    return Err(Code::invalid, std::string("it lacks \"") + name + "\"");
  }
  return from_base64url(at->get<std::string>());
}

// kty EC, crv P-256: the point as x and y.
Result<std::string> ec_pem(const json& key) {
  const std::string x = TRY(number_of(key, "x"));
  const std::string y = TRY(number_of(key, "y"));
  if (x.size() != 32 || y.size() != 32) return Err(Code::invalid, "its point is no P-256 point");
  const std::string point = std::string(1, '\4') + x + y;
  const Own<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  const bool filled =
      builder &&
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) == 1;
  if (!filled) return Err(Code::internal, "out of memory");
  const Own<EVP_PKEY> made(TRY(build("EC", builder.get())));
  return public_pem(made.get());
}

Result<std::string> rsa_pem(const json& key) {
  const std::string n = TRY(number_of(key, "n"));
  const std::string e = TRY(number_of(key, "e"));
  const auto number = [](const std::string& bytes) {
    return Own<BIGNUM>(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                                 static_cast<int>(bytes.size()), nullptr));
  };
  const Own<BIGNUM> modulus = number(n);
  const Own<BIGNUM> exponent = number(e);
  const Own<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  const bool filled =
      builder && modulus && exponent &&
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) == 1 &&
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) == 1;
  if (!filled) return Err(Code::internal, "out of memory");
  const Own<EVP_PKEY> made(TRY(build("RSA", builder.get())));
  return public_pem(made.get());
}

std::string member_text(const json& key, const char* name) {
  const auto at = key.find(name);
  return at != key.end() && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace

std::string to_base64url(std::string_view bytes) {
  std::string text = log::to_base64(bytes);
  while (!text.empty() && text.back() == '=') text.pop_back();
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

Result<std::string> from_base64url(std::string_view text) {
  std::string plain(text);
  for (char& c : plain) {
    if (c == '+' || c == '/' || c == '=') return Err(Code::invalid, "this is not base64url");
    if (c == '-') {
      c = '+';
    } else if (c == '_') {
      c = '/';
    }
  }
  if (plain.size() % 4 == 1) return Err(Code::invalid, "this is not base64url");
  plain.append((4 - plain.size() % 4) % 4, '=');
  return log::from_base64(plain);
}

Result<void> check_key(const TokenKey& key, bool is_private) {
  const std::string of = "the key " + key.id + " of " + key.issuer;
  if (key.issuer.empty() || key.id.empty()) {
    return Err(Code::invalid, "a token key needs its issuer and its id");
  }
  const Own<EVP_PKEY> made = read_pem(key.pem, is_private);
  if (!made) {
    return Err(Code::invalid,
               of + (is_private ? " is no private key in PEM" : " is no public key in PEM"));
  }
  if (key.algorithm == TokenAlgorithm::rs256) {
    const int bits = EVP_PKEY_get_bits(made.get());
    if (EVP_PKEY_get_base_id(made.get()) != EVP_PKEY_RSA || bits < rsa_bits_min ||
        bits > rsa_bits_max) {
      return Err(Code::invalid, of + " is no RSA key of 2048 to 8192 bits");
    }
    return {};
  }
  std::array<char, 64> group{};
  std::size_t length = 0;
  const bool curve =
      EVP_PKEY_get_base_id(made.get()) == EVP_PKEY_EC &&
      EVP_PKEY_get_group_name(made.get(), group.data(), group.size(), &length) == 1 &&
      std::string_view(group.data(), length) == "prime256v1";
  if (!curve) return Err(Code::invalid, of + " is no P-256 key");
  return {};
}

Result<std::vector<TokenKey>> keys_from_jwks(std::string_view text, std::string_view issuer) {
  // Canonical form first: it refuses names that are given twice.
  const std::string canonical = TRY(log::canonical_json(text));
  const json parsed = json::parse(canonical, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("keys") || !parsed["keys"].is_array()) {
    return Err(Code::invalid, "a JWK set is {\"keys\": [...]}");
  }
  if (parsed["keys"].size() > keys_max) return Err(Code::exhausted, "a JWK set of too many keys");
  std::vector<TokenKey> keys;
  std::set<std::string> seen;
  for (const json& one : parsed["keys"]) {
    const std::string type = one.is_object() ? member_text(one, "kty") : "";
    const std::string use = one.is_object() ? member_text(one, "use") : "";
    const bool ec = type == "EC" && member_text(one, "crv") == "P-256";
    const std::string algorithm = one.is_object() ? member_text(one, "alg") : "";
    const std::string wanted = ec ? "ES256" : "RS256";
    if ((!ec && type != "RSA") || (!use.empty() && use != "sig") ||
        (!algorithm.empty() && algorithm != wanted)) {
      continue;
    }
    TokenKey key;
    key.issuer = issuer;
    key.id = member_text(one, "kid");
    key.algorithm = ec ? TokenAlgorithm::es256 : TokenAlgorithm::rs256;
    auto pem = ec ? ec_pem(one) : rsa_pem(one);
    if (!pem) return Err(std::move(pem).error().context("the key " + key.id));
    key.pem = std::move(*pem);
    TRY(check_key(key, false));
    if (!seen.insert(key.id).second) return Err(Code::invalid, "two keys have the id " + key.id);
    keys.push_back(std::move(key));
  }
  return keys;
}

Result<std::string> make_private_key(TokenAlgorithm algorithm) {
  const Own<EVP_PKEY> key(algorithm == TokenAlgorithm::es256
                              ? EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")
                              : EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}));
  Own<BIO> memory(BIO_new(BIO_s_mem()));
  if (!key || !memory ||
      PEM_write_bio_PrivateKey(memory.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return Err(Code::internal, "no key could be made");
  }
  return text_of(memory.get());
}

Result<std::string> public_key_of(std::string_view private_pem) {
  const Own<EVP_PKEY> key = read_pem(private_pem, true);
  if (!key) return Err(Code::invalid, "this is no private key in PEM");
  return public_pem(key.get());
}

namespace {

Own<EVP_PKEY> read_either(std::string_view pem) {
  Own<EVP_PKEY> key = read_pem(pem, true);
  return key ? std::move(key) : read_pem(pem, false);
}

// A number of the key, big-endian, of `size` bytes (0: as many as it takes).
Result<std::string> number_in(EVP_PKEY* key, const char* name, int size) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) {
    return Err(Code::invalid, "the key lacks a number");
  }
  const Own<BIGNUM> number(raw);
  std::string bytes(static_cast<std::size_t>(size > 0 ? size : BN_num_bytes(raw)), '\0');
  if (BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(bytes.data()),
                   static_cast<int>(bytes.size())) < 0) {
    return Err(Code::invalid, "a number of the key is too long");
  }
  return to_base64url(bytes);
}

// The members that make the key, and no others (RFC 7638).
Result<json> bare_jwk(EVP_PKEY* key) {
  const bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
  const char* first_name = rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X;
  const char* second_name = rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y;
  const std::string first = TRY(number_in(key, first_name, rsa ? 0 : 32));
  const std::string second = TRY(number_in(key, second_name, rsa ? 0 : 32));
  if (rsa) return json{{"kty", "RSA"}, {"n", first}, {"e", second}};
  return json{{"kty", "EC"}, {"crv", "P-256"}, {"x", first}, {"y", second}};
}

Result<json> bare_jwk(std::string_view pem) {
  const Own<EVP_PKEY> key = read_either(pem);
  if (!key) return Err(Code::invalid, "this is no key in PEM");
  return bare_jwk(key.get());
}

// A signature of ECDSA as DER, into r and s of 32 bytes each.
Result<std::string> raw_signature(const std::string& der) {
  const auto* data = reinterpret_cast<const unsigned char*>(der.data());
  const Own<ECDSA_SIG> read(d2i_ECDSA_SIG(nullptr, &data, static_cast<long>(der.size())));
  std::string raw(64, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  const bool good = read && BN_bn2binpad(ECDSA_SIG_get0_r(read.get()), out, 32) == 32 &&
                    BN_bn2binpad(ECDSA_SIG_get0_s(read.get()), out + 32, 32) == 32;
  if (!good) return Err(Code::internal, "the signature could not be read");
  return raw;
}

}  // namespace

Result<LiveKey> LiveKey::make() {
  Own<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  if (!key) return Err(Code::internal, "no key could be made");
  LiveKey made;
  made.jwk_ = TRY(bare_jwk(key.get())).dump();
  made.thumbprint_ = to_base64url(log::bytes_of(log::sha256(made.jwk_)));
  made.key_ = std::shared_ptr<void>(key.release(),
                                    [](void* one) { EVP_PKEY_free(static_cast<EVP_PKEY*>(one)); });
  return made;
}

Result<std::string> LiveKey::sign(const std::string& text) const {
  const Own<EVP_MD_CTX> context(EVP_MD_CTX_new());
  auto* key = static_cast<EVP_PKEY*>(key_.get());
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  std::string der;
  bool good = context &&
              EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
              EVP_DigestSign(context.get(), nullptr, &size, data, text.size()) == 1;
  if (good) {
    der.resize(size);
    good = EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(der.data()), &size, data,
                          text.size()) == 1;
    der.resize(size);
  }
  if (!good) return Err(Code::internal, "the key could not sign");
  return raw_signature(der);
}

Result<std::string> LiveKey::public_pem() const {
  return governance::public_pem(static_cast<EVP_PKEY*>(key_.get()));
}

Result<std::string> jwks_of(const std::vector<TokenKey>& keys) {
  json set = {{"keys", json::array()}};
  for (const TokenKey& key : keys) {
    TRY(check_key(key, false));
    json one = TRY(bare_jwk(key.pem));
    one["kid"] = key.id;
    one["use"] = "sig";
    one["alg"] = to_string(key.algorithm);
    set["keys"].push_back(std::move(one));
  }
  return set.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<std::string> thumbprint_of(std::string_view pem) {
  // Members in the order of their names, without spaces: what the library writes.
  const std::string text = TRY(bare_jwk(pem)).dump();
  return to_base64url(log::bytes_of(log::sha256(text)));
}

}  // namespace ambit::governance
