// Logging in at an authorization server that is a script: what it must be asked, and what of it
// must not be believed.

#include "mcp/oauth.h"

#include "io/uv_world.h"
#include "jose/base64url.h"
#include "mcp/oauth_form.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr const char* server = "https://tools.example/mcp";
constexpr const char* issuer = "https://login.example";

// Documents by URL, and whatever is posted.
class Web final : public http::Client {
 public:
  std::map<std::string, Json> documents;
  std::vector<http::Request> posted;
  Web() {
    documents["https://tools.example/.well-known/oauth-protected-resource/mcp"] = {
        {"resource", server},
        {"authorization_servers", Json::array({issuer})},
        {"scopes_supported", Json::array({"read"})}};
    documents["https://login.example/.well-known/oauth-authorization-server"] = {
        {"issuer", issuer},
        {"authorization_endpoint", "https://login.example/authorize"},
        {"token_endpoint", "https://login.example/token"},
        {"registration_endpoint", "https://login.example/register"},
        {"authorization_response_iss_parameter_supported", true},
        {"code_challenge_methods_supported", Json::array({"S256"})}};
    documents["https://login.example/register"] = {{"client_id", "c1"}};
    documents["https://login.example/token"] = {{"access_token", "t1"}, {"token_type", "Bearer"}};
  }
  Json& metadata() {
    return documents["https://login.example/.well-known/oauth-authorization-server"];
  }
  Task<Result<http::Response>> send(http::Request request) override {
    http::Response response;
    const auto at = documents.find(request.url);
    response.status = at == documents.end() ? 404 : 200;
    if (at != documents.end()) response.body = at->second.dump();
    if (request.method == "POST") posted.push_back(std::move(request));
    co_return response;
  }
  Task<Result<http::Reply>> open(http::Request /*request*/) override {
    co_return Err(Code::unsupported, "not here");
  }
};

struct Desk {
  io::UvWorld world;
  Web web;
  std::vector<std::string> pages;  // that a person was sent to
  std::function<std::string(const std::string& state)> back = [](const std::string& state) {
    return "?code=x&iss=https%3A%2F%2Flogin.example&state=" + state;
  };
  OAuth oauth{web, world.world().clock, world.world().entropy, options()};

