// Calls that outlive their request: client and server against each other over streams in memory,
// and what is kept of a task from one process to the next.

#include "async/scope.h"
#include "io/uv_world.h"
#include "mcp/client.h"
#include "mcp/stdio_server.h"
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

struct Shelf final : TaskKeeper {
  std::vector<TaskRecord> kept;
  bool broken = false;
  Task<Result<void>> keep(TaskRecord record) override {
    if (broken) co_return Err(Code::unavailable, "the disk is full");
    kept.push_back(std::move(record));
    co_return Result<void>();
  }
};

int running = 0;
struct Running {
  Running() { ++running; }
  ~Running() { --running; }
};

Task<Result<Value>> work(Value arguments, Call& call) {
  const Running count;
  co_await call.detach();
  co_await call.progress(1, 2, "half way");
  co_await delay(std::chrono::milliseconds(arguments.json().value("ms", 30)));
  co_return text_result("worked");
}
// Never says that it takes long.
Task<Result<Value>> dawdle(Value arguments, Call& /*call*/) {
  const Running count;
  co_await delay(std::chrono::milliseconds(arguments.json().value("ms", 30)));
  co_return text_result("dawdled");
}
Task<Result<Value>> ask_later(Value /*arguments*/, Call& call) {
  co_await call.detach();
  Value form = Json::parse(
      R"({"message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}})");
  const Value answer = co_await ok(call.ask("who", "elicitation/create", std::move(form)));
  co_return text_result("Hello, " + answer.json()["content"]["name"].get<std::string>());
}
Task<Result<Value>> fail(Value /*arguments*/, Call& call) {
  co_await call.detach();
  co_return Err(Code::denied, "not today");
}
Task<Result<Value>> break_rules(Value /*arguments*/, Call& call) {
  co_await call.detach();
  call.refuse(rpc::Fault{-32050, "out of paper", {}});
  co_return text_result("");
}

Task<Result<Value>> answer_name(std::string method, Value /*params*/) {
  if (method != "elicitation/create") co_return Err(Code::unsupported, method);
  co_return Value(Json::parse(R"({"action":"accept","content":{"name":"Ann"}})"));
}

Wire& nobody() {
  struct Deaf final : Wire {
    Task<Result<void>> notify(std::string /*method*/, Value /*params*/) override {
      co_return Result<void>();
    }
    Task<Result<rpc::Reply>> ask(std::string method, Value /*params*/) override {
      co_return Err(Code::unsupported, method);
    }
  };
  static Deaf deaf;
  return deaf;
}

struct House {
  io::UvWorld world;
  Shelf shelf;
  Server server{world.world().clock, world.world().entropy, options(shelf)};

  static ServerOptions options(Shelf& shelf) {
    ServerOptions options;
    options.tasks.poll_ms = 20;
    options.tasks.after = std::chrono::milliseconds(40);
    options.tasks.tasks_max = 4;
    options.tasks.keeper = &shelf;
    return options;
  }
  House() {
    const auto add = [&](const char* name, Handler run, TaskSupport support) {
      Json definition = {{"name", name}, {"inputSchema", {{"type", "object"}}}};
      ServerTool tool{Value(std::move(definition)), std::move(run), {}, support};
      REQUIRE(server.add(std::move(tool)).has_value());
    };
    add("work", work, TaskSupport::optional);
    add("dawdle", dawdle, TaskSupport::optional);
    add("ask_later", ask_later, TaskSupport::optional);
    add("fail", fail, TaskSupport::required);
    add("break", break_rules, TaskSupport::optional);
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  // One modern request, as `principal` with or without tasks; the result or the fault.
  Json ask(const std::string& method, Json params, const std::string& principal = "ann",
           bool takes_tasks = true) {
    params["_meta"][meta_version] = modern_version;
    params["_meta"][meta_client_capabilities] = Json{{"elicitation", Json::object()}};
    if (takes_tasks) {
      params["_meta"][meta_client_capabilities]["extensions"][tasks_extension] = Json::object();
    }
    rpc::Request request{rpc::Id(std::int64_t{1}), method, Value(std::move(params))};
    Answer answer = run(server.answer(std::move(request), nullptr, nobody(), principal));
    if (!answer.reply.fault) return answer.reply.result.json();
    return Json{{"code", answer.reply.fault->code}, {"message", answer.reply.fault->message}};
  }
  Json call(const std::string& tool, Json arguments = Json::object(), bool takes_tasks = true) {
    return ask("tools/call", Json{{"name", tool}, {"arguments", std::move(arguments)}}, "ann",
               takes_tasks);
  }
  // The task once it is not working any more.
  Json settled(const std::string& id) {
    for (int round = 0; round < 200; ++round) {
      Json task = ask("tasks/get", Json{{"taskId", id}});
      if (task.value("status", "") != "working") return task;
      pause();
    }
    return {};
  }
  // What is ready gets its turn.
  void pause() {
    run([]() -> Task<void> { co_await delay(std::chrono::milliseconds(5)); }());
  }
};

// A client and the server over streams.
struct Talk {
  House house;
  std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> to = MemoryStream::pair();
  std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> from =
      MemoryStream::pair();
  StdioServer serving{house.server, *to.second, *from.second, "ann"};
  Scope scope;
  std::unique_ptr<Client> client;

