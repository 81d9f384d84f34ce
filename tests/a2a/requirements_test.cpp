// Requirements of A2A 1.0 that the project's TCK has no test for, each by its id there: AUTH-*,
// CARD-EXT-*, BIND-EQUIV-*, VER-CLIENT. (CARD-SIGN-*: card_signature_test.cpp. AUTH-TLS-*: the
// server listens behind a proxy that ends TLS; AUTH-SERVER-001: our client is libcurl, which checks
// certificates.)

#include "a2a/client.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using std::chrono::seconds;

const std::string as_alice = "A2A-Version: 1.0\r\nAuthorization: Bearer a\r\n";
const std::string as_bob = "A2A-Version: 1.0\r\nAuthorization: Bearer b\r\n";

Authenticate two_callers() {
  return bearer_tokens({{"a", "alice"}, {"b", "bob"}});
}

std::string reason_of(const Json& details) {
  for (const Json& detail : details) {
    if (detail.contains("reason")) return detail["reason"];
  }
  return "";
}

// What differs from one task to the next.
Json without_ids(Json json) {
  if (json.is_object()) {
    for (const char* key : {"id", "taskId", "contextId", "messageId", "timestamp"}) json.erase(key);
  }
  if (json.is_structured()) {
    for (auto& [key, value] : json.items()) value = without_ids(std::move(value));
  }
  return json;
}

// Keeps what it is asked, and answers nothing.
class Listening final : public http::Client {
 public:
  Task<Result<http::Response>> send(http::Request request) override {
    seen.push_back(std::move(request));
    co_return Err(Code::unavailable, "nobody");
  }
  Task<Result<http::Reply>> open(http::Request request) override {
    seen.push_back(std::move(request));
    co_return Err(Code::unavailable, "nobody");
  }
  std::vector<http::Request> seen;
};

}  // namespace

TEST_CASE("AUTH-SERVER-002, AUTH-SCOPE-001: every operation of every binding asks who is calling",
          "[a2a][requirements]") {
  Agent agent(Agent::card_options(), {}, {}, two_callers());
  const std::string nobody = "A2A-Version: 1.0\r\n";
  for (const char* method :
       {"SendMessage", "SendStreamingMessage", "GetTask", "ListTasks", "CancelTask",
        "SubscribeToTask", "CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig",
        "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig",
        "GetExtendedAgentCard", "message/send", "tasks/get"}) {
    INFO(method);
    CHECK(agent.rpc_reply(method, agent.params("hi"), nobody).status == 401);
  }
  const std::pair<const char*, const char*> paths[] = {
      {"POST", "/message:send"},     {"POST", "/message:stream"},
      {"GET", "/tasks/x"},           {"GET", "/tasks"},
      {"POST", "/tasks/x:cancel"},   {"POST", "/tasks/x:subscribe"},
      {"GET", "/extendedAgentCard"}, {"POST", "/tasks/x/pushNotificationConfigs"},
      {"POST", "/v1/message:send"},  {"GET", "/tasks/x/pushNotificationConfigs/c"},
      {"GET", "/v1/card"},           {"DELETE", "/tasks/x/pushNotificationConfigs/c"}};
  for (const auto& [method, path] : paths) {
    INFO(method << " " << path);
    const Reply reply = agent.http(method, path, "", nobody);
    CHECK(reply.status == 401);
    CHECK(reply.headers.find("WWW-Authenticate: Bearer") != std::string::npos);
  }
  CHECK(agent.runner.runs.empty());
}

TEST_CASE("AUTH-INTASK: who must log in learns it by the task, in words, and may go on",
          "[a2a][requirements]") {
  Agent agent;
  // 001 to 004: a task, its state, a message that says why; the credentials come some other way.
  const Json task = agent.rpc("SendMessage", agent.params("auth"))["result"]["task"];
  CHECK(task["status"]["state"] == "TASK_STATE_AUTH_REQUIRED");
  CHECK(task["status"]["message"]["parts"][0]["text"] == "which one?");
  // 005: the stream stays open until the work goes on and ends.
  const auto events = agent.rpc_reply("SendStreamingMessage", agent.params("auth")).events();
  std::vector<std::string> states;
  for (const Json& event : events) {
    const Json& result = event["result"];
    if (result.contains("statusUpdate"))
      states.push_back(result["statusUpdate"]["status"]["state"]);
  }
  CHECK(states == std::vector<std::string>{"TASK_STATE_WORKING", "TASK_STATE_AUTH_REQUIRED",
                                           "TASK_STATE_WORKING", "TASK_STATE_COMPLETED"});
  // 006: a message to a task that waits is taken or, while it is at work, refused by name.
  const Json error = agent.rpc("SendMessage", agent.params("more", task["id"]))["error"];
  if (!error.is_null()) CHECK(reason_of(error["data"]) == "UNSUPPORTED_OPERATION");
}