  OAuthOptions options() {
    OAuthOptions made;
    made.browse = [this](std::string url) {
      pages.push_back(url);
      const std::size_t at = url.find("state=") + 6;
      const std::string state = url.substr(at, url.find('&', at) - at);
      return [](std::string where) -> Task<Result<std::string>> {
        co_return where;
      }("http://127.0.0.1:8976/callback" + back(state));
    };
    return made;
  }
  Result<void> login(int status = 401, const std::string& challenge = "Bearer") {
    return run_task(world.loop(), oauth.answer(server, status, challenge, oauth.authorization()));
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a challenge leads to a token that is bound to the server", "[mcp][oauth]") {
  Desk desk;
  const auto done = desk.login();
  INFO((done ? "" : done.error().message));
  REQUIRE(done.has_value());
  CHECK(desk.oauth.authorization() == "Bearer t1");
  REQUIRE(desk.pages.size() == 1);
  CHECK(has(desk.pages[0], "resource=https%3A%2F%2Ftools.example%2Fmcp"));
  CHECK(has(desk.pages[0], "code_challenge_method=S256"));
  CHECK(has(desk.pages[0], "scope=read"));
  REQUIRE(desk.web.posted.size() == 2);
  CHECK(has(desk.web.posted[1].body, "code_verifier="));
  CHECK(has(desk.web.posted[1].body, "resource=https%3A%2F%2Ftools.example%2Fmcp"));
}

TEST_CASE("more scope is asked for beside what was asked before, and a plain 403 is final",
          "[mcp][oauth]") {
  Desk desk;
  REQUIRE(desk.login().has_value());
  REQUIRE(desk.login(403, R"(Bearer error="insufficient_scope", scope="write")").has_value());
  REQUIRE(desk.pages.size() == 2);
  CHECK(has(desk.pages[1], "scope=read%20write"));
  CHECK_FALSE(desk.login(403, "Bearer error=\"invalid_token\"").has_value());
}

TEST_CASE("an authorization server or a login that is not the right one gets nothing",
          "[mcp][oauth]") {
  const std::vector<std::pair<const char*, std::function<void(Desk&)>>> wrongs = {
      {"another resource",
       [](Desk& desk) {
         desk.web.documents["https://tools.example/.well-known/oauth-protected-resource/mcp"]
                           ["resource"] = "https://evil.example/mcp";
       }},
      {"another issuer",
       [](Desk& desk) { desk.web.metadata()["issuer"] = "https://login.example/"; }},
      {"no PKCE",
       [](Desk& desk) { desk.web.metadata().erase("code_challenge_methods_supported"); }},
      {"a plain endpoint",
       [](Desk& desk) { desk.web.metadata()["token_endpoint"] = "http://login.example/token"; }},
      {"a login from elsewhere",
       [](Desk& desk) {
         desk.back = [](const std::string& state) {
           return "?code=x&iss=https%3A%2F%2Fevil.example&state=" + state;
         };
       }},
      {"a login that does not say from where",
       [](Desk& desk) {
         desk.back = [](const std::string& state) { return "?code=x&state=" + state; };
       }},
      {"somebody else's login",
       [](Desk& desk) { desk.back = [](const std::string&) { return "?code=x&state=guess"; }; }},
  };
  for (const auto& [what, make_wrong] : wrongs) {
    Desk desk;
    make_wrong(desk);
    INFO(what);
    const auto done = desk.login();
    REQUIRE_FALSE(done.has_value());
    CHECK(done.error().code == Code::denied);
    CHECK(desk.oauth.authorization().empty());
  }
}

TEST_CASE("the parameters of a challenge are read, quoted or not", "[mcp][oauth]") {
  const auto read = bearer_challenge(
      R"(Bearer realm="a, b", error=invalid_token, resource_metadata="https://x/y", scope="a \"b\"")");
  CHECK(read.at("realm") == "a, b");
  CHECK(read.at("error") == "invalid_token");
  CHECK(read.at("resource_metadata") == "https://x/y");
  CHECK(read.at("scope") == "a \"b\"");
  CHECK(bearer_challenge("Basic realm=x").empty());
  CHECK(bearer_challenge("").empty());
  CHECK(bearer_challenge("Bearer").empty());
  CHECK(bearer_challenge("Bearer scope=\"cut").at("scope") == "cut");
}

// The members of a form that was posted.
std::map<std::string, std::string> form_of(const http::Request& request) {
  return from_query(request.body);
}

// A login of a client that has no person.
Result<void> earn(Desk& desk, OAuth& oauth) {
  return run_task(desk.world.loop(), oauth.answer(server, 401, "Bearer", oauth.authorization()));
}

Json claims_of(const std::string& token) {
  const std::size_t first = token.find('.') + 1;
  const auto text = jose::from_base64url(token.substr(first, token.rfind('.') - first));
  return Json::parse(text.value_or("{}"));
}

TEST_CASE("a client without a person earns a token with a secret or a key", "[mcp][oauth]") {
  Desk desk;
  OAuthOptions options;
  options.grant = Grant::client_credentials;
  options.client_id = "robot";
  options.client_secret = "hush";
  OAuth with_secret(desk.web, desk.world.world().clock, desk.world.world().entropy, options);
  REQUIRE(earn(desk, with_secret).has_value());
  CHECK(with_secret.authorization() == "Bearer t1");
  REQUIRE(desk.web.posted.size() == 1);
  CHECK(form_of(desk.web.posted[0])["grant_type"] == "client_credentials");
  CHECK(form_of(desk.web.posted[0])["scope"] == "read");
  CHECK(has(std::string(desk.web.posted[0].headers.find("Authorization").value_or("")), "Basic "));
  CHECK_FALSE(has(desk.web.posted[0].body, "hush"));

  options.client_secret.clear();
  options.key = jose::Key::make(jose::Algorithm::es256, "k").value();
  OAuth with_key(desk.web, desk.world.world().clock, desk.world.world().entropy, options);
  REQUIRE(earn(desk, with_key).has_value());
  const std::string assertion = form_of(desk.web.posted[1])["client_assertion"];
  REQUIRE(jose::verify_jwt({*options.key}, assertion).has_value());
  CHECK(claims_of(assertion)["aud"] == issuer);
  CHECK(claims_of(assertion)["sub"] == "robot");

  options.client_id.clear();
  OAuth nobody(desk.web, desk.world.world().clock, desk.world.world().entropy, options);
  CHECK(has(earn(desk, nobody).error().message, "client id"));
}

TEST_CASE("a workload's own JWT is its grant, asked for once and never traded for another",
          "[mcp][oauth]") {
  Desk desk;
  desk.web.documents["https://login.example/token"] = {{"error", "invalid_grant"}};
  OAuthOptions options;
  options.grant = Grant::jwt_bearer;
  options.assertion = []() -> Result<std::string> { return "a.b.c"; };
  OAuth oauth(desk.web, desk.world.world().clock, desk.world.world().entropy, options);
  const auto refused = earn(desk, oauth);
  REQUIRE_FALSE(refused.has_value());
  CHECK(has(refused.error().message, "invalid_grant"));
  CHECK(desk.web.posted.size() == 1);
  desk.web.documents["https://login.example/token"] = {{"access_token", "w1"}};
  REQUIRE(earn(desk, oauth).has_value());
  CHECK(form_of(desk.web.posted[1])["assertion"] == "a.b.c");
  CHECK(oauth.authorization() == "Bearer w1");
}

TEST_CASE("a person's login at their company is traded for a token of the server's issuer",
          "[mcp][oauth]") {
  Desk desk;
  desk.web.documents["https://idp.example/token"] = {{"access_token", "jag"}};
  OAuthOptions options;
  options.grant = Grant::enterprise;
  options.client_id = "c7";
  options.identity = {"https://idp.example/token", "at-idp"};
  options.assertion = []() -> Result<std::string> { return "id.to.ken"; };
  OAuth oauth(desk.web, desk.world.world().clock, desk.world.world().entropy, options);
  REQUIRE(earn(desk, oauth).has_value());
  REQUIRE(desk.web.posted.size() == 2);
  auto first = form_of(desk.web.posted[0]);
  CHECK(first["subject_token"] == "id.to.ken");
  CHECK(first["audience"] == issuer);
  CHECK(first["resource"] == server);
  CHECK(form_of(desk.web.posted[1])["assertion"] == "jag");
}

TEST_CASE("a token that is bound to our key is proved to be ours with every request",
          "[mcp][oauth]") {
  Desk desk;
  desk.web.metadata()["dpop_signing_alg_values_supported"] = Json::array({"ES256"});
  desk.web.documents["https://login.example/token"] = {{"access_token", "d1"},
                                                       {"token_type", "DPoP"}};
  REQUIRE(desk.login().has_value());
  const auto proof_of = [](const http::Request& request) {
    return std::string(request.headers.find("DPoP").value_or(""));
  };
  const Json at_login = claims_of(proof_of(desk.web.posted.back()));
  CHECK(at_login["htm"] == "POST");
  CHECK(at_login["htu"] == "https://login.example/token");
  CHECK_FALSE(at_login.contains("ath"));
  http::Headers told({{"DPoP-Nonce", "n1"}});
  desk.oauth.note(server, told);
  std::vector<std::string> ids;
  for (int i = 0; i < 2; ++i) {
    http::Request request;
    request.method = "POST";
    request.url = std::string(server) + "?x=1";
    desk.oauth.sign(request);
    CHECK(request.headers.find("Authorization") == "DPoP d1");
    const Json claims = claims_of(proof_of(request));
    CHECK(claims["htu"] == server);
    CHECK(claims["ath"] == sha256_base64url("d1"));
    CHECK(claims["nonce"] == "n1");
    ids.push_back(claims["jti"]);
  }
  CHECK(ids[0] != ids[1]);
  // A missing nonce asks for no new token.
  const std::size_t before = desk.web.posted.size();
  REQUIRE(desk.login(401, "DPoP error=\"use_dpop_nonce\"").has_value());
  CHECK(desk.web.posted.size() == before);
}

}  // namespace ambit::mcp
