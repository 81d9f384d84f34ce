// The door alone: the card and its headers, envelopes of JSON-RPC, paths of REST, versions, media
// types, callers.

#include "schemas.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

constexpr const char* card_path = "/.well-known/agent-card.json";

std::string header(const Reply& reply, const std::string& name) {
  const std::size_t at = reply.headers.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const std::size_t from = at + name.size() + 4;
  return reply.headers.substr(from, reply.headers.find("\r\n", from) - from);
}

std::string reason(const Json& error) {
  for (const Json& detail : error.value("data", error.value("details", Json::array()))) {
    if (detail.contains("reason")) return detail["reason"].get<std::string>();
  }
  return "";
}

}  // namespace

TEST_CASE("the card is pure for clients of 1.0 and readable by both for those that name no version",
          "[a2a][door]") {
  Agent agent;
  const Reply pure = agent.http("GET", card_path, "", "A2A-Version: 1.0\r\n");
  REQUIRE(pure.status == 200);
  CHECK(fault_1_0("AgentCard", pure.json()).empty());
  CHECK_FALSE(pure.json().contains("url"));
  const Reply hybrid = agent.http("GET", card_path);
  CHECK(hybrid.json()["url"] == "http://localhost/");
  CHECK(hybrid.json()["protocolVersion"] == "0.3.0");
  CHECK(hybrid.json()["supportedInterfaces"].size() == 3);
  CHECK(header(hybrid, "Vary") == "A2A-Version");
  CHECK(header(hybrid, "Cache-Control") == "max-age=300");
  CHECK(header(hybrid, "Content-Type") == "application/json");
  CHECK_FALSE(header(hybrid, "Last-Modified").empty());
  CHECK(header(hybrid, "ETag") != header(pure, "ETag"));
}

TEST_CASE("a card that the client has already is not sent again", "[a2a][door]") {
  Agent agent;
  const std::string tag = header(agent.http("GET", card_path), "ETag");
  REQUIRE_FALSE(tag.empty());
  const Reply known =
      agent.http("GET", card_path, "", "If-None-Match: \"other\", W/" + tag + "\r\n");
  CHECK(known.status == 304);
  CHECK(known.body.empty());
  CHECK(header(known, "ETag") == tag);
  CHECK(agent.http("GET", card_path, "", "If-None-Match: \"other\"\r\n").status == 200);
  CHECK(agent.http("POST", card_path, "{}").status == 405);
}

TEST_CASE("with 0.3 switched off the card is pure and old methods are unknown", "[a2a][door]") {
  DoorOptions options;
  options.speaks_0_3 = false;
  Agent agent(Agent::card_options(), {}, options);
  CHECK_FALSE(agent.http("GET", card_path).json().contains("url"));
  CHECK(agent.rpc("message/send", agent.params("hi"), "")["error"]["code"] == -32601);
  CHECK(agent.rpc("SendMessage", agent.params("hi"), "")["result"].contains("task"));
  CHECK(agent.rpc("GetTask", Json({{"id", "x"}}), "A2A-Version: 0.3\r\n")["error"]["code"] ==
        -32009);
}

TEST_CASE("each fault of an envelope has its code, and names the id where there is one",
          "[a2a][door]") {
  Agent agent;
  const auto answer = [&](const std::string& body) { return agent.http("POST", "/", body).json(); };
  const std::pair<std::string, int> cases[] = {
      {"{", -32700},
      {"\xff", -32700},
      {"[]", -32600},
      {"3", -32600},
      {R"([{"jsonrpc":"2.0","id":1,"method":"GetTask"}])", -32600},
      {R"({"id":1,"method":"GetTask"})", -32600},
      {R"({"jsonrpc":"1.0","id":1,"method":"GetTask"})", -32600},
      {R"({"jsonrpc":"2.0","method":"GetTask"})", -32600},
      {R"({"jsonrpc":"2.0","id":{},"method":"GetTask"})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"method":7})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"method":"Nothing"})", -32601},
      {R"({"jsonrpc":"2.0","id":1,"method":"GetTask","params":[]})", -32602},
      {R"({"jsonrpc":"2.0","id":1,"method":"GetTask","params":{}})", -32602},
      {R"({"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":7}})", -32602},
      {R"({"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}})", -32602},
  };
  for (const auto& [body, code] : cases) {
    INFO(body);
    const Json json = answer(body);
    CHECK(json["jsonrpc"] == "2.0");
    CHECK(json["error"]["code"] == code);
    CHECK_FALSE(json["error"]["message"].get<std::string>().empty());
    CHECK_FALSE(json.contains("result"));
  }
  CHECK(answer(R"({"jsonrpc":"2.0","id":"seven","method":"Nothing"})")["id"] == "seven");
  CHECK(answer("{")["id"].is_null());
}

