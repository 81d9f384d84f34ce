// Servers that break the protocol, or never let it end.

#include "desk.h"

#include <utility>

namespace ambit::mcp {
namespace {

using agents::OutcomeKind;

Step flood_of(std::string bytes, int times) {
  return [bytes = std::move(bytes), times](Life& life, Json) {
    return [](Life& to, std::string what, int count) -> Task<void> {
      for (int i = 0; i < count; ++i) {
        std::string copy = what;
        co_await to.say_raw(std::move(copy));
      }
    }(life, bytes, times);
  };
}
Task<void> nothing(Life& /*life*/, Json /*message*/) {
  co_return;
}
Task<void> die(Life& life, Json /*message*/) {
  life.die();
  co_return;
}

Seen second_answer() {
  Bench bench;
  bench.server.on["tools/call"] = [](Life& life, Json message) -> Task<void> {
    Json copy = message;
    Json first = Json::parse(R"({"content":[{"type":"text","text":"first"}]})");
    Json second = Json::parse(R"({"content":[{"type":"text","text":"second"}]})");
    co_await life.result(std::move(message), std::move(first));
    co_await life.result(std::move(copy), std::move(second));
  };
  const auto outcome = bench.call();
  const auto again = bench.call();
  return {outcome.content == "first" && again.content == "first", outcome.content + again.content};
}
Seen other_id() {
  return ends("tools/call", line_of(R"({"jsonrpc":"2.0","id":4711,"result":{"content":[]}})"),
              OutcomeKind::timeout, "no answer");
}
Seen guessed_ids() {
  Bench bench;
  // Answers to what has not been asked yet, then silence.
  bench.server.on["tools/call"] = [](Life& life, Json message) -> Task<void> {
    const std::int64_t id = message["id"].get<std::int64_t>();
    for (std::int64_t next = id + 1; next < id + 20; ++next) {
      Json made = {
          {"jsonrpc", "2.0"},
          {"id", next},
          {"result", {{"content", Json::array({Json{{"type", "text"}, {"text", "stolen"}}})}}}};
      co_await life.say(std::move(made));
    }
  };
  const auto first = bench.call();
  const auto second = bench.call();
  return {
      first.is_error() && second.is_error() && second.content.find("stolen") == std::string::npos,
      first.detail + " / " + second.detail};
}
Seen endless_progress() {
  return ends(
      "tools/call",
      [](Life& life, Json message) -> Task<void> {
        Json params = {{"progressToken", message["params"]["_meta"]["progressToken"]}};
        for (int i = 0; i < 100'000; ++i) {
          co_await delay(std::chrono::seconds(1));
          params["progress"] = i;
          Json note = {
              {"jsonrpc", "2.0"}, {"method", "notifications/progress"}, {"params", params}};
          co_await life.say(std::move(note));
        }
      },
      OutcomeKind::timeout, "after 600000 ms");
}
Seen silence() {
  return ends("tools/call", nothing, OutcomeKind::timeout, "after 60000 ms");
}
Seen endless_notes() {
  Bench bench;
  bench.options.client.peer.unasked_max = 1000;
  bench.server.on["tools/call"] = flood_of(
      R"({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}})"
      "\n",
      100'000);
  return ends(bench, OutcomeKind::protocol_error, "messages without one reply");
}
Seen endless_requests() {
  Bench bench;
  bench.server.deaf_after_first_call = true;
  bench.server.on["tools/call"] = flood_of(R"({"jsonrpc":"2.0","id":"q","method":"ping"})"
                                           "\n",
                                           100'000);
  return ends(bench, OutcomeKind::protocol_error, "does not read the replies");
}
Seen garbage() {
  return ends("tools/call", flood_of("not JSON\n", 1000), OutcomeKind::protocol_error,
              "does not speak JSON-RPC");
}
Seen same_cursor() {
  return ends("tools/list", result_of(R"({"tools":[],"nextCursor":"a"})"),
              OutcomeKind::protocol_error, "the same cursor twice");
}
Seen endless_pages() {
  return ends(
      "tools/list",
      [](Life& life, Json message) -> Task<void> {
        Json result = {{"tools", Json::array()}, {"nextCursor", std::to_string(life.count++)}};
        co_await life.result(std::move(message), std::move(result));
      },
      OutcomeKind::protocol_error, "more than 64 pages");
}
Seen endless_tools() {
  return ends(
      "tools/list",
      [](Life& life, Json message) -> Task<void> {
        Json result = {{"tools", Json::array()}, {"nextCursor", std::to_string(life.count)}};
        for (int i = 0; i < 1000; ++i) {
          result["tools"].push_back(
              ScriptedServer::default_tool("t" + std::to_string(life.count++)));
        }
        co_await life.result(std::move(message), std::move(result));
      },
      OutcomeKind::protocol_error, "more than 4096 tools");
}
Seen own_version() {
  return ends(
      "initialize",
      result_of(
          R"({"protocolVersion":"9","capabilities":{},"serverInfo":{"name":"x","version":"1"}})"),
      OutcomeKind::protocol_error, "which we do not know");
}
Seen wrong_discovery() {
  return ends("server/discover", result_of(R"({"supportedVersions":[7]})"),
              OutcomeKind::protocol_error, "$.result.supportedVersions[0]");
}
Seen modern_that_asks() {
  Bench bench;
  bench.server.era = Era::modern;
  bool asked = false;
  bench.options.client.on_input = [&asked](std::string, Value) {
    asked = true;
    return []() -> Task<Result<Value>> { co_return Value(Json::object()); }();
  };
  bench.server.on["tools/call"] = [](Life& life, Json message) -> Task<void> {
    Json question = {{"jsonrpc", "2.0"}, {"id", "q"}, {"method", "sampling/createMessage"}};
    co_await life.say(std::move(question));
    co_await delay(std::chrono::seconds(1));
    Json result = {{"content", Json::array()}, {"resultType", "complete"}};
    co_await life.result(std::move(message), std::move(result));
  };
  const auto outcome = bench.call();
  std::string answer;
  for (const Json& message : bench.server.heard) {
    if (message.value("id", Json()) == "q" && message.contains("error")) {
      answer = message["error"].value("message", "");
    }
  }
  return {!asked && !outcome.is_error() && has(answer, "asks by its answer"), answer};
}
Seen asks_for_what_nobody_offers() {
  Bench bench;
  bench.server.era = Era::modern;
  bench.server.on["tools/call"] =
      result_of(R"({"resultType":"input_required","requestState":"s","inputRequests":{}})");
  return ends(bench, OutcomeKind::protocol_error, "input_required");
}
Seen asks_for_ever() {
  Bench bench;
  bench.server.era = Era::modern;
  bench.options.client.capabilities = Json::parse(R"({"elicitation":{}})");
  bench.options.client.on_input = [](std::string, Value) {
    return
        []() -> Task<Result<Value>> { co_return Value(Json::parse(R"({"action":"decline"})")); }();
  };
  bench.server.on["tools/call"] = result_of(
      R"({"resultType":"input_required","requestState":"s","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object","properties":{}}}}}})");
  return ends(bench, OutcomeKind::protocol_error, "asks more than 8 times");
}
Seen endless_task() {
  Bench bench;
  bench.server.era = Era::modern;
  bench.server.on["tools/call"] = result_of(
      R"({"resultType":"task","taskId":"t","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":null,"pollIntervalMs":0})");
  bench.server.on["tasks/get"] = result_of(
      R"({"resultType":"complete","taskId":"t","status":"working","statusMessage":"soon","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":null,"pollIntervalMs":0})");
  Seen seen = ends(bench, OutcomeKind::timeout, "after 600000 ms");
  const int polls = bench.server.heard_of("tasks/get");
  seen.good = seen.good && polls <= 30'000;
  seen.what += "; asked " + std::to_string(polls) + " times";
  return seen;
}
Seen dies_each_time() {
  Bench bench;
  bench.server.on["tools/call"] = die;
  std::string last;
  for (int i = 0; i < 30; ++i) last = bench.call().detail;
  const int starts = bench.box().starts();
  return {has(last, "is not started again for now") && starts <= 16,
          std::to_string(starts) + " starts; " + last};
}
Seen dies_at_hello() {
  Bench bench;
  bench.server.at_start = [](Life& life) { life.die(); };
  const auto outcome = bench.call();
  return {outcome.kind == OutcomeKind::protocol_error && bench.box().starts() <= 4,
          std::to_string(bench.box().starts()) + " starts; " + outcome.detail};
}

}  // namespace

Chapter protocol_cases() {
  return {
      "How it speaks",
      {{"answers one request twice", "the first answer counts", second_answer},
       {"answers a request that nobody made", "no answer: a timeout", other_id},
       {"answers requests before they are made, with ids that it guesses",
        "dropped, and later calls are not answered by them", guessed_ids},
       {"reports progress for ever", "a hard end after 10 minutes", endless_progress},
       {"is silent", "a timeout after 60 s", silence},
       {"logs without end and never answers", "ended after a bounded number of messages",
        endless_notes},
       {"asks without end and never reads the answers", "ended at a bounded queue",
        endless_requests},
       {"prints what is no JSON-RPC, without end", "ended after 32 messages", garbage},
       {"gives the same cursor for ever", "a protocol error at the second time", same_cursor},
       {"gives a new cursor for ever", "a protocol error after 64 pages", endless_pages},
       {"lists tools for ever", "a protocol error after 4096 tools", endless_tools},
       {"speaks a version of its own", "refused by name", own_version},
       {"says nonsense of the versions that it knows", "refused by its path", wrong_discovery},
       {"speaks 2026-07-28 and sends requests all the same",
        "refused; nobody is asked, and the call goes on", modern_that_asks},
       {"asks for input that nobody has offered", "a protocol error", asks_for_what_nobody_offers},
       {"asks for more input after each answer, for ever", "ended after 8 rounds", asks_for_ever},
       {"makes a task of a call, to be asked for every 0 ms, that never ends",
        "asked 50 times a second at most, ended after 10 minutes", endless_task},
       {"dies in each call", "started again with growing pauses, given up after 8 deaths",
        dies_each_time},
       {"dies as soon as it is started", "three starts, then a protocol error", dies_at_hello}}};
}

}  // namespace ambit::mcp
