// Client and server against each other, in both eras, over HTTP on real sockets and over streams in
// memory; and raw requests that a good client would not send.

#include "http/curl_client.h"
#include "http/server.h"
#include "io/uv_world.h"
#include "mcp/http_endpoint.h"
#include "mcp/http_transport.h"
#include "mcp/stdio_server.h"
#include "mcp/toolbox.h"
#include "support/memory_stream.h"
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

Json schema_of(const std::string& property) {
  return {{"type", "object"},
          {"properties", {{property, {{"type", "string"}}}}},
          {"required", Json::array({property})}};
}

ServerTool tool_of(const std::string& name, Json schema, Handler run) {
  Json definition = {{"name", name}, {"description", "A tool"}, {"inputSchema", std::move(schema)}};
  return ServerTool{Value(std::move(definition)), std::move(run), {}, TaskSupport::none};
}

Task<Result<Value>> echo(Value arguments, Call& /*call*/) {
  co_return text_result(arguments.json().value("text", ""));
}
Task<Result<Value>> ask_name(Value /*arguments*/, Call& call) {
  Value form = Json::parse(
      R"({"message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}})");
  const Value answer = co_await ok(call.ask("who", "elicitation/create", std::move(form)));
  co_return text_result("Hello, " + answer.json()["content"]["name"].get<std::string>());
}
Task<Result<Value>> report(Value /*arguments*/, Call& call) {
  co_await call.progress(1, 2, "half");
  co_await call.progress(2, 2, "whole");
  co_return text_result("done");
}
Task<Result<Value>> come_back(Value /*arguments*/, Call& call) {
  call.hang_up();
  co_await delay(std::chrono::milliseconds(30));
  co_return text_result("here it is");
}

// Counts the frames that wait in it.
int waiting = 0;
Task<Result<Value>> wait_for_ever(Value /*arguments*/, Call& /*call*/) {
  struct Count {
    Count() { ++waiting; }
    ~Count() { --waiting; }
  };
  const Count count;
  co_await delay(std::chrono::hours(1));
  co_return text_result("never");
}

Task<Result<Value>> answer_name(std::string method, Value /*params*/) {
  if (method != "elicitation/create") co_return Err(Code::unsupported, method);
  co_return Value(Json::parse(R"({"action":"accept","content":{"name":"Ann"}})"));
}

struct House {
  io::UvWorld world;
  http::CurlClient http{world.watcher()};
  Server server{world.world().clock, world.world().entropy, options()};
  std::unique_ptr<HttpEndpoint> endpoint;
  std::unique_ptr<http::Server> listener;

  static ServerOptions options() {
    ServerOptions options;
    options.page_items = 3;
    return options;
  }
  House() {
    for (const auto& [name, run] :
         std::vector<std::pair<std::string, Handler>>{{"ask_name", ask_name},
                                                      {"report", report},
                                                      {"come_back", come_back},
                                                      {"wait", wait_for_ever}}) {
      REQUIRE(server.add(tool_of(name, Json{{"type", "object"}}, run)).has_value());
    }
    REQUIRE(server.add(tool_of("echo", schema_of("text"), echo)).has_value());
    Json mirrored = schema_of("region");
    mirrored["properties"]["region"]["x-mcp-header"] = "Region";
    REQUIRE(server.add(tool_of("mirrored", std::move(mirrored), echo)).has_value());
    restart();
    listener = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
                 return endpoint->handle(exchange);
               }).value();
  }
  // Forgets all sessions.
  void restart() {
    HttpEndpointOptions quick;
    quick.retry = std::chrono::milliseconds(10);
    endpoint = std::make_unique<HttpEndpoint>(server, world.world().entropy, quick);
  }
  [[nodiscard]] std::string url() const { return "http://" + listener->address() + "/mcp"; }

  Connection connect() {
    Connection connection;
    HttpTransportLimits limits;
    limits.retry_first = std::chrono::milliseconds(10);
    connection.transport = HttpTransport::make(http, HttpTarget{url(), {}}, limits).value();
    return connection;
  }
  static ClientOptions client_options(EraChoice era) {
    ClientOptions options;
    options.era = era;
    options.on_input = answer_name;
    options.capabilities = Json::parse(R"({"elicitation":{"form":{}}})");
    return options;
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }

  http::Response post(const Json& body, http::Headers more) {
    http::Request request;
    request.method = "POST";
    request.url = url();
    request.body = body.dump();
    request.headers = std::move(more);
    request.headers.set("Content-Type", "application/json");
    return run(http.send(std::move(request))).value();
  }
};

