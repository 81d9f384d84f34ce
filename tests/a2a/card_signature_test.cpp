// Signed cards: what is signed, what is refused, and the way from a door to a client that trusts a
// key.

#include "a2a/card_signature.h"

#include "a2a/card.h"
#include "a2a/directory.h"
#include "http/url.h"
#include "jose/base64url.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

jose::Key key_of(jose::Algorithm algorithm = jose::Algorithm::es256, const std::string& id = "k") {
  return jose::Key::make(algorithm, id).value();
}

jose::Key open_half(const jose::Key& key) {
  return jose::Key::from_jwk(key.public_jwk()).value();
}

Json small_card() {
  return to_json(Agent::card_options().card, CardShape::pure);
}

// Serves one body, whatever is asked for.
class Shelf final : public http::Client {
 public:
  explicit Shelf(std::string body) : body_(std::move(body)) {}
  Task<Result<http::Response>> send(http::Request /*request*/) override {
    http::Response response;
    response.status = 200;
    response.body = body_;
    co_return response;
  }
  Task<Result<http::Reply>> open(http::Request /*request*/) override {
    co_return Err(Code::unsupported, "not asked for");
  }

 private:
  std::string body_;
};

}  // namespace

TEST_CASE("a signature is good for the card as it stands, by every kind of key", "[a2a][sign]") {
  for (const auto algorithm :
       {jose::Algorithm::es256, jose::Algorithm::rs256, jose::Algorithm::eddsa}) {
    const jose::Key key = key_of(algorithm);
    Json card = small_card();
    REQUIRE(sign_card(card, key, "https://a.example/jwks.json"));
    CHECK(verify_card(card, {open_half(key)}).value() == "k");
    CHECK_FALSE(verify_card(card, {open_half(key_of(algorithm))}));
    CHECK_FALSE(verify_card(card, {}));
    const auto head = rpc::Value::parse(
        jose::from_base64url(card["signatures"][0]["protected"].get<std::string>()).value());
    CHECK(head->json()["typ"] == "JOSE");
    CHECK(head->json()["jku"] == "https://a.example/jwks.json");
    // A second one beside it, of another key.
    const jose::Key other = key_of(jose::Algorithm::eddsa, "other");
    REQUIRE(sign_card(card, other, ""));
    CHECK(verify_card(card, {open_half(other)}).value() == "other");
    CHECK(verify_card(card, {open_half(key)}).value() == "k");
  }
}

TEST_CASE("whatever of the card is changed breaks its signature", "[a2a][sign]") {
  const jose::Key key = key_of();
  Json card = small_card();
  REQUIRE(sign_card(card, key, ""));
  const auto broken = [&](Json changed) { return !verify_card(changed, {open_half(key)}); };
  Json one = card;
  one["supportedInterfaces"][0]["url"] = "https://evil.example/";
  CHECK(broken(one));
  one = card;
  one["capabilities"]["pushNotifications"] = false;
  CHECK(broken(one));
  one = card;
  one["skills"][0]["tags"].push_back("more");
  CHECK(broken(one));
  one = card;
  one["securityRequirements"] = Json::array({Json::object({{"schemes", Json::object()}})});
  CHECK(broken(one));
  one = card;
  one.erase("signatures");
  CHECK(broken(one));
  one = card;
  one["signatures"] = Json::array();
  CHECK(broken(one));
  one = card;
  one["signatures"][0]["signature"] = "AAAA";
  CHECK(broken(one));
  one = card;
  one["signatures"][0]["protected"] = jose::to_base64url(R"({"alg":"none","kid":"k"})");
  CHECK(broken(one));
  CHECK(broken(Json::array()));
  CHECK(broken(Json({{"signatures", Json::array({1, "x", Json::object()})}})));
}

TEST_CASE("a card that has empty members is signed in the form of the SDKs as well",
          "[a2a][sign]") {
  const jose::Key key = key_of();
  Json card = small_card();
  REQUIRE(sign_card(card, key, ""));
  CHECK(card["signatures"].size() == 1);
  Json secured = small_card();
  secured["securityRequirements"] =
      Json::array({Json({{"schemes", {{"bearer", Json::object()}}}})});
  REQUIRE(sign_card(secured, key, ""));
  REQUIRE(secured["signatures"].size() == 2);
  // Each of the two is enough.
  for (const std::size_t gone : {std::size_t{0}, std::size_t{1}}) {
    Json one = secured;
    one["signatures"].erase(gone);
    CHECK(verify_card(one, {open_half(key)}));
    one["name"] = "somebody else";
    CHECK_FALSE(verify_card(one, {open_half(key)}));
  }
}

TEST_CASE("order, defaults and members of other versions are not part of what is signed",
          "[a2a][sign]") {
  const jose::Key key = key_of();
  Json card = small_card();
  REQUIRE(sign_card(card, key, ""));
  Json said_otherwise = Json::object();
  said_otherwise["signatures"] = card["signatures"];
  for (auto at = card.rbegin(); at != card.rend(); ++at) said_otherwise[at.key()] = at.value();
  said_otherwise["supportedInterfaces"][0]["tenant"] = "";
  said_otherwise["skills"][0]["examples"] = Json::array();
  said_otherwise["securitySchemes"] = Json::object();
  said_otherwise["protocolVersion"] = "0.3.0";
  CHECK(verify_card(said_otherwise, {open_half(key)}));
  // A flag that may be left out is something else than one that says no.
  said_otherwise["capabilities"].erase("extendedAgentCard");
  CHECK_FALSE(verify_card(said_otherwise, {open_half(key)}));
}

TEST_CASE("a door signs its cards and serves the keys, a client that trusts one checks",
          "[a2a][sign]") {
  const jose::Key key = key_of();
  DoorOptions options;
  options.keys = {key};
  options.jwks_url = "http://localhost/.well-known/jwks.json";
  Agent agent(Agent::card_options(), {}, options);
  const Reply jwks = agent.http("GET", "/.well-known/jwks.json");
  CHECK(jwks.status == 200);
  CHECK(jwks.headers.find("application/jwk-set+json") != std::string::npos);
  CHECK(jwks.body.find("\"d\"") == std::string::npos);
  const auto keys = jose::read_jwks(jwks.json()).value();
  for (const char* version : {"", "A2A-Version: 1.0\r\n"}) {
    const Reply card = agent.http("GET", "/.well-known/agent-card.json", "", version);
    CHECK(verify_card(card.json(), keys).value() == "k");
    Shelf shelf(card.body);
    DirectoryOptions trusting;
    trusting.trusted = keys;
    Directory directory(shelf, trusting);
    CHECK(agent.run(directory.find("http://localhost/")).value()->signed_by == "k");
    DirectoryOptions other;
    other.trusted = {open_half(key_of())};
    Directory strict(shelf, other);
    const auto refused = agent.run(strict.find("http://localhost/"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("trusted") != std::string::npos);
  }
  Agent plain;
  CHECK(plain.http("GET", "/.well-known/jwks.json").status == 404);
}

}  // namespace ambit::a2a
