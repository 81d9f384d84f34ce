// Tokens: good ones are taken, and each known way to slip a bad one past a library is refused.

#include "governance/token.h"

#include "governance/token_key.h"
#include "log/canonical_json.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <random>

using namespace ambit;
using namespace ambit::governance;
using nlohmann::json;

namespace {

constexpr std::int64_t now = 1'800'000'000;

struct Pair {
  TokenKey secret;
  TokenKey open;
};

Pair pair(TokenAlgorithm algorithm, const std::string& id) {
  Pair made;
  made.secret = {"https://issuer", id, algorithm, *make_private_key(algorithm)};
  made.open = made.secret;
  made.open.pem = *public_key_of(made.secret.pem);
  return made;
}

const Pair& ec() {
  static const Pair made = pair(TokenAlgorithm::es256, "e1");
  return made;
}
const Pair& rsa() {
  static const Pair made = pair(TokenAlgorithm::rs256, "r1");
  return made;
}

Claims claims() {
  Claims made;
  made.subject = "ada";
  made.audience = {"ambit"};
  made.id = "t1";
  made.issued_at_s = now - 10;
  made.expires_at_s = now + 600;
  made.actors = {"clerk", "dispatcher"};
  made.scopes = {"read", "refund"};
  return made;
}

TokenVerifier verifier(bool single_use = false) {
  TokenOptions options;
  options.audience = "ambit";
  options.single_use = single_use;
  auto made = TokenVerifier::create({ec().open, rsa().open}, options);
  if (!made) FAIL(made.error().message);
  return std::move(*made);
}

std::string why(const std::string& token, std::int64_t at = now) {
  const auto result = verifier().verify(token, at);
  return result ? "taken" : result.error().message;
}

std::string part(const std::string& token, std::size_t which) {
  std::size_t from = 0;
  for (; which > 0; --which) from = token.find('.', from) + 1;
  return token.substr(from, token.find('.', from) - from);
}

// A token with any header and payload, signed by the right key as if it were ours.
std::string forge(const std::string& header, const std::string& payload, const Pair& key = ec()) {
  const std::string text = to_base64url(header) + "." + to_base64url(payload);
  // Signed by OpenSSL itself, since issue_token would not write such a thing.
  BIO* memory = BIO_new_mem_buf(key.secret.pem.data(), static_cast<int>(key.secret.pem.size()));
  EVP_PKEY* pkey = PEM_read_bio_PrivateKey(memory, nullptr, nullptr, nullptr);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  std::size_t length = 0;
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, pkey);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  EVP_DigestSign(context, nullptr, &length, bytes, text.size());
  std::string der(length, '\0');
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(der.data()), &length, bytes,
                 text.size());
  der.resize(length);
  std::string raw = der;
  if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
    raw.assign(64, '\0');
    auto* out = reinterpret_cast<unsigned char*>(raw.data());
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32);
    ECDSA_SIG_free(signature);
  }
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(pkey);
  BIO_free(memory);
  return text + "." + to_base64url(raw);
}

const std::string header = R"({"alg":"ES256","kid":"e1","typ":"JWT"})";
const std::string payload =
    R"({"iss":"https://issuer","sub":"ada","aud":"ambit","jti":"t1","iat":1799999990,"exp":1800000600})";

std::string with(const std::string& name, const std::string& value) {
  json object = json::parse(payload);
  object[name] = json::parse(value);
  return object.dump();
}
std::string without(const std::string& name) {
  json object = json::parse(payload);
  object.erase(name);
  return object.dump();
}

}  // namespace

TEST_CASE("a token of ours is taken, with its chain of actors", "[token]") {
  for (const Pair* key : {&ec(), &rsa()}) {
    const auto token = issue_token(key->secret, claims(), R"({"autonomy_level":3})");
    if (!token) FAIL(token.error().message);
    auto made = verifier();
    const auto read = made.verify(*token, now);
    if (!read) FAIL(read.error().message);
    CHECK(read->subject == "ada");
    CHECK(read->actors == std::vector<std::string>{"clerk", "dispatcher"});
    CHECK(read->scopes == std::vector<std::string>{"read", "refund"});
    CHECK(json::parse(read->all)["autonomy_level"] == 3);
  }
  CHECK(why(forge(header, payload)) == "taken");
  CHECK(why(forge(R"({"alg":"ES256","kid":"e1","typ":"at+jwt"})",
                  with("aud", R"(["x","ambit"])"))) == "taken");
}