TEST_CASE("a field at fault is named in the details", "[a2a][door]") {
  Agent agent;
  Json params = agent.params("hi");
  params["message"]["parts"][0] = Json({{"text", 7}});
  const Json error = agent.rpc("SendMessage", params)["error"];
  CHECK(error["code"] == -32602);
  const Json& violation = error["data"][0]["fieldViolations"][0];
  CHECK(violation["field"].get<std::string>().rfind("message.parts[0]", 0) == 0);
}

TEST_CASE("the errors of A2A carry their reason on both bindings", "[a2a][door]") {
  Agent agent;
  const std::string ended = agent.send("hi")["id"];
  const Json none = agent.rpc("GetTask", agent.id_params("none"))["error"];
  CHECK(none["code"] == -32001);
  CHECK(reason(none) == "TASK_NOT_FOUND");
  const Reply rest = agent.http("GET", "/tasks/none");
  CHECK(rest.status == 404);
  CHECK(rest.json()["error"]["status"] == "NOT_FOUND");
  CHECK(reason(rest.json()["error"]) == "TASK_NOT_FOUND");
  const Json late = agent.rpc("CancelTask", agent.id_params(ended))["error"];
  CHECK(late["code"] == -32002);
  CHECK(reason(late) == "TASK_NOT_CANCELABLE");
  CHECK(agent.http("POST", "/tasks/" + ended + ":cancel", "{}").status == 400);
  const Json over = agent.rpc("SubscribeToTask", agent.id_params(ended))["error"];
  CHECK(over["code"] == -32004);
  CHECK(agent.http("GET", "/tasks/" + ended + ":subscribe").status == 400);
  const Json card = agent.rpc("GetExtendedAgentCard", Json::object())["error"];
  CHECK(card["code"] == -32004);
  Json picture = agent.params("hi");
  picture["message"]["parts"][0]["mediaType"] = "image/png";
  CHECK(reason(agent.rpc("SendMessage", picture)["error"]) == "CONTENT_TYPE_NOT_SUPPORTED");
  CHECK(agent.http("POST", "/message:send", picture.dump()).status == 400);
}

