#include "http/curl_client.h"
#include "http/responder.h"
#include "io/uv_world.h"
#include "remote/chat_model.h"
#include "remote/chat_wire.h"
#include "run_task.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ambit::remote {
namespace {

using Json = nlohmann::json;

agents::TurnRequest ask(std::string text) {
  agents::TurnRequest request;
  request.messages = {{agents::Role::system, "Be brief.", {}, "", ""},
                      {agents::Role::user, std::move(text), {}, "", ""}};
  request.tokens_max = 64;
  return request;
}

std::shared_ptr<const std::vector<agents::ToolSpec>> one_tool() {
  agents::ToolSpec tool;
  tool.name = "grep";
  tool.description = "Searches.";
  tool.input_schema =
      R"({"type":"object","properties":{"b":{"type":"string"},"a":{"type":"string"}}})";
  return std::make_shared<const std::vector<agents::ToolSpec>>(
      std::vector<agents::ToolSpec>{std::move(tool)});
}

std::string answer(int status, const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) +
         " Said\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
         "Connection: close\r\n\r\n" + body;
}

const std::string good_body =
    R"({"choices":[{"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],)"
    R"("usage":{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8}}})";

// A model behind a scripted endpoint, over real sockets.
struct House {
  io::UvWorld world;
  http::Responder endpoint{world.world()};
  http::CurlClient client{world.watcher()};

  Result<agents::Turn> generate(agents::TurnRequest request, std::string key = "") {
    ChatOptions options;
    options.name = "cloud";
    options.model = "large-1";
    options.base_url = endpoint.url("/v1");
    options.key = std::move(key);
    options.backoff = Duration(1);
    options.backoff_max = std::chrono::seconds(5);
    ChatModel model(client, options);
    return run_task(world.loop(), model.generate(std::move(request)));
  }
  void answers(int status, const std::string& body, const std::string& headers = "") {
    http::Script script;
    script.pieces = {answer(status, body, headers)};
    endpoint.then(script);
  }
};

}  // namespace

TEST_CASE("a request holds the conversation, the tools and the sampling", "[remote]") {
  agents::TurnRequest request = ask("Find it.");
  request.tools = one_tool();
  request.sampling.temperature = 0.5;
  request.sampling.seed = 7;
  agents::Message said;
  said.role = agents::Role::assistant;
  said.tool_calls = {{"call_1_1", "grep", R"({"b":"x"})"}};
  request.messages.push_back(said);
  request.messages.push_back({agents::Role::tool, "line \xff", {}, "call_1_1", "grep"});
  const std::string body = to_request("large-1", request).value();
  const Json json = Json::parse(body);
  CHECK(json["model"] == "large-1");
  CHECK(json["messages"].size() == 4);
  CHECK(json["messages"][2]["content"].is_null());
  CHECK(json["messages"][2]["tool_calls"][0]["function"]["arguments"] == R"({"b":"x"})");
  CHECK(json["messages"][3]["tool_call_id"] == "call_1_1");
  CHECK(json["messages"][3]["content"] == "line \xef\xbf\xbd");
  CHECK(json["tools"][0]["function"]["name"] == "grep");
  CHECK(json["tool_choice"] == "auto");
  CHECK(json["seed"] == 7);
  CHECK(json["temperature"] == 0.5);
  CHECK(json["max_tokens"] == 64);
  CHECK_FALSE(json.contains("top_k"));
  CHECK(body.find("\"b\":{\"type\"") <
        body.find("\"a\":{\"type\""));  // properties keep their order
  request.tool_choice = agents::ToolChoice::none;
  CHECK_FALSE(Json::parse(to_request("m", request).value()).contains("tools"));
  request.output_schema = "[1";
  CHECK(to_request("m", request).error().message == "the output schema is no JSON Schema object");
}

