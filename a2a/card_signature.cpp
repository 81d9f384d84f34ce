#include "a2a/card_signature.h"

#include "jose/base64url.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>

namespace ambit::a2a {
namespace {

using rpc::Json;

constexpr std::size_t signatures_max = 32;

// A member of a message of 1.0: kept as it is when it is required or optional, else left out where
// it has its default.
struct Member {
  const char* name;
  bool is_kept;
  std::span<const Member> inner;  // of an object, or of each object of an array
};

constexpr Member interface_members[] = {{"url", true, {}},
                                        {"protocolBinding", true, {}},
                                        {"tenant", false, {}},
                                        {"protocolVersion", true, {}}};
constexpr Member provider_members[] = {{"url", true, {}}, {"organization", true, {}}};
constexpr Member extension_members[] = {
    {"uri", false, {}}, {"description", false, {}}, {"required", false, {}}, {"params", true, {}}};
constexpr Member capability_members[] = {{"streaming", true, {}},
                                         {"pushNotifications", true, {}},
                                         {"extensions", false, extension_members},
                                         {"extendedAgentCard", true, {}}};
constexpr Member skill_members[] = {
    {"id", true, {}},           {"name", true, {}},
    {"description", true, {}},  {"tags", true, {}},
    {"examples", false, {}},    {"inputModes", false, {}},
    {"outputModes", false, {}}, {"securityRequirements", false, {}}};
constexpr Member card_members[] = {{"name", true, {}},
                                   {"description", true, {}},
                                   {"supportedInterfaces", true, interface_members},
                                   {"provider", false, provider_members},
                                   {"version", true, {}},
                                   {"documentationUrl", true, {}},
                                   {"capabilities", true, capability_members},
                                   {"securitySchemes", false, {}},
                                   {"securityRequirements", false, {}},
                                   {"defaultInputModes", true, {}},
                                   {"defaultOutputModes", true, {}},
                                   {"skills", true, skill_members},
                                   {"iconUrl", true, {}}};

bool is_default(const Json& json) {
  return json.is_null() || json == Json("") || json == Json(false) ||
         (json.is_structured() && json.empty());
}

Json reduced(const Json& json, std::span<const Member> members);

Json reduced_member(const Json& value, std::span<const Member> inner) {
  if (inner.empty()) return value;
  if (value.is_object()) return reduced(value, inner);
  if (!value.is_array()) return value;
  Json all = Json::array();
  for (const Json& one : value) all.push_back(one.is_object() ? reduced(one, inner) : one);
  return all;
}

Json reduced(const Json& json, std::span<const Member> members) {
  Json out = Json::object();
  for (const Member& member : members) {
    const auto at = json.find(member.name);
    if (at == json.end() || at->is_null()) continue;
    Json value = reduced_member(*at, member.inner);
    if (member.is_kept || !is_default(value)) out[member.name] = std::move(value);
  }
  return out;
}

// Without whatever is empty, at any depth; null: nothing is left of it.
Json without_empty(const Json& json) {
  if (json.is_null() || json == Json("")) return nullptr;
  if (!json.is_structured()) return json;
  Json out = json.is_array() ? Json::array() : Json::object();
  for (const auto& [key, value] : json.items()) {
    Json inner = without_empty(value);
    if (inner.is_null()) continue;
    if (json.is_array()) {
      out.push_back(std::move(inner));
    } else {
      out[key] = std::move(inner);
    }
  }
  if (out.empty()) return nullptr;
  return out;
}

bool has_empty(const Json& json) {
  if (json.is_null() || json == Json("")) return true;
  if (!json.is_structured()) return false;
  return json.empty() || std::any_of(json.begin(), json.end(), has_empty);
}

// Whether what is empty in a card says nothing: a requirement that names a scheme without scopes.
// All else could have been added by somebody else, unseen in the form of the SDKs.
bool has_bare_form(Json card) {
  card = reduced(card, card_members);
  const auto requirements = card.find("securityRequirements");
  if (requirements != card.end() && requirements->is_array()) {
    for (Json& requirement : *requirements) {
      if (!requirement.is_object() || !requirement.contains("schemes") ||
          !requirement["schemes"].is_object() || requirement["schemes"].empty()) {
        return false;
      }
      requirement = true;
    }
  }
  return !has_empty(card);
}

// What the official SDKs sign: the same members, and of those nothing that is empty.
std::string bare_form(const Json& card) {
  const Json bare = without_empty(reduced(card, card_members));
  return bare.is_null() ? "{}" : rpc::canonical(bare);
}

std::string text_of(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// The key that a signature names, if the signature is its own.
const jose::Key* signer_of(const Json& signature, const std::string& payload,
                           const std::vector<jose::Key>& keys) {
  if (!signature.is_object()) return nullptr;
  const std::string head = text_of(signature, "protected");
  const auto head_text = jose::from_base64url(head);
  const auto bytes = jose::from_base64url(text_of(signature, "signature"));
  if (!head_text || !bytes) return nullptr;
  const auto header = rpc::Value::parse(*head_text);
  if (!header || !header->json().is_object() || header->json().contains("crit")) return nullptr;
  for (const jose::Key& key : keys) {
    if (text_of(header->json(), "kid") == key.id() &&
        text_of(header->json(), "alg") == to_string(key.algorithm()) &&
        key.verify(head + "." + payload, *bytes)) {
      return &key;
    }
  }
  return nullptr;
}

}  // namespace

std::string signed_form(const Json& card) {
  return rpc::canonical(card.is_object() ? reduced(card, card_members) : Json::object());
}

Result<void> sign_card(Json& card, const jose::Key& key, const std::string& jwks_url) {
  Json header = {{"alg", to_string(key.algorithm())}, {"kid", key.id()}, {"typ", "JOSE"}};
  if (!jwks_url.empty()) header["jku"] = jwks_url;
  const std::string head = jose::to_base64url(rpc::compact(header));
  std::vector<std::string> forms = {signed_form(card)};
  if (std::string bare = bare_form(card); bare != forms.front()) forms.push_back(std::move(bare));
  for (const std::string& form : forms) {
    const std::string signature = TRY(key.sign(head + "." + jose::to_base64url(form)));
    card["signatures"].push_back(
        {{"protected", head}, {"signature", jose::to_base64url(signature)}});
  }
  return {};
}

Answer<std::string> verify_card(const Json& card, const std::vector<jose::Key>& keys) {
  const auto at = card.is_object() ? card.find("signatures") : card.end();
  if (at == card.end() || !at->is_array() || at->empty()) {
    return Fail(Fault::invalid_agent_response, "the agent card is not signed");
  }
  std::vector<std::string> payloads = {jose::to_base64url(signed_form(card))};
  if (has_bare_form(card)) payloads.push_back(jose::to_base64url(bare_form(card)));
  for (std::size_t n = 0; n < at->size() && n < signatures_max; ++n) {
    for (const std::string& payload : payloads) {
      if (const jose::Key* key = signer_of((*at)[n], payload, keys)) return key->id();
    }
  }
  return Fail(Fault::invalid_agent_response,
              "the agent card has no good signature of a key that is trusted");
}

}  // namespace ambit::a2a
