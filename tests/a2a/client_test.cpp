// Our client against our server over real loopback sockets, through libcurl: every interface that
// we speak, fallback between them, cards and their cache, streams that break, agents that speak
// nonsense.

#include "a2a/client.h"

#include "a2a/directory.h"
#include "async/race.h"
#include "http/curl_client.h"
#include "io/uv_world.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using std::chrono::milliseconds;

// A real server with our door, or with a handler of the test's own.
struct RealAgent {
  io::UvWorld world;
  ScriptedRunner runner;
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;
  http::CurlClient http{world.watcher()};
  int cuts_left = 0;  // streams that are broken off after some events
  int cut_at = 0;     // chunks that the runner has made
  int requests = 0;

  explicit RealAgent(Authenticate authenticate = nullptr, DoorOptions door_options = {}) {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return handle(exchange);
             }).value();
    ServiceOptions options = Agent::card_options();
    options.card.interfaces = interfaces();
    service = std::make_unique<Service>(world.world(), store, runner, std::move(options));
    door = std::make_unique<Door>(*service, 0, door_options, std::move(authenticate));
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address(); }
  [[nodiscard]] std::vector<Interface> interfaces() const {
    return {{url() + "/", "JSONRPC", "1.0", ""},
            {url(), "HTTP+JSON", "1.0", ""},
            {url() + "/", "JSONRPC", "0.3", ""}};
  }
  Task<void> handle(http::Exchange& exchange) {
    ++requests;
    const bool is_stream = exchange.request().headers.find("Accept").value_or("").find(
                               "event-stream") != std::string_view::npos;
    if (!is_stream || cuts_left == 0) {
      co_await door->handle(exchange);
      co_return;
    }
    --cuts_left;
    cut_at += 20;
    co_await race(door->handle(exchange), chunks_made(cut_at));
  }
  Task<void> chunks_made(int count) {
    while (runner.chunks < count) co_await delay(milliseconds(1));
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  std::unique_ptr<RemoteAgent> remote(std::vector<Interface> usable, ClientOptions options = {}) {
    AgentCard card = Agent::card_options().card;
    card.interfaces = std::move(usable);
    options.resume_delay = milliseconds(5);
    return std::move(*RemoteAgent::create(http, std::move(card), url() + "/card.json", options));
  }
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

std::string text_of(const std::vector<Artifact>& artifacts) {
  std::string text;
  for (const Artifact& artifact : artifacts) {
    for (const Part& part : artifact.parts) text += part.text;
  }
  return text;
}

// What a client holds of the task in the end; each TaskRecord stands for all before it.
Task<Answer<TaskRecord>> follow(RemoteStream& stream) {
  TaskRecord task;
  while (true) {
    auto event = co_await stream.next();
    if (!event) co_return tl::unexpected<Failure>(event.error());
    if (!*event) co_return task;
    if (auto* whole = std::get_if<TaskRecord>(&**event)) task = std::move(*whole);
    if (auto* status = std::get_if<StatusUpdate>(&**event)) task.status = status->status;
    if (auto* chunk = std::get_if<ArtifactUpdate>(&**event)) {
      if (!chunk->append || task.artifacts.empty()) {
        task.artifacts.push_back(chunk->artifact);
      } else {
        for (Part& part : chunk->artifact.parts) task.artifacts.back().parts.push_back(part);
      }
    }
  }
}

std::string counted(int to) {
  std::string text;
  for (int n = 0; n < to; ++n) text += std::to_string(n) + " ";
  return text;
}

GetRequest named(const std::string& id) {
  GetRequest request;
  request.id = id;
  return request;
}

// Answers everything with the same bytes.
struct FixedAgent {
  io::UvWorld world;
  std::unique_ptr<http::Server> server;
  http::CurlClient http{world.watcher()};
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::string> seen;
  http::Headers extra;

  FixedAgent() {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return answer(exchange);
             }).value();
  }
  Task<void> answer(http::Exchange& exchange) {
    std::string line = exchange.request().path;
    for (const http::Header& header : exchange.request().headers) {
      line += " " + header.name + "=" + header.value;
    }
    seen.push_back(line);
    http::Headers headers = extra;
    headers.set("Content-Type", type);
    std::string text = body;
    co_await exchange.respond(status, std::move(headers), std::move(text));
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address(); }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
};

}  // namespace

