#pragma once

// What the cases share: a toolbox over a scripted server on a loop whose clock jumps, and a gateway
// over scripted servers.

#include "../../mcp/bench.h"
#include "../../mcp/served.h"
#include "hostile.h"
#include "io/uv_world.h"
#include "mcp/gateway.h"

#include <memory>
#include <string>
#include <utility>

namespace ambit::mcp {

using Life = ScriptedServer::Life;
using Step = ScriptedServer::Step;

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Answers with this line, the request's id in the place of ID.
inline Step line_of(std::string text) {
  return [text = std::move(text)](Life& life, Json message) {
    std::string line = text;
    const std::size_t at = line.find("ID");
    if (at != std::string::npos) line.replace(at, 2, rpc::compact(message.value("id", Json())));
    return life.say_raw(line + "\n");
  };
}
inline Step result_of(const std::string& json) {
  return line_of(R"({"jsonrpc":"2.0","id":ID,"result":)" + json + "}");
}
inline std::string text_block(const std::string& text) {
  return R"({"content":[{"type":"text","text":)" + rpc::compact(Json(text)) + "}]}";
}

// A call of the toolbox's echo, and how it must end.
inline Seen ends(Bench& bench, agents::OutcomeKind kind, const std::string& detail) {
  const agents::Outcome outcome = bench.call();
  const bool bounded = outcome.content.size() <= (64 << 10) && outcome.detail.size() <= 3 * 4096;
  return {outcome.kind == kind && has(outcome.detail, detail) && bounded,
          std::string(agents::to_string(outcome.kind)) + ": " + outcome.detail};
}
inline Seen ends(const std::string& method, Step step, agents::OutcomeKind kind,
                 const std::string& detail) {
  Bench bench;
  bench.server.on[method] = std::move(step);
  return ends(bench, kind, detail);
}

// A client, the gateway, and scripted servers behind it.
struct Yard {
  io::UvWorld world;
  ScriptedServer desk;
  ScriptedServer shop;
  std::unique_ptr<Gateway> gateway;
  std::vector<std::string> asked;  // what reached the client's person
  Server front{world.world().clock, world.world().entropy, options()};
  Served served{front};
  std::unique_ptr<Client> client;

  ServerOptions options() {
    ServerOptions made;
    made.before_list = [this]() { return gateway->refresh(); };
    return made;
  }
  Yard() {
    GatewayOptions made;
    made.call.silence = std::chrono::seconds(2);
    gateway = std::make_unique<Gateway>(front, made);
    gateway->add("desk", desk.connect());
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  Client& come() {
    if (client) return *client;
    ClientOptions made;
    made.era = EraChoice::legacy;
    made.capabilities = Json::parse(R"({"elicitation":{},"sampling":{},"roots":{}})");
    made.on_input = [this](std::string method, Value) {
      asked.push_back(method);
      return [](std::string what) -> Task<Result<Value>> {
        if (what == "elicitation/create") {
          co_return Value(Json::parse(R"({"action":"accept","content":{"name":"Ann"}})"));
        }
        co_return Value(Json::parse(
            R"({"role":"assistant","model":"m","content":{"type":"text","text":"yes"}})"));
      }(std::move(method));
    };
    client = std::make_unique<Client>(served.connect(), made);
    const auto connected = run(client->connect());
    if (!connected) std::abort();
    return *client;
  }
  // The names that the client gets to see, or why there is no list.
  std::string names() {
    const auto listed = run(come().list_tools());
    if (!listed) return "error: " + listed.error().message;
    std::string all;
    for (const Tool& tool : listed->tools) all += tool.name + " ";
    return all;
  }
  // "name: why" of all that is withheld.
  [[nodiscard]] std::string withheld() const {
    std::string all;
    for (const Quarantined& one : gateway->quarantined()) all += one.name + ": " + one.why + "; ";
    return all;
  }
  // What a client is answered that calls the tool.
  std::string call(const std::string& tool = "mcp__desk__echo") {
    if (gateway->pins().empty()) names();  // a gateway knows its tools once it was asked for them
    const auto answer = run(come().call_tool(tool, Json{{"text", "hi"}}));
    if (!answer) return "error: " + answer.error().message;
    if (answer->fault) return "fault: " + answer->fault->message;
    std::string said = answer->result.is_error ? "isError: " : "";
    for (const Content& content : answer->result.content) said += content.text;
    return said;
  }
};

}  // namespace ambit::mcp
