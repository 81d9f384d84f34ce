#include "governance/identity.h"

#include "governance/token_key.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::governance {
namespace {

using nlohmann::json;

tl::unexpected<Error> wider(const std::string& what) {
  return Err(Code::denied, "what is handed on would be wider than what was given: " + what);
}

// Each of `inner` is among `outer`; the first that is not.
const std::string* stranger(const std::vector<std::string>& inner,
                            const std::vector<std::string>& outer) {
  for (const std::string& one : inner) {
    if (std::find(outer.begin(), outer.end(), one) == outer.end()) return &one;
  }
  return nullptr;
}

}  // namespace

Result<void> check_narrower(const Mandate& inner, const Mandate& outer) {
  if (inner.subject != outer.subject) return wider("it is for another person");
  if (const auto* scope = stranger(inner.scopes, outer.scopes)) return wider("the scope " + *scope);
  if (const auto* who = stranger(inner.audience, outer.audience)) {
    return wider("the audience " + *who);
  }
  if (inner.audience.empty()) return wider("it names no audience");
  if (inner.expires_at_s > outer.expires_at_s) return wider("it lives longer");
  if (inner.autonomy_level > outer.autonomy_level) return wider("its autonomy level");
  for (const auto& [name, most] : outer.budget) {
    const auto at = inner.budget.find(name);
    if (at == inner.budget.end() || at->second > most) return wider("the budget of " + name);
  }
  const bool chained =
      inner.actors.size() == outer.actors.size() + 1 &&
      std::equal(outer.actors.begin(), outer.actors.end(), inner.actors.begin() + 1);
  if (!chained) return wider("its chain of actors does not go on from the given one");
  return {};
}

Result<Mandate> mandate_of(const Claims& claims) {
  const json all = json::parse(claims.all, nullptr, false);
  const auto bad = [] {
    return Err(Code::denied, "the token is refused: its mandate is not what it should be");
  };
  if (!all.is_object()) return bad();
  Mandate mandate{claims.subject,     claims.actors, claims.audience, claims.scopes, 1, {},
                  claims.expires_at_s};
  const json level = all.value("autonomy_level", json(1));
  if (!level.is_number_integer() || level < 1 || level > 5) return bad();
  mandate.autonomy_level = level.get<std::int64_t>();
  const json budget = all.value("budget", json::object());
  if (!budget.is_object() || budget.size() > 32) return bad();
  for (const auto& [name, most] : budget.items()) {
    if (!most.is_number_integer() || most < 0) return bad();
    mandate.budget[name] = most.get<std::int64_t>();
  }
  return mandate;
}

Result<AgentIdentity> AgentIdentity::create(std::string issuer, std::string agent,
                                            std::string instance) {
  AgentIdentity made;
  made.issuer_ = std::move(issuer);
  made.agent_ = std::move(agent);
  made.instance_ = std::move(instance);
  if (made.issuer_.empty()) return Err(Code::invalid, "a token key needs its issuer");
  made.secret_ = std::make_shared<const LiveKey>(TRY(LiveKey::make()));
  return made;
}

const std::string& AgentIdentity::key_id() const {
  return secret_->thumbprint();
}

TokenKey AgentIdentity::key() const {
  // Without its PEM no verifier takes it.
  return {issuer_, key_id(), TokenAlgorithm::es256, secret_->public_pem().value_or("")};
}

std::string AgentIdentity::jwks() const {
  json one = json::parse(secret_->jwk());
  one["alg"] = to_string(TokenAlgorithm::es256);
  one["kid"] = key_id();
  one["use"] = "sig";
  return json({{"keys", json::array({one})}}).dump();
}

Result<std::string> AgentIdentity::issue(const Mandate& mandate, std::string id,
                                         std::int64_t now_s) const {
  if (mandate.actors.empty() || mandate.actors.front() != agent_) {
    return Err(Code::denied, "an agent signs for itself: the first actor must be " + agent_);
  }
  Claims claims;
  claims.subject = mandate.subject;
  claims.audience = mandate.audience;
  claims.id = std::move(id);
  claims.issued_at_s = now_s;
  claims.expires_at_s = mandate.expires_at_s;
  claims.actors = mandate.actors;
  claims.scopes = mandate.scopes;
  const json extra = {{"agent_instance", instance_},
                      {"autonomy_level", mandate.autonomy_level},
                      {"budget", mandate.budget}};
  const TokenKey named{issuer_, key_id(), TokenAlgorithm::es256, ""};
  return issue_token(named, claims, extra.dump(-1, ' ', false, json::error_handler_t::replace),
                     [this](const std::string& text) { return secret_->sign(text); });
}

Result<std::string> AgentIdentity::hand_on(const Claims& held, const Mandate& mandate,
                                           std::string id, std::int64_t now_s) const {
  const Mandate outer = TRY(mandate_of(held));
  TRY(check_narrower(mandate, outer));
  return issue(mandate, std::move(id), now_s);
}

}  // namespace ambit::governance
