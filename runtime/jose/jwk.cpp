// JWK sets and compact JWS: keys from outside, and what they have signed.

#include "jose/base64url.h"
#include "jose/key.h"

#include <nlohmann/json.hpp>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

namespace ambit::jose {
namespace {

using rpc::Json;

constexpr std::size_t keys_max = 100;
constexpr std::size_t token_bytes_max = 16 << 10;

struct Free {
  void operator()(EVP_PKEY_CTX* one) const { EVP_PKEY_CTX_free(one); }
  void operator()(OSSL_PARAM_BLD* one) const { OSSL_PARAM_BLD_free(one); }
  void operator()(OSSL_PARAM* one) const { OSSL_PARAM_free(one); }
  void operator()(BIGNUM* one) const { BN_free(one); }
};
template <class T>
using Own = std::unique_ptr<T, Free>;

std::string text_of(const Json& json, const char* name) {
  const auto at = json.find(name);
  return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::string bytes_of(const Json& json, const char* name) {
  return from_base64url(text_of(json, name)).value_or("");
}

std::shared_ptr<evp_pkey_st> build(const char* kind, OSSL_PARAM_BLD* builder) {
  const Own<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const Own<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  const bool made =
      parameters && context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) == 1;
  if (!made) return nullptr;
  return {key, &EVP_PKEY_free};
}

std::shared_ptr<evp_pkey_st> ec_key(const Json& jwk) {
  const std::string x = bytes_of(jwk, "x");
  const std::string y = bytes_of(jwk, "y");
  if (x.size() != 32 || y.size() != 32) return nullptr;
  const std::string point = std::string(1, '\4') + x + y;
  const Own<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  const bool is_filled =
      builder &&
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) == 1;
  return is_filled ? build("EC", builder.get()) : nullptr;
}

std::shared_ptr<evp_pkey_st> rsa_key(const Json& jwk) {
  const auto number = [&](const char* name) {
    const std::string bytes = bytes_of(jwk, name);
    return Own<BIGNUM>(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                                 static_cast<int>(std::min<std::size_t>(bytes.size(), 1024)),
                                 nullptr));
  };
  const Own<BIGNUM> modulus = number("n");
  const Own<BIGNUM> exponent = number("e");
  const Own<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  const bool is_filled =
      builder && modulus && exponent &&
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) == 1 &&
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) == 1;
  return is_filled ? build("RSA", builder.get()) : nullptr;
}

std::shared_ptr<evp_pkey_st> ed_key(const Json& jwk) {
  const std::string x = bytes_of(jwk, "x");
  if (x.size() != 32) return nullptr;
  EVP_PKEY* key = EVP_PKEY_new_raw_public_key(
      EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(x.data()), x.size());
  return {key, &EVP_PKEY_free};
}

tl::unexpected<Error> refuse(const std::string& why) {
  return Err(Code::denied, "the token is refused: " + why);
}

Result<rpc::Value> object_of(std::string_view part, const char* name) {
  const auto bytes = from_base64url(part);
  if (!bytes) return refuse(std::string("its ") + name + " is not base64url");
  auto value = rpc::Value::parse(*bytes);
  if (!value || !value->json().is_object()) {
    return refuse(std::string("its ") + name + " is no JSON object");
  }
  return value;
}

}  // namespace

Result<Key> Key::from_jwk(const Json& jwk) {
  if (!jwk.is_object()) return Err(Code::invalid, "a JWK must be an object");
  const std::string kind = text_of(jwk, "kty");
  const std::string curve = text_of(jwk, "crv");
  const std::string use = text_of(jwk, "use");
  const std::string algorithm = text_of(jwk, "alg");
  const bool is_ec = kind == "EC" && curve == "P-256";
  const bool is_ed = kind == "OKP" && curve == "Ed25519";
  if ((!is_ec && !is_ed && kind != "RSA") || (!use.empty() && use != "sig")) {
    return Err(Code::unsupported, "a key must be P-256, RSA or Ed25519, and for signatures");
  }
  auto built = is_ec ? ec_key(jwk) : is_ed ? ed_key(jwk) : rsa_key(jwk);
  if (!built) return Err(Code::invalid, "the numbers of a JWK make no key");
  Key key = TRY(checked(std::move(built), false));
  if (!algorithm.empty() && algorithm != to_string(key.algorithm_)) {
    return Err(Code::unsupported, "a key for " + algorithm.substr(0, 32) + " is none of ours");
  }
  key.id_ = text_of(jwk, "kid");
  if (key.id_.empty()) key.id_ = key.thumbprint();
  return key;
}

Json jwks_of(const std::vector<Key>& keys) {
  Json json = Json::object();
  json["keys"] = Json::array();
  for (const Key& key : keys) json["keys"].push_back(key.public_jwk());
  return json;
}

Result<std::vector<Key>> read_jwks(const Json& json) {
  if (!json.is_object() || !json.contains("keys") || !json["keys"].is_array()) {
    return Err(Code::invalid, "a JWK set is {\"keys\": [...]}");
  }
  if (json["keys"].size() > keys_max) return Err(Code::exhausted, "a JWK set has too many keys");
  std::vector<Key> keys;
  for (const Json& one : json["keys"]) {
    auto key = Key::from_jwk(one);
    if (key) {
      keys.push_back(std::move(*key));
    } else if (key.error().code != Code::unsupported) {
      return Err(std::move(key).error().context("JWK set"));
    }
  }
  return keys;
}

Result<std::string> sign_jwt(const Key& key, Json header, const Json& claims) {
  header["alg"] = to_string(key.algorithm());
  if (!header.contains("jwk")) header["kid"] = key.id();
  const std::string text =
      to_base64url(rpc::compact(header)) + "." + to_base64url(rpc::compact(claims));
  return text + "." + to_base64url(TRY(key.sign(text)));
}

Result<Verified> verify_jwt(const std::vector<Key>& keys, std::string_view token) {
  if (token.size() > token_bytes_max) return refuse("it is too long");
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return refuse("it must have three parts");
  }
  Verified verified;
  verified.header = TRY(object_of(token.substr(0, first), "header"));
  verified.claims = TRY(object_of(token.substr(first + 1, second - first - 1), "payload"));
  const auto signature = from_base64url(token.substr(second + 1));
  if (!signature) return refuse("its signature is not base64url");
  const Json& header = verified.header.json();
  if (header.contains("crit")) return refuse("it asks for what is not understood here");
  for (const Key& key : keys) {
    if (key.id() != text_of(header, "kid")) continue;
    if (text_of(header, "alg") != to_string(key.algorithm())) {
      return refuse("its algorithm is not the one of its key");
    }
    if (!key.verify(token.substr(0, second), *signature)) return refuse("its signature is wrong");
    verified.key_id = key.id();
    return verified;
  }
  return refuse("nobody here knows its key");
}

}  // namespace ambit::jose
