// The half of OAuth that speaks with token endpoints: who we are there (a secret, a signed
// assertion), the grants without a person, and tokens that are bound to a key of ours (DPoP, RFC
// 9449), so that nobody else can use one that was stolen.

#include "http/url.h"
#include "jose/base64url.h"
#include "mcp/base64.h"
#include "mcp/oauth.h"
#include "mcp/oauth_form.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Value;

constexpr const char* jwt_bearer_grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr const char* exchange_grant = "urn:ietf:params:oauth:grant-type:token-exchange";
constexpr const char* assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
constexpr const char* id_jag_type = "urn:ietf:params:oauth:token-type:id-jag";
constexpr const char* id_token_type = "urn:ietf:params:oauth:token-type:id_token";
constexpr std::int64_t assertion_seconds = 300;
constexpr std::size_t nonces_max = 64;  // origins

std::string origin_of(const std::string& text) {
  const auto url = http::parse_url(text);
  return url ? http::origin(*url) : "";
}

http::Request form_request(const std::string& url, const Form& form) {
  http::Request request;
  request.method = "POST";
  request.url = url;
  request.headers = http::Headers(
      {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}});
  request.body = to_query(form);
  return request;
}

Error refused(const std::string& by, const http::Response& response, const Result<Value>& body) {
  const std::string why = body ? text_in(body->json(), "error") : "";
  return Error{Code::denied, "no token from " + by + ": HTTP " + std::to_string(response.status) +
                                 (why.empty() ? "" : " " + why)};
}

}  // namespace

// ---- tokens that are bound to a key
// ---------------------------------------------------------------------------------

std::string OAuth::proof(const std::string& method, const std::string& url,
                         const std::string& token) {
  if (!proof_key_) {
    auto made = jose::Key::make(jose::Algorithm::es256, "");
    if (!made) return "";
    proof_key_ = std::move(*made);
  }
  Json claims = {{"jti", random_text()},
                 {"htm", method},
                 {"htu", url.substr(0, url.find_first_of("?#"))},
                 {"iat", clock_.unix_ns() / 1'000'000'000}};
  if (!token.empty()) claims["ath"] = sha256_base64url(token);
  const auto nonce = nonces_.find(origin_of(url));
  if (nonce != nonces_.end()) claims["nonce"] = nonce->second;
  Json jwk = proof_key_->public_jwk();
  for (const char* key : {"kid", "use", "alg"}) jwk.erase(key);
  Json header = {{"typ", "dpop+jwt"}, {"jwk", std::move(jwk)}};
  return jose::sign_jwt(*proof_key_, std::move(header), claims).value_or("");
}

void OAuth::sign(http::Request& request) {
  const std::string value = authorization();
  if (value.empty()) return;
  request.headers.set("Authorization", value);
  if (is_bound_) request.headers.set("DPoP", proof(request.method, request.url, token_));
}

void OAuth::note(const std::string& url, const http::Headers& headers) {
  const auto nonce = headers.find("DPoP-Nonce");
  const std::string origin = origin_of(url);
  if (!nonce || origin.empty() || !http::is_header_value(std::string(*nonce))) return;
  if (nonces_.size() >= nonces_max && !nonces_.contains(origin)) return;
  nonces_[origin] = std::string(*nonce);
}

// ---- who we are
// ---------------------------------------------------------------------------------

Result<void> OAuth::prove_client(const Issuer& issuer, Form& form, http::Request& request) {
  if (issuer.method == "client_secret_basic") {
    const std::string pair = escaped(issuer.id) + ":" + escaped(issuer.secret);
    request.headers.set("Authorization", "Basic " + to_base64(pair));
    return {};
  }
  if (!issuer.id.empty()) form["client_id"] = issuer.id;
  if (issuer.method == "client_secret_post") form["client_secret"] = issuer.secret;
  if (issuer.method != "private_key_jwt") return {};
  const std::int64_t now = clock_.unix_ns() / 1'000'000'000;
  const Json claims = {{"iss", issuer.id}, {"sub", issuer.id},
                       {"aud", issuer_},   {"jti", random_text()},
                       {"iat", now},       {"exp", now + assertion_seconds}};
  form["client_assertion_type"] = assertion_type;
  form["client_assertion"] = TRY(jose::sign_jwt(*options_.key, Json::object(), claims));
  return {};
}

// ---- the token endpoint
// ---------------------------------------------------------------------------------

Task<Result<void>> OAuth::exchange(Issuer& issuer, Form form) {
  form["resource"] = resource_;
  const Json& metadata = issuer.metadata.json();
  const std::string endpoint = text_in(metadata, "token_endpoint");
  const bool binds =
      options_.binds_tokens && lists(metadata, "dpop_signing_alg_values_supported", "ES256");
  // Once more if the server wants its nonce in the proof.
  for (int attempt = 0;; ++attempt) {
    Form sent = form;
    http::Request request = form_request(endpoint, sent);
    co_await ok(prove_client(issuer, sent, request));
    request.body = to_query(sent);
    if (binds) request.headers.set("DPoP", proof("POST", endpoint, ""));
    const auto response = co_await ok(client_.send(std::move(request)));
    note(endpoint, response.headers);
    auto given = Value::parse(response.body);
    const bool wants_nonce = binds && given && text_in(given->json(), "error") == "use_dpop_nonce";
    if (wants_nonce && attempt == 0) continue;
    const std::string token = given ? text_in(given->json(), "access_token") : "";
    if (!response.is_success() || token.empty() || !http::is_header_value(token)) {
      co_return Err(refused(issuer_, response, given));
    }
    token_ = token;
    refresh_ = text_in(given->json(), "refresh_token");
    is_bound_ = binds && http::same_name(text_in(given->json(), "token_type"), "DPoP");
    co_return Result<void>();
  }
}

Task<Result<void>> OAuth::earn(Issuer& issuer, std::string scope) {
  Form form;
  if (!scope.empty()) form["scope"] = scope;
  if (options_.grant == Grant::client_credentials) {
    form["grant_type"] = "client_credentials";
    co_return co_await exchange(issuer, std::move(form));
  }
  if (!options_.assertion) {
    co_return Err(Code::invalid, "this grant needs an assertion: a JWT that says who this is");
  }
  std::string assertion = co_await ok(options_.assertion());
  if (options_.grant == Grant::enterprise) {
    assertion = co_await ok(id_jag(std::move(assertion), std::move(scope)));
  }
  form["grant_type"] = jwt_bearer_grant;
  form["assertion"] = std::move(assertion);
  co_return co_await exchange(issuer, std::move(form));
}

// What the person's company says about them to this authorization server (an ID-JAG).
Task<Result<std::string>> OAuth::id_jag(std::string id_token, std::string scope) {
  const std::string endpoint = options_.identity.token_endpoint;
  Form form = {{"grant_type", exchange_grant},
               {"requested_token_type", id_jag_type},
               {"subject_token", std::move(id_token)},
               {"subject_token_type", id_token_type},
               {"audience", issuer_},
               {"resource", resource_},
               {"client_id", options_.identity.client_id}};
  if (!scope.empty()) form["scope"] = std::move(scope);
  http::Request request = form_request(endpoint, form);
  const auto response = co_await ok(client_.send(std::move(request)));
  auto given = Value::parse(response.body);
  const std::string token = given ? text_in(given->json(), "access_token") : "";
  if (!response.is_success() || token.empty()) co_return Err(refused(endpoint, response, given));
  co_return token;
}

}  // namespace ambit::mcp