TEST_CASE("an answer becomes a turn with its usage", "[remote]") {
  const agents::Turn turn = to_turn(good_body).value();
  CHECK(turn.message.content == "Hello.");
  CHECK(turn.finish == agents::FinishReason::stop);
  CHECK(turn.usage.input_tokens == 12);
  CHECK(turn.usage.cached_tokens == 8);
  CHECK(turn.usage.output_tokens == 3);
  const agents::Turn calls =
      to_turn(
          R"({"choices":[{"message":{"content":null,"tool_calls":[{"id":"c1","type":"function",)"
          R"("function":{"name":"grep","arguments":"{ \"b\": 1, \"a\": 2 }"}}]},"finish_reason":"tool_calls"}]})")
          .value();
  CHECK(calls.finish == agents::FinishReason::tool_calls);
  CHECK(calls.message.tool_calls.at(0) == agents::ToolCall{"c1", "grep", R"({"b":1,"a":2})"});
  CHECK(
      to_turn(R"({"choices":[{"message":{"content":"cut"},"finish_reason":"length"}]})")->finish ==
      agents::FinishReason::length);
}

TEST_CASE("what is no chat completion is an error that says so", "[remote]") {
  for (const char* body : {"", "[]", "{}", R"({"choices":[]})", R"({"choices":[{"message":3}]})",
                           R"({"choices":{"message":{}}})", "<html>"}) {
    CHECK(to_turn(body).error().message == "the endpoint's answer is no chat completion");
  }
  CHECK(
      to_turn(
          R"({"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}}]})")
          .error()
          .message == "the endpoint's call of f has arguments that are no JSON object");
  CHECK(to_turn(R"({"choices":[{"message":{"tool_calls":[{"id":"x"}]}}]})").error().message ==
        "the endpoint's tool call has no function.name");
  CHECK(to_turn(R"({"choices":[{"message":{"content":""},"finish_reason":"content_filter"}]})")
            .error()
            .code == Code::denied);
  CHECK(error_message(R"({"error":{"message":"a\nb"}})") == "a b");
  CHECK(error_message(R"({"error":"plain"})") == "plain");
  CHECK(error_message("not JSON").empty());
  CHECK(error_message(R"({"error":")" + std::string(299, 'x') + R"(äää"})").size() == 299);
}

TEST_CASE("a turn goes to the endpoint and comes back", "[remote]") {
  House house;
  house.answers(200, good_body);
  const auto turn = house.generate(ask("Hi"), "secret-key");
  REQUIRE(turn.has_value());
  CHECK(turn->message.content == "Hello.");
  const std::string& sent = house.endpoint.requests().at(0);
  CHECK(sent.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
  CHECK(sent.find("Authorization: Bearer secret-key\r\n") != std::string::npos);
}

TEST_CASE("a passing failure is tried again, an asked-for pause is kept", "[remote]") {
  House house;
  house.answers(503, R"({"error":{"message":"loading"}})");
  house.answers(429, "{}", "Retry-After: 0\r\n");
  house.answers(
      200,
      R"({"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}}]})");
  house.answers(200, good_body);
  CHECK(house.generate(ask("Hi")).value().message.content == "Hello.");
  CHECK(house.endpoint.requests().size() == 4);
}

TEST_CASE("the attempts are bounded and the last failure is told", "[remote]") {
  House house;
  for (int i = 0; i < 5; ++i) house.answers(500, R"({"error":{"message":"out of memory"}})");
  CHECK(house.generate(ask("Hi")).error() ==
        Error{Code::unavailable, "the endpoint answered 500: out of memory (4 attempts)"});
  CHECK(house.endpoint.requests().size() == 4);
}

TEST_CASE("a pause that is too long is not waited for", "[remote]") {
  House house;
  house.answers(429, R"({"error":{"message":"quota"}})", "Retry-After: 3600\r\n");
  CHECK(
      house.generate(ask("Hi")).error() ==
      Error{Code::unavailable, "the endpoint answered 429: quota; it asks to come back in 3600 s"});
  CHECK(house.endpoint.requests().size() == 1);
}

