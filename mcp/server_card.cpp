#include "mcp/server_card.h"

#include "http/url.h"
#include "mcp/protocol.h"
#include "rpc/value.h"

#include <nlohmann/json.hpp>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::size_t description_bytes_max = 100;
constexpr const char* card_schema =
    "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json";
constexpr const char* card_media_type = "application/mcp-server-card+json";
constexpr const char* catalog_media_type = "application/ai-catalog+json";

std::string host_of(const ServerCard& card) {
  const auto url = http::parse_url(card.url);
  return url ? url->host : "localhost";
}

// "agents.example.com" as "com.example.agents"; addresses as they are.
std::string backwards(const std::string& host) {
  const bool is_address = host.find_first_not_of("0123456789.") == std::string::npos;
  std::string out;
  if (host.find(':') != std::string::npos) {
    for (const char c : host) out += c == ':' ? '-' : c;
    return out;
  }
  if (is_address) return host;
  for (std::size_t end = host.size(); end > 0;) {
    const std::size_t dot = host.rfind('.', end - 1);
    const std::size_t begin = dot == std::string::npos ? 0 : dot + 1;
    out += (out.empty() ? "" : ".") + host.substr(begin, end - begin);
    end = dot == std::string::npos ? 0 : dot;
  }
  return out;
}

}  // namespace

std::string server_card_name(const ServerCard& card) {
  return backwards(host_of(card)) + "/" + card.name;
}

std::string server_card_text(const ServerCard& card) {
  Json remote = {{"type", "streamable-http"}, {"url", card.url}};
  remote["supportedProtocolVersions"] = served_versions();
  const std::string description = card.description.empty() ? card.name : card.description;
  Json json = {{"$schema", card_schema},
               {"name", server_card_name(card)},
               {"version", card.version},
               {"title", card.name},
               {"description", rpc::utf8_prefix(description, description_bytes_max)}};
  json["remotes"] = Json::array({std::move(remote)});
  return rpc::compact(json) + "\n";
}

std::string ai_catalog_text(const std::vector<ServerCard>& cards) {
  Json entries = Json::array();
  for (const ServerCard& card : cards) {
    entries.push_back({{"identifier", "urn:air:" + host_of(card) + ":" + card.name},
                       {"displayName", card.name},
                       {"type", card_media_type},
                       {"url", card.url + server_card_path}});
  }
  Json json = {{"specVersion", "1.0"}};
  json["entries"] = std::move(entries);
  return rpc::compact(json) + "\n";
}

http::Headers server_card_headers(bool is_catalog) {
  return {{"Content-Type", is_catalog ? catalog_media_type : card_media_type},
          {"Access-Control-Allow-Origin", "*"},
          {"Access-Control-Allow-Methods", "GET"},
          {"Access-Control-Allow-Headers", "Content-Type"},
          {"Cache-Control", "public, max-age=3600"}};
}

}  // namespace ambit::mcp
