#include "agents/fleet_remote.h"

#include <algorithm>
#include <string_view>

namespace ambit::agents {
namespace {

// Of a URL that begins with "http://".
bool is_loopback(std::string_view url) {
  std::string_view host = url.substr(7);
  host = host.substr(0, host.find_first_of("/?#"));
  if (host.find('@') != std::string_view::npos) return false;
  if (host.starts_with("[::1]")) return host.size() == 5 || host[5] == ':';
  host = host.substr(0, host.find(':'));
  return host == "localhost" || host == "127.0.0.1";
}

std::string with_environment(Reader& reader, const std::string& key, const Node& node,
                             const FleetContext& context) {
  auto text = expand(node.string, [&](std::string_view name) -> std::optional<std::string> {
    return context.environment ? context.environment(std::string(name)) : std::nullopt;
  });
  if (text) return *text;
  reader.report(node, reader.at(key), text.error().message + "; set it in the environment");
  return node.string;
}

const RemoteAgentSpec* remote(const Fleet& fleet, std::string_view name) {
  const auto at = std::find_if(fleet.remote_agents.begin(), fleet.remote_agents.end(),
                               [&](const RemoteAgentSpec& one) { return one.name == name; });
  return at == fleet.remote_agents.end() ? nullptr : &*at;
}

}  // namespace

bool is_remote_agent(const Node& agent) {
  return agent.kind == Node::Kind::object && agent.find("card") != nullptr;
}

RemoteAgentSpec read_remote_agent(Reader& reader, const std::string& name,
                                  const FleetContext& context) {
  RemoteAgentSpec spec;
  spec.name = name;
  const Node* card = reader.get("card", Node::Kind::string);
  if (card != nullptr) {
    spec.card_url = with_environment(reader, "card", *card, context);
    if (!spec.card_url.starts_with("https://") && !spec.card_url.starts_with("http://")) {
      reader.report(*card, reader.at("card"),
                    R"(expected an http or https URL such as "https://agents.example.com/clerk")");
    }
  }
  if (const Node* token = reader.get("tokenEnv", Node::Kind::string)) {
    spec.token_variable = token->string;
    if (context.environment && !context.environment(spec.token_variable)) {
      reader.report(*token, reader.at("tokenEnv"),
                    "the environment has no variable " + spec.token_variable +
                        "; set it to the agent's token");
    }
    if (card != nullptr && spec.card_url.starts_with("http://") && !is_loopback(spec.card_url)) {
      reader.report(*card, reader.at("card"),
                    "a token would cross the network unencrypted; use https");
    }
  }
  if (const Node* keys = reader.get("trust", Node::Kind::string)) {
    spec.keys_file = with_environment(reader, "trust", *keys, context);
    if (!spec.keys_file.starts_with('/')) spec.keys_file = context.directory + "/" + spec.keys_file;
    if (context.file_exists && !context.file_exists(spec.keys_file)) {
      reader.report(*keys, reader.at("trust"), "there is no file \"" + spec.keys_file + "\"");
    }
  }
  reader.done();
  return spec;
}

void check_remote_agents(const Node& root, FleetFile& file) {
  const Node* agents = root.find("agents");
  if (agents == nullptr || agents->kind != Node::Kind::object) return;
  for (const Node::Member& member : agents->members) {
    const AgentSpec* agent = file.fleet.agent(member.key);
    if (agent == nullptr || member.value.kind != Node::Kind::object) continue;
    const auto check = [&](const char* key, const std::string& why) {
      const Node* names = member.value.find(key);
      if (names == nullptr || names->kind != Node::Kind::array) return;
      for (std::size_t i = 0; i < names->items.size(); ++i) {
        const Node& item = names->items[i];
        if (item.kind != Node::Kind::string || remote(file.fleet, item.string) == nullptr) continue;
        const std::string path = "agents." + member.key + "." + key;
        file.problems.push_back(problem_at(item, path + "[" + std::to_string(i) + "]",
                                           "the agent \"" + item.string + "\" is elsewhere" + why));
      }
    };
    check("handoffs", ": it takes no session over; name it in \"subAgents\"");
    if (agent->local_only) check("subAgents", ", and this one's data must not leave this machine");
  }
}

}  // namespace ambit::agents
