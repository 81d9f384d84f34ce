// Servers that are broken, hostile or both. Whatever they do, a call ends with a typed outcome, and
// the next call to an honest server works. The clock jumps, so that a hang is seen as one at once.

#include "bench.h"
#include "mcp/toolbox.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace ambit::mcp {
namespace {

using agents::OutcomeKind;
using Life = ScriptedServer::Life;
using Step = ScriptedServer::Step;

struct Case {
  std::string name;
  OutcomeKind expected;
  std::string detail;  // part of what a person is told
  std::function<void(Bench&)> set;
};

// A case that replaces the answer to one method.
Case on(std::string name, OutcomeKind expected, std::string detail, std::string method, Step step) {
  return {std::move(name), expected, std::move(detail),
          [method = std::move(method), step = std::move(step)](Bench& bench) {
            bench.server.on[method] = step;
          }};
}

// The reply of a case: the text with the request's id in the place of "ID".
Step lines(std::string text) {
  return [text = std::move(text)](Life& life, Json message) {
    std::string line = text;
    const std::string id = rpc::compact(message.value("id", Json()));
    for (std::size_t at = line.find("ID"); at != std::string::npos; at = line.find("ID"))
      line.replace(at, 2, id);
    return life.say_raw(line + "\n");
  };
}

Step result(const std::string& json) {
  return lines(R"({"jsonrpc":"2.0","id":ID,"result":)" + json + "}");
}

Task<void> nothing(Life& /*life*/, Json /*message*/) {
  co_return;
}
Task<void> die(Life& life, Json /*message*/) {
  life.die();
  co_return;
}
// More than anybody should send; ends when the client closes.
Task<void> flood(Life& life, std::string bytes, int times) {
  for (int i = 0; i < times; ++i) {
    std::string copy = bytes;
    co_await life.say_raw(std::move(copy));
  }
}
Step flood_of(std::string bytes, int times) {
  return [bytes = std::move(bytes), times](Life& life, Json) { return flood(life, bytes, times); };
}
Task<void> honest_after_noise(Life& life, Json message) {
  co_await life.complain(std::string(1 << 20, 'e'));
  std::string noise = "starting up...\n\n  \nDEBUG: {not json}\r\n";
  co_await life.say_raw(std::move(noise));
  Json result = {{"content", Json::array()}};
  Json copy = message;
  Json same = result;
  co_await life.result(std::move(message), std::move(result));
  co_await life.result(std::move(copy), std::move(same));
}
Task<void> broken_up(Life& life, Json message) {
  const std::string text = R"({"jsonrpc":"2.0","id":)" + rpc::compact(message["id"]) +
                           R"(,"result":{"content":[]}})" + "\r\n";
  for (const char byte : text) {
    std::string one(1, byte);
    co_await life.say_raw(std::move(one));
  }
}
Task<void> endless_progress(Life& life, Json message) {
  Json params = {{"progressToken", message["params"]["_meta"]["progressToken"]}, {"progress", 0}};
  for (int i = 0; i < 100'000; ++i) {
    co_await delay(std::chrono::seconds(1));
    params["progress"] = i;
    Json note = {{"jsonrpc", "2.0"}, {"method", "notifications/progress"}, {"params", params}};
    co_await life.say(std::move(note));
  }
}
Task<void> endless_pages(Life& life, Json message) {
  Json result = {{"tools", Json::array()}, {"nextCursor", std::to_string(life.count++)}};
  co_await life.result(std::move(message), std::move(result));
}
Task<void> too_many_tools(Life& life, Json message) {
  Json result = {{"tools", Json::array()}, {"nextCursor", std::to_string(life.count)}};
  for (int i = 0; i < 1000; ++i) {
    result["tools"].push_back(ScriptedServer::default_tool("t" + std::to_string(life.count++)));
  }
  co_await life.result(std::move(message), std::move(result));
}

std::vector<Case> cases() {
  constexpr auto protocol = OutcomeKind::protocol_error;
  constexpr auto timeout = OutcomeKind::timeout;
  const char* call = "tools/call";
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  const std::string note =
      R"({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}})"
      "\n";
  const std::string ask = R"({"jsonrpc":"2.0","id":"q","method":"ping"})"
                          "\n";
  std::vector<Case> all = {
      {"dies at once", protocol, "ended its output",
       [](Bench& b) { b.server.at_start = [](Life& life) { life.die(); }; }},
      on("dies at initialize", protocol, "ended its output", "initialize", die),
      on("dies in a call", protocol, "ended its output", call, die),
      on("never answers anything", timeout, "no answer", "", nothing),
      on("never answers a call", timeout, "no answer from the server after 60000 ms", call,
         nothing),
      on("never lists", timeout, "tools/list", "tools/list", nothing),
      on("prints noise and answers twice", OutcomeKind::ok, "", call, honest_after_noise),
      on("answers byte by byte", OutcomeKind::ok, "", call, broken_up),
      on("prints garbage without end", protocol, "does not speak JSON-RPC", call,
         flood_of("hello\n", 100)),
      on("sends a line of 100 MB", protocol, "a line of more than", call,
         flood_of(std::string(1 << 20, 'x'), 100)),
      on("answers another request", timeout, "no answer", call,
         lines(R"({"jsonrpc":"2.0","id":4711,"result":{}})")),
      on("answers with its own kind of id", timeout, "no answer", call,
         lines(R"({"jsonrpc":"2.0","id":"ID","result":{}})")),
      on("answers with result and error", timeout, "no answer", call,
         lines(R"({"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"m"}})")),
      on("answers in JSON-RPC 1.0", timeout, "no answer", call,
         lines(R"({"id":ID,"result":{},"error":null})")),
      on("answers in a batch", timeout, "no answer", call,
         lines(R"([{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}])")),
      on("answers in no UTF-8", timeout, "no answer", call,
         lines("{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":\"\xff\"}")),
      on("nests without end", timeout, "no answer", call, result(deep)),
      on("gives a number for a result", protocol, "$.result: must be an object", call, result("7")),
      on("gives no content", protocol, "$.result.content: is missing", call, result("{}")),
      on("gives content that is no list", protocol, "$.result.content: must be an array", call,
         result(R"({"content":"x"})")),
      on("gives a block of its own kind", protocol, "$.result.content[1].type", call,
         result(R"({"content":[{"type":"text","text":""},{"type":"html"}]})")),
      on("gives a text that is none", protocol, "$.result.content[0].text: must be a string", call,
         result(R"({"content":[{"type":"text","text":7}]})")),
      on("gives isError as text", protocol, "$.result.isError: must be true or false", call,
         result(R"({"content":[],"isError":"no"})")),
      on("asks for input that was not offered", protocol, "input_required", call,
         result(R"({"resultType":"input_required","requestState":"s"})")),
      on("gives a result of an unknown type", protocol, "surprise", call,
         result(R"({"resultType":"surprise"})")),
      on("says that the call is wrong", OutcomeKind::tool_error, "JSON-RPC error -32602", call,
         lines(R"({"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no such tool"}})")),
      on("says that the tool failed", OutcomeKind::tool_error, "", call,
         result(R"({"content":[{"type":"text","text":"disk full"}],"isError":true})")),
      on("gives a megabyte", OutcomeKind::output_limit, "cut to 65536 bytes", call,
         result(R"({"content":[{"type":"text","text":")" + std::string(1 << 20, 'y') + R"("}]})")),
      on("says that it goes on for ever", timeout, "no answer from the server after 600000 ms",
         call, endless_progress),
      on("gives the same cursor for ever", protocol, "the same cursor twice", "tools/list",
         result(R"({"tools":[],"nextCursor":"a"})")),
      on("gives pages for ever", protocol, "more than 64 pages", "tools/list", endless_pages),
      on("lists tools for ever", protocol, "more than 4096 tools", "tools/list", too_many_tools),
      on("lists nothing at all", protocol, "$.result.tools: is missing", "tools/list",
         result("{}")),
      on("refuses to list", protocol, "tools/list", "tools/list",
         lines(R"({"jsonrpc":"2.0","id":ID,"error":{"code":-32603,"message":"broken"}})")),
      on("greets with nonsense", protocol, "$.result.protocolVersion: is missing", "initialize",
         result("{}")),
      on("speaks a version of its own", protocol, "which we do not know", "initialize",
         result(
             R"({"protocolVersion":"9","capabilities":{},"serverInfo":{"name":"x","version":"1"}})")),
      on("discovers nonsense", protocol, "$.result.supportedVersions[0]", "server/discover",
         result(R"({"supportedVersions":[7]})")),
  };
  Case notes = on("talks without end and never answers", protocol, "messages without one reply",
                  call, flood_of(note, 100'000));
  notes.set = [set = notes.set](Bench& bench) {
    set(bench);
    bench.options.client.peer.unasked_max = 1000;
  };
  all.push_back(notes);
  Case asks = on("asks without reading the answers", protocol, "does not read the replies", call,
                 flood_of(ask, 100'000));
  asks.set = [set = asks.set](Bench& bench) {
    set(bench);
    bench.server.deaf_after_first_call = true;
  };
  all.push_back(asks);
  return all;
}

}  // namespace

TEST_CASE("whatever a server does, the call ends with a typed outcome", "[mcp]") {
  for (const Case& test : cases()) {
    DYNAMIC_SECTION("a server that " << test.name) {
      Bench bench;
      test.set(bench);
      const auto outcome = bench.call();
      INFO(outcome.detail);
      CHECK(agents::to_string(outcome.kind) == agents::to_string(test.expected));
      CHECK(outcome.detail.find(test.detail) != std::string::npos);
      if (outcome.is_error()) CHECK(outcome.content.rfind("error: ", 0) == 0);
      CHECK(outcome.content.size() <= 65536);
    }
  }
}

TEST_CASE("a tool without its structured content, or with a wrong one, is a protocol error",
          "[mcp]") {
  Bench bench;
  bench.server.tools[0]["outputSchema"] = {{"type", "object"}, {"required", Json::array({"n"})}};
  CHECK(bench.call().kind == OutcomeKind::protocol_error);
  bench.server.on["tools/call"] = result(R"({"content":[],"structuredContent":{"m":1}})");
  CHECK(bench.call().detail.find("$.n: is missing") != std::string::npos);
  bench.server.on["tools/call"] = result(R"({"content":[],"structuredContent":{"n":1}})");
  CHECK(bench.call().content == R"({"n":1})");
}

TEST_CASE("arguments of every wrong kind are refused before anything is sent", "[mcp]") {
  Bench bench;
  for (const char* arguments : {"{", "7", "[]", "null", R"({"text":7})", "{}", "\"\xff\""}) {
    CHECK(bench.call("mcp__desk__echo", arguments).kind == OutcomeKind::bad_arguments);
  }
  CHECK(bench.call("mcp__desk__nothing", "{}").kind == OutcomeKind::bad_arguments);
  CHECK(bench.call("mcp__desk__echo", std::string(3000, '[')).kind == OutcomeKind::bad_arguments);
  CHECK(bench.server.heard_of("tools/call") == 0);
}

}  // namespace ambit::mcp
