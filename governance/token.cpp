#include "governance/token.h"

#include "governance/action_json.h"
#include "governance/token_key.h"
#include "log/canonical_json.h"
#include "log/sha256.h"

#include <jwt/jwt.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>

namespace ambit::governance {
namespace {

using nlohmann::json;

constexpr std::size_t id_bytes_max = 256;

tl::unexpected<Error> refuse(const std::string& why) {
  return Err(Code::denied, "the token is refused: " + why);
}

// Signature of `text`; never throws. The key decides the algorithm, not the token.
bool signature_is_good(const TokenKey& key, std::string_view text, std::string_view signature) {
  const jwt::string_view pem(key.pem.data(), key.pem.size());
  const jwt::string_view head(text.data(), text.size());
  const jwt::string_view sign(signature.data(), signature.size());
  try {
    const auto result = key.algorithm == TokenAlgorithm::es256
                            ? jwt::PEMSign<jwt::algo::ES256>::verify(pem, head, sign)
                            : jwt::PEMSign<jwt::algo::RS256>::verify(pem, head, sign);
    return result.first && !result.second;
  } catch (...) {
    return false;
  }
}

std::optional<std::string> signature_of(const TokenKey& key, const std::string& text) {
  const jwt::string_view pem(key.pem.data(), key.pem.size());
  try {
    const jwt::string_view data(text.data(), text.size());
    auto result = key.algorithm == TokenAlgorithm::es256
                      ? jwt::PEMSign<jwt::algo::ES256>::sign(pem, data)
                      : jwt::PEMSign<jwt::algo::RS256>::sign(pem, data);
    if (result.second || result.first.empty()) return std::nullopt;
    return std::move(result.first);
  } catch (...) {
    return std::nullopt;
  }
}

struct Parts {
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
  std::string_view signed_text;
};

// Exactly three parts, each base64url as we would write it ourselves.
Result<Parts> cut(std::string_view token) {
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return refuse("it must have three parts");
  }
  Parts parts{token.substr(0, first), token.substr(first + 1, second - first - 1),
              token.substr(second + 1), token.substr(0, second)};
  for (const std::string_view part : {parts.header, parts.payload, parts.signature}) {
    const auto bytes = from_base64url(part);
    if (!bytes || bytes->empty()) return refuse("a part of it is not base64url");
  }
  return parts;
}

// A JSON object in which no name stands twice, at any depth.
Result<json> object_of(std::string_view part, const char* name) {
  const std::string bytes = TRY(from_base64url(part));
  const auto canonical = log::canonical_json(std::string_view(bytes));
  if (!canonical) return refuse(std::string("its ") + name + " is no sound JSON");
  json parsed = json::parse(*canonical, nullptr, false);
  if (!parsed.is_object()) return refuse(std::string("its ") + name + " is no object");
  return parsed;
}

Result<std::string> text_claim(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_string()) {
    return refuse(std::string("\"") + name + "\" is missing or no string");
  }
  auto text = at->get<std::string>();
  if (text.empty() || text.size() > id_bytes_max) {
    return refuse(std::string("\"") + name + "\" is empty or too long");
  }
  return text;
}

// Whole seconds; what is far outside of any calendar is refused before it is reckoned with.
Result<std::int64_t> time_claim(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_number_integer()) {
    return refuse(std::string("\"") + name + "\" is missing or no whole number");
  }
  constexpr std::int64_t most = 253'402'300'799;  // the end of the year 9999
  if (at->is_number_unsigned() && at->get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
    return refuse(std::string("\"") + name + "\" is no time");
  }
  const auto seconds = at->get<std::int64_t>();
  if (seconds < 0) return refuse(std::string("\"") + name + "\" is no time");
  return seconds;
}

Result<std::vector<std::string>> audience_of(const json& object) {
  const auto at = object.find("aud");
  if (at != object.end() && at->is_string()) {
    return std::vector<std::string>{at->get<std::string>()};
  }
  if (at == object.end() || !at->is_array() || at->empty() || at->size() > 32) {
    return refuse("\"aud\" is missing or no list of names");
  }
  std::vector<std::string> names;
  for (const json& one : *at) {
    if (!one.is_string()) return refuse("\"aud\" is missing or no list of names");
    names.push_back(one.get<std::string>());
  }
  return names;
}

