#pragma once

// AgentIdentity: each instance of an agent has a key of its own, made when it starts and gone with
// it. It signs its tokens with that key; who reads them finds the key in its JWK set by its RFC
// 7638 thumbprint. A token that one agent hands on to another can only narrow what it had itself.

#include "async/result.h"
#include "governance/token.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

// The public halves as a JWK set. Errors: a key that is not what it should be.
Result<std::string> jwks_of(const std::vector<TokenKey>& keys);
// RFC 7638, SHA-256, base64url. `pem` may be private or public.
Result<std::string> thumbprint_of(std::string_view pem);

// What an agent may do under a token.
struct Mandate {
  std::string subject;              // the person
  std::vector<std::string> actors;  // who acts now first
  std::vector<std::string> audience;
  std::vector<std::string> scopes;
  std::int64_t autonomy_level = 1;
  std::map<std::string, std::int64_t> budget;  // caps by name: "tokens", "toolCalls"; absent: none
  std::int64_t expires_at_s = 0;
};

// Whether `inner` is within `outer`, with `inner`'s first actor before all of `outer`'s. Errors
// (denied) name what is wider: a scope, an audience, a budget, a level, the time, the person.
Result<void> check_narrower(const Mandate& inner, const Mandate& outer);

// Of a verified token of ours. Error: claims of ours that are not what they should be.
Result<Mandate> mandate_of(const Claims& claims);

class LiveKey;

class AgentIdentity {
 public:
  // A fresh ES256 key for this one instance. `agent` and `instance` name it: "clerk",
  // "run-7/clerk".
  static Result<AgentIdentity> create(std::string issuer, std::string agent, std::string instance);

  // A token for `mandate`, whose first actor is this agent. `id` is the token's, used once.
  [[nodiscard]] Result<std::string> issue(const Mandate& mandate, std::string id,
                                          std::int64_t now_s) const;
  // The same, on the strength of a token that the agent was given.
  [[nodiscard]] Result<std::string> hand_on(const Claims& held, const Mandate& mandate,
                                            std::string id, std::int64_t now_s) const;
  // Its public key: by name, to verify with, and as a JWK set.
  [[nodiscard]] const std::string& key_id() const;
  [[nodiscard]] TokenKey key() const;
  [[nodiscard]] std::string jwks() const;
  [[nodiscard]] const std::string& agent() const { return agent_; }
  [[nodiscard]] const std::string& instance() const { return instance_; }

 private:
  AgentIdentity() = default;
  std::string issuer_;
  std::string agent_;
  std::string instance_;
  std::shared_ptr<const LiveKey> secret_;
};

}  // namespace ambit::governance
