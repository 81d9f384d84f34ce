// Our agent and the official SDK from npm, as real processes, both ways: its client against our
// server, our client against its server, on every binding and version. Each check prints a line
// ("ok ours->sdk GRPC 0.3 cancel"), which `./check conformance a2a` counts.

#include "a2a/card_signature.h"
#include "a2a/client.h"
#include "a2a/directory.h"
#include "a2a/push.h"
#include "async/race.h"
#include "http/curl_client.h"
#include "interop_peer.h"
#include "io/uv_world.h"
#include "scripted_runner.h"
#ifdef AMBIT_GRPC
#include "grpc_door/grpc_client.h"
#include "grpc_door/grpc_door.h"
#endif

#include <catch2/catch.hpp>

#include <cstdio>

namespace ambit::a2a {
namespace {

// A web hook: keeps the states that it is told of.
struct Hook {
  std::vector<std::string> states;
  std::vector<std::string> tokens;
  std::unique_ptr<http::Server> server;

  explicit Hook(io::UvWorld& world) {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return hear(exchange);
             }).value();
  }
  Task<void> hear(http::Exchange& exchange) {
    auto body = co_await exchange.read_all();
    tokens.emplace_back(exchange.request().headers.find("X-A2A-Notification-Token").value_or(""));
    const Json json = Json::parse(body.value_or("{}"), nullptr, false);
    // A task, or an update, of either version.
    const Json* at = &json;
    for (const char* key : {"task", "statusUpdate"}) {
      if (json.is_object() && json.contains(key)) at = &json[key];
    }
    if (at->is_object() && at->contains("status")) states.push_back((*at)["status"]["state"]);
    const http::Headers headers;
    co_await exchange.respond(200, headers, "");
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address() + "/hook"; }
  [[nodiscard]] bool has_completed() const {
    return !states.empty() &&
           (states.back() == "TASK_STATE_COMPLETED" || states.back() == "completed");
  }
};

struct OurAgent {
  io::UvWorld world;
  http::CurlClient http{world.watcher()};
  ScriptedRunner runner;
  MemoryTaskStore store;
  jose::Key key = jose::Key::make(jose::Algorithm::es256, "our-key").value();
  std::unique_ptr<PushSender> push;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;
#ifdef AMBIT_GRPC
  std::unique_ptr<GrpcDoor> grpc;
#endif

  OurAgent() {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return door->handle(exchange);
             }).value();
    ServiceOptions options = Agent::card_options();
    options.card.interfaces.clear();
    for (const char* version : {"1.0", "0.3"}) {
      options.card.interfaces.push_back({url() + "/", "JSONRPC", version, ""});
      options.card.interfaces.push_back({url() + "/", "HTTP+JSON", version, ""});
    }
#ifdef AMBIT_GRPC
    grpc = std::move(*GrpcDoor::listen(world.world(), {},
                                       [this](std::string& /*tenant*/) { return service.get(); }));
    for (const char* version : {"1.0", "0.3"}) {
      options.card.interfaces.push_back({grpc->address(), "GRPC", version, ""});
    }
#endif
    PushOptions push_options;
    push_options.takes_any_url = true;
    push = std::make_unique<PushSender>(http, push_options);
    options.push = push.get();
    service = std::make_unique<Service>(world.world(), store, runner, std::move(options));
    DoorOptions door_options;
    door_options.keys = {key};
    door_options.jwks_url = url() + "/.well-known/jwks.json";
    door = std::make_unique<Door>(*service, 0, std::move(door_options));
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

// Our client against one interface of the SDK's server.
class Visit {
 public:
  Visit(io::UvWorld& world, RemoteAgent& agent, const Interface& interface)
      : world_(world),
        agent_(agent),
        is_1_0_(interface.protocol_version == "1.0"),
        is_grpc_(interface.binding == "GRPC"),
        name_(interface.binding + " " + interface.protocol_version) {}

  void everything() {
    messages();
    streams();
    cancels();
    errors();
    pushes();
    if (is_1_0_) pages();
  }

 private:
  template <class T>
  T run(Task<T> task) {
    return run_task(world_.loop(), std::move(task));
  }
  std::string id() { return name_ + std::to_string(++number_); }
  template <class T>
  bool expect(const char* what, const Answer<T>& answer, bool good) {
    const bool is_good = answer.has_value() && good;
    std::printf("%s ours->sdk %s %s%s\n", is_good ? "ok" : "FAILED", name_.c_str(), what,
                answer.has_value() ? "" : (": " + answer.error().message).c_str());
    std::fflush(stdout);
    INFO(name_ << " " << what << (answer.has_value() ? "" : ": " + answer.error().message));
    CHECK(is_good);
    return is_good;
  }
  static const TaskRecord* task_of(const Answer<RemoteReply>& reply) {
    return reply ? std::get_if<TaskRecord>(&*reply) : nullptr;
  }

