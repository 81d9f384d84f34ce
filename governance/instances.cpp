#include "governance/instances.h"

#include "governance/token_key.h"
#include "log/sha256.h"

#include <algorithm>

namespace ambit::governance {
namespace {

// The middle part of a token of ours.
Result<std::string> payload_of(const std::string& token) {
  const std::size_t first = token.find('.');
  const std::size_t last = token.rfind('.');
  if (first == std::string::npos || last <= first) {
    return Err(Code::internal, "the token that was issued is none");
  }
  return from_base64url(std::string_view(token).substr(first + 1, last - first - 1));
}

}  // namespace

Mandate Instances::mandate_for(const agents::Charge& charge, const Live* parent) const {
  Mandate mandate;
  mandate.subject = charge.requester.empty() ? "unknown" : charge.requester;
  mandate.actors = {charge.agent};
  mandate.audience = {options_.issuer};
  mandate.scopes = {"act"};
  mandate.autonomy_level = options_.level_of ? options_.level_of(charge.agent) : 1;
  mandate.expires_at_s = options_.now_s() + options_.lifetime_s;
  const auto cap = [&mandate](const char* name, std::int64_t amount) {
    if (amount >= 0) mandate.budget[name] = amount;
  };
  cap("turns", charge.left.turns);
  cap("toolCalls", charge.left.tool_calls);
  cap("tokens", charge.left.tokens);
  cap("costMicros", charge.left.money_micros);
  if (parent == nullptr) return mandate;
  // What the one who delegates does not have, he cannot give; the budget is not cut here, so that
  // a ledger that gave too much is found out.
  const Mandate& outer = parent->mandate;
  mandate.subject = outer.subject;
  mandate.actors.insert(mandate.actors.end(), outer.actors.begin(), outer.actors.end());
  mandate.autonomy_level = std::min(mandate.autonomy_level, outer.autonomy_level);
  mandate.expires_at_s = std::min(mandate.expires_at_s, outer.expires_at_s);
  return mandate;
}

Result<agents::Identity> Instances::begin(const agents::Charge& charge) {
  if (live_.size() >= options_.instances_max) {
    return Err(Code::exhausted, "more than " + std::to_string(options_.instances_max) +
                                    " instances of agents live at once");
  }
  const Live* parent = nullptr;
  if (!charge.parent.empty()) {
    const auto at = live_.find({charge.run, charge.parent});
    if (at == live_.end()) {
      return Err(Code::denied, "the session " + charge.parent +
                                   " that delegates has no identity any more, so it cannot");
    }
    parent = &at->second;
  }
  const std::string instance = charge.run + "/" + charge.session;
  AgentIdentity identity = TRY(AgentIdentity::create(options_.issuer, charge.agent, instance));
  Mandate mandate = mandate_for(charge, parent);
  const std::string id = instance + "#" + std::to_string(++issued_);
  if (parent != nullptr) {
    // What the parent's token says is what was put into it here; its time may be over.
    TRY(check_narrower(mandate, parent->mandate));
    if (parent->mandate.expires_at_s <= options_.now_s()) {
      return Err(Code::denied, "the token of " + charge.parent + " has expired");
    }
  }
  std::string token = TRY(identity.issue(mandate, id, options_.now_s()));
  agents::Identity told;
  told.key = identity.key_id();
  told.public_key = identity.jwks();
  told.claims = TRY(payload_of(token));
  told.token_hash = log::to_hex(log::sha256(token));
  live_.insert_or_assign(Key{charge.run, charge.session},
                         Live{std::move(identity), std::move(mandate), std::move(token)});
  return told;
}

void Instances::end(const std::string& run, const std::string& session) {
  live_.erase({run, session});
}

const std::string* Instances::token_of(const std::string& run, const std::string& session) const {
  const auto at = live_.find({run, session});
  return at == live_.end() ? nullptr : &at->second.token;
}

}  // namespace ambit::governance
