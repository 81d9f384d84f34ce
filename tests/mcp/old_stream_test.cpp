// A client against a server that has only the HTTP+SSE transport of MCP 2024-11-05; and one that
// says that our messages belong elsewhere.

#include "http/curl_client.h"
#include "http/server.h"
#include "io/uv_world.h"
#include "mcp/client.h"
#include "mcp/http_transport.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using rpc::Json;

// One stream, whatever is posted is answered on it.
struct OldServer {
  io::UvWorld world;
  http::CurlClient http{world.watcher()};
  Channel<std::string> events{16};
  std::string endpoint = "/message?session=7";
  std::vector<std::string> posted;
  std::unique_ptr<http::Server> listener;

  OldServer() {
    listener = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
                 return answer(*this, exchange);
               }).value();
  }
  [[nodiscard]] std::string url() const { return "http://" + listener->address() + "/sse"; }

  static Task<void> answer(OldServer& self, http::Exchange& exchange) {
    const http::RequestHead& head = exchange.request();
    const std::string target = head.path + (head.query.empty() ? "" : "?" + head.query);
    if (exchange.request().method == "GET" && target == "/sse") {
      co_await stream(self, exchange);
      co_return;
    }
    std::string body;
    auto read = co_await exchange.read_all();
    if (read) body = std::move(*read);
    const bool known = target == self.endpoint;
    http::Headers headers;
    auto sent = co_await exchange.respond(known ? 202 : 404, std::move(headers), "");
    if (!sent || !known) co_return;
    self.posted.push_back(body);
    const Json message = Json::parse(body);
    if (!message.contains("id")) co_return;
    Json reply = {{"jsonrpc", "2.0"}, {"id", message["id"]}};
    if (message["method"] == "initialize") {
      reply["result"] = {{"protocolVersion", "2024-11-05"},
                         {"capabilities", {{"tools", Json::object()}}},
                         {"serverInfo", {{"name", "old"}, {"version", "1"}}}};
    } else {
      reply["result"] = {{"tools", Json::array()}};
    }
    std::string event = "event: message\ndata: " + rpc::compact(reply) + "\n\n";
    auto told = co_await self.events.send(std::move(event));
    if (!told) co_return;
  }
  static Task<void> stream(OldServer& self, http::Exchange& exchange) {
    http::Headers headers({{"Content-Type", "text/event-stream"}});
    auto sent = co_await exchange.begin(200, std::move(headers));
    std::string event = "event: endpoint\ndata: " + self.endpoint + "\n\n";
    while (sent) {
      sent = co_await exchange.write(std::move(event));
      if (!sent) co_return;
      auto next = co_await self.events.receive();
      if (!next) break;
      event = std::move(*next);
    }
    if (sent) sent = co_await exchange.end();
  }
  std::unique_ptr<Client> client() {
    Connection connection;
    connection.transport = HttpTransport::make(http, HttpTarget{url(), {}}).value();
    return std::make_unique<Client>(std::move(connection), ClientOptions());
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
};

}  // namespace

TEST_CASE("a server that has only HTTP+SSE is spoken to over it", "[mcp][http]") {
  OldServer server;
  const auto client = server.client();
  const auto connected = server.run(client->connect());
  INFO((connected ? "" : connected.error().message));
  REQUIRE(connected.has_value());
  CHECK(client->server().protocol_version == "2024-11-05");
  const auto listed = server.run(client->list_tools());
  REQUIRE(listed.has_value());
  CHECK(server.posted.size() == 3);
  // Its stream is the connection.
  server.events.close();
  const auto after = server.run(client->list_tools());
  REQUIRE_FALSE(after.has_value());
  CHECK(after.error().message.find("ended its stream") != std::string::npos);
}

TEST_CASE("messages are posted to the server that was asked, wherever it says they belong",
          "[mcp][http]") {
  for (const char* elsewhere : {"http://example.com/message", "//example.com/message",
                                "https://127.0.0.1/message", "http://127.0.0.1:1/message"}) {
    INFO(elsewhere);
    OldServer server;
    server.endpoint = elsewhere;
    const auto client = server.client();
    CHECK_FALSE(server.run(client->connect()).has_value());
    CHECK(server.posted.empty());
  }
}

}  // namespace ambit::mcp
