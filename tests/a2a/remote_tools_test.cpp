// Agents somewhere else as tools of ours, over real loopback sockets.

#include "a2a/remote_tools.h"

#include "async/race.h"
#include "http/curl_client.h"
#include "io/uv_world.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using agents::OutcomeKind;

struct FarAgent {
  io::UvWorld world;
  ScriptedRunner runner;
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;
  http::CurlClient http{world.watcher()};
  std::unique_ptr<RemoteTools> tools;

  explicit FarAgent(bool streams = true, RemoteToolsOptions options = {},
                    DoorOptions door_options = {}, std::vector<jose::Key> trusted = {}) {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return door->handle(exchange);
             }).value();
    ServiceOptions service_options = Agent::card_options();
    service_options.card.has_streaming = streams;
    service_options.card.interfaces = {{url() + "/", "JSONRPC", "1.0", ""}};
    service = std::make_unique<Service>(world.world(), store, runner, std::move(service_options));
    door = std::make_unique<Door>(*service, 0, std::move(door_options),
                                  bearer_tokens({{"secret", "desk"}}));
    tools = std::make_unique<RemoteTools>(
        http, std::vector<RemoteSpec>{{"far", url(), "secret", std::move(trusted)}},
        std::move(options));
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address(); }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  agents::Outcome ask(const std::string& task, const std::string& id = "call_1") {
    agents::ToolCall call;
    call.id = id;
    call.name = "agent__far";
    call.arguments = Json({{"task", task}}).dump();
    return run(tools->call("INC-7", call));
  }
};

}  // namespace

TEST_CASE("an agent somewhere else is a tool with its card's words", "[a2a][remote]") {
  FarAgent far;
  const auto specs = far.run(far.tools->list()).value();
  REQUIRE(specs.size() == 1);
  CHECK(specs[0].name == "agent__far");
  CHECK(specs[0].description.find("Answers.") != std::string::npos);
  CHECK(specs[0].destructive);
  far.door.reset();
  far.server.reset();
  RemoteTools lost(far.http, {{"lost", "http://127.0.0.1:1/", "", {}}});
  const auto missing = far.run(lost.list());
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::unavailable);
  CHECK(missing.error().message.find("agent lost") != std::string::npos);
}

TEST_CASE("what a remote task comes to is the outcome of the call", "[a2a][remote]") {
  for (const bool streams : {true, false}) {
    FarAgent far(streams);
    CHECK(far.ask("hi").content == "done: hi");
    CHECK(far.ask("message", "2").content == "just this");
    CHECK(far.ask("fail", "3").kind == OutcomeKind::tool_error);
    const auto rejected = far.ask("reject", "4");
    CHECK(rejected.kind == OutcomeKind::denied);
    CHECK(rejected.content.find("not allowed by policy") != std::string::npos);
    const auto asks = far.ask("input", "5");
    CHECK(asks.kind == OutcomeKind::tool_error);
    CHECK(asks.content.find("which one?") != std::string::npos);
    CHECK(far.runner.runs.front().caller == "desk");
  }
  FarAgent far;
  CHECK(far.ask("stream 5").content == "0 1 2 3 4 ");
}

TEST_CASE("the same call again finds its task and does nothing twice", "[a2a][remote]") {
  FarAgent far;
  CHECK(far.ask("hi").content == "done: hi");
  const agents::Outcome again = far.ask("hi");
  CHECK(again.content == "done: hi");
  CHECK(far.runner.runs.size() == 1);
  CHECK(far.runner.runs[0].message.id == "INC-7.call_1");
}

TEST_CASE("who stands behind a call goes along, to a depth", "[a2a][remote]") {
  RemoteToolsOptions options;
  Delegation delegation{"alice", {"clerk", "desk"}};
  options.delegation_of = [&](const std::string& session) {
    CHECK(session == "INC-7");
    return delegation;
  };
  FarAgent far(true, options);
  CHECK(far.ask("hi").kind == OutcomeKind::ok);
  const rpc::Value& said = far.runner.runs.at(0).message.metadata;
  CHECK(said.json()[Delegation::uri].dump() ==
        R"({"sub":"alice","act":{"sub":"clerk","act":{"sub":"desk"}}})");
  CHECK(read_delegation(said).value() == delegation);
  delegation.actors = {"a", "b", "c", "d", "e"};
  const auto refused = far.ask("hi", "2");
  CHECK(refused.kind == OutcomeKind::denied);
  CHECK(far.runner.runs.size() == 1);
  CHECK_FALSE(read_delegation(rpc::Value(Json::object())).value());
  for (const char* bad : {"1", R"({"act":1})", R"({"act":{}})", R"({"act":{"sub":""}})",
                          R"({"act":{"sub":"a","act":[]}})"}) {
    Json json = Json::object();
    json[Delegation::uri] = Json::parse(bad);
    INFO(bad);
    CHECK_FALSE(read_delegation(rpc::Value(json)));
  }
}

TEST_CASE("a call that is given up cancels the task out there", "[a2a][remote]") {
  FarAgent far;
  agents::ToolCall call;
  call.id = "1";
  call.name = "agent__far";
  call.arguments = R"({"task":"hang"})";
  {
    Scope scope;
    scope.spawn([](RemoteTools& tools, agents::ToolCall what) -> Task<void> {
      co_await tools.call("s", std::move(what));
    }(*far.tools, call));
    far.world.loop().run_until([&] { return far.runner.running == 1; });
    // The client has heard of its task as well.
    far.run(delay_task(std::chrono::milliseconds(50)));
  }
  far.world.loop().run_until([&] { return far.service->runs() == 0; });
  CHECK(far.runner.cancelled == 1);
}

TEST_CASE("bad arguments, long answers and cards of strangers are refused or cut",
          "[a2a][remote]") {
  RemoteToolsOptions options;
  options.answer_bytes_max = 50;
  FarAgent far(true, options);
  agents::ToolCall call;
  call.name = "agent__far";
  for (const char* bad : {"", "[]", "{}", R"({"task":1})"}) {
    call.arguments = bad;
    CHECK(far.run(far.tools->call("s", call)).kind == OutcomeKind::bad_arguments);
  }
  call.name = "agent__nobody";
  CHECK(far.run(far.tools->call("s", call)).kind == OutcomeKind::refused);
  const auto cut = far.ask("stream 100", "9");
  CHECK(cut.kind == OutcomeKind::output_limit);
  CHECK(cut.content.size() == 50);
  const jose::Key key = jose::Key::make(jose::Algorithm::es256, "k").value();
  DoorOptions door;
  door.keys = {key};
  FarAgent signed_one(true, {}, door, {key});
  CHECK(signed_one.ask("hi").content == "done: hi");
  FarAgent stranger(true, {}, {}, {key});
  const auto refused = stranger.ask("hi");
  CHECK(refused.kind == OutcomeKind::protocol_error);
  CHECK(refused.content.find("not signed") != std::string::npos);
}

}  // namespace ambit::a2a