TEST_CASE("every interface that we speak does every operation", "[a2a][client]") {
  RealAgent agent;
  for (const Interface& interface : agent.interfaces()) {
    INFO(interface.binding << " " << interface.protocol_version);
    const std::string tag = interface.binding + interface.protocol_version;
    const auto remote = agent.remote({interface});
    const auto sent = agent.run(remote->send(request_of("hi", "m1" + tag)));
    REQUIRE(sent);
    const TaskRecord& task = std::get<TaskRecord>(*sent);
    CHECK(task.status.state == TaskState::completed);
    CHECK(text_of(task.artifacts) == "done: hi");
    CHECK(task.history.front().role == Role::user);
    const auto direct = agent.run(remote->send(request_of("message", "m2" + tag)));
    CHECK(std::get<Message>(direct.value()).parts[0].text == "just this");
    CHECK(agent.run(remote->get(named(task.id))).value() == task);
    auto stream = agent.run(remote->stream(request_of("stream 20", "m3" + tag)));
    REQUIRE(stream);
    const auto streamed = agent.run(follow(**stream));
    CHECK(text_of(streamed.value().artifacts) == counted(20));
    CHECK(streamed->status.state == TaskState::completed);
    SendRequest now = request_of("hang", "m4" + tag);
    now.return_immediately = true;
    const auto hanging = std::get<TaskRecord>(agent.run(remote->send(now)).value());
    CHECK(hanging.status.state == TaskState::submitted);
    auto subscribed = agent.run(remote->subscribe(hanging.id));
    REQUIRE(subscribed);
    CHECK(agent.run(remote->cancel(hanging.id)).value().status.state == TaskState::canceled);
    CHECK(agent.run(follow(**subscribed)).value().status.state == TaskState::canceled);
    const auto listed = agent.run(remote->list({}));
    if (interface.protocol_version == "0.3") {
      CHECK(listed.error().fault == Fault::unsupported_operation);
    } else {
      CHECK(listed.value().tasks.size() == static_cast<std::size_t>(listed->total));
    }
    CHECK(agent.run(remote->get(named("a/b c"))).error().fault == Fault::task_not_found);
    CHECK(agent.run(remote->cancel(task.id)).error().fault == Fault::task_not_cancelable);
    CHECK(agent.run(remote->subscribe(task.id)).error().fault == Fault::unsupported_operation);
  }
}

TEST_CASE("a task that asks is continued by the client", "[a2a][client]") {
  RealAgent agent;
  for (const Interface& interface : agent.interfaces()) {
    const auto remote = agent.remote({interface});
    const std::string tag = interface.binding + interface.protocol_version;
    const auto asks =
        std::get<TaskRecord>(agent.run(remote->send(request_of("input", "a" + tag))).value());
    CHECK(asks.status.state == TaskState::input_required);
    REQUIRE(asks.status.message);
    CHECK(asks.status.message->parts[0].text == "which one?");
    const auto done =
        std::get<TaskRecord>(agent.run(remote->send(request_of("x", "b" + tag, asks.id))).value());
    CHECK(done.status.state == TaskState::completed);
    CHECK(done.history.size() == 3);
  }
}

TEST_CASE("a stream that breaks is taken up again without loss", "[a2a][client]") {
  RealAgent agent;
  agent.runner.step = milliseconds(2);
  for (const Interface& interface : agent.interfaces()) {
    INFO(interface.binding << " " << interface.protocol_version);
    agent.cuts_left = 3;
    agent.cut_at = agent.runner.chunks;
    const auto remote = agent.remote({interface});
    auto stream = agent.run(remote->stream(
        request_of("stream 100", "s" + interface.binding + interface.protocol_version)));
    REQUIRE(stream);
    const auto task = agent.run(follow(**stream));
    REQUIRE(task);
    CHECK(text_of(task->artifacts) == counted(100));
    CHECK(task->status.state == TaskState::completed);
    CHECK((*stream)->resumes() >= 1);
  }
}

