#pragma once

// The agents of a fleet that others may call: the doors of each, and which of them is at a path.
// One of them is also at the root of the server.

#include "a2a/door.h"
#include "a2a/journal_store.h"
#include "a2a/service.h"
#include "agents/fleet.h"
#include "app/current_runner.h"
#include "app/mcp_door.h"
#include "mcp/server_card.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::app {

// One of them: what runs its tasks, what knows them, and its doors.
struct Exposed {
  std::string name;
  std::string base;  // "/agents/clerk"
  std::string description;
  std::unique_ptr<CurrentRunner> runner;
  std::unique_ptr<a2a::JournalTaskStore> store;
  std::unique_ptr<a2a::Service> service;
  std::unique_ptr<a2a::Door> door;
  // Its tools, for MCP clients at BASE/mcp.
  std::unique_ptr<McpDoor> mcp;
  std::unique_ptr<mcp::HttpEndpoint> mcp_endpoint;
};

[[nodiscard]] bool exposes_any(const agents::Fleet& fleet);

class ExposedAgents {
 public:
  // What is said where somebody looks for one and there is none.
  static constexpr std::string_view none =
      "no agent is exposed (\"a2a\": {}), so there is neither A2A nor MCP";
  // Whether an A2A or MCP client would look there.
  static bool is_place(std::string_view path);

  void add(std::unique_ptr<Exposed> agent, bool is_root);
  // The first, where nobody is said to be at the root.
  void open_root();
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] auto begin() const { return all_.begin(); }
  [[nodiscard]] auto end() const { return all_.end(); }

  // By path; null: nobody is there.
  [[nodiscard]] Exposed* agent_at(std::string_view path) const;
  [[nodiscard]] mcp::HttpEndpoint* mcp_at(std::string_view path) const;
  [[nodiscard]] const Exposed* mcp_card_at(std::string_view path) const;
  // Of "clerk" or "clerk/tenant", from which the name is taken, or else of the one at the root.
  [[nodiscard]] a2a::Service* service_of(std::string& tenant) const;

  // For who knows nothing but this host yet: nothing in them is secret. `url`: of the server.
  static mcp::ServerCard mcp_card_of(const Exposed& agent, const std::string& url);
  [[nodiscard]] std::vector<mcp::ServerCard> mcp_cards(const std::string& url) const;
  // As JSON, for those who may call.
  [[nodiscard]] std::string catalogue(const std::string& url) const;

 private:
  std::vector<std::unique_ptr<Exposed>> all_;
  Exposed* root_ = nullptr;
  std::unique_ptr<mcp::HttpEndpoint> root_mcp_;  // of the agent at the root, at /mcp
};

}  // namespace ambit::app