  void messages() {
    const auto sent = run(agent_.send(request_of("hi", id())));
    const TaskRecord* task = task_of(sent);
    if (expect("send", sent,
               task != nullptr && task->status.state == TaskState::completed &&
                   task->artifacts.at(0).parts.at(0).text == "done: hi")) {
      done_ = *task;
    }
    const auto direct = run(agent_.send(request_of("message", id())));
    const Message* said = direct ? std::get_if<Message>(&*direct) : nullptr;
    expect("direct message", direct, said != nullptr && said->parts.at(0).text == "just this");
    GetRequest get;
    get.id = done_.id;
    const auto got = run(agent_.get(get));
    expect("get", got, got && got->id == done_.id && !got->history.empty());
    const auto asks = run(agent_.send(request_of("input", id())));
    const TaskRecord* asking = task_of(asks);
    if (!expect("input required", asks,
                asking != nullptr && asking->status.state == TaskState::input_required)) {
      return;
    }
    const auto more = run(agent_.send(request_of("x", id(), asking->id)));
    const TaskRecord* answered = task_of(more);
    expect("multi-turn", more,
           answered != nullptr && answered->id == asking->id &&
               answered->status.state == TaskState::completed);
  }
  void streams() {
    auto stream = run(agent_.stream(request_of("stream 20", id())));
    if (!expect("stream opens", stream, true)) return;
    const auto seen = run(follow(**stream));
    expect("stream", seen,
           seen && seen->first == counted(20) && seen->second == TaskState::completed);
    SendRequest now = request_of("stream 50", id());
    now.return_immediately = true;
    const auto begun = run(agent_.send(now));
    const TaskRecord* task = task_of(begun);
    if (!expect("return immediately", begun, task != nullptr && !is_terminal(task->status.state))) {
      return;
    }
    auto again = run(agent_.subscribe(task->id));
    if (!expect("resubscribe opens", again, true)) return;
    const auto rest = run(follow(**again));
    expect("resubscribe", rest,
           rest && rest->first == counted(50) && rest->second == TaskState::completed);
  }
  void cancels() {
    SendRequest now = request_of("hang", id());
    now.return_immediately = true;
    const auto begun = run(agent_.send(now));
    const TaskRecord* task = task_of(begun);
    if (!expect("hanging task", begun, task != nullptr)) return;
    auto watching = run(agent_.subscribe(task->id));
    if (!expect("watching it", watching, true)) return;
    const auto canceled = run(agent_.cancel(task->id));
    expect("cancel", canceled, canceled && canceled->status.state == TaskState::canceled);
    const auto told = run(follow(**watching));
    expect("cancel is told", told, told && told->second == TaskState::canceled);
  }
  void errors() {
    GetRequest get;
    get.id = "none";
    const auto none = run(agent_.get(get));
    const Answer<void> good{};
    expect("task not found", good, !none && none.error().fault == Fault::task_not_found);
    // Where 0.3 has no details in its errors, gRPC and REST have but a number for many of them.
    const auto ended = run(agent_.cancel(done_.id));
    const bool is_named = !ended && ended.error().fault == Fault::task_not_cancelable;
    expect("task not cancelable", good,
           is_1_0_ || !is_grpc_ ? is_named || (!is_1_0_ && !ended) : !ended);
  }
  void pushes() {
    Hook hook(world_);
    SendRequest now = request_of("hang", id());
    now.return_immediately = true;
    const auto begun = run(agent_.send(now));
    const TaskRecord* task = task_of(begun);
    if (!expect("task for push", begun, task != nullptr)) return;
    PushConfig config;
    config.task_id = task->id;
    config.id = "c1";
    config.url = hook.url();
    config.token = "t0ken";
    const auto made = run(agent_.create_push(config));
    expect("push config", made, made && made->url == config.url);
    const auto got = run(agent_.get_push(task->id, "c1"));
    expect("push config get", got, got && got->url == config.url && got->id == "c1");
    const auto listed = run(agent_.list_push(task->id));
    expect("push config list", listed, listed && listed->size() == 1);
    const auto gone = run(agent_.delete_push(task->id, "c1"));
    expect("push config delete", gone, true);
    const auto none = run(agent_.list_push(task->id));
    expect("push config is gone", none, none && none->empty());
    static_cast<void>(run(agent_.cancel(task->id)));
    SendRequest told = request_of("stream 3", id());
    told.push = config;
    told.push->task_id.clear();
    const auto sent = run(agent_.send(told));
    expect("send with push", sent, task_of(sent) != nullptr);
    for (int n = 0; n < 200 && !hook.has_completed(); ++n) {
      run(delay_task(std::chrono::milliseconds(50)));
    }
    expect("push is told", sent, hook.has_completed() && hook.tokens.back() == "t0ken");
  }
  void pages() {
    ListRequest list;
    list.page_size = 2;
    std::size_t seen = 0;
    for (int n = 0; n < 100; ++n) {
      const auto page = run(agent_.list(list));
      if (!expect("a page", page, page && page->tasks.size() <= 2)) return;
      seen += page->tasks.size();
      list.page_token = page->next_token;
      if (list.page_token.empty()) break;
    }
    const Answer<void> good{};
    expect("paging", good, seen >= 6 && list.page_token.empty());
  }

