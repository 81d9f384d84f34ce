// What a client may do wrong, or on purpose: the answer is one clear error, and the agent goes on.

#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using std::chrono::seconds;

bool still_works(Agent& agent) {
  return agent.send("hi")["status"]["state"] == "TASK_STATE_COMPLETED";
}

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

}  // namespace

TEST_CASE("JSON that is too deep, too wide or too long is refused before it is built",
          "[a2a][hostile]") {
  Agent agent;
  const auto code = [&](const std::string& params) {
    const Reply reply = agent.http(
        "POST", "/", R"({"jsonrpc":"2.0","id":1,"method":"SendMessage","params":)" + params + "}",
        "A2A-Version: 1.0\r\n");
    return reply.json()["error"]["code"].get<int>();
  };
  CHECK(code(nested(100'000)) == -32600);
  std::string wide = "{";
  for (int n = 0; n < 5000; ++n) wide += (n > 0 ? ",\"" : "\"") + std::to_string(n) + "\":1";
  CHECK(code(wide + "}") == -32600);
  std::string many = "[0";
  for (int n = 0; n < 1'100'000; ++n) many += ",0";
  CHECK(code(many + "]") == -32600);
  CHECK(still_works(agent));
}

TEST_CASE("a body that is longer than it may be is not read", "[a2a][hostile]") {
  Agent agent;
  const auto stream = agent.connect();
  const Reply reply = parse_reply(agent.run(
      exchange_bytes(*stream,
                     "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     "Content-Length: 99999999999\r\n\r\n{")));
  CHECK(reply.status == 413);
  CHECK(still_works(agent));
}

TEST_CASE("a huge part is kept within the task's bound or refused", "[a2a][hostile]") {
  StoreLimits limits;
  limits.task_bytes_max = 1 << 20;
  Agent agent(Agent::card_options(), limits);
  const Json error = agent.rpc("SendMessage", agent.params(std::string(2 << 20, 'x')))["error"];
  CHECK(error["code"] == -32603);
  CHECK_THAT(error["message"].get<std::string>(), Catch::Contains("room"));
  CHECK(agent.store->size() == 0);
  CHECK(still_works(agent));
}

TEST_CASE("wrong kinds of members are named and change nothing", "[a2a][hostile]") {
  Agent agent;
  const auto message_with = [&](const std::string& key, Json value) {
    Json params = agent.params("hi");
    params["message"][key] = std::move(value);
    return agent.rpc("SendMessage", params);
  };
  const std::pair<std::string, Json> cases[] = {
      {"messageId", 7},
      {"messageId", ""},
      {"role", "ROLE_KING"},
      {"role", 3.5},
      {"parts", Json::array()},
      {"parts", "text"},
      {"parts", Json::array({7})},
      {"parts", Json::array({Json::object()})},
      {"parts", Json::array({Json({{"text", "a"}, {"url", "b"}})})},
      {"parts", Json::array({Json({{"raw", "not base64!"}})})},
      {"metadata", "x"},
      {"extensions", Json::array({1})},
      {"taskId", Json::object()},
      {"contextId", Json::array()},
      {"referenceTaskIds", "x"},
  };
  for (const auto& [key, value] : cases) {
    INFO(key << " = " << value);
    CHECK(message_with(key, value)["error"]["code"] == -32602);
  }
  CHECK(agent.store->size() == 0);
  Json params = agent.params("hi");
  params["configuration"] = Json::array();
  CHECK(agent.rpc("SendMessage", params)["error"]["code"] == -32602);
  params["configuration"] = {{"historyLength", 1e300}};
  CHECK(agent.rpc("SendMessage", params)["error"]["code"] == -32602);
  CHECK(still_works(agent));
}

TEST_CASE("0.3 with members of the wrong kind is refused, not believed", "[a2a][hostile]") {
  Agent agent;
  for (
      const char* params :
      {R"({"message":7})", R"({"message":{"kind":"message","parts":{"kind":"text"}}})",
       R"({"message":{"messageId":"a","role":"user","parts":[{"kind":"file","file":7}]}})",
       R"({"message":{"messageId":"a","role":"user","parts":[{"kind":"file","file":{"bytes":7}}]}})",
       R"({"message":{"messageId":"a","role":["user"],"parts":[{"kind":"text","text":"x"}]}})",
       R"({"configuration":{"pushNotificationConfig":7}})",
       R"({"configuration":{"pushNotificationConfig":{"authentication":{"schemes":[7]}}}})"}) {
    INFO(params);
    const std::string body =
        R"({"jsonrpc":"2.0","id":1,"method":"message/send","params":)" + std::string(params) + "}";
    CHECK(agent.http("POST", "/", body).json()["error"]["code"] == -32602);
  }
  for (const char* params : {R"({"taskId":7,"pushNotificationConfig":[]})",
                             R"({"taskId":"x","pushNotificationConfig":{"authentication":7}})",
                             R"({"pushNotificationConfig":{"url":7}})"}) {
    INFO(params);
    const std::string body =
        R"({"jsonrpc":"2.0","id":1,"method":"tasks/pushNotificationConfig/set","params":)" +
        std::string(params) + "}";
    CHECK(agent.http("POST", "/", body).json()["error"]["code"] == -32602);
  }
  CHECK(still_works(agent));
}

TEST_CASE("paths that are not ours find nothing", "[a2a][hostile]") {
  Agent agent;
  for (const char* path : {"/tasks/", "/tasks//", "/tasks/a/b",
                           "/tasks/a/pushNotificationConfigs/b/c", "/%2e%2e/tasks", "/a/b/tasks",
                           "/tasks/%00", "/tasks/%zz", "/message:send/x", "/.well-known/other"}) {
    INFO(path);
    const int status = agent.http("GET", path).status;
    CHECK((status == 404 || status == 400 || status == 405 || status == 200));
    CHECK(status != 500);
  }
  CHECK(agent.http("GET", "/tasks/%00").status == 404);
  CHECK(agent.http("GET", "/tasks/a:other").status == 404);
  CHECK(still_works(agent));
}

TEST_CASE("a client that sends its request drop by drop is not waited for, and no place is lost",
          "[a2a][hostile]") {
  Agent agent;
  const auto drops = [](io::Stream& stream) -> Task<std::string> {
    const std::string text =
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        "1000\r\n\r\n";
    for (const char c : text) {
      auto sent = co_await stream.write(std::string(1, c));
      if (!sent) break;
      co_await delay(std::chrono::milliseconds(50));
    }
    std::string all;
    for (int n = 0; n < 1000; ++n) {
      auto sent = co_await stream.write("x");
      if (!sent) break;
      co_await delay(seconds(1));
    }
    while (true) {
      auto part = co_await stream.read(1 << 16);
      if (!part || part->empty()) co_return all;
      all += *part;
    }
  };
  const auto stream = agent.connect();
  const Instant begin = agent.world.loop().now();
  agent.run(drops(*stream));
  CHECK(agent.world.loop().now() - begin < seconds(120));
  CHECK(agent.server->connections() == 0);
  CHECK(still_works(agent));
}

TEST_CASE("ten thousand idle connections give way to those who ask", "[a2a][hostile]") {
  Agent agent;
  std::vector<std::unique_ptr<io::Stream>> idle;
  for (int n = 0; n < 10'000; ++n) idle.push_back(agent.connect());
  CHECK(still_works(agent));
  CHECK(agent.server->connections() <= 1024);
}

TEST_CASE("a card with a reference to itself in its parameters is only data", "[a2a][hostile]") {
  ServiceOptions options = Agent::card_options();
  Extension extension;
  extension.uri = "https://e.example/x";
  extension.params = rpc::Value(Json({{"$ref", "#"}, {"a", {{"$ref", "#/a"}}}}));
  options.card.extensions.push_back(extension);
  Agent agent(options);
  const Json card = agent.http("GET", "/.well-known/agent-card.json").json();
  CHECK(card["capabilities"]["extensions"][0]["params"]["$ref"] == "#");
}

}  // namespace ambit::a2a
