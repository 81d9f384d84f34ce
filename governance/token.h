#pragma once

// JSON Web Tokens, in and out, for agents and people. Everything that an attacker writes is read by
// our own strict parser; the library only checks and makes the signature, with the one algorithm
// that the key is for. ES256 and RS256 and nothing else.

#include "async/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

enum class TokenAlgorithm : std::uint8_t { es256, rs256 };
std::string_view to_string(TokenAlgorithm algorithm);

// A key with the one algorithm, the one issuer and the one id that it is for.
struct TokenKey {
  std::string issuer;
  std::string id;  // "kid"
  TokenAlgorithm algorithm = TokenAlgorithm::es256;
  std::string pem;  // public, to verify; private, to issue
};

// Checks that it is a P-256 key (ES256), or an RSA key of at least 2048 bits (RS256).
Result<void> check_key(const TokenKey& key, bool is_private);
// The keys of a JWK set that are for signatures; others are left out. Errors: no JSON, a key of
// ours that is damaged, two of one id.
Result<std::vector<TokenKey>> keys_from_jwks(std::string_view json, std::string_view issuer);

struct Claims {
  std::string issuer;
  std::string subject;                // the person
  std::vector<std::string> audience;  // at least one
  std::string id;                     // "jti"
  std::int64_t issued_at_s = 0;
  std::int64_t expires_at_s = 0;
  std::int64_t not_before_s = 0;    // 0: not said
  std::vector<std::string> actors;  // the chain of "act": who acts now first
  std::vector<std::string> scopes;
  std::string all;   // the whole payload, as JSON
  std::string hash;  // SHA-256 hex of the payload's canonical form
  friend bool operator==(const Claims&, const Claims&) = default;
};

struct TokenOptions {
  std::string audience;        // we: must be among the token's
  std::int64_t leeway_s = 30;  // for clocks that differ
  std::int64_t lifetime_max_s = 86'400;
  std::size_t token_bytes_max = 8192;
  std::size_t actors_max = 8;
  std::size_t remembered_max = 100'000;  // ids of tokens, so that none is taken twice
  bool single_use = false;               // refuse a token id that was seen before
};

class TokenVerifier {
 public:
  // Errors: a key that is not what it should be, two of one issuer and id, no audience.
  static Result<TokenVerifier> create(std::vector<TokenKey> keys, TokenOptions options);

  // Every error is Code::denied or Code::invalid and says what is wrong, never the token.
  Result<Claims> verify(std::string_view token, std::int64_t now_s);
  // By the hash of its claims, so that another spelling of the token is refused too.
  void revoke(const std::string& hash, std::int64_t until_s);

 private:
  TokenVerifier(std::map<std::pair<std::string, std::string>, TokenKey> keys, TokenOptions options)
      : keys_(std::move(keys)), options_(std::move(options)) {}
  Result<void> remember(const Claims& claims, std::int64_t now_s);

  std::map<std::pair<std::string, std::string>, TokenKey> keys_;  // by issuer and id
  TokenOptions options_;
  std::map<std::pair<std::string, std::string>, std::int64_t> seen_;  // issuer, jti: until when
  std::map<std::string, std::int64_t> revoked_;                       // hash: until when
};

// Signs `claims` (`all` and `hash` are ignored). `extra` is a JSON object of further claims; it
// cannot set those above. Errors: a key that is not private, a claim that is missing.
Result<std::string> issue_token(const TokenKey& key, const Claims& claims,
                                std::string_view extra = "{}");
// The same, signed elsewhere: `sign` gives the raw signature; `key` needs no PEM.
using SignText = std::function<Result<std::string>(const std::string& text)>;
Result<std::string> issue_token(const TokenKey& key, const Claims& claims, std::string_view extra,
                                const SignText& sign);
// A new private key, PEM.
Result<std::string> make_private_key(TokenAlgorithm algorithm);
// The public half of it, PEM.
Result<std::string> public_key_of(std::string_view private_pem);

}  // namespace ambit::governance
