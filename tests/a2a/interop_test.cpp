// Our agent and the official SDK from npm, as real processes, both ways: its client against our
// server, our client against its server, on every binding and version that both speak. (gRPC:
// grpc_test.cpp.)

#include "a2a/card_signature.h"
#include "a2a/client.h"
#include "a2a/directory.h"
#include "http/curl_client.h"
#include "interop_peer.h"
#include "io/uv_world.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

struct OurAgent {
  io::UvWorld world;
  ScriptedRunner runner;
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;

  OurAgent() {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return door->handle(exchange);
             }).value();
    ServiceOptions options = Agent::card_options();
    options.card.interfaces = {{url() + "/", "JSONRPC", "1.0", ""},
                               {url() + "/", "HTTP+JSON", "1.0", ""},
                               {url() + "/", "JSONRPC", "0.3", ""}};
    service = std::make_unique<Service>(world.world(), store, runner, std::move(options));
    door = std::make_unique<Door>(*service, 0);
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address(); }
};

SendRequest request_of(const std::string& text, const std::string& id,
                       const std::string& task = "") {
  SendRequest request;
  request.message.id = id;
  request.message.role = Role::user;
  request.message.task_id = task;
  request.message.parts.push_back(text_part(text));
  return request;
}

// The text and state that a stream comes to.
Task<Answer<std::pair<std::string, TaskState>>> follow(RemoteStream& stream) {
  std::pair<std::string, TaskState> seen;
  while (true) {
    auto event = co_await stream.next();
    if (!event) co_return tl::unexpected<Failure>(event.error());
    if (!*event) co_return seen;
    if (auto* task = std::get_if<TaskRecord>(&**event)) {
      seen.first.clear();
      seen.second = task->status.state;
      for (const Artifact& artifact : task->artifacts) {
        for (const Part& part : artifact.parts) seen.first += part.text;
      }
    }
    if (auto* status = std::get_if<StatusUpdate>(&**event)) seen.second = status->status.state;
    if (auto* chunk = std::get_if<ArtifactUpdate>(&**event)) {
      for (const Part& part : chunk->artifact.parts) seen.first += part.text;
    }
  }
}

std::string counted(int to) {
  std::string text;
  for (int n = 0; n < to; ++n) text += std::to_string(n) + " ";
  return text;
}

}  // namespace

TEST_CASE("the official client works with our agent on every binding and version",
          "[a2a][interop]") {
  if (!is_there()) return;
  for (const auto& [binding, version] :
       {std::pair("JSONRPC", "1.0"), std::pair("HTTP+JSON", "1.0"), std::pair("JSONRPC", "0.3")}) {
    OurAgent agent;
    auto client = node(agent.world.world(), {"sdk_client.cjs", agent.url(), binding, version});
    const std::string said = run_task(agent.world.loop(), read_all(client->output()));
    const std::string errors = run_task(agent.world.loop(), read_all(client->errors()));
    INFO(said << errors);
    CHECK(said.find("FAILED") == std::string::npos);
    CHECK(said.find("ok " + std::string(binding) + " " + version + " push config delete") !=
          std::string::npos);
  }
}

TEST_CASE("our client works with the official server on every binding and version",
          "[a2a][interop]") {
  if (!is_there()) return;
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  auto server = node(world.world(), {"sdk_server.cjs"});
  const auto run = [&](auto task) { return run_task(world.loop(), std::move(task)); };
  const std::string url = run(read_line(server->output()));
  REQUIRE(url.starts_with("http://"));
  Directory directory(http);
  const auto found = run(directory.find(url));
  REQUIRE(found);
  CHECK((*found)->card.name == "sdk agent");
  REQUIRE((*found)->card.interfaces.size() >= 3);
  for (const Interface& interface : (*found)->card.interfaces) {
    if (!version_of(interface)) continue;
    INFO(interface.binding << " " << interface.protocol_version);
    AgentCard card = (*found)->card;
    card.interfaces = {interface};
    const auto agent = std::move(*RemoteAgent::create(http, card, url));
    const std::string tag = interface.binding + interface.protocol_version;
    const auto sent = run(agent->send(request_of("hi", "1" + tag)));
    REQUIRE(sent);
    const TaskRecord done = std::get<TaskRecord>(*sent);
    CHECK(done.status.state == TaskState::completed);
    CHECK(done.artifacts.at(0).parts.at(0).text == "done: hi");
    const auto direct = run(agent->send(request_of("message", "2" + tag)));
    CHECK(std::get<Message>(direct.value()).parts.at(0).text == "just this");
    const auto asks =
        std::get<TaskRecord>(run(agent->send(request_of("input", "3" + tag))).value());
    CHECK(asks.status.state == TaskState::input_required);
    const auto more =
        std::get<TaskRecord>(run(agent->send(request_of("x", "4" + tag, asks.id))).value());
    CHECK(more.id == asks.id);
    CHECK(more.status.state == TaskState::completed);
    auto stream = run(agent->stream(request_of("stream 20", "5" + tag)));
    REQUIRE(stream);
    const auto seen = run(follow(**stream));
    CHECK(seen.value().first == counted(20));
    CHECK(seen->second == TaskState::completed);
    SendRequest now = request_of("hang", "6" + tag);
    now.return_immediately = true;
    const auto hanging = std::get<TaskRecord>(run(agent->send(now)).value());
    auto watching = run(agent->subscribe(hanging.id));
    REQUIRE(watching);
    CHECK(run(agent->cancel(hanging.id)).value().status.state == TaskState::canceled);
    CHECK(run(follow(**watching)).value().second == TaskState::canceled);
    GetRequest get;
    get.id = done.id;
    CHECK(run(agent->get(get)).value().status.state == TaskState::completed);
    get.id = "none";
    CHECK(run(agent->get(get)).error().fault == Fault::task_not_found);
    CHECK(run(agent->cancel(done.id)).error().fault == Fault::task_not_cancelable);
  }
}

}  // namespace ambit::a2a
