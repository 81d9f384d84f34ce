#include "jose/base64url.h"
#include "jose/key.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ambit::jose {
namespace {

using rpc::Json;

constexpr Algorithm all[] = {Algorithm::es256, Algorithm::rs256, Algorithm::eddsa};

}  // namespace

TEST_CASE("base64url is read as strictly as it is written", "[jose]") {
  for (const std::string_view text : {"", "f", "fo", "foo", "foob", "\xff\xfe\xfd", "\0\0"}) {
    CHECK(from_base64url(to_base64url(text)) == text);
  }
  CHECK(to_base64url("\xfb\xff") == "-_8");
  for (const char* bad : {"A", "Zg==", "Zm9+", "Zm9/", "Zh", "Zm 9"}) {
    INFO(bad);
    CHECK_FALSE(from_base64url(bad));
  }
}

TEST_CASE("what a key signs its public half checks, and nothing else passes", "[jose]") {
  for (const Algorithm algorithm : all) {
    INFO(to_string(algorithm));
    const Key key = Key::make(algorithm, "k").value();
    const Key open = Key::from_jwk(key.public_jwk()).value();
    CHECK(open.id() == "k");
    CHECK(open.algorithm() == algorithm);
    CHECK(open.thumbprint() == key.thumbprint());
    CHECK_FALSE(open.is_private());
    const std::string signature = key.sign("text").value();
    CHECK(open.verify("text", signature));
    CHECK_FALSE(open.verify("test", signature));
    CHECK_FALSE(open.verify("text", signature.substr(1)));
    CHECK_FALSE(open.verify("text", ""));
    std::string flipped = signature;
    flipped[7] ^= 1;
    CHECK_FALSE(open.verify("text", flipped));
    CHECK_FALSE(Key::make(algorithm, "k")->verify("text", signature));
    CHECK_FALSE(open.sign("text"));
    CHECK_FALSE(open.pem());
    const Key again = Key::from_pem(key.pem().value(), "").value();
    CHECK(again.id() == key.thumbprint());
    CHECK(open.verify("more", again.sign("more").value()));
  }
}

TEST_CASE("keys and thumbprints are those of the RFCs", "[jose]") {
  // RFC 8037, appendix A.
  const Json ed = {
      {"kty", "OKP"}, {"crv", "Ed25519"}, {"x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}};
  const Key key = Key::from_jwk(ed).value();
  CHECK(key.thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
  CHECK(key.verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                   from_base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B"
                                  "hVsPt9g7sVvpAr_MuM0KAg")
                       .value()));
  // RFC 7515, appendix A.3.
  const Json ec = {{"kty", "EC"},
                   {"crv", "P-256"},
                   {"x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"},
                   {"y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}};
  CHECK(Key::from_jwk(ec)->verify(
      "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
      "NvbS9pc19yb290Ijp0cnVlfQ",
      from_base64url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP"
                     "3-Kg6NU1Q")
          .value()));
}

TEST_CASE("a JWK that is damaged is refused, one of another kind is left out", "[jose]") {
  const Json good = Key::make(Algorithm::es256, "k")->public_jwk();
  Json off_curve = good;
  off_curve["y"] = off_curve["x"];
  CHECK_FALSE(Key::from_jwk(off_curve));
  Json other = good;
  other["alg"] = "HS256";
  CHECK(Key::from_jwk(other).error().code == Code::unsupported);
  Json encryption = good;
  encryption["use"] = "enc";
  const Json secret = {{"kty", "oct"}, {"k", "c2VjcmV0"}};
  Json set = Json::object();
  set["keys"] = Json::array({good, secret, encryption});
  CHECK(read_jwks(set)->size() == 1);
  set["keys"].push_back(off_curve);
  CHECK_FALSE(read_jwks(set));
  for (const Json& bad : {Json(), Json::array(), Json({{"keys", 1}})}) CHECK_FALSE(read_jwks(bad));
  const Json small = {{"kty", "RSA"}, {"n", to_base64url(std::string(64, '\x81'))}, {"e", "AQAB"}};
  CHECK_FALSE(Key::from_jwk(small));
}

TEST_CASE("a token is good by the key that it names alone", "[jose]") {
  const Key key = Key::make(Algorithm::es256, "a").value();
  const Key other = Key::make(Algorithm::rs256, "b").value();
  const Json claims = {{"sub", "clerk"}};
  const std::string token = sign_jwt(key, Json({{"typ", "JWT"}}), claims).value();
  const auto verified = verify_jwt({other, key}, token);
  REQUIRE(verified);
  CHECK(verified->claims.json() == claims);
  CHECK(verified->key_id == "a");
  CHECK_FALSE(verify_jwt({other}, token));
  const std::string tail = token.substr(token.find('.'));
  for (const std::string& bad :
       {token + ".", token + "x", tail, std::string(), std::string("a.b.c"),
        std::string(20'000, 'a'), to_base64url(R"({"alg":"none"})") + tail,
        to_base64url(R"({"alg":"HS256","kid":"a"})") + tail,
        to_base64url(R"({"alg":"RS256","kid":"a"})") + tail,
        to_base64url(R"({"alg":"ES256","kid":"a","crit":["x"]})") + tail}) {
    CHECK(verify_jwt({key}, bad).error().code == Code::denied);
  }
}

}  // namespace ambit::jose