TEST_CASE("the algorithm is the key's and never the token's", "[token]") {
  const std::string bare =
      to_base64url(R"({"alg":"none","kid":"e1"})") + "." + to_base64url(payload) + ".";
  CHECK_THAT(why(bare), Catch::Contains("not base64url"));
  CHECK_THAT(why(bare + "AAAA"), Catch::Contains("algorithm is not the one of its key"));
  // The public key as the secret of an HMAC: the classic confusion.
  const std::string text =
      to_base64url(R"({"alg":"HS256","kid":"r1"})") + "." + to_base64url(payload);
  unsigned char mac[32];
  unsigned length = 0;
  HMAC(EVP_sha256(), rsa().open.pem.data(), static_cast<int>(rsa().open.pem.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &length);
  const std::string sign(reinterpret_cast<char*>(mac), length);
  CHECK_THAT(why(text + "." + to_base64url(sign)),
             Catch::Contains("algorithm is not the one of its key"));
  for (const char* name : {"RS256", "es256", "ES384", "EdDSA", "HS256", "None"}) {
    CHECK_THAT(why(forge(std::string(R"({"kid":"e1","alg":")") + name + "\"}", payload)),
               Catch::Contains("algorithm is not the one of its key"));
  }
  // One key's token under the other's name.
  CHECK_THAT(why(forge(R"({"alg":"RS256","kid":"r1"})", payload, ec())),
             Catch::Contains("signature is wrong"));
}

TEST_CASE("a header holds what we understand and nothing else", "[token]") {
  for (const char* bad :
       {R"({"alg":"ES256","kid":"e1","crit":["exp"]})", R"({"alg":"ES256","kid":"e1","b64":false})",
        R"({"alg":"ES256","kid":"e1","jwk":{}})",
        R"({"alg":"ES256","kid":"e1","jku":"https://evil"})",
        R"({"alg":"ES256","kid":"e1","x5u":"https://evil"})", R"({"alg":1,"kid":"e1"})",
        R"({"alg":"ES256","kid":"e1","typ":1})", R"({"alg":"ES256","kid":null})",
        R"({"alg":"ES256"})", R"({"kid":"e1"})", R"({"alg":"ES256","alg":"ES256","kid":"e1"})",
        R"({"alg":"ES256","kid":"e1","typ":"JOSE"})", "[]", "1", "null", "{",
        R"({"alg":"ES256","kid":"../e1"})", R"({"alg":"ES256","kid":""})"}) {
    INFO(bad);
    CHECK_THAT(why(forge(bad, payload)), Catch::StartsWith("the token is refused"));
  }
}

TEST_CASE("every claim that we rely on must be there and be sound", "[token]") {
  for (const char* name : {"iss", "sub", "aud", "jti", "iat", "exp"}) {
    INFO(name);
    CHECK_THAT(why(forge(header, without(name))), Catch::StartsWith("the token is refused"));
    for (const char* value : {"null", "{}", "[]", "true", "\"\"", "1.5", "-1", "1e400"}) {
      if (std::string(value) == "1e400") continue;
      INFO(value);
      CHECK_THAT(why(forge(header, with(name, value))), Catch::StartsWith("the token is refused"));
    }
  }
  CHECK_THAT(why(forge(header, with("exp", "18446744073709551615"))),
             Catch::StartsWith("the token is refused"));
  CHECK_THAT(why(forge(header, "[" + payload + "]")), Catch::Contains("no object"));
  CHECK_THAT(why(forge(header, "7")), Catch::Contains("no object"));
  std::string twice = payload;
  twice.insert(1, R"("sub":"eve",)");
  CHECK_THAT(why(forge(header, twice)), Catch::Contains("no sound JSON"));
  CHECK_THAT(why(forge(header, with("aud", "\"somebody\""))), Catch::Contains("somebody else"));
  CHECK_THAT(why(forge(header, with("iss", "\"https://other\""))), Catch::Contains("not known"));
}

TEST_CASE("a token counts in its time alone", "[token]") {
  const std::string good = forge(header, payload);
  CHECK(why(good, now) == "taken");
  CHECK_THAT(why(good, 1'800'000'631), Catch::Contains("expired"));
  CHECK_THAT(why(good, 1'799'999'000), Catch::Contains("in the future"));
  CHECK_THAT(why(forge(header, with("nbf", "1800000300"))), Catch::Contains("not valid yet"));
  // A tiny nbf must not turn over when the leeway is taken from it.
  CHECK(why(forge(header, with("nbf", "1"))) == "taken");
  CHECK_THAT(why(forge(header, with("exp", "1900000000"))), Catch::Contains("lives longer"));
  CHECK_THAT(why(forge(header, with("exp", "1799999980"))), Catch::Contains("before it is issued"));
}

TEST_CASE("a token has one spelling", "[token]") {
  const std::string good = forge(header, payload);
  for (const std::string& other :
       {good + std::string(1, '\0'), good + "=", good + ".", good + "\n", " " + good, "." + good,
        good + "A", good.substr(0, good.size() - 1), std::string(), std::string(".."),
        std::string(9000, 'a')}) {
    CHECK_THAT(why(other), Catch::StartsWith("the token is refused"));
  }
  // The bits that base64 leaves over in the last character.
  std::string last = good;
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  last.back() = alphabet[alphabet.find(last.back()) ^ 1U];
  CHECK_THAT(why(last), Catch::StartsWith("the token is refused"));
  // The signature in DER, or with r and s cut short.
  CHECK_THAT(why(part(good, 0) + "." + part(good, 1) + "." + to_base64url(std::string(70, '0'))),
             Catch::Contains("signature is wrong"));
  CHECK_THAT(why(part(good, 0) + "." + part(good, 1) + "." + to_base64url(std::string(64, '\0'))),
             Catch::Contains("signature is wrong"));
}

TEST_CASE("a token is taken once where that is asked for", "[token]") {
  auto made = verifier(true);
  CHECK(made.verify(forge(header, payload), now));
  const auto again = made.verify(forge(header, payload), now);  // signed anew: other bytes
  REQUIRE_FALSE(again);
  CHECK_THAT(again.error().message, Catch::Contains("used before"));
  CHECK(made.verify(forge(header, with("jti", "\"t2\"")), now));
}

TEST_CASE("a revoked token is refused, however it is signed", "[token]") {
  auto made = verifier();
  const auto first = made.verify(forge(header, payload), now);
  REQUIRE(first);
  made.revoke(first->hash, now + 1000);
  CHECK_THAT(made.verify(forge(header, payload), now).error().message, Catch::Contains("revoked"));
}

TEST_CASE("keys are what they say", "[token]") {
  TokenOptions options;
  options.audience = "ambit";
  TokenKey wrong = ec().open;
  wrong.algorithm = TokenAlgorithm::rs256;
  CHECK_FALSE(TokenVerifier::create({wrong}, options));
  wrong = rsa().open;
  wrong.algorithm = TokenAlgorithm::es256;
  CHECK_FALSE(TokenVerifier::create({wrong}, options));
  EVP_PKEY* large = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384");
  BIO* memory = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(memory, large);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  wrong = ec().open;
  wrong.pem.assign(data, static_cast<std::size_t>(size));
  BIO_free(memory);
  EVP_PKEY_free(large);
  CHECK_FALSE(TokenVerifier::create({wrong}, options));
  CHECK_FALSE(TokenVerifier::create({ec().open, ec().open}, options));
  CHECK_FALSE(TokenVerifier::create({ec().secret}, options));
  CHECK_FALSE(TokenVerifier::create({ec().open}, {}));
  wrong = ec().open;
  wrong.pem = "no key";
  CHECK_FALSE(TokenVerifier::create({wrong}, options));
  CHECK_FALSE(issue_token(ec().open, claims()));
  CHECK_FALSE(issue_token(ec().secret, claims(), R"({"sub":"eve"})"));
  CHECK_FALSE(issue_token(ec().secret, claims(), "[]"));
}

TEST_CASE("keys come from a JWK set", "[token]") {
  // RFC 7515, appendix A.3: a P-256 key.
  const std::string set = R"({"keys":[
    {"kty":"EC","crv":"P-256","kid":"k","use":"sig","alg":"ES256",
     "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"oct","kid":"h","k":"AAAA"}, {"kty":"EC","crv":"P-521","kid":"big"},
    {"kty":"RSA","kid":"enc","use":"enc","n":"AQ","e":"AQAB"}]})";
  const auto keys = keys_from_jwks(set, "https://issuer");
  if (!keys) FAIL(keys.error().message);
  REQUIRE(keys->size() == 1);
  CHECK((*keys)[0].id == "k");
  CHECK((*keys)[0].algorithm == TokenAlgorithm::es256);
  CHECK_FALSE(keys_from_jwks("{}", "i"));
  CHECK_FALSE(
      keys_from_jwks(R"({"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"AA","y":"AA"}]})", "i"));
  CHECK_FALSE(keys_from_jwks(R"({"keys":[{"kty":"RSA","kid":"s","n":"AQAB","e":"AQAB"}]})", "i"));
}

TEST_CASE("damaged tokens are refused and never crash the reader", "[token]") {
  const std::string good = forge(header, payload);
  auto made = verifier();
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    const std::size_t changes = 1 + random() % 3;
    for (std::size_t k = 0; k < changes; ++k) {
      const std::size_t at = random() % bad.size();
      switch (random() % 3) {
        case 0:
          bad[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          bad.erase(at, 1 + random() % 5);
          break;
        default:
          bad.insert(at, 1, "._-A{"[random() % 5]);
      }
      if (bad.empty()) bad = ".";
    }
    if (bad == good) continue;
    REQUIRE_FALSE(made.verify(bad, now));
  }
}