TEST_CASE("a stream that breaks for good is an error after so many tries", "[a2a][client]") {
  RealAgent agent;
  ClientOptions options;
  options.resumes_max = 3;
  const auto remote = agent.remote({agent.interfaces()[0]}, options);
  auto stream = agent.run(remote->stream(request_of("hang", "h")));
  REQUIRE(stream);
  agent.run((*stream)->next());
  agent.server.reset();
  const auto end = agent.run(follow(**stream));
  CHECK(end.error().fault == Fault::unreachable);
  CHECK((*stream)->resumes() == 3);
}

TEST_CASE("an interface that cannot be reached gives way to the next one, for good",
          "[a2a][client]") {
  RealAgent agent;
  std::string gone;
  {
    const auto other = agent.run([](io::World& world) -> Task<std::string> {
      co_return world.network.listen("127.0.0.1:0").value()->address();
    }(agent.world.world()));
    gone = "http://" + other;
  }
  std::vector<Interface> all = {
      {gone, "JSONRPC", "1.0", ""}, {gone, "GRPC", "1.0", ""}, agent.interfaces()[1]};
  const auto remote = agent.remote(all);
  CHECK(agent.run(remote->send(request_of("hi", "1"))).has_value());
  CHECK(remote->interface().binding == "HTTP+JSON");
  const auto nowhere = agent.remote({{gone, "JSONRPC", "1.0", ""}});
  CHECK(agent.run(nowhere->send(request_of("hi", "2"))).error().fault == Fault::unreachable);
  AgentCard card = Agent::card_options().card;
  card.interfaces = {{gone, "GRPC", "1.0", ""}};
  const auto none = RemoteAgent::create(agent.http, card, agent.url());
  CHECK(none.error().fault == Fault::unsupported_operation);
  CHECK_THAT(none.error().message, Catch::Contains("GRPC 1.0"));
}

TEST_CASE("the token goes to the card's origin and nowhere else", "[a2a][client]") {
  RealAgent agent(bearer_tokens({{"s3cret", "alice"}}));
  ClientOptions options;
  CHECK(agent.run(agent.remote(agent.interfaces(), options)->send(request_of("hi", "1")))
            .error()
            .fault == Fault::unauthenticated);
  options.token = "s3cret";
  CHECK(agent.run(agent.remote(agent.interfaces(), options)->send(request_of("hi", "2")))
            .has_value());
  FixedAgent other;
  AgentCard card = Agent::card_options().card;
  card.interfaces = {{other.url(), "JSONRPC", "1.0", ""}};
  const auto stolen = std::move(
      *RemoteAgent::create(other.http, card, "http://trusted.example/card.json", options));
  other.run(stolen->send(request_of("hi", "3")));
  REQUIRE(other.seen.size() == 1);
  CHECK_THAT(other.seen[0], !Catch::Contains("s3cret"));
  CHECK_THAT(other.seen[0], Catch::Contains("1.0"));
}

TEST_CASE("a card is found below the agent's URL or its origin, and kept as long as it says",
          "[a2a][client]") {
  RealAgent agent;
  Directory directory(agent.http);
  const auto found = agent.run(directory.find(agent.url() + "/"));
  REQUIRE(found);
  CHECK((*found)->card.name == "clerk");
  CHECK((*found)->card.has_streaming);
  CHECK((*found)->card.skills.size() == 1);
  CHECK((*found)->card.interfaces == agent.interfaces());
  const int before = agent.requests;
  CHECK(agent.run(directory.find(agent.url())).value() == *found);
  CHECK(agent.requests == before);
  const auto below = agent.run(directory.find(agent.url() + "/agents/clerk"));
  CHECK(below.value() == *found);
  CHECK(agent.requests == before + 1);
  const auto remote = RemoteAgent::create(agent.http, (*found)->card, (*found)->url);
  CHECK(agent.run((*remote)->send(request_of("hi", "1"))).has_value());
}

