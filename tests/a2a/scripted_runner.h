#pragma once

// A runner that does what the first word of a message's text says, and an agent that has it: a
// Service behind a Door behind a Server in a simulated world, and a client of a few lines.

#include "a2a/door.h"
#include "http/server.h"
#include "http/sse.h"
#include "run_task.h"
#include "sim/sim_world.h"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ambit::a2a {

using rpc::Json;

class ScriptedRunner final : public TaskRunner {
 public:
  int running = 0;
  int cancelled = 0;
  int chunks = 0;
  std::vector<Run> runs;
  Duration step = std::chrono::milliseconds(1);

  Task<Result<std::optional<Message>>> answer(Run run) override {
    std::optional<Message> message;
    if (word_of(run, 0) == "message") {
      message.emplace();
      message->parts.push_back(text_part("just this"));
    }
    if (word_of(run, 0) == "unwilling") co_return Err(Code::internal, "cannot answer");
    co_return message;
  }

  Task<Result<void>> run(Run run, RunEvents& events) override {
    runs.push_back(run);
    Running here(*this);
    const std::string word = word_of(run, 0);
    co_await ok(events.status(TaskState::working, std::nullopt));
    if (word == "stream") {
      co_await ok(stream(std::stoi(word_of(run, 1)), events));
    } else if (word == "input" || word == "auth") {
      const auto state = word == "auth" ? TaskState::auth_required : TaskState::input_required;
      co_await ok(events.status(state, said("which one?")));
      if (word == "auth") co_await delay(std::chrono::seconds(5));
      if (word == "auth") co_await ok(events.status(TaskState::working, std::nullopt));
    } else if (word == "hang") {
      co_await delay(std::chrono::hours(24));
    } else if (word == "slow") {
      co_await delay(std::chrono::seconds(5));
    } else if (word == "fail") {
      co_return Err(Code::unavailable, "the model is gone");
    } else if (word == "reject") {
      co_return Err(Code::denied, "not allowed by policy");
    } else if (word == "throw") {
      throw std::runtime_error("a secret of the process");
    } else if (word == "huge") {
      for (int n = 0; n < 100; ++n) {
        co_await ok(events.artifact(chunk(std::string(10'000, 'x')), true, false));
      }
    } else if (word == "late") {
      co_await ok(events.status(TaskState::completed, std::nullopt));
      co_await ok(events.status(TaskState::working, std::nullopt));
    } else {
      co_await ok(events.artifact(chunk("done: " + run.message.parts[0].text), false, true));
      co_await ok(events.status(TaskState::completed, said("bye")));
    }
    here.ended = true;
    co_return Result<void>();
  }

 private:
  struct Running {
    explicit Running(ScriptedRunner& script) : runner(script) { ++runner.running; }
    ~Running() {
      --runner.running;
      runner.cancelled += ended ? 0 : 1;
    }
    ScriptedRunner& runner;
    bool ended = false;
  };

  static std::string word_of(const Run& run, int index) {
    std::istringstream words(run.message.parts[0].text);
    std::string word;
    for (int n = 0; n <= index; ++n) words >> word;
    return word;
  }
  static Message said(const std::string& text) {
    Message message;
    message.parts.push_back(text_part(text));
    return message;
  }
  static Artifact chunk(std::string text) {
    Artifact artifact;
    artifact.id = "answer";
    artifact.parts.push_back(text_part(std::move(text)));
    return artifact;
  }
  Task<Result<void>> stream(int count, RunEvents& events) {
    for (int n = 0; n < count; ++n) {
      if (step.count() > 0) co_await delay(step);
      co_await ok(events.artifact(chunk(std::to_string(n) + " "), n > 0, n + 1 == count));
      ++chunks;
    }
    co_return Result<void>();
  }
};

struct Reply {
  int status = 0;
  std::string headers;
  std::string body;
  bool is_whole = false;  // the last chunk came
  [[nodiscard]] Json json() const { return Json::parse(body); }
  // Of an event stream.
  [[nodiscard]] std::vector<Json> events() const {
    http::SseParser parser;
    std::vector<Json> all;
    const auto parsed = parser.feed(body);
    for (const auto& event : parsed.value()) all.push_back(Json::parse(event.data));
    return all;
  }
};

inline Reply parse_reply(const std::string& bytes) {
  Reply reply;
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string::npos) return reply;
  reply.headers = bytes.substr(0, end + 2);
  reply.status = std::atoi(bytes.c_str() + 9);
  if (reply.headers.find("chunked") == std::string::npos) {
    reply.body = bytes.substr(end + 4);
    reply.is_whole = true;
    return reply;
  }
  for (std::size_t at = end + 4; at < bytes.size();) {
    const std::size_t size = std::strtoul(bytes.c_str() + at, nullptr, 16);
    reply.is_whole = size == 0;
    at = bytes.find("\r\n", at) + 2;
    reply.body += bytes.substr(at, size);
    at += size + 2;
  }
  return reply;
}

inline Task<std::string> exchange_bytes(io::Stream& stream, std::string sent) {
  auto written = co_await stream.write(std::move(sent));
  std::string all;
  while (true) {
    auto part = co_await stream.read(1 << 16);
    if (!part || part->empty()) co_return all;
    all += *part;
  }
}

struct Agent {
  sim::SimWorld world;
  ScriptedRunner runner;
  std::unique_ptr<MemoryTaskStore> store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;
  int messages = 0;

  static sim::Faults calm() {
    sim::Faults faults;
    faults.latency_max = std::chrono::milliseconds(1);
    return faults;
  }
  static ServiceOptions card_options() {
    ServiceOptions options;
    options.card.name = "clerk";
    options.card.description = "Answers.";
    options.card.version = "1.0.0";
    options.card.input_modes = {"text/*", "application/json"};
    options.card.interfaces = {{"http://localhost/", "JSONRPC", "1.0", ""},
                               {"http://localhost/", "HTTP+JSON", "1.0", ""},
                               {"http://localhost/", "JSONRPC", "0.3", ""}};
    Skill skill;
    skill.id = "answer";
    skill.name = "Answer";
    skill.description = "Answers a question.";
    skill.tags = {"text"};
    options.card.skills.push_back(skill);
    options.card.has_push_notifications = true;
    return options;
  }

  explicit Agent(ServiceOptions options = card_options(), StoreLimits limits = {},
                 DoorOptions door_options = {}, Authenticate authenticate = nullptr)
      : world(11, calm()) {
    store = std::make_unique<MemoryTaskStore>(limits);
    service = std::make_unique<Service>(world.world(), *store, runner, std::move(options));
    store->on_evicted([this](const StoredTask& task) { service->forget(task); });
    door = std::make_unique<Door>(*service, 1'790'000'000, door_options, std::move(authenticate));
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return door->handle(exchange);
             }).value();
  }

  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  std::unique_ptr<io::Stream> connect() {
    return run(world.network().connect(server->address())).value();
  }
  static std::string request_text(const std::string& method, const std::string& path,
                                  const std::string& body, const std::string& headers) {
    return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers +
           (body.empty() ? ""
                         : "Content-Type: application/json\r\nContent-Length: " +
                               std::to_string(body.size()) + "\r\n") +
           "\r\n" + body;
  }
  Reply http(const std::string& method, const std::string& path, const std::string& body = "",
             const std::string& headers = "") {
    const auto stream = connect();
    return parse_reply(run(exchange_bytes(*stream, request_text(method, path, body, headers))));
  }
  static std::string rpc_text(const std::string& method, const Json& params) {
    return Json({{"jsonrpc", "2.0"}, {"id", 7}, {"method", method}, {"params", params}}).dump();
  }
  Reply rpc_reply(const std::string& method, const Json& params,
                  const std::string& headers = "A2A-Version: 1.0\r\n") {
    return http("POST", "/", rpc_text(method, params), headers);
  }
  Json rpc(const std::string& method, const Json& params,
           const std::string& headers = "A2A-Version: 1.0\r\n") {
    return rpc_reply(method, params, headers).json();
  }
  // A message of 1.0 with an id of its own.
  Json message(const std::string& text, const std::string& task = "") {
    Json message = {{"messageId", "m" + std::to_string(++messages)},
                    {"role", "ROLE_USER"},
                    {"parts", Json::array({Json({{"text", text}})})}};
    if (!task.empty()) message["taskId"] = task;
    return message;
  }
  Json params(const std::string& text, const std::string& task = "") {
    Json json = Json::object();
    json["message"] = message(text, task);
    return json;
  }
  Json params_now(const std::string& text) {
    Json json = params(text);
    json["configuration"]["returnImmediately"] = true;
    return json;
  }
  Json id_params(const std::string& id) { return Json({{"id", id}}); }
  // Sends and gives the task.
  Json send(const std::string& text, const std::string& task = "") {
    return rpc("SendMessage", params(text, task))["result"]["task"];
  }
  Json send_now(const std::string& text) {
    return rpc("SendMessage", params_now(text))["result"]["task"];
  }
};

}  // namespace ambit::a2a
