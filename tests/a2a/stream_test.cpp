// Streams: the order of events, several subscribers, coming back without loss, the slow and those
// who leave.

#include "async/race.h"
#include "schemas.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string rpc_request(Agent& agent, const std::string& method, const Json& params) {
  (void)agent;
  return Agent::request_text("POST", "/", Agent::rpc_text(method, params), "A2A-Version: 1.0\r\n");
}

// What a subscriber has of the answer in the end: its first event's text, and each chunk after it.
std::string text_of(const std::vector<Json>& events, bool is_rpc = true) {
  std::string text;
  for (const Json& event : events) {
    const Json& inner = is_rpc ? event["result"] : event;
    Json artifacts = Json::array();
    if (inner.contains("task")) artifacts = inner["task"].value("artifacts", Json::array());
    if (inner.contains("artifactUpdate")) artifacts.push_back(inner["artifactUpdate"]["artifact"]);
    for (const Json& artifact : artifacts) {
      for (const Json& part : artifact["parts"]) text += part["text"].get<std::string>();
    }
  }
  return text;
}

std::string counted(int from, int to) {
  std::string text;
  for (int n = from; n < to; ++n) text += std::to_string(n) + " ";
  return text;
}

Task<std::vector<std::string>> gather(std::vector<Task<std::string>> tasks) {
  co_return co_await join(std::move(tasks));
}

// Reads until `part` has come, and leaves.
Task<std::string> read_until(io::Stream& stream, std::string part) {
  std::string all;
  while (all.find(part) == std::string::npos) {
    auto bytes = co_await stream.read(64);
    if (!bytes || bytes->empty()) break;
    all += *bytes;
  }
  co_return all;
}

}  // namespace