// {"sub": "agent", "act": {"sub": "the one before", ...}} (RFC 8693).
Result<std::vector<std::string>> actors_of(const json& object, std::size_t most) {
  std::vector<std::string> actors;
  const json* at = &object;
  while (at->contains("act")) {
    at = &(*at)["act"];
    if (!at->is_object()) return refuse("\"act\" is no object");
    if (actors.size() == most) return refuse("its chain of actors is too long");
    actors.push_back(TRY(text_claim(*at, "sub")));
  }
  return actors;
}

Result<std::vector<std::string>> scopes_of(const json& object) {
  std::vector<std::string> scopes;
  const auto at = object.find("scope");
  if (at == object.end()) return scopes;
  if (!at->is_string()) return refuse("\"scope\" is no string");
  const auto text = at->get<std::string>();
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(' ', from), text.size());
    if (end > from) scopes.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return scopes;
}

Result<Claims> claims_of(const json& object, const TokenOptions& options) {
  Claims claims;
  claims.issuer = TRY(text_claim(object, "iss"));
  claims.subject = TRY(text_claim(object, "sub"));
  claims.id = TRY(text_claim(object, "jti"));
  claims.audience = TRY(audience_of(object));
  claims.issued_at_s = TRY(time_claim(object, "iat"));
  claims.expires_at_s = TRY(time_claim(object, "exp"));
  if (object.contains("nbf")) claims.not_before_s = TRY(time_claim(object, "nbf"));
  claims.actors = TRY(actors_of(object, options.actors_max));
  claims.scopes = TRY(scopes_of(object));
  claims.all = object.dump();
  claims.hash = log::to_hex(log::sha256(TRY(canonical_text(object))));
  return claims;
}

// The key for this token, by its issuer and key id.
Result<std::string> check_header(const json& header, std::string& algorithm) {
  static constexpr std::array<std::string_view, 3> known = {"alg", "kid", "typ"};
  for (const auto& [name, value] : header.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return refuse("its header has " + json(name.substr(0, 32)).dump() +
                    ", and only alg, kid and typ are understood");
    }
    if (!value.is_string()) return refuse("its header holds something that is no string");
  }
  algorithm = TRY(text_claim(header, "alg"));
  if (header.contains("typ")) {
    std::string type = header["typ"].get<std::string>();
    std::transform(type.begin(), type.end(), type.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (type != "jwt" && type != "at+jwt") return refuse("its \"typ\" is not JWT or at+jwt");
  }
  return text_claim(header, "kid");
}

Result<void> check_times(const Claims& claims, const TokenOptions& options, std::int64_t now_s) {
  if (claims.expires_at_s <= claims.issued_at_s) return refuse("it expires before it is issued");
  if (claims.expires_at_s - claims.issued_at_s > options.lifetime_max_s) {
    return refuse("it lives longer than we take");
  }
  if (now_s >= claims.expires_at_s + options.leeway_s) return refuse("it has expired");
  if (claims.issued_at_s > now_s + options.leeway_s) return refuse("it is issued in the future");
  if (claims.not_before_s > now_s + options.leeway_s) return refuse("it is not valid yet");
  return {};
}

}  // namespace

std::string_view to_string(TokenAlgorithm algorithm) {
  return algorithm == TokenAlgorithm::es256 ? "ES256" : "RS256";
}

Result<TokenVerifier> TokenVerifier::create(std::vector<TokenKey> keys, TokenOptions options) {
  if (options.audience.empty()) return Err(Code::invalid, "a verifier needs its audience");
  std::map<std::pair<std::string, std::string>, TokenKey> by_id;
  for (TokenKey& key : keys) {
    TRY(check_key(key, false));
    const auto place = std::pair(key.issuer, key.id);
    if (!by_id.try_emplace(place, std::move(key)).second) {
      return Err(Code::invalid, "two keys of " + place.first + " have the id " + place.second);
    }
  }
  return TokenVerifier(std::move(by_id), std::move(options));
}

