#pragma once

// Signed agent cards (A2A 1.0, section 8.4): a JWS over the canonical JSON of the card without its
// signatures. What a signature covers are the members that version 1.0 has; a card may carry
// others, and nothing is said about those.

#include "a2a/failure.h"
#include "jose/key.h"
#include "rpc/value.h"

#include <string>
#include <vector>

namespace ambit::a2a {

// The text that is signed: members of 1.0 alone, without `signatures`, and without what has its
// default and need not be there.
std::string signed_form(const rpc::Json& card);

// Adds a signature. `jwks_url` tells where the key is to be had; empty: it is not told.
Result<void> sign_card(rpc::Json& card, const jose::Key& key, const std::string& jwks_url);

// The id of the key that has signed the card as it stands. Fault::invalid_agent_response: it has no
// signature of one of these keys that is good.
Answer<std::string> verify_card(const rpc::Json& card, const std::vector<jose::Key>& keys);

}  // namespace ambit::a2a
