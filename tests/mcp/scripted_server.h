#pragma once

// A server that is a script: it answers like an honest one, except where a test puts something else
// in the place of a method. It lives in memory, on the test's loop; each connect() is a new life of
// it.

#include "async/scope.h"
#include "mcp/toolbox.h"
#include "support/memory_stream.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {

using rpc::Json;

class ScriptedServer {
 public:
  // One life: the three streams, and what the server does with them.
  class Life {
   public:
    explicit Life(ScriptedServer& server);
    // A message, a raw line, raw bytes; waits while the client does not read.
    Task<void> say(Json message);
    Task<void> say_raw(std::string bytes);
    Task<void> result(Json request, Json result);
    Task<void> complain(std::string bytes);  // on stderr
    void die();
    // Set by tests that count or remember something between messages of one life.
    int count = 0;

   private:
    friend class ScriptedServer;
    Task<void> serve();
    Task<void> answer(Json message);

    using Ends = std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>>;

    ScriptedServer& server_;
    Ends input_ = MemoryStream::pair();  // the client's end, the server's end
    Ends output_ = MemoryStream::pair();
    Ends errors_ = MemoryStream::pair();
    StdioTransport reader_;
    Scope scope_;
  };

  using Step = std::function<Task<void>(Life& life, Json message)>;

  Era era = Era::legacy;           // what the honest parts speak
  std::map<std::string, Step> on;  // instead of the honest answer; "" stands for every method
  std::function<void(Life&)> at_start;
  std::vector<Json> tools = {default_tool("echo"), default_tool("add")};
  std::vector<Json> heard;  // everything the client has said, in all lives
  int lives = 0;
  bool deaf_after_first_call = false;  // does not read any more once a tool was called

  static Json default_tool(const std::string& name);
  Connect connect();
  [[nodiscard]] int heard_of(const std::string& method) const;

 private:
  Json honest_result(const Json& message) const;
};

inline ScriptedServer::Life::Life(ScriptedServer& server)
    : server_(server), reader_(*output_.second, *input_.second) {
  scope_.spawn(serve());
}

inline Task<void> ScriptedServer::Life::say_raw(std::string bytes) {
  auto sent = co_await output_.second->write(std::move(bytes));
  if (!sent) co_return;
}
inline Task<void> ScriptedServer::Life::say(Json message) {
  std::string line = rpc::compact(message) + "\n";
  co_await say_raw(std::move(line));
}
inline Task<void> ScriptedServer::Life::result(Json request, Json result) {
  Json reply = {{"jsonrpc", "2.0"}, {"id", request["id"]}, {"result", std::move(result)}};
  co_await say(std::move(reply));
}
inline Task<void> ScriptedServer::Life::complain(std::string bytes) {
  auto sent = co_await errors_.second->write(std::move(bytes));
  if (!sent) co_return;
}
inline void ScriptedServer::Life::die() {
  output_.second->close();
  input_.second->close();
  errors_.second->close();
}

inline Task<void> ScriptedServer::Life::serve() {
  while (true) {
    auto line = co_await reader_.receive();
    if (!line) co_return;
    Json message = Json::parse(*line);
    server_.heard.push_back(message);
    const bool called = message.value("method", "") == "tools/call";
    scope_.spawn(answer(std::move(message)));
    if (called && server_.deaf_after_first_call) co_return;
  }
}

inline Task<void> ScriptedServer::Life::answer(Json message) {
  const std::string method = message.value("method", "");
  auto step = server_.on.find(method);
  if (step == server_.on.end()) step = server_.on.find("");
  if (step != server_.on.end()) {
    co_await step->second(*this, std::move(message));
    co_return;
  }
  if (!message.contains("id") || method.empty()) co_return;
  Json reply = {{"jsonrpc", "2.0"}, {"id", message["id"]}};
  Json result = server_.honest_result(message);
  if (result.is_null()) {
    reply["error"] = {{"code", -32601}, {"message", "Method not found"}};
  } else {
    reply["result"] = std::move(result);
  }
  co_await say(std::move(reply));
}

inline Json ScriptedServer::default_tool(const std::string& name) {
  return {{"name", name},
          {"description", "Say " + name},
          {"inputSchema",
           {{"type", "object"},
            {"properties", {{"text", {{"type", "string"}}}}},
            {"required", Json::array({"text"})}}}};
}

inline Json ScriptedServer::honest_result(const Json& message) const {
  const std::string method = message["method"].get<std::string>();
  const bool modern = era == Era::modern;
  Json result;
  if (method == "server/discover" && modern) {
    result = {{"supportedVersions", Json::array({"2026-07-28"})}, {"capabilities", Json::object()}};
  } else if (method == "initialize" && !modern) {
    return {{"protocolVersion", "2025-11-25"},
            {"capabilities", {{"tools", Json::object()}}},
            {"serverInfo", {{"name", "script"}, {"version", "1"}}}};
  } else if (method == "tools/list") {
    result = {{"tools", tools}};
  } else if (method == "tools/call") {
    const Json block = {{"type", "text"},
                        {"text", message["params"]["arguments"].value("text", "")}};
    result = {{"content", Json::array({block})}};
  } else {
    return {};
  }
  if (modern) {
    result["resultType"] = "complete";
    if (method != "tools/call") {
      result["ttlMs"] = 1000;
      result["cacheScope"] = "private";
    }
  }
  return result;
}

inline Connect ScriptedServer::connect() {
  return [this]() -> Task<Result<Connection>> {
    return [](ScriptedServer& server) -> Task<Result<Connection>> {
      ++server.lives;
      auto life = std::make_shared<Life>(server);
      Connection connection;
      connection.input = life->input_.first.get();
      connection.output = life->output_.first.get();
      connection.errors = life->errors_.first.get();
      if (server.at_start) server.at_start(*life);
      connection.owner = std::move(life);
      co_return connection;
    }(*this);
  };
}

inline int ScriptedServer::heard_of(const std::string& method) const {
  int count = 0;
  for (const Json& message : heard) count += message.value("method", "") == method ? 1 : 0;
  return count;
}

}  // namespace ambit::mcp