TEST_CASE("a card that has grown old is asked for by its tag", "[a2a][client]") {
  FixedAgent agent;
  agent.body = rpc::compact(to_json(Agent::card_options().card, CardShape::pure));
  agent.extra.set("ETag", "\"one\"");
  Directory directory(agent.http);
  const auto first = agent.run(directory.find(agent.url()));
  REQUIRE(first);
  agent.status = 304;
  agent.body = "";
  CHECK(agent.run(directory.find(agent.url())).value() == *first);
  REQUIRE(agent.seen.size() == 2);
  CHECK_THAT(agent.seen[1], Catch::Contains("If-None-Match=\"one\""));
}

TEST_CASE("cards of 0.3 and broken ones are told apart", "[a2a][client]") {
  FixedAgent agent;
  AgentCard card = Agent::card_options().card;
  agent.body = rpc::compact(to_json(card, CardShape::old));
  {
    Directory directory(agent.http);
    const auto found = agent.run(directory.find(agent.url()));
    REQUIRE(found);
    REQUIRE((*found)->card.interfaces.size() == 1);
    CHECK((*found)->card.interfaces[0].protocol_version == "0.3");
    CHECK((*found)->card.interfaces[0].binding == "JSONRPC");
  }
  for (const char* body :
       {"", "{", "[]", "7", "{}", R"({"name":7})", R"({"name":"a","supportedInterfaces":[]})",
        R"({"name":"a","supportedInterfaces":[7]})",
        R"({"name":"a","supportedInterfaces":{"url":"x"}})",
        R"({"name":"a","url":"http://x","skills":7})",
        R"({"name":"a","url":"http://x","capabilities":[]})"}) {
    INFO(body);
    agent.body = body;
    Directory directory(agent.http);
    const auto found = agent.run(directory.find(agent.url()));
    REQUIRE_FALSE(found);
    CHECK(found.error().fault == Fault::invalid_agent_response);
  }
  agent.status = 404;
  Directory directory(agent.http);
  CHECK(agent.run(directory.find(agent.url() + "/x")).error().fault ==
        Fault::invalid_agent_response);
  CHECK(agent.run(directory.find("ftp://x")).error().fault == Fault::invalid_params);
}

TEST_CASE("an agent that speaks nonsense is an error with words, whatever it says",
          "[a2a][client]") {
  FixedAgent agent;
  for (const auto& [binding, version] :
       {std::pair("JSONRPC", "1.0"), std::pair("HTTP+JSON", "1.0"), std::pair("JSONRPC", "0.3")}) {
    AgentCard card = Agent::card_options().card;
    card.interfaces = {{agent.url(), binding, version, ""}};
    const auto remote = std::move(*RemoteAgent::create(agent.http, card, agent.url()));
    for (const char* body :
         {"", "{", "[]", "null", R"({"jsonrpc":"2.0","id":1})", R"({"result":7})",
          R"({"result":{}})", R"({"result":{"task":7}})", R"({"task":{"id":"x"}})",
          R"({"result":{"task":{"id":"x","status":{"state":"DONE"}}}})", R"({"error":7})",
          R"({"error":{"code":-32001}})", R"({"result":{"kind":"task","id":7}})",
          R"({"result":{"kind":["task"]}})", R"({"result":{"kind":"message","parts":{}}})"}) {
      for (const int status : {200, 500}) {
        INFO(binding << " " << version << " " << status << " " << body);
        agent.status = status;
        agent.type = "application/json";
        agent.body = body;
        const auto sent = agent.run(remote->send(request_of("hi", "1")));
        REQUIRE_FALSE(sent);
        CHECK_FALSE(agent.run(remote->stream(request_of("hi", "1"))));
        agent.type = "text/event-stream";
        agent.body = "data: " + std::string(body) + "\n\n";
        auto stream = agent.run(remote->stream(request_of("hi", "1")));
        if (stream) CHECK_FALSE(agent.run((*stream)->next()));
      }
    }
  }
}

}  // namespace ambit::a2a
