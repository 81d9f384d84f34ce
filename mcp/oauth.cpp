#include "mcp/oauth.h"

#include "http/message.h"
#include "http/url.h"
#include "jose/base64url.h"
#include "mcp/oauth_form.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Value;

// Where metadata may be: "/.well-known/NAME" before the path, or after it.
std::string before_path(const http::Url& url, const std::string& name) {
  const std::string path = url.path == "/" ? "" : url.path;
  return http::origin(url) + "/.well-known/" + name + path;
}

// Tokens and codes travel only where nobody listens: https, or this machine.
bool is_safe(const std::string& text) {
  const auto url = http::parse_url(text);
  return url && (url->is_https || url->host == "localhost" || url->host == "127.0.0.1" ||
                 url->host == "::1");
}

// The metadata is for this server: the same origin, and a path that its path begins with.
bool covers(const std::string& resource, const std::string& server) {
  const auto a = http::parse_url(resource);
  const auto b = http::parse_url(server);
  if (!a || !b || http::origin(*a) != http::origin(*b)) return false;
  std::string path = a->path;
  if (!path.ends_with('/')) path += '/';
  return (b->path + "/").starts_with(path);
}

void split_scopes(const std::string& text, std::set<std::string>& out) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) out.insert(text.substr(at, end - at));
    at = end + 1;
  }
}

}  // namespace

std::map<std::string, std::string> bearer_challenge(std::string_view header) {
  Form parameters;
  std::string scheme(header.substr(0, std::min(header.find(' '), header.size())));
  if (!http::same_name(scheme, "Bearer") && !http::same_name(scheme, "DPoP")) return parameters;
  std::string_view rest = header.substr(scheme.size());
  while (!rest.empty()) {
    const std::size_t equals = rest.find('=');
    if (equals == std::string_view::npos) break;
    std::string key(rest.substr(0, equals));
    key.erase(std::remove_if(key.begin(), key.end(), [](char c) { return c == ' ' || c == ','; }),
              key.end());
    rest.remove_prefix(equals + 1);
    std::string value;
    if (rest.starts_with('"')) {
      std::size_t at = 1;
      for (; at < rest.size() && rest[at] != '"'; ++at) {
        if (rest[at] == '\\' && at + 1 < rest.size()) ++at;
        value += rest[at];
      }
      rest.remove_prefix(std::min(at + 1, rest.size()));
    } else {
      value = rest.substr(0, rest.find_first_of(", "));
      rest.remove_prefix(value.size());
    }
    parameters.emplace(std::move(key), std::move(value));
  }
  return parameters;
}

OAuth::OAuth(http::Client& client, io::Clock& clock, io::Entropy& entropy, OAuthOptions options)
    : client_(client), clock_(clock), entropy_(entropy), options_(std::move(options)) {}

