// A2A 0.3 on the same addresses: the shapes are checked against the schema that 0.3 published.

#include "schemas.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

Json old_params(Agent& agent, const std::string& text, const std::string& task = "") {
  Json message = {{"kind", "message"},
                  {"messageId", "old-" + std::to_string(++agent.messages)},
                  {"role", "user"}};
  message["parts"] = Json::array({Json({{"kind", "text"}, {"text", text}})});
  if (!task.empty()) message["taskId"] = task;
  Json params = Json::object();
  params["message"] = std::move(message);
  return params;
}

Json old_rpc(Agent& agent, const std::string& method, const Json& params) {
  return agent.rpc(method, params, "");
}

}  // namespace

TEST_CASE("0.3: a bare task comes back, with kinds and short names", "[a2a][v0.3]") {
  Agent agent;
  const Json task = old_rpc(agent, "message/send", old_params(agent, "hi"))["result"];
  CHECK(fault_0_3("Task", task).empty());
  CHECK(task["kind"] == "task");
  CHECK(task["status"]["state"] == "completed");
  CHECK(task["history"][0]["role"] == "user");
  CHECK(task["artifacts"][0]["parts"][0]["kind"] == "text");
  CHECK(old_rpc(agent, "tasks/get", agent.id_params(task["id"]))["result"] == task);
  const Json message = old_rpc(agent, "message/send", old_params(agent, "message"))["result"];
  CHECK(fault_0_3("Message", message).empty());
  CHECK(message["kind"] == "message");
}

TEST_CASE("0.3: blocking is asked for the other way round", "[a2a][v0.3]") {
  Agent agent;
  Json params = old_params(agent, "slow");
  params["configuration"]["blocking"] = false;
  CHECK(old_rpc(agent, "message/send", params)["result"]["status"]["state"] == "submitted");
  params = old_params(agent, "slow");
  params["configuration"]["blocking"] = true;
  CHECK(old_rpc(agent, "message/send", params)["result"]["status"]["state"] == "completed");
}

TEST_CASE("0.3: a stream tells bare events and which one is the last", "[a2a][v0.3]") {
  Agent agent;
  const auto events =
      agent.rpc_reply("message/stream", old_params(agent, "stream 2"), "A2A-Version: 0.3\r\n")
          .events();
  REQUIRE(events.size() == 5);
  CHECK(fault_0_3("Task", events[0]["result"]).empty());
  CHECK(fault_0_3("TaskStatusUpdateEvent", events[1]["result"]).empty());
  CHECK(fault_0_3("TaskArtifactUpdateEvent", events[2]["result"]).empty());
  CHECK(events[1]["result"]["final"] == false);
  CHECK(events[3]["result"]["append"] == true);
  CHECK(events[4]["result"]["kind"] == "status-update");
  CHECK(events[4]["result"]["final"] == true);
}

TEST_CASE("0.3: files and data travel in their old parts", "[a2a][v0.3]") {
  Agent agent;
  Json params = old_params(agent, "input");
  Json file = {{"kind", "file"}};
  file["file"] = {{"bytes", "aGk="}, {"name", "a.txt"}, {"mimeType", "text/plain"}};
  params["message"]["parts"].push_back(file);
  Json data = {{"kind", "data"}};
  data["data"] = {{"k", 1}};
  params["message"]["parts"].push_back(data);
  const Json task = old_rpc(agent, "message/send", params)["result"];
  CHECK(task["history"][0]["parts"][1] == file);
  CHECK(task["history"][0]["parts"][2] == data);
  const auto& run = agent.runner.runs.back();
  REQUIRE(run.message.parts.size() == 3);
  CHECK(run.message.parts[1].kind == Part::Kind::raw);
  CHECK(run.message.parts[1].filename == "a.txt");
  CHECK(run.message.parts[2].kind == Part::Kind::data);
}

TEST_CASE("0.3 and 1.0 work on the same task", "[a2a][v0.3]") {
  Agent agent;
  const Json asks = old_rpc(agent, "message/send", old_params(agent, "input"))["result"];
  CHECK(asks["status"]["state"] == "input-required");
  const Json done = agent.send("this", asks["id"]);
  CHECK(done["status"]["state"] == "TASK_STATE_COMPLETED");
  CHECK(old_rpc(agent, "tasks/get", agent.id_params(asks["id"]))["result"]["status"]["state"] ==
        "completed");
}

TEST_CASE("0.3: cancel, resubscribe and the errors of its table", "[a2a][v0.3]") {
  Agent agent;
  Json params = old_params(agent, "hang");
  params["configuration"]["blocking"] = false;
  const Json task = old_rpc(agent, "message/send", params)["result"];
  const Json cancelled = old_rpc(agent, "tasks/cancel", agent.id_params(task["id"]))["result"];
  CHECK(cancelled["status"]["state"] == "canceled");
  CHECK(old_rpc(agent, "tasks/cancel", agent.id_params(task["id"]))["error"]["code"] == -32002);
  CHECK(old_rpc(agent, "tasks/get", agent.id_params("none"))["error"]["code"] == -32001);
  CHECK(old_rpc(agent, "tasks/resubscribe", agent.id_params(task["id"]))["error"]["code"] ==
        -32004);
  CHECK(old_rpc(agent, "tasks/list", Json::object())["error"]["code"] == -32601);
  // A name of 1.0 under a header of 0.3 is no method of 0.3.
  CHECK(agent.rpc("GetTask", agent.id_params("none"), "A2A-Version: 0.3\r\n")["error"]["code"] ==
        -32601);
}

