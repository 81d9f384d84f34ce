// The operations as a client of A2A 1.0 meets them, over the wire of a simulated world.

#include "async/race.h"
#include "schemas.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

#include <set>

namespace ambit::a2a {
namespace {

using std::chrono::seconds;

std::string state_of(const Json& task) {
  return task["status"]["state"].get<std::string>();
}

Json get(Agent& agent, const std::string& id) {
  return agent.rpc("GetTask", agent.id_params(id))["result"];
}

}  // namespace

TEST_CASE("a message becomes a task that is answered when it has ended", "[a2a][service]") {
  Agent agent;
  const Json result = agent.rpc("SendMessage", agent.params("hi there"))["result"];
  CHECK(fault_1_0("SendMessageResponse", result).empty());
  const Json& task = result["task"];
  CHECK(state_of(task) == "TASK_STATE_COMPLETED");
  CHECK(task["artifacts"][0]["parts"][0]["text"] == "done: hi there");
  CHECK(task["history"][0]["parts"][0]["text"] == "hi there");
  CHECK(task["history"][0]["taskId"] == task["id"]);
  CHECK(task["status"]["message"]["role"] == "ROLE_AGENT");
  CHECK(task["status"]["message"]["taskId"] == task["id"]);
  CHECK(get(agent, task["id"]) == task);
  CHECK(agent.service->runs() == 0);
}

TEST_CASE("a short answer needs no task", "[a2a][service]") {
  Agent agent;
  const Json result = agent.rpc("SendMessage", agent.params("message"))["result"];
  CHECK(fault_1_0("SendMessageResponse", result).empty());
  CHECK(result["message"]["parts"][0]["text"] == "just this");
  CHECK(result["message"]["role"] == "ROLE_AGENT");
  CHECK(agent.store->size() == 0);
}

TEST_CASE("a client that does not want to wait is answered at once", "[a2a][service]") {
  Agent agent;
  const Json task = agent.send_now("slow");
  CHECK(state_of(task) == "TASK_STATE_SUBMITTED");
  CHECK(agent.service->runs() == 1);
  agent.world.loop().run_until([&] { return agent.service->runs() == 0; });
  CHECK(state_of(get(agent, task["id"])) == "TASK_STATE_COMPLETED");
}

TEST_CASE("a run that fails, refuses or throws ends its task in words", "[a2a][service]") {
  Agent agent;
  const Json failed = agent.send("fail");
  CHECK(state_of(failed) == "TASK_STATE_FAILED");
  CHECK(failed["status"]["message"]["parts"][0]["text"] == "the model is gone");
  CHECK(state_of(agent.send("reject")) == "TASK_STATE_REJECTED");
  const Json thrown = agent.send("throw");
  CHECK(state_of(thrown) == "TASK_STATE_FAILED");
  CHECK(thrown.dump().find("secret") == std::string::npos);
  CHECK(agent.rpc("SendMessage", agent.params("unwilling"))["error"]["code"] == -32603);
  CHECK(state_of(agent.send("late")) == "TASK_STATE_COMPLETED");
}

TEST_CASE("a task that asks is continued by the client's next message", "[a2a][service]") {
  Agent agent;
  const Json asks = agent.send("input");
  CHECK(state_of(asks) == "TASK_STATE_INPUT_REQUIRED");
  CHECK(asks["status"]["message"]["parts"][0]["text"] == "which one?");
  const Json done = agent.send("this one", asks["id"]);
  CHECK(done["id"] == asks["id"]);
  CHECK(done["contextId"] == asks["contextId"]);
  CHECK(state_of(done) == "TASK_STATE_COMPLETED");
  REQUIRE(done["history"].size() == 3);
  CHECK(done["history"][1]["parts"][0]["text"] == "which one?");
  CHECK(done["history"][2]["parts"][0]["text"] == "this one");
  CHECK(agent.runner.runs.back().task_id == asks["id"].get<std::string>());
  CHECK(agent.runner.runs.back().context_id == asks["contextId"].get<std::string>());
}

TEST_CASE("a message to a task that is not its own place is refused", "[a2a][service]") {
  Agent agent;
  const Json asks = agent.send("input");
  const auto code = [&](Json params) {
    return agent.rpc("SendMessage", params)["error"]["code"].get<int>();
  };
  CHECK(code(agent.params("x", "nowhere")) == -32001);
  Json elsewhere = agent.params("x", asks["id"]);
  elsewhere["message"]["contextId"] = "another";
  CHECK(code(elsewhere) == -32602);
  const Json working = agent.send_now("hang");
  CHECK(code(agent.params("x", working["id"])) == -32004);
  const Json ended = agent.send("hi");
  CHECK(code(agent.params("x", ended["id"])) == -32004);
  CHECK(get(agent, ended["id"]) == ended);
}

TEST_CASE("a message that comes again gives its task again and does nothing else",
          "[a2a][service]") {
  Agent agent;
  Json params = agent.params("hi");
  const Json first = agent.rpc("SendMessage", params)["result"];
  CHECK(agent.rpc("SendMessage", params)["result"] == first);
  CHECK(agent.runner.runs.size() == 1);
  CHECK(agent.store->size() == 1);
  params["message"]["parts"][0]["text"] = "other words";
  CHECK(agent.rpc("SendMessage", params)["error"]["code"] == -32602);
}

TEST_CASE("the same message on many connections at once makes one task", "[a2a][service]") {
  Agent agent;
  const std::string body = Agent::rpc_text("SendMessage", agent.params("slow"));
  std::vector<std::unique_ptr<io::Stream>> streams;
  std::vector<Task<std::string>> all;
  for (int n = 0; n < 8; ++n) {
    streams.push_back(agent.connect());
    all.push_back(exchange_bytes(*streams.back(),
                                 Agent::request_text("POST", "/", body, "A2A-Version: 1.0\r\n")));
  }
  std::set<std::string> ids;
  const auto gather = [](std::vector<Task<std::string>> tasks) -> Task<std::vector<std::string>> {
    co_return co_await join(std::move(tasks));
  };
  for (const std::string& text : agent.run(gather(std::move(all)))) {
    ids.insert(parse_reply(text).json()["result"]["task"]["id"].get<std::string>());
  }
  CHECK(ids.size() == 1);
  CHECK(agent.runner.runs.size() == 1);
}

TEST_CASE("two messages that continue one task at once: one is taken", "[a2a][service]") {
  Agent agent;
  const std::string id = agent.send("input")["id"];
  std::vector<std::unique_ptr<io::Stream>> streams;
  std::vector<Task<std::string>> all;
  for (int n = 0; n < 2; ++n) {
    streams.push_back(agent.connect());
    all.push_back(exchange_bytes(
        *streams.back(),
        Agent::request_text("POST", "/", Agent::rpc_text("SendMessage", agent.params("slow", id)),
                            "A2A-Version: 1.0\r\n")));
  }
  const auto gather = [](std::vector<Task<std::string>> tasks) -> Task<std::vector<std::string>> {
    co_return co_await join(std::move(tasks));
  };
  int taken = 0;
  for (const std::string& text : agent.run(gather(std::move(all)))) {
    const Json json = parse_reply(text).json();
    taken += json.contains("result") ? 1 : 0;
    if (json.contains("error")) CHECK(json["error"]["code"] == -32004);
  }
  CHECK(taken == 1);
  CHECK(agent.runner.runs.size() == 2);
  CHECK(get(agent, id)["history"].size() == 3);
}

TEST_CASE("cancelling a task ends its run", "[a2a][service]") {
  Agent agent;
  const Json task = agent.send_now("hang");
  agent.world.loop().run_until([&] { return agent.runner.running == 1; });
  const Json cancelled = agent.rpc("CancelTask", agent.id_params(task["id"]))["result"];
  CHECK(state_of(cancelled) == "TASK_STATE_CANCELED");
  CHECK(agent.runner.running == 0);
  CHECK(agent.runner.cancelled == 1);
  CHECK(agent.rpc("CancelTask", agent.id_params(task["id"]))["error"]["code"] == -32002);
  const Json asks = agent.send("input");
  const Json gone =
      agent.http("POST", "/tasks/" + asks["id"].get<std::string>() + ":cancel").json();
  CHECK(state_of(gone) == "TASK_STATE_CANCELED");
}

TEST_CASE("a blocking client hears when its task needs it to log in, and the run goes on",
          "[a2a][service]") {
  Agent agent;
  const Json task = agent.send("auth");
  CHECK(state_of(task) == "TASK_STATE_AUTH_REQUIRED");
  CHECK(agent.service->runs() == 1);
  agent.world.loop().run_until([&] { return agent.service->runs() == 0; });
  CHECK(state_of(get(agent, task["id"])) == "TASK_STATE_COMPLETED");
}

TEST_CASE("a client that goes away changes nothing", "[a2a][service]") {
  Agent agent;
  auto stream = agent.connect();
  const std::string body = Agent::rpc_text("SendMessage", agent.params("slow"));
  agent.run(stream->write(Agent::request_text("POST", "/", body, "A2A-Version: 1.0\r\n")));
  agent.world.loop().run_until([&] { return agent.runner.running == 1; });
  stream.reset();
  agent.world.loop().run_until([&] { return agent.service->runs() == 0; });
  CHECK(agent.runner.cancelled == 0);
  CHECK(agent.rpc("ListTasks", Json::object())["result"]["tasks"][0]["status"]["state"] ==
        "TASK_STATE_COMPLETED");
}

TEST_CASE("history is given as far as it is asked for", "[a2a][service]") {
  Agent agent;
  const Json asks = agent.send("input");
  agent.send("hi", asks["id"]);
  const auto history = [&](const Json& length) {
    Json params = agent.id_params(asks["id"]);
    params["historyLength"] = length;
    return agent.rpc("GetTask", params);
  };
  CHECK(history(Json())["result"]["history"].size() == 3);
  CHECK_FALSE(history(0)["result"].contains("history"));
  CHECK(history(1)["result"]["history"].size() == 1);
  CHECK(history(1)["result"]["history"][0]["parts"][0]["text"] == "hi");
  CHECK(history(99)["result"]["history"].size() == 3);
  CHECK(history(-1)["error"]["code"] == -32602);
}

TEST_CASE("tasks are listed newest first, in pages that neither lose nor repeat one",
          "[a2a][service]") {
  Agent agent;
  std::vector<std::string> made;
  for (int n = 0; n < 7; ++n) {
    made.push_back(agent.send(n == 3 ? "input" : "hi")["id"]);
  }
  std::vector<std::string> seen;
  Json params = {{"pageSize", 3}};
  while (true) {
    const Json page = agent.rpc("ListTasks", params)["result"];
    CHECK(fault_1_0("ListTasksResponse", page).empty());
    CHECK(page["totalSize"] == 7);
    CHECK(page["pageSize"] == 3);
    for (const Json& task : page["tasks"]) {
      CHECK_FALSE(task.contains("artifacts"));
      seen.push_back(task["id"]);
    }
    if (page["nextPageToken"] == "") break;
    params["pageToken"] = page["nextPageToken"];
  }
  CHECK(seen == std::vector<std::string>(made.rbegin(), made.rend()));
  const Json waiting =
      agent.rpc("ListTasks", Json({{"status", "TASK_STATE_INPUT_REQUIRED"}}))["result"];
  REQUIRE(waiting["tasks"].size() == 1);
  CHECK(waiting["tasks"][0]["id"] == made[3]);
  const Json context = agent.rpc("ListTasks", Json({{"contextId", "none"}}))["result"];
  CHECK(context["tasks"].empty());
  CHECK(context["nextPageToken"] == "");
  for (const Json& bad :
       {Json({{"pageSize", 0}}), Json({{"pageSize", 101}}), Json({{"pageToken", "forged"}}),
        Json({{"status", "DONE"}}), Json({{"statusTimestampAfter", "yesterday"}})}) {
    INFO(bad);
    CHECK(agent.rpc("ListTasks", bad)["error"]["code"] == -32602);
  }
}

TEST_CASE("nobody learns of another caller's tasks", "[a2a][service]") {
  Agent agent(Agent::card_options(), {}, {}, bearer_tokens({{"a", "alice"}, {"b", "bob"}}));
  const std::string alice = "A2A-Version: 1.0\r\nAuthorization: Bearer a\r\n";
  const std::string bob = "A2A-Version: 1.0\r\nAuthorization: Bearer b\r\n";
  const Json params = agent.params("input");
  const Json task = agent.rpc("SendMessage", params, alice)["result"]["task"];
  const Json none = agent.rpc("GetTask", agent.id_params("none"), bob)["error"];
  const auto same_as_none = [&](const std::string& method, Json request) {
    Json error = agent.rpc(method, request, bob)["error"];
    INFO(method);
    CHECK(error["code"] == -32001);
    CHECK(error["data"] == none["data"]);
  };
  same_as_none("GetTask", agent.id_params(task["id"]));
  same_as_none("CancelTask", agent.id_params(task["id"]));
  same_as_none("SubscribeToTask", agent.id_params(task["id"]));
  same_as_none("SendMessage", agent.params("x", task["id"]));
  Json push = {{"taskId", task["id"]}, {"id", "c"}, {"url", "https://example.com/"}};
  same_as_none("CreateTaskPushNotificationConfig", push);
  same_as_none("GetTaskPushNotificationConfig", push);
  same_as_none("ListTaskPushNotificationConfigs", push);
  same_as_none("DeleteTaskPushNotificationConfig", push);
  CHECK(agent.rpc("ListTasks", Json::object(), bob)["result"]["totalSize"] == 0);
  // His message with her id is his own.
  const Json his = agent.rpc("SendMessage", params, bob)["result"]["task"];
  CHECK(his["id"] != task["id"]);
  CHECK(agent.rpc("GetTask", agent.id_params(task["id"]), alice)["result"] == task);
}

TEST_CASE("tenants of one caller do not see each other, in the body and in the path",
          "[a2a][service]") {
  Agent agent;
  Json params = agent.params("hi");
  params["tenant"] = "north";
  const std::string id = agent.rpc("SendMessage", params)["result"]["task"]["id"];
  CHECK(get(agent, id).is_null());
  Json named = agent.id_params(id);
  named["tenant"] = "north";
  CHECK(agent.rpc("GetTask", named)["result"]["id"] == id);
  CHECK(agent.http("GET", "/north/tasks/" + id).status == 200);
  CHECK(agent.http("GET", "/south/tasks/" + id).status == 404);
  CHECK(agent.http("GET", "/tasks/" + id).status == 404);
  CHECK(agent.http("GET", "/north/tasks").json()["totalSize"] == 1);
  CHECK(agent.runner.runs.back().tenant == "north");
}

TEST_CASE("limits of runs and tasks are told, and room comes back", "[a2a][service]") {
  ServiceOptions options = Agent::card_options();
  options.runs_max = 2;
  StoreLimits limits;
  limits.tasks_max = 3;
  Agent agent(options, limits);
  const Json first = agent.send_now("hang");
  agent.send_now("hang");
  const Reply refused = agent.http("POST", "/message:send", agent.params("hi").dump());
  CHECK(refused.status == 503);
  CHECK(refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED");
  agent.rpc("CancelTask", agent.id_params(first["id"]));
  CHECK(state_of(agent.send("hi")) == "TASK_STATE_COMPLETED");
  // Those that have ended make room, the oldest first.
  CHECK(state_of(agent.send("hi")) == "TASK_STATE_COMPLETED");
  CHECK(get(agent, first["id"]).is_null());
}

TEST_CASE("a task that grows too large fails, and stays readable", "[a2a][service]") {
  StoreLimits limits;
  limits.task_bytes_max = 100'000;
  Agent agent(Agent::card_options(), limits);
  const Json task = agent.send("huge");
  CHECK(state_of(task) == "TASK_STATE_FAILED");
  CHECK(task["artifacts"][0]["parts"].size() < 11);
  CHECK(agent.runner.cancelled == 1);
}

TEST_CASE("a push configuration's secrets are never given back", "[a2a][service]") {
  Agent agent;
  const std::string id = agent.send("input")["id"];
  const Json config = {{"taskId", id},
                       {"id", "c1"},
                       {"url", "https://example.com/hook"},
                       {"token", "t0ken"},
                       {"authentication", {{"scheme", "Bearer"}, {"credentials", "cr3d"}}}};
  const Json made = agent.rpc("CreateTaskPushNotificationConfig", config)["result"];
  Json all = Json::array({made, agent.rpc("GetTaskPushNotificationConfig", config),
                          agent.rpc("ListTaskPushNotificationConfigs", config)});
  CHECK(made["url"] == "https://example.com/hook");
  CHECK(made["authentication"]["scheme"] == "Bearer");
  CHECK(all.dump().find("t0ken") == std::string::npos);
  CHECK(all.dump().find("cr3d") == std::string::npos);
  CHECK(agent.rpc("DeleteTaskPushNotificationConfig", config).contains("result"));
  CHECK(agent.rpc("DeleteTaskPushNotificationConfig", config).contains("result"));
  CHECK(agent.rpc("ListTaskPushNotificationConfigs", config)["result"]["configs"].empty());
  ServiceOptions options = Agent::card_options();
  options.card.has_push_notifications = false;
  Agent silent(options);
  const Json error = silent.rpc("CreateTaskPushNotificationConfig", config)["error"];
  CHECK(error["code"] == -32003);
}

TEST_CASE("a caller that asks too often is told so, and another is not hindered",
          "[a2a][service]") {
  ServiceOptions options = Agent::card_options();
  options.rate = {2, 3};
  Agent agent(options, {}, {}, bearer_tokens({{"a", "alice"}, {"b", "bob"}}));
  const auto status = [&](const std::string& token) {
    return agent.http("GET", "/tasks", "", "Authorization: Bearer " + token + "\r\n").status;
  };
  CHECK(status("a") == 200);
  CHECK(status("a") == 200);
  CHECK(status("a") == 200);
  CHECK(status("a") == 503);
  CHECK(status("b") == 200);
  agent.run(delay_task(seconds(1)));
  CHECK(status("a") == 200);
  // What is remembered is bounded: the one who asked longest ago makes room.
  CallerRates few({1, 1, 2});
  CHECK(few.take("a", Instant(1)));
  CHECK_FALSE(few.take("a", Instant(2)));
  CHECK(few.take("b", Instant(3)));
  CHECK(few.take("c", Instant(4)));
  CHECK_FALSE(few.take("c", Instant(5)));
  CHECK(few.take("a", Instant(6)));
}

}  // namespace ambit::a2a