Result<Claims> TokenVerifier::verify(std::string_view token, std::int64_t now_s) {
  if (token.size() > options_.token_bytes_max) return refuse("it is too long");
  const Parts parts = TRY(cut(token));
  const json header = TRY(object_of(parts.header, "header"));
  std::string algorithm;
  const std::string id = TRY(check_header(header, algorithm));
  const json payload = TRY(object_of(parts.payload, "payload"));
  const std::string issuer = TRY(text_claim(payload, "iss"));
  const auto key = keys_.find({issuer, id});
  if (key == keys_.end()) return refuse("its issuer or its key is not known");
  if (algorithm != to_string(key->second.algorithm)) {
    return refuse("its algorithm is not the one of its key");
  }
  if (!signature_is_good(key->second, parts.signed_text, parts.signature)) {
    return refuse("its signature is wrong");
  }
  Claims claims = TRY(claims_of(payload, options_));
  const auto& audience = claims.audience;
  if (std::find(audience.begin(), audience.end(), options_.audience) == audience.end()) {
    return refuse("it is for somebody else");
  }
  TRY(check_times(claims, options_, now_s));
  const auto revoked = revoked_.find(claims.hash);
  if (revoked != revoked_.end() && now_s < revoked->second) return refuse("it was revoked");
  if (options_.single_use) TRY(remember(claims, now_s));
  return claims;
}

Result<void> TokenVerifier::remember(const Claims& claims, std::int64_t now_s) {
  if (seen_.size() >= options_.remembered_max) {
    std::erase_if(seen_, [now_s](const auto& one) { return one.second <= now_s; });
    // Forgetting one that is still valid would let it be replayed.
    if (seen_.size() >= options_.remembered_max) {
      return Err(Code::exhausted, "too many tokens are in use at once");
    }
  }
  const std::int64_t until = claims.expires_at_s + options_.leeway_s;
  if (!seen_.try_emplace({claims.issuer, claims.id}, until).second) {
    return refuse("it was used before");
  }
  return {};
}

void TokenVerifier::revoke(const std::string& hash, std::int64_t until_s) {
  revoked_[hash] = until_s;
}

Result<std::string> issue_token(const TokenKey& key, const Claims& claims, std::string_view extra) {
  TRY(check_key(key, true));
  return issue_token(key, claims, extra, [&key](const std::string& text) -> Result<std::string> {
    auto signature = signature_of(key, text);
    if (!signature) return Err(Code::internal, "the token could not be signed");
    return std::move(*signature);
  });
}

Result<std::string> issue_token(const TokenKey& key, const Claims& claims, std::string_view extra,
                                const SignText& sign) {
  json payload = json::parse(extra, nullptr, false);
  if (!payload.is_object()) return Err(Code::invalid, "the further claims are no JSON object");
  for (const char* name : {"iss", "sub", "aud", "jti", "iat", "exp", "nbf", "act", "scope"}) {
    if (payload.contains(name)) {
      return Err(Code::invalid, std::string("\"") + name + "\" cannot be a further claim");
    }
  }
  if (claims.subject.empty() || claims.id.empty() || claims.audience.empty() ||
      claims.expires_at_s <= claims.issued_at_s) {
    return Err(Code::invalid, "a token needs sub, jti, aud, iat and a later exp");
  }
  payload["iss"] = key.issuer;
  payload["sub"] = claims.subject;
  payload["jti"] = claims.id;
  if (claims.audience.size() == 1) {
    payload["aud"] = claims.audience[0];
  } else {
    payload["aud"] = claims.audience;
  }
  payload["iat"] = claims.issued_at_s;
  payload["exp"] = claims.expires_at_s;
  if (claims.not_before_s > 0) payload["nbf"] = claims.not_before_s;
  json chain;
  for (auto actor = claims.actors.rbegin(); actor != claims.actors.rend(); ++actor) {
    json one = {{"sub", *actor}};
    if (!chain.is_null()) one["act"] = std::move(chain);
    chain = std::move(one);
  }
  if (!chain.is_null()) payload["act"] = std::move(chain);
  std::string scope;
  for (const std::string& one : claims.scopes) scope += (scope.empty() ? "" : " ") + one;
  if (!scope.empty()) payload["scope"] = scope;
  const json header = {{"alg", to_string(key.algorithm)}, {"kid", key.id}, {"typ", "JWT"}};
  const std::string text =
      to_base64url(header.dump()) + "." +
      to_base64url(payload.dump(-1, ' ', false, json::error_handler_t::replace));
  const std::string signature = TRY(sign(text));
  return text + "." + to_base64url(signature);
}

}  // namespace ambit::governance
