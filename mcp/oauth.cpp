#include "mcp/oauth.h"

#include "async/check.h"
#include "http/message.h"
#include "http/url.h"
#include "mcp/base64.h"

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Value;
using Form = std::map<std::string, std::string>;

std::string text_of(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_string()
             ? json[key].get<std::string>()
             : "";
}

bool lists(const Json& json, const char* key, std::string_view wanted) {
  if (!json.is_object() || !json.contains(key) || !json[key].is_array()) return false;
  return std::any_of(json[key].begin(), json[key].end(),
                     [&](const Json& item) { return item.is_string() && item == wanted; });
}

std::string escaped(std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("-._~").find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += '%';
      out += hex[byte >> 4U];
      out += hex[byte & 15U];
    }
  }
  return out;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [](char c) {
      const std::size_t at =
          std::string_view("0123456789abcdef")
              .find(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
      return at == std::string_view::npos ? -1 : static_cast<int>(at);
    };
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string to_query(const Form& form) {
  std::string text;
  for (const auto& [key, value] : form) {
    text += (text.empty() ? "" : "&") + escaped(key) + "=" + escaped(value);
  }
  return text;
}

Form from_query(std::string_view query) {
  Form form;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    form.emplace(unescaped(pair.substr(0, equals)),
                 unescaped(pair.substr(std::min(equals + 1, pair.size()))));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
  }
  return form;
}

std::string sha256_base64url(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  unsigned int length = 0;
  CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  return to_base64url({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

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
  if (!http::same_name(scheme, "Bearer")) return parameters;
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

OAuth::OAuth(http::Client& client, io::Entropy& entropy, OAuthOptions options)
    : client_(client), entropy_(entropy), options_(std::move(options)) {}

std::string OAuth::random_text() {
  std::array<std::uint8_t, 32> bytes{};
  entropy_.fill(bytes);
  return to_base64url({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
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
    resource_ = text_of(document->json(), "resource");
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
  if (text_of(metadata, "issuer") != issuer) {
    co_return Err(Code::denied, "the authorization server " + issuer + " calls itself \"" +
                                    text_of(metadata, "issuer") + "\"");
  }
  for (const char* key : {"authorization_endpoint", "token_endpoint"}) {
    if (is_safe(text_of(metadata, key))) continue;
    co_return Err(Code::denied, std::string("the authorization server's ") + key + " is not https");
  }
  if (!lists(metadata, "code_challenge_methods_supported", "S256")) {
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
    co_return Result<void>();
  }
  if (takes_documents && !options_.metadata_url.empty()) {
    issuer.id = options_.metadata_url;
    issuer.method = "none";
    co_return Result<void>();
  }
  const std::string endpoint = text_of(metadata, "registration_endpoint");
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
  if (!response.is_success() || !given || text_of(given->json(), "client_id").empty()) {
    co_return Err(Code::denied,
                  "registering with " + issuer_ + ": HTTP " + std::to_string(response.status));
  }
  issuer.id = text_of(given->json(), "client_id");
  issuer.secret = text_of(given->json(), "client_secret");
  const std::string told = text_of(given->json(), "token_endpoint_auth_method");
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
  const std::string endpoint = text_of(issuer.metadata.json(), "authorization_endpoint");
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

Task<Result<void>> OAuth::exchange(Issuer& issuer, Form form) {
  form["resource"] = resource_;
  http::Request request;
  request.method = "POST";
  request.url = text_of(issuer.metadata.json(), "token_endpoint");
  request.headers = http::Headers(
      {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}});
  if (issuer.method == "client_secret_basic") {
    const std::string pair = escaped(issuer.id) + ":" + escaped(issuer.secret);
    request.headers.set("Authorization", "Basic " + to_base64(pair));
  } else {
    form["client_id"] = issuer.id;
    if (issuer.method == "client_secret_post") form["client_secret"] = issuer.secret;
  }
  request.body = to_query(form);
  const auto response = co_await ok(client_.send(std::move(request)));
  auto given = Value::parse(response.body);
  const std::string token = given ? text_of(given->json(), "access_token") : "";
  if (!response.is_success() || token.empty() || !http::is_header_value(token)) {
    const std::string why = given ? text_of(given->json(), "error") : "";
    co_return Err(Code::denied, "no token from " + issuer_ + ": HTTP " +
                                    std::to_string(response.status) + " " + why);
  }
  token_ = token;
  refresh_ = text_of(given->json(), "refresh_token");
  co_return Result<void>();
}

}  // namespace ambit::mcp
