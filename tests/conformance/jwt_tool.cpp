// Our half of the exchange of tokens with another implementation (jwt_peer.mjs):
//   jwt_tool issue              prints {"jwks", "tokens"}: good tokens of ours
//   jwt_tool verify JWKS        reads one token a line, prints "accepted SUBJECT" or "refused: why"

#include "governance/identity.h"
#include "governance/token.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>

using namespace ambit;
using namespace ambit::governance;
using nlohmann::json;

namespace {

TokenKey own_key(TokenAlgorithm algorithm) {
  const std::string pem = *make_private_key(algorithm);
  return {"ambit", *thumbprint_of(pem), algorithm, pem};
}

int issue() {
  json tokens = json::array();
  std::vector<TokenKey> open;
  const std::int64_t now = std::time(nullptr);
  for (const TokenAlgorithm algorithm : {TokenAlgorithm::es256, TokenAlgorithm::rs256}) {
    const TokenKey key = own_key(algorithm);
    open.push_back(key);
    open.back().pem = *public_key_of(key.pem);
    for (int i = 0; i < 50; ++i) {
      Claims claims;
      claims.subject = "ada \xC3\xA9 " + std::to_string(i);
      claims.audience = {"peer"};
      if (i % 2 == 1) claims.audience.push_back("other");
      claims.id = std::string(to_string(algorithm)) + std::to_string(i);
      claims.issued_at_s = now;
      claims.expires_at_s = now + 600;
      for (int k = 0; k < i % 4; ++k) claims.actors.push_back("agent" + std::to_string(k));
      claims.scopes = {"read", "write"};
      tokens.push_back(*issue_token(key, claims, R"({"autonomy_level":2})"));
    }
  }
  std::printf("%s\n",
              json{{"jwks", json::parse(*jwks_of(open))}, {"tokens", tokens}}.dump().c_str());
  return 0;
}

int verify(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  auto keys = keys_from_jwks(text.str(), "peer");
  if (!keys) {
    std::fprintf(stderr, "%s\n", keys.error().message.c_str());
    return 1;
  }
  TokenOptions options;
  options.audience = "ambit";
  options.single_use = true;
  auto verifier = TokenVerifier::create(std::move(*keys), options);
  if (!verifier) return 1;
  // A line is a JSON string, so that a token may hold anything.
  for (std::string line; std::getline(std::cin, line);) {
    const json token = json::parse(line, nullptr, false);
    if (!token.is_string()) return 1;
    const auto claims = verifier->verify(token.get<std::string>(), std::time(nullptr));
    std::printf("%s\n", claims ? ("accepted " + claims->subject).c_str()
                               : ("refused: " + claims.error().message).c_str());
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string command = count > 1 ? arguments[1] : "";
  if (command == "issue" && count == 2) return issue();
  if (command == "verify" && count == 3) return verify(arguments[2]);
  std::fprintf(stderr, "usage: jwt_tool issue | verify JWKS\n");
  return 2;
}