TEST_CASE("AUTH-SCOPE-002, AUTH-SCOPE-003: nobody sees or guesses what is another caller's",
          "[a2a][requirements]") {
  Agent agent(Agent::card_options(), {}, {}, two_callers());
  const std::string id =
      agent.rpc("SendMessage", agent.params("input"), as_alice)["result"]["task"]["id"];
  CHECK(agent.rpc("ListTasks", Json::object(), as_bob)["result"]["totalSize"] == 0);
  CHECK(agent.rpc("ListTasks", Json::object(), as_alice)["result"]["totalSize"] == 1);
  // The same answer for what is not his and for what is not there, but for the id in the words.
  Json hers = agent.rpc("GetTask", agent.id_params(id), as_bob);
  Json none = agent.rpc("GetTask", agent.id_params("none"), as_bob);
  CHECK(hers["error"]["code"] == none["error"]["code"]);
  CHECK(hers["error"]["data"] == none["error"]["data"]);
  CHECK(hers["error"]["message"] == "task not found: " + id);
  CHECK(none["error"]["message"] == "task not found: none");
}

TEST_CASE("CARD-EXT: the extended card is for known callers, and one that is not there is named",
          "[a2a][requirements]") {
  ServiceOptions options = Agent::card_options();
  options.card.has_extended_card = true;
  Agent bare(options, {}, {}, two_callers());
  CHECK(bare.http("GET", "/extendedAgentCard", "", "A2A-Version: 1.0\r\n").status == 401);
  const Json missing = bare.rpc("GetExtendedAgentCard", Json::object(), as_alice)["error"];
  CHECK(reason_of(missing["data"]) == "EXTENDED_AGENT_CARD_NOT_CONFIGURED");
  options.extended_card = options.card;
  options.extended_card->description = "For those who are known.";
  Agent full(options, {}, {}, two_callers());
  CHECK(full.http("GET", "/extendedAgentCard", "", as_alice).json()["description"] ==
        "For those who are known.");
  CHECK(full.rpc("GetExtendedAgentCard", Json::object(), as_alice)["result"]["description"] ==
        "For those who are known.");
}

TEST_CASE("BIND-EQUIV: JSON-RPC and REST do the same and say the same", "[a2a][requirements]") {
  Agent agent;
  const std::string version = "A2A-Version: 1.0\r\n";
  const auto rest = [&](const std::string& method, const std::string& path, const Json& body) {
    return agent.http(method, path, body.is_null() ? "" : body.dump(), version);
  };
  for (const char* text : {"hi", "message", "input", "fail", "reject"}) {
    INFO(text);
    const Json by_rpc = agent.rpc("SendMessage", agent.params(text))["result"];
    const Json by_rest = rest("POST", "/message:send", agent.params(text)).json();
    CHECK(without_ids(by_rpc) == without_ids(by_rest));
  }
  const std::string id = agent.send("hi")["id"];
  CHECK(agent.rpc("GetTask", agent.id_params(id))["result"] ==
        rest("GET", "/tasks/" + id, nullptr).json());
  CHECK(agent.rpc("ListTasks", Json::object())["result"] == rest("GET", "/tasks", nullptr).json());
  const auto one = agent.rpc_reply("SendStreamingMessage", agent.params("stream 3")).events();
  const auto other = rest("POST", "/message:stream", agent.params("stream 3")).events();
  REQUIRE(one.size() == other.size());
  for (std::size_t n = 0; n < one.size(); ++n) {
    CHECK(without_ids(one[n]["result"]) == without_ids(other[n]));
  }
  const std::pair<std::string, std::pair<std::string, std::string>> faults[] = {
      {"GetTask", {"GET", "/tasks/none"}},
      {"CancelTask", {"POST", "/tasks/none:cancel"}},
      {"SubscribeToTask", {"POST", "/tasks/none:subscribe"}}};
  for (const auto& [method, call] : faults) {
    const Json error = agent.rpc(method, agent.id_params("none"))["error"];
    const Json same = rest(call.first, call.second, Json()).json()["error"];
    CHECK(reason_of(error["data"]) == reason_of(same["details"]));
    CHECK(error["message"] == same["message"]);
  }
}

TEST_CASE("VER-CLIENT: our client names its version on every request", "[a2a][requirements]") {
  sim::SimWorld world(1);
  Listening http;
  AgentCard card = Agent::card_options().card;
  const std::pair<Interface, const char*> faces[] = {
      {{"http://localhost/", "JSONRPC", "1.0", ""}, "1.0"},
      {{"http://localhost/", "HTTP+JSON", "1.0", ""}, "1.0"}};
  for (const auto& [interface, version] : faces) {
    card.interfaces = {interface};
    const auto agent = std::move(*RemoteAgent::create(http, card, "http://localhost/card.json"));
    SendRequest request;
    request.message.id = "m";
    request.message.role = Role::user;
    request.message.parts.push_back(text_part("hi"));
    http.seen.clear();
    CHECK_FALSE(run_task(world.loop(), agent->send(request)));
    CHECK_FALSE(run_task(world.loop(), agent->stream(request)));
    CHECK_FALSE(run_task(world.loop(), agent->cancel("t")));
    CHECK_FALSE(run_task(world.loop(), agent->list({})));
    REQUIRE(http.seen.size() == 4);
    for (const http::Request& one : http.seen) CHECK(one.headers.find("A2A-Version") == version);
  }
}

}  // namespace ambit::a2a