TEST_CASE("a stream begins with the task, tells every change in order and ends with its task",
          "[a2a][stream]") {
  Agent agent;
  const Reply reply = agent.rpc_reply("SendStreamingMessage", agent.params("stream 5"));
  CHECK(reply.status == 200);
  CHECK(reply.headers.find("text/event-stream") != std::string::npos);
  CHECK(reply.is_whole);
  const auto events = reply.events();
  REQUIRE(events.size() == 8);
  for (const Json& event : events) {
    CHECK(event["id"] == 7);
    CHECK(fault_1_0("StreamResponse", event["result"]).empty());
  }
  CHECK(events[0]["result"]["task"]["status"]["state"] == "TASK_STATE_SUBMITTED");
  CHECK(events[1]["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING");
  CHECK_FALSE(events[2]["result"]["artifactUpdate"].contains("append"));
  CHECK(events[3]["result"]["artifactUpdate"]["append"] == true);
  CHECK(events[6]["result"]["artifactUpdate"]["lastChunk"] == true);
  CHECK(events[7]["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED");
  CHECK(text_of(events) == counted(0, 5));
}

TEST_CASE("a stream of one message is that message", "[a2a][stream]") {
  Agent agent;
  const auto events = agent.rpc_reply("SendStreamingMessage", agent.params("message")).events();
  REQUIRE(events.size() == 1);
  CHECK(events[0]["result"]["message"]["parts"][0]["text"] == "just this");
}

TEST_CASE("REST streams the bare events", "[a2a][stream]") {
  Agent agent;
  const Reply reply = agent.http("POST", "/message:stream", agent.params("stream 3").dump());
  const auto events = reply.events();
  REQUIRE(events.size() == 6);
  CHECK(events[0].contains("task"));
  CHECK(text_of(events, false) == counted(0, 3));
}

TEST_CASE("a stream that cannot begin is an error, not an empty stream", "[a2a][stream]") {
  Agent agent;
  const Reply reply = agent.rpc_reply("SubscribeToTask", agent.id_params("none"));
  CHECK(reply.headers.find("application/json") != std::string::npos);
  CHECK(reply.json()["error"]["code"] == -32001);
  ServiceOptions options = Agent::card_options();
  options.card.has_streaming = false;
  Agent silent(options);
  CHECK(silent.rpc("SendStreamingMessage", silent.params("hi"))["error"]["code"] == -32004);
  CHECK(silent.http("POST", "/message:stream", silent.params("hi").dump()).status == 400);
}

TEST_CASE("the stream ends where the task asks its client", "[a2a][stream]") {
  Agent agent;
  const Reply reply = agent.rpc_reply("SendStreamingMessage", agent.params("input"));
  CHECK(reply.is_whole);
  CHECK(reply.events().back()["result"]["statusUpdate"]["status"]["state"] ==
        "TASK_STATE_INPUT_REQUIRED");
}

TEST_CASE("a stream stays open while somebody logs in", "[a2a][stream]") {
  Agent agent;
  const auto events = agent.rpc_reply("SendStreamingMessage", agent.params("auth")).events();
  REQUIRE(events.size() >= 4);
  CHECK(events[2]["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_AUTH_REQUIRED");
  CHECK(events.back()["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED");
}

TEST_CASE("all subscribers of a task hear the same events in the same order", "[a2a][stream]") {
  Agent agent;
  const Json task = agent.send_now("stream 50");
  std::vector<std::unique_ptr<io::Stream>> streams;
  std::vector<Task<std::string>> all;
  for (int n = 0; n < 5; ++n) {
    streams.push_back(agent.connect());
    all.push_back(exchange_bytes(
        *streams.back(), rpc_request(agent, "SubscribeToTask", agent.id_params(task["id"]))));
  }
  std::vector<std::string> tails;
  for (const std::string& bytes : agent.run(gather(std::move(all)))) {
    const Reply reply = parse_reply(bytes);
    CHECK(reply.is_whole);
    const auto events = reply.events();
    REQUIRE(events.size() > 5);
    CHECK(events.front()["result"].contains("task"));
    CHECK(text_of(events) == counted(0, 50));
    std::string tail;
    for (std::size_t n = events.size() - 5; n < events.size(); ++n) tail += events[n].dump();
    tails.push_back(tail);
  }
  for (const std::string& tail : tails) CHECK(tail == tails.front());
}

TEST_CASE("who comes back at any moment misses nothing and hears nothing twice", "[a2a][stream]") {
  // Each subscriber comes at a moment of its own, also between storing and telling an event.
  Agent agent;
  agent.runner.step = std::chrono::microseconds(100);
  std::vector<std::unique_ptr<io::Stream>> streams;
  for (int n = 0; n < 40; ++n) streams.push_back(agent.connect());
  const Json task = agent.send_now("stream 400");
  std::vector<Task<std::string>> all;
  const auto later = [](Duration wait, io::Stream& stream, std::string text) -> Task<std::string> {
    co_await delay(wait);
    co_return co_await exchange_bytes(stream, std::move(text));
  };
  for (int n = 0; n < 40; ++n) {
    all.push_back(later(std::chrono::microseconds(n * 811), *streams[static_cast<std::size_t>(n)],
                        rpc_request(agent, "SubscribeToTask", agent.id_params(task["id"]))));
  }
  int subscribed = 0;
  for (const std::string& bytes : agent.run(gather(std::move(all)))) {
    const Reply reply = parse_reply(bytes);
    if (reply.headers.find("event-stream") == std::string::npos) continue;
    ++subscribed;
    CHECK(text_of(reply.events()) == counted(0, 400));
  }
  CHECK(subscribed > 10);
}

TEST_CASE("a client that loses its stream subscribes again and has the whole answer",
          "[a2a][stream]") {
  Agent agent;
  auto stream = agent.connect();
  agent.run(stream->write(rpc_request(agent, "SendStreamingMessage", agent.params("stream 60"))));
  const std::string begun = agent.run(read_until(*stream, "\"11 \""));
  stream.reset();
  const std::size_t at = begun.find("\"id\":\"") + 6;
  const std::string id = begun.substr(at, begun.find('"', at) - at);
  const Reply reply = agent.rpc_reply("SubscribeToTask", agent.id_params(id));
  CHECK(reply.is_whole);
  CHECK(text_of(reply.events()) == counted(0, 60));
  CHECK(agent.runner.runs.size() == 1);
}

TEST_CASE("a streaming send that comes again joins the stream of its task", "[a2a][stream]") {
  Agent agent;
  const Json params = agent.params("stream 60");
  auto lost = agent.connect();
  agent.run(lost->write(rpc_request(agent, "SendStreamingMessage", params)));
  agent.run(read_until(*lost, "\"3 \""));
  lost.reset();
  const Reply again = agent.rpc_reply("SendStreamingMessage", params);
  CHECK(text_of(again.events()) == counted(0, 60));
  const auto late = agent.rpc_reply("SendStreamingMessage", params).events();
  REQUIRE(late.size() == 1);
  CHECK(late[0]["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED");
  CHECK(agent.runner.runs.size() == 1);
}

TEST_CASE("a subscriber that does not read is cut off, visibly, and the others go on",
          "[a2a][stream]") {
  ServiceOptions options = Agent::card_options();
  options.queue_max = 4;
  options.patience = seconds(1);
  Agent agent(options);
  agent.runner.step = Duration(0);
  auto slow = agent.connect();
  agent.run(slow->write(rpc_request(agent, "SendStreamingMessage", agent.params("stream 3000"))));
  const std::string begun = agent.run(read_until(*slow, "\"2 \""));
  const std::size_t at = begun.find("\"id\":\"") + 6;
  const std::string id = begun.substr(at, begun.find('"', at) - at);
  const Reply other = agent.rpc_reply("SubscribeToTask", agent.id_params(id));
  CHECK(other.is_whole);
  CHECK(text_of(other.events()) == counted(0, 3000));
  const std::string rest = agent.run(exchange_bytes(*slow, ""));
  CHECK_THAT(rest, !Catch::EndsWith("0\r\n\r\n"));
  CHECK(agent.runner.cancelled == 0);
}

TEST_CASE("a cancelled task tells its subscribers and closes their streams", "[a2a][stream]") {
  Agent agent;
  auto stream = agent.connect();
  agent.run(stream->write(rpc_request(agent, "SendStreamingMessage", agent.params("hang"))));
  const std::string begun = agent.run(read_until(*stream, "TASK_STATE_WORKING"));
  const std::size_t at = begun.find("\"id\":\"") + 6;
  const std::string id = begun.substr(at, begun.find('"', at) - at);
  agent.rpc("CancelTask", agent.id_params(id));
  const std::string rest = agent.run(exchange_bytes(*stream, ""));
  CHECK_THAT(rest, Catch::Contains("TASK_STATE_CANCELED"));
  CHECK_THAT(rest, Catch::EndsWith("0\r\n\r\n"));
}

TEST_CASE("a quiet stream beats", "[a2a][stream]") {
  Agent agent;
  auto stream = agent.connect();
  agent.run(stream->write(rpc_request(agent, "SendStreamingMessage", agent.params("hang"))));
  CHECK_THAT(agent.run(read_until(*stream, "\n: \n")), Catch::Contains("TASK_STATE_WORKING"));
}

TEST_CASE("a task has so many subscribers and no more", "[a2a][stream]") {
  ServiceOptions options = Agent::card_options();
  options.subscribers_max = 2;
  Agent agent(options);
  const Json task = agent.send_now("hang");
  std::vector<std::unique_ptr<io::Stream>> streams;
  for (int n = 0; n < 2; ++n) {
    streams.push_back(agent.connect());
    agent.run(
        streams.back()->write(rpc_request(agent, "SubscribeToTask", agent.id_params(task["id"]))));
    agent.run(read_until(*streams.back(), "\"task\""));
  }
  CHECK(agent.rpc("SubscribeToTask", agent.id_params(task["id"]))["error"]["code"] == -32603);
}

TEST_CASE("the store's bytes of a long artifact grow by what is added, not by what is there",
          "[a2a][stream]") {
  Agent agent;
  agent.runner.step = Duration(0);
  const auto events = agent.rpc_reply("SendStreamingMessage", agent.params("stream 2000")).events();
  REQUIRE(events.size() == 2003);
  std::size_t largest = 0;
  for (const Json& event : events) largest = std::max(largest, event.dump().size());
  CHECK(largest < 600);
}

TEST_CASE("who subscribes to a task that waits hears of it when it goes on, and of its end",
          "[a2a][stream]") {
  Agent agent;
  for (const bool is_answered : {true, false}) {
    const std::string id = agent.send("input")["id"];
    const auto stream = agent.connect();
    std::string heard;
    Scope scope;
    scope.spawn([](io::Stream& from, std::string request, std::string& out) -> Task<void> {
      out = co_await exchange_bytes(from, std::move(request));
    }(*stream, rpc_request(agent, "SubscribeToTask", agent.id_params(id)), heard));
    agent.run(delay_task(seconds(1)));
    CHECK(scope.size() == 1);
    if (is_answered) {
      CHECK(agent.send("hi", id)["status"]["state"] == "TASK_STATE_COMPLETED");
    } else {
      CHECK(agent.rpc("CancelTask", agent.id_params(id))["result"]["id"] == id);
    }
    agent.world.loop().run_until([&] { return scope.size() == 0; });
    const auto events = parse_reply(heard).events();
    REQUIRE(events.size() >= 2);
    CHECK(events[0]["result"]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED");
    CHECK(events.back()["result"]["statusUpdate"]["status"]["state"] ==
          (is_answered ? "TASK_STATE_COMPLETED" : "TASK_STATE_CANCELED"));
    if (is_answered) {
      CHECK(events[1]["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING");
      CHECK(text_of(events) == "done: hi");
    }
  }
}

TEST_CASE("subscribers of a task that waits are bounded, and those who leave make room",
          "[a2a][stream]") {
  ServiceOptions options = Agent::card_options();
  options.subscribers_max = 2;
  Agent agent(options);
  TaskRequest named;
  named.id = agent.send("input")["id"];
  Call call;
  call.caller = "anonymous";
  auto one = agent.service->subscribe(call, named);
  REQUIRE(one);
  {
    const auto two = agent.service->subscribe(call, named);
    CHECK(two);
    CHECK(agent.service->subscribe(call, named).error().fault == Fault::exhausted);
  }
  CHECK(agent.service->subscribe(call, named));
  // They do not outlive the service.
  agent.service.reset();
  CHECK((*one)->queue().closed());
}

}  // namespace ambit::a2a
