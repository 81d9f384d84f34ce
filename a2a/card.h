#pragma once

// The agent card: what an agent says about itself, in the shape of A2A 1.0, of 0.3, or as a hybrid
// that clients of both read.

#include "a2a/failure.h"
#include "rpc/value.h"

#include <string>
#include <vector>

namespace ambit::a2a {

struct Interface {
  std::string url;
  std::string binding;           // JSONRPC, HTTP+JSON, GRPC
  std::string protocol_version;  // "1.0", "0.3"
  std::string tenant;
  friend bool operator==(const Interface&, const Interface&) = default;
};

struct Extension {
  std::string uri;
  std::string description;
  bool is_required = false;
  rpc::Value params;
  friend bool operator==(const Extension&, const Extension&) = default;
};

struct Skill {
  std::string id;
  std::string name;
  std::string description;
  std::vector<std::string> tags;
  std::vector<std::string> examples;
  std::vector<std::string> input_modes;
  std::vector<std::string> output_modes;
  friend bool operator==(const Skill&, const Skill&) = default;
};

struct AgentCard {
  std::string name;
  std::string description;
  std::string version;
  std::vector<Interface> interfaces;  // the preferred one first
  std::string provider_organization;
  std::string provider_url;
  std::string documentation_url;
  std::string icon_url;
  bool has_streaming = true;
  bool has_push_notifications = false;
  bool has_extended_card = false;
  std::vector<Extension> extensions;
  // Accepted without a key: no scheme. Otherwise HTTP bearer tokens.
  bool needs_bearer_token = false;
  std::vector<std::string> input_modes = {"text/plain"};
  std::vector<std::string> output_modes = {"text/plain"};
  std::vector<Skill> skills;
  friend bool operator==(const AgentCard&, const AgentCard&) = default;
};

enum class CardShape { pure, hybrid, old };
rpc::Json to_json(const AgentCard& card, CardShape shape);
// A card of any shape; invalid_agent_response names the member at fault.
Answer<AgentCard> read_card(const rpc::Json& json);

// Whether a part of this media type may be sent to the agent ("text/*" and "*/*" are patterns).
bool accepts(const std::vector<std::string>& modes, const std::string& media_type);

}  // namespace ambit::a2a
