// Every message that we put on a wire, against the published schemas of its revision, by our own
// validator. The schemas are kept beside the repository (../shared/data/mcp); without them these
// tests say so.

#include "bench.h"
#include "io/uv_world.h"
#include "mcp/server_card.h"
#include "mcp/toolbox.h"
#include "rpc/schema.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace ambit::mcp {
namespace {

std::optional<rpc::Schema> schema_of(const std::string& revision) {
  const auto path =
      std::filesystem::path(PROJECT_ROOT) / "../shared/data/mcp" / (revision + ".json");
  if (!std::filesystem::exists(path)) {
    WARN("SKIPPED: " << path << " is not there");
    return std::nullopt;
  }
  std::ifstream file(path);
  auto schema = rpc::Schema::parse(std::string((std::istreambuf_iterator<char>(file)), {}));
  REQUIRE(schema.has_value());
  REQUIRE(schema->unchecked().empty());
  return std::move(*schema);
}

std::string request_type(const Json& message) {
  const std::map<std::string, std::string> types = {
      {"initialize", "InitializeRequest"},
      {"notifications/initialized", "InitializedNotification"},
      {"notifications/cancelled", "CancelledNotification"},
      {"server/discover", "DiscoverRequest"},
      {"tools/list", "ListToolsRequest"},
      {"tools/call", "CallToolRequest"},
  };
  const auto at = types.find(message["method"].get<std::string>());
  return at == types.end() ? "unknown method" : at->second;
}

void check(const rpc::Schema& schema, const std::string& type, const Json& message) {
  const bool old = !schema.validate_as("#/$defs/" + type, message).has_value() &&
                   schema.validate_as("#/$defs/" + type, message).error().code == Code::not_found;
  const auto fits = schema.validate_as((old ? "#/definitions/" : "#/$defs/") + type, message);
  INFO(type << " " << rpc::compact(message) << ": " << (fits ? "" : fits.error().message));
  CHECK(fits.has_value());
}

// Lists, calls, and gives a call up, so that every kind of message is sent.
void talk(Bench& bench) {
  REQUIRE(bench.list().has_value());
  bench.call();
  bench.server.on["tools/call"] = [](ScriptedServer::Life&, Json) -> Task<void> { co_return; };
  bench.call();
  bench.settle();
  CHECK(bench.server.heard_of("notifications/cancelled") == 1);
}

void check_heard(const Bench& bench, const rpc::Schema& schema, std::size_t expected) {
  std::size_t checked = 0;
  for (const Json& message : bench.server.heard) {
    // Discovery is asked of servers whose revision does not know it.
    if (message["method"] == "server/discover" && bench.server.era == Era::legacy) continue;
    check(schema, request_type(message), message);
    ++checked;
  }
  CHECK(checked == expected);
}

// The lines that the registry server answers to these lines.
std::vector<Json> ask_registry(const std::vector<Json>& messages) {
  struct Ask {
    static Task<std::vector<Json>> all(io::World& world, std::vector<Json> requests) {
      io::ProcessOptions options;
      options.command = {REGISTRY_SERVER,
                         std::string(PROJECT_ROOT) + "/examples/1-incident-desk/registry.json"};
      auto process = world.processes.spawn(std::move(options));
      std::string lines;
      for (const Json& request : requests) lines += rpc::compact(request) + "\n";
      auto written = co_await (*process)->input().write(std::move(lines));
      (*process)->input().shutdown_write();
      std::string text;
      while (written) {
        auto chunk = co_await (*process)->output().read(65536);
        if (!chunk || chunk->empty()) break;
        text += *chunk;
      }
      std::vector<Json> replies;
      for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
        replies.push_back(Json::parse(text.substr(at, text.find('\n', at) - at)));
      }
      co_return replies;
    }
  };
  io::UvWorld world;
  return run_task(world.loop(), Ask::all(world.world(), messages));
}

Json request(int id, const std::string& method, Json params) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}};
}

}  // namespace

TEST_CASE("our legacy messages fit the schema of 2025-11-25", "[mcp]") {
  const auto schema = schema_of("2025-11-25");
  if (!schema) return;
  Bench bench;
  talk(bench);
  check_heard(bench, *schema, 6);
}

TEST_CASE("our legacy messages fit the schemas of the older revisions", "[mcp]") {
  for (const char* revision : {"2024-11-05", "2025-03-26", "2025-06-18"}) {
    const auto schema = schema_of(revision);
    if (!schema) return;
    Bench bench;
    bench.options.client.era = EraChoice::legacy;
    talk(bench);
    check_heard(bench, *schema, 6);
  }
}