std::string OAuth::random_text() {
  std::array<std::uint8_t, 32> bytes{};
  entropy_.fill(bytes);
  return jose::to_base64url({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Task<Result<Value>> OAuth::fetch(std::string url) {
  http::Request request;
  request.url = url;
  request.headers = http::Headers({{"Accept", "application/json"}});
  auto response = co_await ok(client_.send(std::move(request)));
  if (!response.is_success()) {
    co_return Err(Code::not_found, url + " answers with HTTP " + std::to_string(response.status));
  }
  rpc::ParseLimits limits;
  limits.bytes_max = options_.document_bytes_max;
  auto document = Value::parse(response.body, limits);
  if (!document) co_return Err(std::move(document).error().context(url));
  if (!document->json().is_object()) co_return Err(Code::invalid, url + ": must be an object");
  co_return std::move(*document);
}

// The first of the documents that is there.
Task<Result<Value>> OAuth::first_of(std::vector<std::string> urls, std::string what) {
  Error last{Code::not_found, "there is none"};
  for (const std::string& url : urls) {
    auto document = co_await fetch(url);
    if (document) co_return std::move(document);
    last = std::move(document).error();
  }
  co_return Err(std::move(last).context(what));
}

Task<Result<void>> OAuth::answer(std::string resource, int status, std::string challenge,
                                 std::string used) {
  auto turn = co_await turn_.acquire();
  if (used != authorization()) co_return Result<void>();  // somebody was here before us
  const Form said = bearer_challenge(challenge);
  // Only a fresh nonce was missing, and note() has it by now.
  if (said.contains("error") && said.at("error") == "use_dpop_nonce" && !token_.empty()) {
    co_return Result<void>();
  }
  const bool wants_more = said.contains("error") && said.at("error") == "insufficient_scope";
  if (status == 403 && !wants_more) {
    co_return Err(Code::denied, "the server refuses what these credentials ask for");
  }
  co_await ok(find_resource(resource, said));
  co_await ok(find_issuer(issuer_));
  Issuer& issuer = issuers_[issuer_];
  if (issuer.id.empty()) co_await ok(register_client(issuer));
  const std::string scope = scope_for(said, status, issuer.metadata.json());
  if (status == 401 && !refresh_.empty()) {
    Form form = {{"grant_type", "refresh_token"}, {"refresh_token", refresh_}};
    refresh_.clear();
    auto refreshed = co_await exchange(issuer, std::move(form));
    if (refreshed) co_return Result<void>();
  }
  if (options_.grant != Grant::authorization_code) co_return co_await earn(issuer, scope);
  co_return co_await authorize(issuer, scope);
}

// What the server says of itself: its name as a resource, and who gives tokens for it.
Task<Result<void>> OAuth::find_resource(std::string resource, Form challenge) {
  const http::Url url = co_await ok(http::parse_url(resource));
  std::vector<std::string> places;
  if (challenge.contains("resource_metadata")) {
    places.push_back(challenge.at("resource_metadata"));
  } else {
    places.push_back(before_path(url, "oauth-protected-resource"));
    if (url.path != "/")
      places.push_back(http::origin(url) + "/.well-known/oauth-protected-resource");
  }
  const std::string before = issuer_;
  auto document = co_await first_of(std::move(places), "the server's OAuth metadata");
  if (!document) {
    // Servers of 2025-03-26 are their own authorization servers and have no such document.
    if (document.error().code != Code::not_found) co_return Err(std::move(document).error());
    resource_metadata_ = Json::object();
    resource_ = resource;
    issuer_ = http::origin(url);
  } else {
    resource_ = text_in(document->json(), "resource");
    if (!covers(resource_, resource)) {
      co_return Err(Code::denied, "the server's OAuth metadata is for \"" + resource_ +
                                      "\", not for " + resource);
    }
    const Json& servers = document->json().contains("authorization_servers")
                              ? document->json()["authorization_servers"]
                              : Json();
    const bool named = servers.is_array() && !servers.empty() && servers[0].is_string();
    issuer_ = named ? servers[0].get<std::string>() : http::origin(url);
    resource_metadata_ = std::move(*document);
  }
  // Another issuer's tokens are no business of this one.
  if (issuer_ != before) refresh_.clear();
  co_return Result<void>();
}

Task<Result<void>> OAuth::find_issuer(std::string issuer) {
  if (!is_safe(issuer)) {
    co_return Err(Code::denied, "the authorization server " + issuer + " is not https");
  }
  const http::Url url = co_await ok(http::parse_url(issuer));
  std::vector<std::string> places = {before_path(url, "oauth-authorization-server"),
                                     before_path(url, "openid-configuration")};
  if (url.path != "/") places.push_back(issuer + "/.well-known/openid-configuration");
  auto document = co_await first_of(std::move(places), "the authorization server's metadata");
  const bool old_server = resource_metadata_.json().empty();
  if (!document && old_server && document.error().code == Code::not_found) {
    const std::string base = http::origin(url);
    document = Value(Json{{"issuer", issuer},
                          {"authorization_endpoint", base + "/authorize"},
                          {"token_endpoint", base + "/token"},
                          {"registration_endpoint", base + "/register"},
                          {"code_challenge_methods_supported", Json::array({"S256"})}});
  }
  if (!document) co_return Err(std::move(document).error());
  const Json& metadata = document->json();
  if (text_in(metadata, "issuer") != issuer) {
    co_return Err(Code::denied, "the authorization server " + issuer + " calls itself \"" +
                                    text_in(metadata, "issuer") + "\"");
  }
  const bool by_code = options_.grant == Grant::authorization_code;
  for (const char* key : {"authorization_endpoint", "token_endpoint"}) {
    if (!by_code && key != std::string_view("token_endpoint")) continue;
    if (is_safe(text_in(metadata, key))) continue;
    co_return Err(Code::denied, std::string("the authorization server's ") + key + " is not https");
  }
  if (by_code && !lists(metadata, "code_challenge_methods_supported", "S256")) {
    co_return Err(Code::denied, "the authorization server does not do PKCE with S256");
  }
  issuers_[issuer].metadata = std::move(*document);
  co_return Result<void>();
}

Task<Result<void>> OAuth::register_client(Issuer& issuer) {
  const Json& metadata = issuer.metadata.json();
  const auto supports = [&](const char* method) {
    return lists(metadata, "token_endpoint_auth_methods_supported", method);
  };
  const bool says_methods = metadata.contains("token_endpoint_auth_methods_supported");
  std::string with_secret = "client_secret_basic";
  if (says_methods && !supports("client_secret_basic") && supports("client_secret_post")) {
    with_secret = "client_secret_post";
  }
  const bool takes_documents = metadata.contains("client_id_metadata_document_supported") &&
                               metadata["client_id_metadata_document_supported"] == true;
  if (!options_.client_id.empty()) {
    issuer.id = options_.client_id;
    issuer.secret = options_.client_secret;
    issuer.method = issuer.secret.empty() ? "none" : with_secret;
    if (options_.key) issuer.method = "private_key_jwt";
    co_return Result<void>();
  }
  if (options_.grant != Grant::authorization_code) {
    // An assertion says who we are; client credentials cannot be had on the way.
    if (options_.grant == Grant::jwt_bearer) co_return Result<void>();
    co_return Err(Code::invalid, "the grant needs a client id that was registered beforehand");
  }
  if (takes_documents && !options_.metadata_url.empty()) {
    issuer.id = options_.metadata_url;
    issuer.method = "none";
    co_return Result<void>();
  }
  const std::string endpoint = text_in(metadata, "registration_endpoint");
  if (!is_safe(endpoint)) {
    co_return Err(Code::denied,
                  "the authorization server registers nobody: give a client id beforehand");
  }
  const bool is_public =
      supports("none") && !supports("client_secret_basic") && !supports("client_secret_post");
  const std::string method = is_public ? "none" : with_secret;
  Json body = {{"client_name", options_.client_name},
               {"redirect_uris", Json::array({options_.redirect_uri})},
               {"grant_types", Json::array({"authorization_code", "refresh_token"})},
               {"response_types", Json::array({"code"})},
               {"application_type", "native"},
               {"token_endpoint_auth_method", method}};
  http::Request request;
  request.method = "POST";
  request.url = endpoint;
  request.headers = http::Headers({{"Content-Type", "application/json"}});
  request.body = rpc::compact(body);
  const auto response = co_await ok(client_.send(std::move(request)));
  auto given = Value::parse(response.body);
  if (!response.is_success() || !given || text_in(given->json(), "client_id").empty()) {
    co_return Err(Code::denied,
                  "registering with " + issuer_ + ": HTTP " + std::to_string(response.status));
  }
  issuer.id = text_in(given->json(), "client_id");
  issuer.secret = text_in(given->json(), "client_secret");
  const std::string told = text_in(given->json(), "token_endpoint_auth_method");
  issuer.method = issuer.secret.empty() ? "none" : told.empty() ? method : told;
  co_return Result<void>();
}

std::string OAuth::scope_for(const Form& challenge, int status, const Json& metadata) {
  std::set<std::string> wanted;
  if (status == 403) wanted = scopes_;  // more, and not something else
  if (challenge.contains("scope")) {
    split_scopes(challenge.at("scope"), wanted);
  } else if (status == 401 && resource_metadata_.json().contains("scopes_supported") &&
             resource_metadata_.json()["scopes_supported"].is_array()) {
    for (const Json& scope : resource_metadata_.json()["scopes_supported"]) {
      if (scope.is_string()) wanted.insert(scope.get<std::string>());
    }
  }
  if (lists(metadata, "scopes_supported", "offline_access") && !wanted.empty()) {
    wanted.insert("offline_access");
  }
  scopes_ = wanted;
  std::string text;
  for (const std::string& scope : wanted) text += (text.empty() ? "" : " ") + scope;
  return text;
}

Task<Result<void>> OAuth::authorize(Issuer& issuer, std::string scope) {
  if (!options_.browse) {
    co_return Err(Code::denied, "the server asks for a login, and nobody is here to do it");
  }
  const std::string verifier = random_text();
  const std::string state = random_text();
  Form form = {{"response_type", "code"},
               {"client_id", issuer.id},
               {"redirect_uri", options_.redirect_uri},
               {"state", state},
               {"code_challenge", sha256_base64url(verifier)},
               {"code_challenge_method", "S256"},
               {"resource", resource_}};
  if (!scope.empty()) form["scope"] = scope;
  const std::string endpoint = text_in(issuer.metadata.json(), "authorization_endpoint");
  const std::string join = endpoint.find('?') == std::string::npos ? "?" : "&";
  const std::string back = co_await ok(options_.browse(endpoint + join + to_query(form)));
  const std::string code = co_await ok(code_of(back, state, issuer.metadata.json()));
  Form redeem = {{"grant_type", "authorization_code"},
                 {"code", code},
                 {"redirect_uri", options_.redirect_uri},
                 {"code_verifier", verifier}};
  co_return co_await exchange(issuer, std::move(redeem));
}

Result<std::string> OAuth::code_of(const std::string& redirect, const std::string& state,
                                   const Json& metadata) const {
  const std::size_t mark = redirect.find('?');
  if (mark == std::string::npos || !redirect.starts_with(options_.redirect_uri)) {
    return Err(Code::denied, "the login did not come back to us");
  }
  const Form form = from_query(redirect.substr(mark + 1, redirect.find('#') - mark - 1));
  const auto of = [&](const char* key) { return form.contains(key) ? form.at(key) : ""; };
  if (of("state") != state) return Err(Code::denied, "the login that came back is not ours");
  const bool promised = metadata.contains("authorization_response_iss_parameter_supported") &&
                        metadata["authorization_response_iss_parameter_supported"] == true;
  if ((promised || form.contains("iss")) && of("iss") != issuer_) {
    return Err(Code::denied, "the login came back from \"" + of("iss") + "\", not from " + issuer_);
  }
  if (form.contains("error")) {
    return Err(Code::denied, "the login failed: " + of("error") + " " + of("error_description"));
  }
  if (of("code").empty()) return Err(Code::denied, "the login came back without a code");
  return of("code");
}

}  // namespace ambit::mcp