  Talk() {
    scope.spawn([](StdioServer& server) -> Task<void> { co_await server.run(); }(serving));
    ClientOptions options;
    options.era = EraChoice::modern;
    options.on_input = answer_name;
    options.capabilities = Json::parse(R"({"elicitation":{"form":{}}})");
    Connection connection;
    connection.input = to.first.get();
    connection.output = from.first.get();
    client = std::make_unique<Client>(std::move(connection), std::move(options));
    REQUIRE(house.run(client->connect()).has_value());
  }
};

std::string text_of(const Result<ToolAnswer>& answer) {
  if (!answer) return "error: " + answer.error().message;
  if (answer->fault) return "fault: " + answer->fault->message;
  return answer->result.content.empty() ? "" : answer->result.content[0].text;
}

}  // namespace

TEST_CASE("a call that takes long is answered with a task that can be asked for", "[mcp][tasks]") {
  House house;
  const Json created = house.call("work");
  REQUIRE(created.value("resultType", "") == "task");
  CHECK(created["status"] == "working");
  CHECK(created["ttlMs"] == 3'600'000);
  CHECK(created["pollIntervalMs"] == 20);
  CHECK_FALSE(created.contains("result"));
  const std::string id = created["taskId"];
  house.pause();
  const Json first = house.ask("tasks/get", Json{{"taskId", id}});
  CHECK(first["status"] == "working");
  CHECK(first.value("statusMessage", "") == "half way");
  CHECK(first["resultType"] == "complete");
  const Json done = house.settled(id);
  CHECK(done["status"] == "completed");
  CHECK(done["result"]["content"][0]["text"] == "worked");
  CHECK(done["result"]["resultType"] == "complete");
  CHECK(running == 0);
}

TEST_CASE("a handler that does not say so becomes a task after a while, a quick one never",
          "[mcp][tasks]") {
  House house;
  CHECK(house.call("dawdle", Json{{"ms", 1}})["content"][0]["text"] == "dawdled");
  const Json created = house.call("dawdle", Json{{"ms", 80}});
  REQUIRE(created.value("resultType", "") == "task");
  CHECK(house.settled(created["taskId"])["result"]["content"][0]["text"] == "dawdled");
}

TEST_CASE("a client that takes no tasks waits, or is told what it lacks", "[mcp][tasks]") {
  House house;
  CHECK(house.call("work", Json{{"ms", 60}}, false)["content"][0]["text"] == "worked");
  CHECK(house.call("fail", Json::object(), false)["code"] == missing_client_capability);
  for (const char* method : {"tasks/get", "tasks/update", "tasks/cancel"}) {
    CHECK(house.ask(method, Json{{"taskId", "x"}}, "ann", false)["code"] ==
          missing_client_capability);
  }
  CHECK(house.ask("tasks/list", Json::object())["code"] == rpc::method_not_found);
  CHECK(house.shelf.kept.empty());
}

