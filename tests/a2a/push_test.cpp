// Push notifications against a webhook that is scripted: order, tries, secrets, addresses.

#include "a2a/push.h"

#include "jose/base64url.h"
#include "schemas.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

#include <set>

namespace ambit::a2a {
namespace {

using std::chrono::seconds;

// Answers with the statuses it is given, then 200; 0 is no answer at all.
class Hook final : public http::Client {
 public:
  Task<Result<http::Response>> send(http::Request request) override {
    seen.push_back(request);
    times.push_back(Loop::current().now());
    const int status = seen.size() <= statuses.size() ? statuses[seen.size() - 1] : otherwise;
    co_await delay(std::chrono::milliseconds(1));
    if (status == 0) co_return Err(Code::unavailable, "nobody is there");
    http::Response response;
    response.status = status;
    if (status < 300) taken.push_back(Json::parse(request.body));
    co_return response;
  }
  Task<Result<http::Reply>> open(http::Request /*request*/) override {
    co_return Err(Code::unsupported, "not asked for");
  }
  std::vector<int> statuses;
  int otherwise = 200;
  std::vector<http::Request> seen;
  std::vector<Instant> times;
  std::vector<Json> taken;
};

ServiceOptions with(PushSender& sender) {
  ServiceOptions options = Agent::card_options();
  options.push = &sender;
  return options;
}

Json config_for(const std::string& task) {
  return Json({{"taskId", task},
               {"id", "c"},
               {"url", "https://example.com/hook"},
               {"token", "t0ken"},
               {"authentication", {{"scheme", "Bearer"}, {"credentials", "cr3d"}}}});
}

// A message whose task is told to the hook.
Json pushed(Agent& agent, const std::string& text) {
  Json params = agent.params(text);
  Json config = config_for("");
  config.erase("taskId");
  params["configuration"]["taskPushNotificationConfig"] = std::move(config);
  return params;
}

}  // namespace

TEST_CASE("a hook hears every event of its task in order, with what it needs to believe it",
          "[a2a][push]") {
  Hook hook;
  PushSender sender(hook);
  Agent agent(with(sender));
  agent.rpc("SendMessage", pushed(agent, "stream 5"));
  agent.run(sender.settle());
  REQUIRE(hook.taken.size() == 7);
  for (const Json& event : hook.taken) CHECK(fault_1_0("StreamResponse", event).empty());
  CHECK(hook.taken[0]["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING");
  CHECK(hook.taken[6]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED");
  const http::Headers& headers = hook.seen[0].headers;
  CHECK(hook.seen[0].method == "POST");
  CHECK(hook.seen[0].url == "https://example.com/hook");
  CHECK(headers.find("Content-Type") == "application/a2a+json");
  CHECK(headers.find("Authorization") == "Bearer cr3d");
  CHECK(headers.find("X-A2A-Notification-Token") == "t0ken");
  CHECK(sender.sent() == 7);
}

TEST_CASE("a client of 0.3 is told in the shape of 0.3", "[a2a][push]") {
  Hook hook;
  PushSender sender(hook);
  Agent agent(with(sender));
  Json params = agent.params("hi");
  params["message"]["role"] = "user";
  params["message"]["parts"][0]["kind"] = "text";
  params["configuration"]["pushNotificationConfig"] = {{"url", "https://example.com/hook"}};
  agent.rpc("message/send", params, "");
  agent.run(sender.settle());
  REQUIRE_FALSE(hook.taken.empty());
  CHECK(fault_0_3("TaskStatusUpdateEvent", hook.taken.back()).empty());
  CHECK(hook.taken.back()["final"] == true);
  CHECK(hook.seen[0].headers.find("Content-Type") == "application/json");
}

TEST_CASE("a hook that fails is tried again, later and later, and nothing overtakes",
          "[a2a][push]") {
  Hook hook;
  hook.statuses = {0, 503, 429, 500};
  PushSender sender(hook);
  Agent agent(with(sender));
  agent.rpc("SendMessage", pushed(agent, "stream 2"));
  agent.run(sender.settle());
  REQUIRE(hook.taken.size() == 4);
  CHECK(hook.taken[0]["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING");
  for (std::size_t n = 1; n < 5; ++n) {
    CHECK(hook.seen[n].body == hook.seen[0].body);
    CHECK(hook.times[n] - hook.times[n - 1] >= seconds(1 << (n - 1)));
  }
  CHECK(sender.given_up() == 0);
}

TEST_CASE("a hook that is gone is given up after so many tries, one that says no at once",
          "[a2a][push]") {
  Hook hook;
  PushOptions options;
  options.tries_max = 3;
  SECTION("gone") {
    hook.otherwise = 0;
    PushSender sender(hook, options);
    Agent agent(with(sender));
    agent.rpc("SendMessage", pushed(agent, "stream 1"));
    agent.run(sender.settle());
    CHECK(sender.given_up() == 3);
    CHECK(hook.seen.size() == 9);
  }
  SECTION("says no") {
    hook.otherwise = 410;
    PushSender sender(hook, options);
    Agent agent(with(sender));
    agent.rpc("SendMessage", pushed(agent, "stream 1"));
    agent.run(sender.settle());
    CHECK(hook.seen.size() == 3);
  }
}

TEST_CASE("what waits for a slow hook is bounded, and the newest is kept", "[a2a][push]") {
  Hook hook;
  hook.statuses = {0};
  PushOptions options;
  options.waiting_max = 3;
  PushSender sender(hook, options);
  Agent agent(with(sender));
  agent.rpc("SendMessage", pushed(agent, "stream 50"));
  agent.run(sender.settle());
  CHECK(hook.taken.size() <= 5);
  CHECK(hook.taken.back()["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED");
  CHECK(sender.given_up() > 40);
}

TEST_CASE("a configuration that is deleted hears nothing more", "[a2a][push]") {
  Hook hook;
  hook.otherwise = 0;
  PushSender sender(hook);
  Agent agent(with(sender));
  Json params = pushed(agent, "slow");
  params["configuration"]["returnImmediately"] = true;
  const std::string id = agent.rpc("SendMessage", params)["result"]["task"]["id"];
  agent.world.loop().run_until([&] { return !hook.seen.empty(); });
  CHECK(agent.rpc("DeleteTaskPushNotificationConfig", config_for(id)).contains("result"));
  agent.run(sender.settle());
  CHECK(hook.seen.size() == 1);
  CHECK(sender.given_up() == 0);
}

TEST_CASE("a hook inside our own networks, or one that is not https, is refused", "[a2a][push]") {
  Hook hook;
  PushSender sender(hook);
  Agent agent(with(sender));
  const std::string id = agent.send("input")["id"];
  for (const char* url : {"http://example.com/", "https://127.0.0.1/", "https://10.0.0.1:8443/x",
                          "https://[::1]/", "https://169.254.169.254/latest/meta-data",
                          "https://localhost/", "https://[::ffff:10.0.0.1]/", "ftp://example.com/",
                          "https://user:password@example.com/", "", "example.com"}) {
    INFO(url);
    Json config = config_for(id);
    config["url"] = url;
    CHECK(agent.rpc("CreateTaskPushNotificationConfig", config)["error"]["code"] == -32602);
    Json params = pushed(agent, "hi");
    params["configuration"]["taskPushNotificationConfig"]["url"] = url;
    CHECK(agent.rpc("SendMessage", params)["error"]["code"] == -32602);
  }
  Json injected = config_for(id);
  injected["token"] = "a\r\nX-Evil: b";
  CHECK(agent.rpc("CreateTaskPushNotificationConfig", injected)["error"]["code"] == -32602);
  CHECK(agent.rpc("ListTaskPushNotificationConfigs", Json({{"taskId", id}}))["result"]["configs"]
            .empty());
  CHECK(agent.store->size() == 1);
}

TEST_CASE("a hook can tell by its token who notifies it, of what", "[a2a][push]") {
  Hook hook;
  hook.statuses = {500};
  const jose::Key key = jose::Key::make(jose::Algorithm::es256, "push").value();
  sim::SimWorld clock(5);
  PushOptions options;
  options.token = push_signer(clock.world(), key, "https://agents.example");
  PushSender sender(hook, options);
  Agent agent(with(sender));
  Json params = agent.params("hi");
  params["configuration"]["taskPushNotificationConfig"] = {{"id", "c"},
                                                           {"url", "https://example.com/hook"}};
  agent.rpc("SendMessage", params);
  agent.run(sender.settle());
  REQUIRE(hook.seen.size() > 2);
  std::set<std::string> ids;
  for (const http::Request& request : hook.seen) {
    const std::string value(request.headers.find("Authorization").value());
    REQUIRE(value.starts_with("Bearer "));
    const auto token = jose::verify_jwt({key}, value.substr(7)).value();
    const Json& claims = token.claims.json();
    CHECK(claims["iss"] == "https://agents.example");
    CHECK(claims["aud"] == "https://example.com");
    CHECK(claims["exp"].get<std::int64_t>() == claims["iat"].get<std::int64_t>() + 300);
    CHECK(claims["request_body_sha256"] == jose::to_base64url(jose::sha256(request.body)));
    ids.insert(claims["jti"]);
  }
  CHECK(ids.size() == hook.seen.size());
  // Who asked for another authentication gets that.
  const Json task = agent.rpc("SendMessage", pushed(agent, "hi"))["result"]["task"];
  agent.run(sender.settle());
  CHECK(hook.seen.back().headers.find("Authorization") == "Bearer cr3d");
}

}  // namespace ambit::a2a