Json modern_request(const std::string& method, Json params) {
  params["_meta"][meta_version] = modern_version;
  params["_meta"][meta_client_capabilities] = Json::object();
  return {{"jsonrpc", "2.0"}, {"id", 7}, {"method", method}, {"params", std::move(params)}};
}

http::Headers modern_headers(const std::string& method) {
  return http::Headers(
      {{"MCP-Protocol-Version", std::string(modern_version)}, {"Mcp-Method", method}});
}

std::string text_of(const Result<ToolAnswer>& answer) {
  if (!answer) return "error: " + answer.error().message;
  if (answer->fault) return "fault: " + answer->fault->message;
  return answer->result.content.empty() ? "" : answer->result.content[0].text;
}

// What every client must be able to do with the house's tools.
template <class Run>
void try_everything(Run run, Client& client, Era era) {
  const auto connected = run(client.connect());
  INFO((connected ? "" : connected.error().message));
  REQUIRE(connected.has_value());
  CHECK(client.server().era == era);
  const auto list = run(client.list_tools());
  REQUIRE(list.has_value());
  REQUIRE(list->tools.size() == 6);  // two pages
  CHECK(list->tools[0].name == "ask_name");
  CHECK(text_of(run(client.call_tool("echo", Json{{"text", "hi"}}))) == "hi");
  CHECK(text_of(run(client.call_tool("ask_name", Json::object()))) == "Hello, Ann");
  std::vector<std::string> said;
  CallOptions options;
  options.on_progress = [&](const ProgressParams& progress) { said.push_back(progress.message); };
  CHECK(text_of(run(client.call_tool("report", Json::object(), options))) == "done");
  CHECK(said == std::vector<std::string>{"half", "whole"});
  const auto wrong = run(client.call_tool("echo", Json{{"text", 7}}));
  REQUIRE(wrong.has_value());
  CHECK(wrong->result.is_error);
  CHECK(text_of(wrong).find("$.text") != std::string::npos);
  const auto unknown = run(client.call_tool("nothing", Json::object()));
  REQUIRE(unknown.has_value());
  REQUIRE(unknown->fault.has_value());
  CHECK(unknown->fault->code == rpc::invalid_params);
}

}  // namespace

TEST_CASE("a client finds out that a server over HTTP is modern and uses all of it", "[mcp]") {
  House house;
  auto options = House::client_options(EraChoice::automatic);
  options.eras = std::make_shared<EraMemory>();
  const auto eras = options.eras;
  Client client(house.connect(), std::move(options));
  const auto run = [&](auto task) { return house.run(std::move(task)); };
  try_everything(run, client, Era::modern);
  CHECK(text_of(run(client.call_tool("mirrored", Json{{"region", " north\n"}}))).empty());
  CHECK(house.endpoint->sessions() == 0);
  REQUIRE(eras->size() == 1);
  CHECK(eras->begin()->second == Era::modern);
}

TEST_CASE("a legacy client over HTTP gets a session, and ends it", "[mcp]") {
  House house;
  Client client(house.connect(), House::client_options(EraChoice::legacy));
  const auto run = [&](auto task) { return house.run(std::move(task)); };
  try_everything(run, client, Era::legacy);
  CHECK(house.endpoint->sessions() == 1);
  run([](Client& ending) -> Task<int> {
    co_await ending.close();
    co_return 0;
  }(client));
  CHECK(house.endpoint->sessions() == 0);
}

TEST_CASE("both eras work over a pair of streams", "[mcp]") {
  House house;
  for (const EraChoice choice : {EraChoice::automatic, EraChoice::legacy}) {
    auto input = MemoryStream::pair();
    auto output = MemoryStream::pair();
    StdioServer server(house.server, *input.second, *output.second, "test");
    Scope scope;
    scope.spawn([](StdioServer& serving) -> Task<void> { co_await serving.run(); }(server));
    Connection connection;
    connection.input = input.first.get();
    connection.output = output.first.get();
    Client client(std::move(connection), House::client_options(choice));
    const auto run = [&](auto task) { return house.run(std::move(task)); };
    try_everything(run, client, choice == EraChoice::legacy ? Era::legacy : Era::modern);
  }
}

TEST_CASE("a legacy client comes back for the answer of a stream that was closed", "[mcp]") {
  House house;
  Client client(house.connect(), House::client_options(EraChoice::legacy));
  REQUIRE(house.run(client.connect()).has_value());
  CHECK(text_of(house.run(client.call_tool("come_back", Json::object()))) == "here it is");
}

