#pragma once

// Server cards (SEP-2127, experimental): where an MCP server is and how to connect to it, for who
// has not connected yet; and the catalogue (ai-catalog) that names the cards of one host. Both are
// public, hold no tools and grant nothing.

#include "http/message.h"

#include <string>
#include <vector>

namespace ambit::mcp {

constexpr const char* server_card_path = "/server-card";  // below the server's own URL
constexpr const char* ai_catalog_path = "/.well-known/ai-catalog.json";

struct ServerCard {
  std::string name;  // as the host's agents are called: "clerk"
  std::string version;
  std::string description;  // more than 100 characters are cut
  std::string url;          // of the server: "https://agents.example.com/agents/clerk/mcp"
};

// The host of the URL, backwards, and the name: "com.example.agents/clerk".
std::string server_card_name(const ServerCard& card);
// JSON text.
std::string server_card_text(const ServerCard& card);
std::string ai_catalog_text(const std::vector<ServerCard>& cards);
// With which either is answered: its media type, and that every page may read it.
http::Headers server_card_headers(bool is_catalog);

}  // namespace ambit::mcp