TEST_CASE("a task belongs to who called; to anybody else there is none", "[mcp][tasks]") {
  House house;
  const std::string id = house.call("work", Json{{"ms", 1000}})["taskId"];
  for (const char* method : {"tasks/get", "tasks/cancel"}) {
    CHECK(house.ask(method, Json{{"taskId", id}}, "eve")["code"] == rpc::invalid_params);
  }
  CHECK(house.ask("tasks/update", Json{{"taskId", id}, {"inputResponses", Json::object()}},
                  "eve")["code"] == rpc::invalid_params);
  CHECK(house.ask("tasks/get", Json{{"taskId", id}})["status"] == "working");
}

TEST_CASE("errors of the tool complete a task, faults of the protocol fail it", "[mcp][tasks]") {
  House house;
  const Json failed = house.settled(house.call("fail")["taskId"]);
  CHECK(failed["status"] == "completed");
  CHECK(failed["result"]["isError"] == true);
  const Json broken = house.settled(house.call("break")["taskId"]);
  CHECK(broken["status"] == "failed");
  CHECK(broken["error"]["code"] == -32050);
  CHECK_FALSE(broken.contains("result"));
}

TEST_CASE("cancelling ends the tool; a second time is no error", "[mcp][tasks]") {
  House house;
  const std::string id = house.call("work", Json{{"ms", 60'000}})["taskId"];
  CHECK(running == 1);
  CHECK(house.ask("tasks/cancel", Json{{"taskId", id}})["resultType"] == "complete");
  CHECK(running == 0);
  CHECK(house.settled(id)["status"] == "cancelled");
  CHECK(house.ask("tasks/cancel", Json{{"taskId", id}})["resultType"] == "complete");
  CHECK(house.shelf.kept.back().status == TaskStatus::cancelled);
}

TEST_CASE("what a task waits for is answered by update, and only if it fits", "[mcp][tasks]") {
  House house;
  const std::string id = house.call("ask_later")["taskId"];
  const Json waits = house.settled(id);
  REQUIRE(waits["status"] == "input_required");
  CHECK(waits["inputRequests"]["who"]["method"] == "elicitation/create");
  const auto update = [&](const char* key, Json answer) {
    Json answers = Json::object();
    answers[key] = std::move(answer);
    return house.ask("tasks/update", Json{{"taskId", id}, {"inputResponses", answers}});
  };
  CHECK(update("who", Json::parse(R"({"action":"accept","content":{"name":7}})"))["code"] ==
        rpc::invalid_params);
  CHECK(update("nobody", Json::object())["resultType"] == "complete");
  CHECK(house.ask("tasks/get", Json{{"taskId", id}})["status"] == "input_required");
  CHECK(
      update("who", Json::parse(R"({"action":"accept","content":{"name":"Bo"}})"))["resultType"] ==
      "complete");
  CHECK(house.settled(id)["result"]["content"][0]["text"] == "Hello, Bo");
}

TEST_CASE("a task is kept before its client hears of it, and again when it ends", "[mcp][tasks]") {
  House house;
  const std::string id = house.call("work")["taskId"];
  REQUIRE(house.shelf.kept.size() == 1);
  CHECK(house.shelf.kept[0].status == TaskStatus::working);
  house.settled(id);
  REQUIRE(house.shelf.kept.size() == 2);
  CHECK(house.shelf.kept[1].status == TaskStatus::completed);
  for (const TaskRecord& record : house.shelf.kept) {
    TaskRecord again;
    REQUIRE(from_value(to_value(record), again).has_value());
    CHECK(to_value(again) == to_value(record));
  }
  // Another process: the one that ended is there, one that had not has failed.
  House next;
  TaskRecord lost = house.shelf.kept[0];
  lost.id = "lost";
  next.server.restore_tasks({house.shelf.kept[1], lost});
  CHECK(next.ask("tasks/get", Json{{"taskId", id}})["result"]["content"][0]["text"] == "worked");
  const Json failed = next.ask("tasks/get", Json{{"taskId", "lost"}});
  CHECK(failed["status"] == "failed");
  CHECK(failed["error"]["message"].get<std::string>().find("restarted") != std::string::npos);
}

TEST_CASE("where tasks cannot be kept, or are too many, a call stays a call", "[mcp][tasks]") {
  House house;
  house.shelf.broken = true;
  CHECK(house.call("work", Json{{"ms", 5}})["content"][0]["text"] == "worked");
  house.shelf.broken = false;
  for (int i = 0; i < 4; ++i) {
    CHECK(house.call("work", Json{{"ms", 60'000}})["resultType"] == "task");
  }
  CHECK(house.call("work", Json{{"ms", 5}})["content"][0]["text"] == "worked");
  CHECK(running == 4);
  house.server.end_tasks();
  CHECK(running == 0);
}

TEST_CASE("a record that is not one says what is wrong", "[mcp][tasks]") {
  TaskRecord record;
  const auto read = [&](const char* text) { return from_value(Value(Json::parse(text)), record); };
  CHECK(read("[]").error().message.find('$') != std::string::npos);
  const auto status = read(
      R"({"id":"a","principal":"b","tool":"c","status":"asleep","message":"","created":1,"updated":1,"ttl":1})");
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message.find("asleep") != std::string::npos);
}

TEST_CASE("a client follows a task as if the call had just taken long", "[mcp][tasks]") {
  Talk talk;
  const auto call = [&](const char* tool, CallOptions options = {}) {
    return text_of(talk.house.run(talk.client->call_tool(tool, Json::object(), options)));
  };
  std::vector<std::string> said;
  CallOptions options;
  options.on_progress = [&](const ProgressParams& progress) { said.push_back(progress.message); };
  CHECK(call("work", options) == "worked");
  CHECK(said.size() >= 1);
  CHECK(call("ask_later") == "Hello, Ann");
  CHECK(call("fail") == "not today");
  CHECK(call("break") == "fault: out of paper");
}

TEST_CASE("a client that gives a call up cancels its task", "[mcp][tasks]") {
  Talk talk;
  {
    Scope scope;
    scope.spawn([](Client& calling) -> Task<void> {
      Value arguments = Json{{"ms", 60'000}};
      auto answer = co_await calling.call_tool("work", std::move(arguments));
      if (answer) co_return;
    }(*talk.client));
    talk.house.world.loop().run_until([&] { return !talk.house.shelf.kept.empty(); });
    for (int i = 0; i < 5; ++i) talk.house.pause();
  }
  talk.house.world.loop().run_until([] { return running == 0; });
  CHECK(talk.house.shelf.kept.back().status == TaskStatus::cancelled);
}

TEST_CASE("who listens to a task is told of each change", "[mcp][tasks]") {
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
  const std::string id = house.call("work", Json{{"ms", 50}})["taskId"];
  Json params = {{"notifications", {{"taskIds", Json::array({id, "of somebody else"})}}}};
  params["_meta"][meta_version] = modern_version;
  params["_meta"][meta_client_capabilities]["extensions"][tasks_extension] = Json::object();
  rpc::Request request{rpc::Id(std::int64_t{7}), "subscriptions/listen", Value(std::move(params))};
  Scope scope;
  scope.spawn([](Server& server, rpc::Request asked, Wire& wire) -> Task<void> {
    auto answer = co_await server.answer(std::move(asked), nullptr, wire, "ann");
    if (answer.reply.fault) co_return;
  }(house.server, std::move(request), ear));
  house.world.loop().run_until([&] { return ear.heard.size() >= 2; });
  CHECK(ear.heard[0].second["notifications"]["taskIds"] == Json::array({id}));
  CHECK(ear.heard[1].first == "notifications/tasks");
  CHECK(ear.heard[1].second["status"] == "completed");
  CHECK(ear.heard[1].second["_meta"][meta_subscription] == 7);
}

}  // namespace ambit::mcp