TEST_CASE("a toolbox heals the loss of its session", "[mcp]") {
  House house;
  ToolboxOptions options;
  options.client.era = EraChoice::legacy;
  McpToolbox box(
      "house",
      [&]() {
        return [](Connection connection) -> Task<Result<Connection>> {
          co_return connection;
        }(house.connect());
      },
      options);
  REQUIRE(house.run(box.list()).has_value());
  house.restart();
  agents::ToolCall call;
  call.name = "mcp__house__echo";
  call.arguments = R"({"text":"again"})";
  const auto outcome = house.run(box.call("s", call));
  INFO(outcome.detail);
  CHECK(outcome.kind == agents::OutcomeKind::ok);
  CHECK(outcome.content == "again");
  CHECK(box.starts() == 2);
}

TEST_CASE("cancelling a call ends the tool, in both eras", "[mcp]") {
  House house;
  for (const EraChoice choice : {EraChoice::modern, EraChoice::legacy}) {
    Client client(house.connect(), House::client_options(choice));
    REQUIRE(house.run(client.connect()).has_value());
    {
      Scope scope;
      scope.spawn([](Client& calling) -> Task<void> {
        auto answer = co_await calling.call_tool("wait", Json::object());
        if (answer) co_return;
      }(client));
      house.world.loop().run_until([] { return waiting == 1; });
    }
    house.world.loop().run_until([] { return waiting == 0; });
    CHECK(waiting == 0);
  }
}

TEST_CASE("nobody at the address is an error that says so, and no verdict on the era", "[mcp]") {
  House house;
  Connection connection;
  connection.transport =
      HttpTransport::make(house.http, HttpTarget{"http://127.0.0.1:1/mcp", {}}).value();
  auto options = House::client_options(EraChoice::automatic);
  options.eras = std::make_shared<EraMemory>();
  const auto eras = options.eras;
  Client client(std::move(connection), std::move(options));
  const auto connected = house.run(client.connect());
  REQUIRE_FALSE(connected.has_value());
  CHECK(connected.error().code == Code::unavailable);
  CHECK(connected.error().message.find("127.0.0.1") != std::string::npos);
  CHECK(eras->empty());
}

TEST_CASE("headers that do not repeat the request are refused", "[mcp]") {
  House house;
  const Json list = modern_request("tools/list", Json::object());
  const auto code = [](const http::Response& response) {
    return Json::parse(response.body)["error"]["code"].get<std::int64_t>();
  };
  CHECK(house.post(list, modern_headers("tools/list")).status == 200);
  const auto wrong = house.post(list, modern_headers("TOOLS/LIST"));
  CHECK(wrong.status == 400);
  CHECK(code(wrong) == header_mismatch);
  auto headers = modern_headers("tools/list");
  headers.set("MCP-Protocol-Version", "2027-01-01");
  const auto version = house.post(list, headers);
  CHECK(version.status == 400);
  CHECK(code(version) == header_mismatch);
  Json call = modern_request("tools/call",
                             Json::parse(R"({"name":"mirrored","arguments":{"region":"é"}})"));
  headers = modern_headers("tools/call");
  CHECK(code(house.post(call, headers)) == header_mismatch);
  headers.set("Mcp-Name", "mirrored");
  CHECK(code(house.post(call, headers)) == header_mismatch);
  headers.set("Mcp-Param-Region", encode_header("é"));
  CHECK(house.post(call, headers).status == 200);
  // Said twice is not said: each reader could believe another one.
  for (const char* name : {"Mcp-Method", "Mcp-Name", "Mcp-Param-Region"}) {
    auto twice = headers;
    twice.add(name, "other");
    CHECK(code(house.post(call, twice)) == header_mismatch);
  }
}