  io::UvWorld& world_;
  RemoteAgent& agent_;
  bool is_1_0_;
  bool is_grpc_;
  std::string name_;
  int number_ = 0;
  TaskRecord done_;
};

bool has_grpc() {
#ifdef AMBIT_GRPC
  return is_there("@grpc/grpc-js");
#else
  WARN("SKIPPED: gRPC, which this program was built without");
  return false;
#endif
}

// The official client calls our agent.
void be_called(const std::string& binding, const std::string& version) {
  if (!is_there() || (binding == "GRPC" && !has_grpc())) return;
  OurAgent agent;
  auto client = node(agent.world.world(), {"sdk_client.cjs", agent.url(), binding, version});
  const std::string said = run_task(agent.world.loop(), read_all(client->output()));
  const std::string errors = run_task(agent.world.loop(), read_all(client->errors()));
  std::printf("%s", said.c_str());
  INFO(said << errors);
  CHECK(said.find("FAILED") == std::string::npos);
  CHECK(said.find("sdk->ours " + binding + " " + version + " push is told") != std::string::npos);
}

// Our client calls the official server, on each of its interfaces.
void call() {
  if (!is_there()) return;
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  ClientOptions options;
#ifdef AMBIT_GRPC
  GrpcClient grpc(world.loop());
  options.grpc = &grpc;
#endif
  auto server = node(world.world(), {"sdk_server.cjs", has_grpc() ? "grpc" : "http"});
  const std::string url = run_task(world.loop(), read_line(server->output()));
  REQUIRE(url.starts_with("http://"));
  Directory directory(http);
  const auto found = run_task(world.loop(), directory.find(url));
  REQUIRE(found);
  CHECK((*found)->card.name == "sdk agent");
  CHECK((*found)->card.interfaces.size() == (has_grpc() ? 6 : 4));
  for (const Interface& interface : (*found)->card.interfaces) {
    AgentCard card = (*found)->card;
    card.interfaces = {interface};
    const auto agent = RemoteAgent::create(http, card, url, options);
    REQUIRE(agent);
    Visit(world, **agent, interface).everything();
  }
}

// Our signed card for the SDK, and its own for us.
void exchange_cards(bool needs_bearer_token) {
  if (!is_there()) return;
  io::UvWorld world;
  const jose::Key key = jose::Key::make(jose::Algorithm::es256, "our-key").value();
  AgentCard card = Agent::card_options().card;
  card.needs_bearer_token = needs_bearer_token;
  card.provider_organization = "Ambit";
  card.provider_url = "https://example.com/";
  for (const CardShape shape : {CardShape::pure, CardShape::hybrid}) {
    Json asked = Json::object();
    asked["card"] = to_json(card, shape);
    REQUIRE(sign_card(asked["card"], key, "https://example.com/jwks.json"));
    asked["jwks"] = jose::jwks_of({key});
    auto peer = node(world.world(), {"sdk_signature.cjs"});
    REQUIRE(run_task(world.loop(), peer->input().write(asked.dump() + "\n")));
    const std::string line = run_task(world.loop(), read_line(peer->output()));
    INFO(line);
    const Json said = Json::parse(line);
    CHECK(said["refused"] != "");
    const auto keys = jose::read_jwks(said["jwks"]).value();
    if (needs_bearer_token) {
      // What the SDK signs and checks leaves out the schemes, so anyone could change them: neither
      // side believes the other's card.
      CHECK(said["verified"] == false);
      CHECK_FALSE(verify_card(said["card"], keys));
      Json without = said["card"];
      without.erase("securitySchemes");
      without.erase("securityRequirements");
      CHECK(verify_card(without, keys).value() == "sdk-key");
      continue;
    }
    CHECK(said["verified"] == true);
    CHECK(verify_card(said["card"], keys).value() == "sdk-key");
    Json changed = said["card"];
    changed["description"] = "something else";
    CHECK_FALSE(verify_card(changed, keys));
    const bool is_good = said["verified"] == true && verify_card(said["card"], keys).has_value();
    std::printf("%s both signed card, %s\n", is_good ? "ok" : "FAILED",
                shape == CardShape::pure ? "pure" : "hybrid");
  }
}

}  // namespace

TEST_CASE("the official client works with our agent on every binding of 1.0", "[a2a][interop]") {
  for (const char* binding : {"JSONRPC", "HTTP+JSON", "GRPC"}) be_called(binding, "1.0");
}

TEST_CASE("the official client works with our agent on every binding of 0.3", "[a2a][interop]") {
  for (const char* binding : {"JSONRPC", "HTTP+JSON", "GRPC"}) be_called(binding, "0.3");
}

TEST_CASE("our client works with the official server on every binding and version",
          "[a2a][interop]") {
  call();
}

TEST_CASE("the official SDK believes our signed card, and we believe its own", "[a2a][interop]") {
  exchange_cards(false);
}

TEST_CASE("a card whose security schemes the official SDK has not signed is not believed",
          "[a2a][interop]") {
  exchange_cards(true);
}

}  // namespace ambit::a2a
