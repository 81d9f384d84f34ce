// Reading an agent card of 1.0, of 0.3 or of both. A card comes from somebody else: what has the
// wrong kind is refused by name, everything is bounded, and nothing in it is followed or resolved.

#include "a2a/card.h"
#include "a2a/reader.h"

#include <nlohmann/json.hpp>

namespace ambit::a2a {
namespace {

using rpc::Json;

constexpr std::size_t interfaces_max = 64;
constexpr std::size_t skills_max = 1000;

void read_interface(const Json& json, const std::string& path, std::optional<Failure>& fault,
                    std::vector<Interface>& all) {
  Reader reader(json, path, fault);
  Interface interface;
  interface.url = reader.required_text("url");
  interface.binding = reader.required_text("protocolBinding");
  interface.protocol_version = reader.text("protocolVersion");
  if (interface.protocol_version.empty()) interface.protocol_version = "1.0";
  interface.tenant = reader.text("tenant");
  all.push_back(std::move(interface));
}

// The main URL of 0.3 first, then the others, each once.
void read_old_interfaces(Reader& card, std::optional<Failure>& fault, std::vector<Interface>& all) {
  if (!card.has("url")) return;
  const auto add = [&](Interface interface) {
    if (interface.binding.empty()) interface.binding = "JSONRPC";
    interface.protocol_version = "0.3";
    for (const Interface& known : all) {
      if (known == interface) return;
    }
    all.push_back(std::move(interface));
  };
  add({card.text("url"), card.text("preferredTransport"), "", ""});
  const Json* others = card.array("additionalInterfaces");
  for (std::size_t n = 0; others != nullptr && n < others->size() && n < interfaces_max; ++n) {
    Reader reader((*others)[n], "additionalInterfaces[" + std::to_string(n) + "]", fault);
    add({reader.required_text("url"), reader.text("transport"), "", ""});
  }
}

Skill read_skill(const Json& json, const std::string& path, std::optional<Failure>& fault) {
  Reader reader(json, path, fault);
  Skill skill;
  skill.id = reader.text("id");
  skill.name = reader.text("name");
  skill.description = reader.text("description");
  skill.tags = reader.texts("tags");
  skill.examples = reader.texts("examples");
  skill.input_modes = reader.texts("inputModes");
  skill.output_modes = reader.texts("outputModes");
  return skill;
}

void read_capabilities(const Json& json, AgentCard& card, std::optional<Failure>& fault) {
  Reader reader(json, "capabilities", fault);
  card.has_streaming = reader.flag("streaming");
  card.has_push_notifications = reader.flag("pushNotifications");
  card.has_extended_card = reader.flag("extendedAgentCard") || card.has_extended_card;
  const Json* extensions = reader.array("extensions");
  for (std::size_t n = 0; extensions != nullptr && n < extensions->size() && n < interfaces_max;
       ++n) {
    Reader one((*extensions)[n], "capabilities.extensions[" + std::to_string(n) + "]", fault);
    Extension extension;
    extension.uri = one.required_text("uri");
    extension.description = one.text("description");
    extension.is_required = one.flag("required");
    extension.params = one.object("params");
    card.extensions.push_back(std::move(extension));
  }
}

}  // namespace

Answer<AgentCard> read_card(const Json& json) {
  std::optional<Failure> fault;
  Reader reader(json, "", fault);
  AgentCard card;
  card.name = reader.required_text("name");
  card.description = reader.text("description");
  card.version = reader.text("version");
  const Json* interfaces = reader.array("supportedInterfaces");
  for (std::size_t n = 0; interfaces != nullptr && n < interfaces->size() && n < interfaces_max;
       ++n) {
    read_interface((*interfaces)[n], "supportedInterfaces[" + std::to_string(n) + "]", fault,
                   card.interfaces);
  }
  read_old_interfaces(reader, fault, card.interfaces);
  if (card.interfaces.empty()) reader.fail("supportedInterfaces", "names no interface");
  if (const Json* provider = reader.find("provider")) {
    Reader inner(*provider, "provider", fault);
    card.provider_organization = inner.text("organization");
    card.provider_url = inner.text("url");
  }
  card.documentation_url = reader.text("documentationUrl");
  card.icon_url = reader.text("iconUrl");
  card.has_streaming = false;
  card.has_extended_card = reader.flag("supportsAuthenticatedExtendedCard");
  if (const Json* capabilities = reader.find("capabilities")) {
    read_capabilities(*capabilities, card, fault);
  }
  const Json* requirements = reader.array("securityRequirements");
  const Json* old_requirements = reader.array("security");
  card.needs_bearer_token = (requirements != nullptr && !requirements->empty()) ||
                            (old_requirements != nullptr && !old_requirements->empty());
  card.input_modes = reader.texts("defaultInputModes");
  card.output_modes = reader.texts("defaultOutputModes");
  const Json* skills = reader.array("skills");
  for (std::size_t n = 0; skills != nullptr && n < skills->size() && n < skills_max; ++n) {
    card.skills.push_back(read_skill((*skills)[n], "skills[" + std::to_string(n) + "]", fault));
  }
  if (!fault) return card;
  return Fail(Fault::invalid_agent_response, "the agent card: " + fault->message, fault->field);
}

}  // namespace ambit::a2a