TEST_CASE("requests of foreign web pages, without a session, or unreadable are refused", "[mcp]") {
  House house;
  const Json list = modern_request("tools/list", Json::object());
  auto headers = modern_headers("tools/list");
  headers.set("Origin", "https://evil.example");
  CHECK(house.post(list, headers).status == 403);
  headers.set("Origin", "http://localhost:3000");
  CHECK(house.post(list, headers).status == 200);
  const Json legacy = {{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/list"}};
  CHECK(house.post(legacy, {}).status == 400);
  CHECK(house.post(legacy, http::Headers({{"Mcp-Session-Id", "guess"}})).status == 404);
  CHECK(house.post(Json::array({legacy}), {}).status == 400);
  CHECK(house.post(modern_request("initialize", Json::object()), modern_headers("initialize"))
            .status == 404);
  Json bare = {{"jsonrpc", "2.0"}, {"id", 1}, {"method", "server/discover"}};
  CHECK(house.post(bare, modern_headers("server/discover")).status == 400);
}

TEST_CASE("a modern client hears of changes that it asked for and of no others", "[mcp]") {
  House house;
  struct Ear final : Wire {
    std::vector<std::pair<std::string, Json>> heard;
    Task<Result<void>> notify(std::string method, Value params) override {
      heard.emplace_back(std::move(method), params.json());
      co_return Result<void>();
    }
    Task<Result<rpc::Reply>> ask(std::string method, Value /*params*/) override {
      co_return Err(Code::unsupported, method);
    }
  } ear;
  const Json params = Json::parse(
      R"({"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://b"]}})");
  const Json json = modern_request("subscriptions/listen", params);
  rpc::Request request{rpc::Id(std::int64_t{7}), "subscriptions/listen", Value(json["params"])};
  Scope scope;
  scope.spawn([](Server& server, rpc::Request asked, Wire& wire) -> Task<void> {
    auto answer = co_await server.answer(std::move(asked), nullptr, wire, "ann");
    if (answer.reply.fault) co_return;
  }(house.server, std::move(request), ear));
  const auto heard = [&](std::size_t count) {
    house.world.loop().run_until([&] { return ear.heard.size() >= count; });
  };
  heard(1);
  CHECK(ear.heard[0].first == "notifications/subscriptions/acknowledged");
  CHECK_FALSE(ear.heard[0].second["notifications"].contains("promptsListChanged"));
  REQUIRE(house.server.remove_tool("report"));
  house.server.resource_updated("other://uri");
  house.server.resource_updated("a://b");
  heard(3);
  CHECK(ear.heard[1].first == "notifications/tools/list_changed");
  CHECK(ear.heard[2].second["uri"] == "a://b");
  CHECK(ear.heard[2].second["_meta"][meta_subscription] == 7);
}

TEST_CASE("what a client keeps for the server is good for its own request alone, and not for ever",
          "[mcp]") {
  struct StoppedClock final : io::Clock {
    std::int64_t now = 1'000'000'000'000'000'000;
    std::int64_t unix_ns() override { return now; }
  } clock;
  io::UvWorld world;
  StateSealer sealer(clock, world.world().entropy, std::chrono::minutes(5));
  const Value state = Json{{"step", 1}};
  const std::string sealed = sealer.seal(state, "ann tools/call");
  REQUIRE(sealer.open(sealed, "ann tools/call").has_value());
  CHECK(*sealer.open(sealed, "ann tools/call") == state);
  CHECK_FALSE(sealer.open(sealed, "bob tools/call").has_value());
  CHECK_FALSE(sealer.open(sealed + "A", "ann tools/call").has_value());
  CHECK_FALSE(sealer.open("", "ann tools/call").has_value());
  std::string changed = sealed;
  changed[20] = changed[20] == 'A' ? 'B' : 'A';
  CHECK_FALSE(sealer.open(changed, "ann tools/call").has_value());
  StateSealer other(clock, world.world().entropy, std::chrono::minutes(5));
  CHECK_FALSE(other.open(sealed, "ann tools/call").has_value());
  clock.now += std::int64_t{301} * 1'000'000'000;
  CHECK_FALSE(sealer.open(sealed, "ann tools/call").has_value());
}

TEST_CASE("header values survive any text, and false base64 is refused", "[mcp]") {
  for (const std::string text :
       {"", "plain", " padded ", "tab\there", "line\nbreak", "Grüße", "=?base64?eA==?=", "a b"}) {
    const std::string encoded = encode_header(text);
    CHECK(http::is_header_value(encoded));
    CHECK(decode_header(encoded).value() == text);
  }
  CHECK(encode_header("plain") == "plain");
  CHECK(decode_header("=?base64?SGVsbG8=").value() == "=?base64?SGVsbG8=");
  CHECK_FALSE(decode_header("=?base64?SGVsbG8?=").has_value());
  CHECK_FALSE(decode_header("=?base64?SGVs!!!bG8=?=").has_value());
}

TEST_CASE("a tool whose header annotations are wrong is no tool", "[mcp]") {
  const auto of = [](const char* text) { return header_parameters(Json::parse(text)); };
  CHECK(of(R"({"properties":{"a":{"type":"string","x-mcp-header":"A"}}})").value().size() == 1);
  CHECK(
      of(R"({"properties":{"o":{"type":"object","properties":{"a":{"type":"integer","x-mcp-header":"A"}}}}})")
          .value()[0]
          .path == std::vector<std::string>{"o", "a"});
  for (
      const char* wrong :
      {R"({"properties":{"a":{"type":"string","x-mcp-header":""}}})",
       R"({"properties":{"a":{"type":"string","x-mcp-header":"A B"}}})",
       R"({"properties":{"a":{"type":"string","x-mcp-header":7}}})",
       R"({"properties":{"a":{"type":"object","x-mcp-header":"A"}}})",
       R"({"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}})"}) {
    CHECK_FALSE(of(wrong).has_value());
  }
}

}  // namespace ambit::mcp
