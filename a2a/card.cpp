#include "a2a/card.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using rpc::Json;

Json skill_json(const Skill& skill) {
  Json json = {{"id", skill.id},
               {"name", skill.name},
               {"description", skill.description},
               {"tags", skill.tags}};
  if (!skill.examples.empty()) json["examples"] = skill.examples;
  if (!skill.input_modes.empty()) json["inputModes"] = skill.input_modes;
  if (!skill.output_modes.empty()) json["outputModes"] = skill.output_modes;
  return json;
}

Json capabilities_json(const AgentCard& card, bool is_old) {
  Json json = {{"streaming", card.has_streaming},
               {"pushNotifications", card.has_push_notifications}};
  for (const Extension& extension : card.extensions) {
    Json one = {{"uri", extension.uri}};
    if (!extension.description.empty()) one["description"] = extension.description;
    if (extension.is_required) one["required"] = true;
    if (extension.params.present()) one["params"] = extension.params.json();
    json["extensions"].push_back(std::move(one));
  }
  if (!is_old) json["extendedAgentCard"] = card.has_extended_card;
  return json;
}

// What only 0.3 has: one main URL, its transport, and the others.
void put_old_members(const AgentCard& card, Json& json) {
  json["protocolVersion"] = "0.3.0";
  Json others = Json::array();
  for (const Interface& interface : card.interfaces) {
    if (interface.protocol_version != "0.3") continue;
    if (!json.contains("url")) {
      json["url"] = interface.url;
      json["preferredTransport"] = interface.binding;
    }
    others.push_back({{"url", interface.url}, {"transport", interface.binding}});
  }
  if (!others.empty()) json["additionalInterfaces"] = std::move(others);
  json["supportsAuthenticatedExtendedCard"] = card.has_extended_card;
  if (card.needs_bearer_token) {
    Json requirement = Json::object();
    requirement["bearer"] = Json::array();
    json["security"].push_back(std::move(requirement));
  }
}

}  // namespace

Json to_json(const AgentCard& card, CardShape shape) {
  Json json = {{"name", card.name}, {"description", card.description}};
  if (shape != CardShape::old) {
    Json& interfaces = json["supportedInterfaces"] = Json::array();
    for (const Interface& interface : card.interfaces) {
      Json one = {{"url", interface.url},
                  {"protocolBinding", interface.binding},
                  {"protocolVersion", interface.protocol_version}};
      if (!interface.tenant.empty()) one["tenant"] = interface.tenant;
      interfaces.push_back(std::move(one));
    }
  }
  if (!card.provider_organization.empty()) {
    json["provider"] = {{"url", card.provider_url}, {"organization", card.provider_organization}};
  }
  json["version"] = card.version;
  if (!card.documentation_url.empty()) json["documentationUrl"] = card.documentation_url;
  json["capabilities"] = capabilities_json(card, shape == CardShape::old);
  if (card.needs_bearer_token) {
    // The two versions name the same scheme in two shapes; a hybrid card carries the newer.
    if (shape == CardShape::old) {
      json["securitySchemes"]["bearer"] = {{"type", "http"}, {"scheme", "bearer"}};
    } else {
      json["securitySchemes"]["bearer"]["httpAuthSecurityScheme"] = {{"scheme", "Bearer"}};
      Json requirement = Json::object();
      requirement["schemes"]["bearer"] = Json::object();
      json["securityRequirements"].push_back(std::move(requirement));
    }
  }
  json["defaultInputModes"] = card.input_modes;
  json["defaultOutputModes"] = card.output_modes;
  Json& skills = json["skills"] = Json::array();
  for (const Skill& skill : card.skills) skills.push_back(skill_json(skill));
  if (!card.icon_url.empty()) json["iconUrl"] = card.icon_url;
  if (shape != CardShape::pure) put_old_members(card, json);
  return json;
}

bool accepts(const std::vector<std::string>& modes, const std::string& media_type) {
  const std::string type = media_type.substr(0, media_type.find(';'));
  const std::string any = type.substr(0, type.find('/')) + "/*";
  return std::any_of(modes.begin(), modes.end(), [&](const std::string& mode) {
    return mode == "*/*" || mode == type || mode == any;
  });
}

}  // namespace ambit::a2a
