#include "app/exposed.h"

#include "app/command.h"
#include "app/version.h"

#include <algorithm>
#include <utility>

namespace ambit::app {

bool exposes_any(const agents::Fleet& fleet) {
  return std::any_of(fleet.agents.begin(), fleet.agents.end(),
                     [](const agents::AgentSpec& agent) { return agent.a2a.has_value(); });
}

bool ExposedAgents::is_place(std::string_view path) {
  return path == "/mcp" || path.starts_with("/mcp/") || path.starts_with("/agents/") ||
         path.starts_with("/.well-known/");
}

void ExposedAgents::add(std::unique_ptr<Exposed> agent, bool is_root) {
  if (is_root) root_ = agent.get();
  all_.push_back(std::move(agent));
}

void ExposedAgents::open_root() {
  if (all_.empty()) return;
  if (root_ == nullptr) root_ = all_.front().get();
  root_mcp_ = root_->mcp->endpoint("/mcp");
}

Exposed* ExposedAgents::agent_at(std::string_view path) const {
  for (const auto& agent : all_) {
    if (path == agent->base || path.starts_with(agent->base + "/")) return agent.get();
  }
  // The well-known place of the whole server leads to one agent's card.
  return path == "/.well-known/agent-card.json" ? root_ : nullptr;
}

mcp::HttpEndpoint* ExposedAgents::mcp_at(std::string_view path) const {
  if (path == "/mcp") return root_mcp_.get();
  for (const auto& agent : all_) {
    if (path == agent->base + "/mcp") return agent->mcp_endpoint.get();
  }
  return nullptr;
}

const Exposed* ExposedAgents::mcp_card_at(std::string_view path) const {
  if (!path.ends_with(mcp::server_card_path)) return nullptr;
  path.remove_suffix(std::string_view(mcp::server_card_path).size());
  if (path == "/mcp") return root_;
  for (const auto& agent : all_) {
    if (path == agent->base + "/mcp") return agent.get();
  }
  return nullptr;
}

a2a::Service* ExposedAgents::service_of(std::string& tenant) const {
  const std::size_t slash = std::min(tenant.find('/'), tenant.size());
  for (const auto& agent : all_) {
    if (tenant.compare(0, slash, agent->name) != 0) continue;
    tenant.erase(0, std::min(slash + 1, tenant.size()));
    return agent->service.get();
  }
  return root_ != nullptr ? root_->service.get() : nullptr;
}

mcp::ServerCard ExposedAgents::mcp_card_of(const Exposed& agent, const std::string& url) {
  return {agent.name, std::string(version), agent.description, url + agent.base + "/mcp"};
}

std::vector<mcp::ServerCard> ExposedAgents::mcp_cards(const std::string& url) const {
  std::vector<mcp::ServerCard> cards;
  for (const auto& agent : all_) cards.push_back(mcp_card_of(*agent, url));
  return cards;
}

std::string ExposedAgents::catalogue(const std::string& url) const {
  std::string text = "{\"agents\":[";
  for (const auto& agent : all_) {
    text += (agent == all_.front() ? "" : ",") + std::string("{\"name\":") +
            json_text(agent->name) + ",\"url\":" + json_text(url + agent->base) +
            ",\"card\":" + json_text(url + agent->base + "/.well-known/agent-card.json") + "}";
  }
  return text + "]}\n";
}

}  // namespace ambit::app
