#pragma once

// OAuth: how a client gets the token that an MCP server over HTTP asks for (MCP authorization,
// OAuth 2.1). A challenge names the server's metadata (RFC 9728), that names the authorization
// server (RFC 8414, OpenID discovery), a person agrees in a browser, and the code is exchanged with
// PKCE for a token bound to the server (RFC 8707). Credentials belong to the issuer that gave them.
// One challenge at a time is answered; the others wait for its token.

#include "async/channel.h"
#include "http/message.h"
#include "http/service.h"
#include "io/world.h"
#include "jose/key.h"
#include "rpc/value.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

// How we come to a token.
enum class Grant {
  authorization_code,  // a person agrees in a browser
  client_credentials,  // in our own name (SEP-1046): a secret, or `key`
  jwt_bearer,          // with an assertion of who this workload is (RFC 7523, SEP-1933)
  enterprise,          // a person's login at their company is enough (SEP-990)
};

// Where a person has logged in, for Grant::enterprise.
struct IdentityProvider {
  std::string token_endpoint;
  std::string client_id;  // of us, there
};

struct OAuthOptions {
  Grant grant = Grant::authorization_code;

  std::string client_name = "ambit";
  std::string client_id;  // registered beforehand; empty: by metadata_url, or registered on the way
  std::string client_secret;
  // Proves to the token endpoint that we are client_id, in place of a secret (private_key_jwt).
  std::optional<jose::Key> key;
  // jwt_bearer: the workload's JWT, made or read anew for each token; enterprise: the id token.
  std::function<Result<std::string>()> assertion;
  IdentityProvider identity;
  bool binds_tokens = true;  // DPoP (RFC 9449), where the authorization server offers it
  std::string metadata_url;  // an https document that describes us, where servers accept that
  std::string redirect_uri = "http://127.0.0.1:8976/callback";
  // Shows this URL to a person; gives the URL that the browser was sent back to.
  std::function<Task<Result<std::string>>(std::string url)> browse;
  std::size_t document_bytes_max = 256 << 10;
};

// The parameters of a Bearer challenge in WWW-Authenticate; none if there is no such challenge.
std::map<std::string, std::string> bearer_challenge(std::string_view header);

class OAuth {
 public:
  // Everything outlives it.
  OAuth(http::Client& client, io::Clock& clock, io::Entropy& entropy, OAuthOptions options);

  // The value of the Authorization header; empty before the first challenge.
  [[nodiscard]] std::string authorization() const {
    return token_.empty() ? "" : (is_bound_ ? "DPoP " : "Bearer ") + token_;
  }
  // Gives a request its Authorization, with a proof that the token is ours where it is bound.
  void sign(http::Request& request);
  // Of every answer: a server may hand out the nonce of the next proof.
  void note(const std::string& url, const http::Headers& headers);
  // Gets a token after an answer with this status (401, or 403 for more scope). `used` is the
  // authorization that was refused: if there is another by now, that is it. Code::denied: a token
  // will not help.
  Task<Result<void>> answer(std::string resource, int status, std::string challenge,
                            std::string used);

 private:
  struct Issuer {
    rpc::Value metadata;
    std::string id;  // of us, there
    std::string secret;
    std::string method = "none";  // how we prove to be us
  };
  Task<Result<rpc::Value>> fetch(std::string url);
  Task<Result<rpc::Value>> first_of(std::vector<std::string> urls, std::string what);
  Task<Result<void>> find_resource(std::string resource,
                                   std::map<std::string, std::string> challenge);
  Task<Result<void>> find_issuer(std::string issuer);
  Task<Result<void>> register_client(Issuer& issuer);
  Task<Result<void>> authorize(Issuer& issuer, std::string scope);
  Task<Result<void>> exchange(Issuer& issuer, std::map<std::string, std::string> form);
  // A token without a person: the other grants.
  Task<Result<void>> earn(Issuer& issuer, std::string scope);
  Task<Result<std::string>> id_jag(std::string id_token, std::string scope);
  Result<void> prove_client(const Issuer& issuer, std::map<std::string, std::string>& form,
                            http::Request& request);
  // A DPoP proof; empty if it cannot be made.
  std::string proof(const std::string& method, const std::string& url, const std::string& token);
  Result<std::string> code_of(const std::string& redirect, const std::string& state,
                              const rpc::Json& metadata) const;
  std::string scope_for(const std::map<std::string, std::string>& challenge, int status,
                        const rpc::Json& metadata);
  std::string random_text();

  http::Client& client_;
  io::Clock& clock_;
  io::Entropy& entropy_;
  OAuthOptions options_;
  std::string resource_;  // as its metadata names it
  std::string issuer_;
  rpc::Value resource_metadata_;
  std::map<std::string, Issuer> issuers_;
  std::set<std::string> scopes_;  // asked for so far
  std::string token_;
  std::string refresh_;
  bool is_bound_ = false;
  std::optional<jose::Key> proof_key_;         // made when the first token is to be bound
  std::map<std::string, std::string> nonces_;  // the newest of each origin
  Semaphore turn_{1};
};

}  // namespace ambit::mcp