TEST_CASE("all models of an endpoint keep the pause that one of them was asked for", "[remote]") {
  House house;
  Endpoint endpoint;
  const auto model = [&](const std::string& name) {
    ChatOptions options;
    options.name = options.model = name;
    options.base_url = house.endpoint.url("/v1");
    options.endpoint = &endpoint;
    options.backoff_max = std::chrono::seconds(5);
    return ChatModel(house.client, options);
  };
  ChatModel large = model("large");
  ChatModel small = model("small");
  house.answers(429, R"({"error":{"message":"quota"}})", "Retry-After: 3600\r\n");
  CHECK_FALSE(run_task(house.world.loop(), large.generate(ask("Hi"))));
  const Error error = run_task(house.world.loop(), small.generate(ask("Hi"))).error();
  CHECK(error.code == Code::unavailable);
  CHECK(error.message.starts_with("the endpoint has asked to be left alone for another 3"));
  CHECK(house.endpoint.requests().size() == 1);
  // A short one is waited for.
  endpoint.open_again = house.world.loop().now() + std::chrono::milliseconds(20);
  house.answers(200, good_body);
  CHECK(run_task(house.world.loop(), small.generate(ask("Hi"))));
  CHECK(house.world.loop().now() >= endpoint.open_again);
}

TEST_CASE("an answer that is of no use has its price, and another attempt must be paid for",
          "[remote]") {
  const std::string useless =
      R"({"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}}],)"
      R"("usage":{"prompt_tokens":7,"completion_tokens":2}})";
  House house;
  house.answers(200, useless);
  house.answers(200, good_body);
  agents::TurnRequest request = ask("Hi");
  std::vector<std::int64_t> told;
  request.may_retry = [&](const agents::Usage& usage) {
    told.push_back(usage.input_tokens + usage.output_tokens);
    return true;
  };
  const agents::Usage usage = house.generate(request).value().usage;
  CHECK(told == std::vector<std::int64_t>{9});
  CHECK(usage.input_tokens == 19);
  CHECK(usage.output_tokens == 5);
  House poor;
  poor.answers(200, useless);
  request.may_retry = [](const agents::Usage&) { return false; };
  const Error error = poor.generate(request).error();
  CHECK(error.code == Code::exhausted);
  CHECK(error.message.ends_with("no budget is left for another attempt"));
  CHECK(poor.endpoint.requests().size() == 1);
}

TEST_CASE("what can never work is not tried again, and no message holds the key", "[remote]") {
  struct Case {
    int status;
    std::string body;
    Code code;
  };
  const std::vector<Case> cases = {
      {401, R"({"error":{"message":"bad key"}})", Code::denied},
      {404, R"({"error":{"message":"no such model"}})", Code::not_found},
      {400, R"({"error":{"message":"too long","code":"context_length_exceeded"}})",
       Code::exhausted},
      {400, R"({"error":{"message":"bad request"}})", Code::invalid},
      {301, "", Code::invalid},
  };
  for (const Case& expected : cases) {
    House house;
    house.answers(expected.status, expected.body);
    const Error error = house.generate(ask("Hi"), "secret-key").error();
    CHECK(error.code == expected.code);
    CHECK(error.message.find("secret-key") == std::string::npos);
    CHECK(house.endpoint.requests().size() == 1);
  }
}

TEST_CASE("an endpoint that nobody serves is unavailable", "[remote]") {
  io::UvWorld world;
  http::CurlClient client(world.watcher());
  ChatOptions options;
  options.name = "cloud";
  options.model = "m";
  options.base_url = "http://127.0.0.1:1/v1";
  options.backoff = Duration(1);
  ChatModel model(client, options);
  CHECK(run_task(world.loop(), model.generate(ask("Hi"))).error().code == Code::unavailable);
  CHECK(model.identity() == "cloud@http://127.0.0.1:1/v1 m");
}

}  // namespace ambit::remote