TEST_CASE("REST has its own path for each operation", "[a2a][door]") {
  Agent agent;
  const Reply sent = agent.http("POST", "/message:send", agent.params("hi").dump());
  REQUIRE(sent.status == 200);
  CHECK(fault_1_0("SendMessageResponse", sent.json()).empty());
  const std::string id = sent.json()["task"]["id"];
  CHECK(agent.http("GET", "/tasks/" + id).json()["id"] == id);
  CHECK_FALSE(agent.http("GET", "/tasks/" + id + "?historyLength=0").json().contains("history"));
  const Json list = agent.http("GET", "/tasks?pageSize=1&includeArtifacts=true").json();
  CHECK(list["totalSize"] == 1);
  CHECK(list["tasks"][0].contains("artifacts"));
  CHECK(agent.http("GET", "/tasks?pageSize=many").status == 400);
  const std::string configs = "/tasks/" + id + "/pushNotificationConfigs";
  const Reply made = agent.http("POST", configs, R"({"id":"c","url":"https://example.com/hook"})");
  CHECK(made.status == 200);
  CHECK(agent.http("GET", configs + "/c").json()["url"] == "https://example.com/hook");
  CHECK(agent.http("GET", configs).json()["configs"].size() == 1);
  CHECK(agent.http("DELETE", configs + "/c").status == 200);
  CHECK(agent.http("DELETE", configs + "/c").status == 200);
  CHECK(agent.http("GET", configs + "/c").status == 404);
  CHECK(agent.http("GET", "/extendedAgentCard").status == 400);
  CHECK(agent.http("GET", "/nowhere").status == 404);
  CHECK(agent.http("PUT", "/tasks/" + id).status == 405);
}

TEST_CASE("REST answers in the media type that its client speaks", "[a2a][door]") {
  Agent agent;
  CHECK(header(agent.http("GET", "/tasks"), "Content-Type") == "application/json");
  CHECK(header(agent.http("GET", "/tasks", "", "Accept: application/a2a+json\r\n"),
               "Content-Type") == "application/a2a+json");
  const std::string body = agent.params("hi").dump();
  const auto text = "POST /message:send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  const auto stream = agent.connect();
  const Reply reply = parse_reply(agent.run(
      exchange_bytes(*stream, text + ("Content-Type: application/a2a+json\r\nContent-Length: " +
                                      std::to_string(body.size()) + "\r\n\r\n" + body))));
  CHECK(reply.status == 200);
  CHECK(header(reply, "Content-Type") == "application/a2a+json");
  const auto other = agent.connect();
  const Reply refused = parse_reply(agent.run(exchange_bytes(
      *other, text + ("Content-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
                      "\r\n\r\n" + body))));
  CHECK(refused.status == 400);
  CHECK(reason(refused.json()["error"]) == "CONTENT_TYPE_NOT_SUPPORTED");
}

TEST_CASE("a version that is not spoken is refused, in the header and in the query",
          "[a2a][door]") {
  Agent agent;
  const Json params = agent.id_params("x");
  for (const char* version : {"0.2", "1.1", "2.0", "one", "1.0.1"}) {
    const Json error =
        agent.rpc("GetTask", params, "A2A-Version: " + std::string(version) + "\r\n")["error"];
    CHECK(error["code"] == -32009);
    CHECK(reason(error) == "VERSION_NOT_SUPPORTED");
    CHECK(agent.http("GET", "/tasks?A2A-Version=" + std::string(version)).status == 400);
  }
  CHECK(agent.http("GET", "/tasks?A2A-Version=1.0").status == 200);
}

TEST_CASE("without a caller's token nothing is answered but the card", "[a2a][door]") {
  Agent agent(Agent::card_options(), {}, {}, bearer_tokens({{"s3cret", "alice"}}));
  CHECK(agent.http("GET", card_path).status == 200);
  for (const char* headers :
       {"", "Authorization: Bearer wrong\r\n", "Authorization: Basic s3cret\r\n",
        "Authorization: Bearer\r\n", "Authorization: Bearer \r\n"}) {
    const Reply rpc = agent.rpc_reply("GetTask", agent.id_params("x"), headers);
    CHECK(rpc.status == 401);
    CHECK(header(rpc, "WWW-Authenticate") == "Bearer");
    for (const char* path : {"/tasks", "/tasks/x", "/nowhere", "/extendedAgentCard"}) {
      CHECK(agent.http("GET", path, "", headers).status == 401);
    }
    CHECK(agent.http("POST", "/message:send", "{", headers).status == 401);
  }
  CHECK(agent
            .rpc("SendMessage", agent.params("hi"),
                 "A2A-Version: 1.0\r\nAuthorization: bearer s3cret\r\n")["result"]
            .contains("task"));
}

TEST_CASE("extensions that are asked for and known are echoed, a required one is demanded",
          "[a2a][door]") {
  ServiceOptions options = Agent::card_options();
  Extension extension;
  extension.uri = "https://e.example/x";
  extension.is_required = true;
  options.card.extensions.push_back(extension);
  Agent agent(options);
  const Json error = agent.rpc("SendMessage", agent.params("hi"))["error"];
  CHECK(error["code"] == -32008);
  CHECK(reason(error) == "EXTENSION_SUPPORT_REQUIRED");
  const Reply reply = agent.rpc_reply(
      "SendMessage", agent.params("hi"),
      "A2A-Version: 1.0\r\nA2A-Extensions: https://other.example, https://e.example/x\r\n");
  CHECK(reply.json().contains("result"));
  CHECK(header(reply, "A2A-Extensions") == "https://e.example/x");
}

TEST_CASE("the extended card is for callers that are known", "[a2a][door]") {
  ServiceOptions options = Agent::card_options();
  options.card.has_extended_card = true;
  SECTION("and says so while it is not configured") {
    Agent agent(options);
    CHECK(agent.rpc("GetExtendedAgentCard", Json::object())["error"]["code"] == -32007);
  }
  SECTION("and is given in the version's shape") {
    options.extended_card = options.card;
    options.extended_card->description = "All of it.";
    Agent agent(options, {}, {}, bearer_tokens({{"t", "alice"}}));
    const std::string token = "Authorization: Bearer t\r\n";
    CHECK(agent.http("GET", "/extendedAgentCard").status == 401);
    const Json card = agent.http("GET", "/extendedAgentCard", "", token).json();
    CHECK(card["description"] == "All of it.");
    const Json old =
        agent.rpc("agent/getAuthenticatedExtendedCard", Json::object(), token)["result"];
    CHECK(old["supportsAuthenticatedExtendedCard"] == true);
    CHECK_FALSE(old.contains("supportedInterfaces"));
  }
}

}  // namespace ambit::a2a