TEST_CASE("0.3: a push configuration is wrapped, and one without an id is its task's",
          "[a2a][v0.3]") {
  Agent agent;
  const Json task = old_rpc(agent, "message/send", old_params(agent, "input"))["result"];
  Json params = {{"taskId", task["id"]}};
  params["pushNotificationConfig"] = {{"url", "https://example.com/hook"}};
  params["pushNotificationConfig"]["authentication"] = {{"schemes", Json::array({"Bearer"})},
                                                        {"credentials", "cr3d"}};
  const Json made = old_rpc(agent, "tasks/pushNotificationConfig/set", params)["result"];
  CHECK(fault_0_3("TaskPushNotificationConfig", made).empty());
  CHECK(made["taskId"] == task["id"]);
  CHECK(made["pushNotificationConfig"]["authentication"]["schemes"][0] == "Bearer");
  const Json id = agent.id_params(task["id"]);
  CHECK(old_rpc(agent, "tasks/pushNotificationConfig/get", id)["result"] == made);
  const Json all = old_rpc(agent, "tasks/pushNotificationConfig/list", id)["result"];
  REQUIRE(all.is_array());
  CHECK(all[0] == made);
  Json gone = id;
  gone["pushNotificationConfigId"] = made["pushNotificationConfig"]["id"];
  const Json deleted = old_rpc(agent, "tasks/pushNotificationConfig/delete", gone);
  CHECK(deleted.contains("result"));
  CHECK(deleted["result"].is_null());
}

TEST_CASE("0.3: REST lies below /v1 and speaks the JSON of its proto", "[a2a][v0.3]") {
  Agent agent;
  const auto post = [&](const std::string& path, const Json& body) {
    return agent.http("POST", path, body.dump());
  };
  const auto say = [](const std::string& text, const std::string& id) {
    Json message = {{"messageId", id}, {"role", "ROLE_USER"}};
    message["content"] = Json::array({Json({{"text", text}})});
    Json request = Json::object();
    request["request"] = std::move(message);
    return request;
  };
  const Reply sent = post("/v1/message:send", say("hi", "r1"));
  REQUIRE(sent.status == 200);
  const Json task = sent.json()["task"];
  CHECK(task["status"]["state"] == "TASK_STATE_COMPLETED");
  CHECK(task["history"][0]["content"][0]["text"] == "hi");
  CHECK_FALSE(task["history"][0].contains("parts"));
  const std::string path = "/v1/tasks/" + task["id"].get<std::string>();
  CHECK(agent.http("GET", path).json()["id"] == task["id"]);
  const Json none = agent.http("GET", "/v1/tasks/none").json();
  CHECK(none["error"]["code"] == 404);
  CHECK(none["code"] == -32001);
  CHECK(none["message"] == none["error"]["message"]);
  Json file = say("x", "r2");
  file["request"]["content"] = Json::array(
      {Json({{"file", {{"fileWithBytes", "aGk="}, {"mimeType", "text/plain"}, {"name", "a.txt"}}}}),
       Json({{"data", {{"data", {{"k", 1}}}}}})});
  const Json parts = post("/v1/message:send", file).json()["task"]["history"][0]["content"];
  CHECK(parts == file["request"]["content"]);
  Json now = say("hang", "r3");
  now["configuration"]["blocking"] = false;
  const std::string hanging = post("/v1/message:send", now).json()["task"]["id"];
  Json push = Json::object();
  push["config"]["pushNotificationConfig"] = {
      {"id", "c"},
      {"url", "https://example.com/"},
      {"authentication", {{"schemes", Json::array({"Bearer"})}, {"credentials", "x"}}}};
  const std::string configs = "/v1/tasks/" + hanging + "/pushNotificationConfigs";
  const Json kept = post(configs, push).json();
  CHECK(kept["name"] == "tasks/" + hanging + "/pushNotificationConfigs/c");
  CHECK(kept["pushNotificationConfig"]["authentication"]["schemes"][0] == "Bearer");
  CHECK(agent.http("GET", configs).json()["configs"].size() == 1);
  CHECK(agent.http("DELETE", configs + "/c").status == 200);
  CHECK(post("/v1/tasks/" + hanging + ":cancel", Json::object()).json()["status"]["state"] ==
        "TASK_STATE_CANCELLED");
  const auto events = post("/v1/message:stream", say("stream 2", "r4")).events();
  REQUIRE(events.size() == 5);
  CHECK(events[0].contains("task"));
  CHECK(events.back()["statusUpdate"]["final"] == true);
  // What 0.3 did not know is not there, and who names 1.0 has a tenant called v1.
  CHECK(agent.http("GET", "/v1/tasks").status == 404);
  CHECK(agent.http("GET", "/v1/tasks", "", "A2A-Version: 1.0\r\n").json()["totalSize"] == 0);
}

}  // namespace ambit::a2a