TEST_CASE("our modern messages fit the schema of 2026-07-28", "[mcp]") {
  const auto schema = schema_of("2026-07-28");
  if (!schema) return;
  Bench bench;
  bench.server.era = Era::modern;
  talk(bench);
  check_heard(bench, *schema, 5);
}

TEST_CASE("the registry server's messages fit the schemas of both eras", "[mcp]") {
  const auto legacy = schema_of("2025-11-25");
  const auto modern = schema_of("2026-07-28");
  if (!legacy || !modern) return;
  const Json info = {{"name", "test"}, {"version", "1"}};
  const Json initialize = {
      {"protocolVersion", "2025-06-18"}, {"capabilities", Json::object()}, {"clientInfo", info}};
  const Json arguments = {{"service", "checkout"}};
  auto replies = ask_registry(
      {request(1, "initialize", initialize), request(2, "tools/list", Json::object()),
       request(3, "tools/call", {{"name", "lookup_service"}, {"arguments", arguments}}),
       request(4, "ping", Json::object()), request(5, "server/discover", Json::object()),
       request(6, "tools/call", {{"name", "none"}})});
  REQUIRE(replies.size() == 6);
  CHECK(replies[0]["result"]["protocolVersion"] == "2025-06-18");
  check(*legacy, "InitializeResult", replies[0]["result"]);
  check(*legacy, "ListToolsResult", replies[1]["result"]);
  check(*legacy, "CallToolResult", replies[2]["result"]);
  check(*legacy, "EmptyResult", replies[3]["result"]);
  CHECK(replies[4]["error"]["code"] == -32601);
  CHECK(replies[5]["error"]["code"] == -32602);
  for (const Json& reply : replies)
    check(*legacy, reply.contains("error") ? "JSONRPCErrorResponse" : "JSONRPCResultResponse",
          reply);

  Json meta = {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"},
               {"io.modelcontextprotocol/clientCapabilities", Json::object()}};
  Json future = meta;
  future["io.modelcontextprotocol/protocolVersion"] = "2031-01-01";
  Json bare = meta;
  bare.erase("io.modelcontextprotocol/clientCapabilities");
  const Json bad_arguments = {{"service", 7}};
  replies = ask_registry(
      {request(1, "server/discover", {{"_meta", meta}}),
       request(2, "tools/list", {{"_meta", meta}}),
       request(3, "tools/call",
               {{"_meta", meta}, {"name", "lookup_service"}, {"arguments", arguments}}),
       request(4, "server/discover", {{"_meta", future}}), request(5, "ping", {{"_meta", meta}}),
       request(6, "tools/list", {{"_meta", bare}}),
       request(7, "tools/call",
               {{"_meta", meta}, {"name", "lookup_service"}, {"arguments", bad_arguments}})});
  REQUIRE(replies.size() == 7);
  check(*modern, "DiscoverResult", replies[0]["result"]);
  check(*modern, "ListToolsResult", replies[1]["result"]);
  check(*modern, "CallToolResult", replies[2]["result"]);
  check(*modern, "UnsupportedProtocolVersionError", replies[3]);
  CHECK(replies[4]["error"]["code"] == -32601);
  CHECK(replies[5]["error"]["code"] == -32602);
  CHECK(replies[6]["result"]["isError"] == true);
  for (const Json& reply : replies)
    check(*modern, reply.contains("error") ? "JSONRPCErrorResponse" : "JSONRPCResultResponse",
          reply);
}

TEST_CASE("a server's card and the catalogue say where it is", "[mcp][card]") {
  ServerCard card{"clerk", "0.1.0", "Looks things up.",
                  "https://agents.example.com/agents/clerk/mcp"};
  CHECK(server_card_name(card) == "com.example.agents/clerk");
  card.description = std::string(99, 'x') + "\u00fc and more";
  const Json json = Json::parse(server_card_text(card));
  CHECK(json["description"] == std::string(99, 'x'));
  CHECK(json["remotes"][0]["supportedProtocolVersions"][0] == "2026-07-28");
  const Json catalogue = Json::parse(ai_catalog_text({card}));
  CHECK(catalogue["entries"][0]["identifier"] == "urn:air:agents.example.com:clerk");
  CHECK(catalogue["entries"][0]["url"] == card.url + "/server-card");
  for (const char* url : {"http://127.0.0.1:8080/mcp", "http://[::1]:8080/mcp"}) {
    ServerCard local = card;
    local.url = url;
    const std::string name = server_card_name(local);
    CHECK(name.find_first_of(":[]") == std::string::npos);
    CHECK(name.ends_with("/clerk"));
  }
  const auto schema = schema_of("extensions/server-card-experimental");
  if (schema) check(*schema, "ServerCard", json);
}

}  // namespace ambit::mcp
