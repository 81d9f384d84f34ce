#pragma once

// OAuth: how a client gets the token that an MCP server over HTTP asks for (MCP authorization,
// OAuth 2.1). A challenge names the server's metadata (RFC 9728), that names the authorization
// server (RFC 8414, OpenID discovery), a person agrees in a browser, and the code is exchanged with
// PKCE for a token bound to the server (RFC 8707). Credentials belong to the issuer that gave them.
// One challenge at a time is answered; the others wait for its token.

#include "async/channel.h"
#include "http/service.h"
#include "io/world.h"
#include "rpc/value.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

struct OAuthOptions {
  std::string client_name = "ambit";
  std::string client_id;  // registered beforehand; empty: by metadata_url, or registered on the way
  std::string client_secret;
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
  OAuth(http::Client& client, io::Entropy& entropy, OAuthOptions options);

  // The value of the Authorization header; empty before the first challenge.
  [[nodiscard]] std::string authorization() const {
    return token_.empty() ? "" : "Bearer " + token_;
  }
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
  Result<std::string> code_of(const std::string& redirect, const std::string& state,
                              const rpc::Json& metadata) const;
  std::string scope_for(const std::map<std::string, std::string>& challenge, int status,
                        const rpc::Json& metadata);
  std::string random_text();

  http::Client& client_;
  io::Entropy& entropy_;
  OAuthOptions options_;
  std::string resource_;  // as its metadata names it
  std::string issuer_;
  rpc::Value resource_metadata_;
  std::map<std::string, Issuer> issuers_;
  std::set<std::string> scopes_;  // asked for so far
  std::string token_;
  std::string refresh_;
  Semaphore turn_{1};
};

}  // namespace ambit::mcp
