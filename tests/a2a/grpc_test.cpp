// The gRPC binding with a client of grpc++ on threads of its own, against the same scripted agent
// that the other bindings are tested with.

#include "a2a/client.h"
#include "async/race.h"
#include "grpc_door/a2a_v0_3.pb.h"
#include "grpc_door/a2a_v1.pb.h"
#include "grpc_door/grpc_client.h"
#include "grpc_door/grpc_door.h"
#include "http/curl_client.h"
#include "io/uv_world.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

#include <future>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace ambit::a2a {
namespace {

namespace v1 = ::lf::a2a::v1;
namespace v03 = ::a2a::v1;

struct Heard {
  grpc::Status status;
  std::vector<std::string> messages;
  std::multimap<std::string, std::string> headers;
};

struct GrpcAgent {
  io::UvWorld world;
  ScriptedRunner runner;
  MemoryTaskStore store;
  Service service;
  std::unique_ptr<GrpcDoor> door;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc::GenericStub> stub;

  explicit GrpcAgent(Authenticate authenticate = nullptr, GrpcOptions options = {})
      : service(world.world(), store, runner, service_options()) {
    door = std::move(*GrpcDoor::listen(
        world.world(), options,
        [this](std::string& tenant) { return tenant == "nobody" ? nullptr : &service; },
        std::move(authenticate)));
    channel = grpc::CreateChannel(door->address(), grpc::InsecureChannelCredentials());
    stub = std::make_unique<grpc::GenericStub>(channel);
  }
  static ServiceOptions service_options() {
    ServiceOptions options = Agent::card_options();
    options.card.has_extended_card = true;
    options.extended_card = options.card;
    Extension extension;
    extension.uri = "urn:x";
    options.card.extensions.push_back(extension);
    return options;
  }

  // One call from its request to its status, on a thread of its own while our loop runs here.
  Heard call(const std::string& method, const std::string& request,
             const std::multimap<std::string, std::string>& metadata = {},
             std::size_t messages_max = 1000) {
    auto answered = std::async(std::launch::async, [&] {
      Heard heard;
      grpc::ClientContext context;
      for (const auto& [name, value] : metadata) context.AddMetadata(name, value);
      grpc::CompletionQueue queue;
      const auto wait = [&] {
        void* tag = nullptr;
        bool good = false;
        queue.Next(&tag, &good);
        return good;
      };
      const auto stream = stub->PrepareCall(&context, method, &queue);
      stream->StartCall(nullptr);
      wait();
      const grpc::Slice slice(request);
      const grpc::ByteBuffer sent(&slice, 1);
      stream->WriteLast(sent, grpc::WriteOptions(), nullptr);
      bool good = wait();
      while (good && heard.messages.size() < messages_max) {
        grpc::ByteBuffer buffer;
        stream->Read(&buffer, nullptr);
        good = wait();
        if (!good) break;
        std::vector<grpc::Slice> slices;
        if (!buffer.Dump(&slices).ok()) break;
        std::string bytes;
        for (const auto& part : slices) {
          bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
        }
        heard.messages.push_back(bytes);
      }
      if (heard.messages.size() >= messages_max) context.TryCancel();
      stream->Finish(&heard.status, nullptr);
      wait();
      for (const auto& [name, value] : context.GetServerInitialMetadata()) {
        heard.headers.emplace(std::string(name.data(), name.size()),
                              std::string(value.data(), value.size()));
      }
      queue.Shutdown();
      return heard;
    });
    const auto is_there = [&] {
      return answered.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    };
    while (!is_there()) {
      run_task(world.loop(), delay_task(std::chrono::milliseconds(1)));
    }
    return answered.get();
  }
  template <class Out, class In>
  Out unary(const std::string& name, const In& in) {
    const Heard heard = call("/lf.a2a.v1.A2AService/" + name, in.SerializeAsString());
    INFO(heard.status.error_message());
    CHECK(heard.status.ok());
    Out out;
    if (heard.messages.size() == 1) CHECK(out.ParseFromString(heard.messages[0]));
    return out;
  }
  static v1::SendMessageRequest say(const std::string& text, const std::string& id,
                                    const std::string& task = "") {
    v1::SendMessageRequest request;
    request.mutable_message()->set_message_id(id);
    request.mutable_message()->set_role(v1::ROLE_USER);
    request.mutable_message()->add_parts()->set_text(text);
    request.mutable_message()->set_task_id(task);
    return request;
  }
};

}  // namespace

TEST_CASE("every operation of A2A 1.0 works over gRPC", "[a2a][grpc]") {
  GrpcAgent agent;
  const auto done = agent.unary<v1::SendMessageResponse>("SendMessage", agent.say("hi", "1"));
  REQUIRE(done.has_task());
  CHECK(done.task().status().state() == v1::TASK_STATE_COMPLETED);
  CHECK(done.task().artifacts(0).parts(0).text() == "done: hi");
  const auto direct =
      agent.unary<v1::SendMessageResponse>("SendMessage", agent.say("message", "2"));
  CHECK(direct.message().parts(0).text() == "just this");
  v1::GetTaskRequest get;
  get.set_id(done.task().id());
  get.set_history_length(0);
  const auto got = agent.unary<v1::Task>("GetTask", get);
  CHECK(got.id() == done.task().id());
  CHECK(got.history_size() == 0);
  const auto asks = agent.unary<v1::SendMessageResponse>("SendMessage", agent.say("input", "3"));
  CHECK(asks.task().status().state() == v1::TASK_STATE_INPUT_REQUIRED);
  v1::ListTasksRequest list;
  list.set_status(v1::TASK_STATE_INPUT_REQUIRED);
  const auto page = agent.unary<v1::ListTasksResponse>("ListTasks", list);
  CHECK(page.tasks_size() == 1);
  CHECK(page.total_size() == 1);
  v1::TaskPushNotificationConfig push;
  push.set_task_id(asks.task().id());
  push.set_id("c");
  push.set_url("https://example.com/");
  CHECK(
      agent.unary<v1::TaskPushNotificationConfig>("CreateTaskPushNotificationConfig", push).id() ==
      "c");
  v1::GetTaskPushNotificationConfigRequest push_get;
  push_get.set_task_id(asks.task().id());
  push_get.set_id("c");
  CHECK(agent.unary<v1::TaskPushNotificationConfig>("GetTaskPushNotificationConfig", push_get)
            .url() == "https://example.com/");
  v1::ListTaskPushNotificationConfigsRequest push_list;
  push_list.set_task_id(asks.task().id());
  CHECK(agent
            .unary<v1::ListTaskPushNotificationConfigsResponse>("ListTaskPushNotificationConfigs",
                                                                push_list)
            .configs_size() == 1);
  agent.unary<google::protobuf::Empty>("DeleteTaskPushNotificationConfig", push_get);
  v1::CancelTaskRequest cancel;
  cancel.set_id(asks.task().id());
  CHECK(agent.unary<v1::Task>("CancelTask", cancel).status().state() == v1::TASK_STATE_CANCELED);
  v1::GetExtendedAgentCardRequest card;
  CHECK(agent.unary<v1::AgentCard>("GetExtendedAgentCard", card).name() == "clerk");
}

TEST_CASE("a stream over gRPC has every event in its order, and a client may leave it",
          "[a2a][grpc]") {
  GrpcAgent agent;
  const std::string method = "/lf.a2a.v1.A2AService/SendStreamingMessage";
  const Heard heard = agent.call(method, agent.say("stream 200", "1").SerializeAsString());
  CHECK(heard.status.ok());
  REQUIRE(heard.messages.size() == 203);
  std::string text;
  for (const std::string& bytes : heard.messages) {
    v1::StreamResponse event;
    REQUIRE(event.ParseFromString(bytes));
    if (event.has_artifact_update()) text += event.artifact_update().artifact().parts(0).text();
  }
  std::string expected;
  for (int n = 0; n < 200; ++n) expected += std::to_string(n) + " ";
  CHECK(text == expected);
  const Heard cut = agent.call(method, agent.say("stream 100", "2").SerializeAsString(), {}, 3);
  CHECK(cut.status.error_code() == grpc::StatusCode::CANCELLED);
  // The task goes on without its client.
  agent.world.loop().run_until([&] { return agent.service.runs() == 0; });
  CHECK(agent.runner.cancelled == 0);
  agent.world.loop().run_until([&] { return agent.door->calls() == 0; });
}

TEST_CASE("errors over gRPC carry status and details", "[a2a][grpc]") {
  GrpcAgent agent(bearer_tokens({{"secret", "alice"}}));
  const std::multimap<std::string, std::string> alice = {{"authorization", "Bearer secret"}};
  v1::GetTaskRequest get;
  get.set_id("none");
  const std::string bytes = get.SerializeAsString();
  const std::string method = "/lf.a2a.v1.A2AService/GetTask";
  CHECK(agent.call(method, bytes).status.error_code() == grpc::StatusCode::UNAUTHENTICATED);
  const Heard missing = agent.call(method, bytes, alice);
  CHECK(missing.status.error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(missing.status.error_details().find("TASK_NOT_FOUND") != std::string::npos);
  CHECK(missing.status.error_details().find("google.rpc.ErrorInfo") != std::string::npos);
  auto old = alice;
  old.emplace("a2a-version", "9.9");
  const Heard version = agent.call(method, bytes, old);
  CHECK(version.status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(version.status.error_details().find("VERSION_NOT_SUPPORTED") != std::string::npos);
  CHECK(agent.call("/lf.a2a.v1.A2AService/Fly", bytes, alice).status.error_code() ==
        grpc::StatusCode::UNIMPLEMENTED);
  CHECK(agent.call("/x.Y/Z", bytes, alice).status.error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(agent.call(method, "\x0a\xff\xff\xff\xff nonsense", alice).status.error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  v1::SendMessageRequest empty;
  const Heard invalid =
      agent.call("/lf.a2a.v1.A2AService/SendMessage", empty.SerializeAsString(), alice);
  CHECK(invalid.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(invalid.status.error_details().find("fieldViolations") == std::string::npos);
  CHECK(invalid.status.error_details().find("google.rpc.BadRequest") != std::string::npos);
  get.set_tenant("nobody");
  CHECK(agent.call(method, get.SerializeAsString(), alice).status.error_code() ==
        grpc::StatusCode::NOT_FOUND);
  auto extended = alice;
  extended.emplace("a2a-extensions", "urn:x, urn:y");
  const Heard echoed = agent.call("/lf.a2a.v1.A2AService/SendMessage",
                                  agent.say("hi", "1").SerializeAsString(), extended);
  CHECK(echoed.headers.find("a2a-extensions")->second == "urn:x");
}

TEST_CASE("A2A 0.3 works over gRPC in its own shape", "[a2a][grpc]") {
  GrpcAgent agent;
  const std::string service = "/a2a.v1.A2AService/";
  v03::SendMessageRequest say;
  say.mutable_request()->set_message_id("1");
  say.mutable_request()->set_role(v03::ROLE_USER);
  say.mutable_request()->add_content()->set_text("hi");
  const Heard sent = agent.call(service + "SendMessage", say.SerializeAsString());
  REQUIRE(sent.status.ok());
  v03::SendMessageResponse response;
  REQUIRE(response.ParseFromString(sent.messages.at(0)));
  CHECK(response.task().artifacts(0).parts(0).text() == "done: hi");
  CHECK(response.task().history(0).content(0).text() == "hi");
  v03::GetTaskRequest get;
  get.set_name("tasks/" + response.task().id());
  v03::Task task;
  const Heard got = agent.call(service + "GetTask", get.SerializeAsString());
  REQUIRE(task.ParseFromString(got.messages.at(0)));
  CHECK(task.id() == response.task().id());
  say.mutable_request()->set_message_id("2");
  say.mutable_request()->mutable_content(0)->set_text("hang");
  say.mutable_configuration()->set_blocking(false);
  const Heard now = agent.call(service + "SendMessage", say.SerializeAsString());
  REQUIRE(response.ParseFromString(now.messages.at(0)));
  v03::CreateTaskPushNotificationConfigRequest push;
  push.set_parent("tasks/" + response.task().id());
  push.set_config_id("c");
  push.mutable_config()->mutable_push_notification_config()->set_url("https://example.com/");
  const Heard kept =
      agent.call(service + "CreateTaskPushNotificationConfig", push.SerializeAsString());
  v03::TaskPushNotificationConfig config;
  REQUIRE(config.ParseFromString(kept.messages.at(0)));
  CHECK(config.name() == "tasks/" + response.task().id() + "/pushNotificationConfigs/c");
  v03::CancelTaskRequest cancel;
  cancel.set_name("tasks/" + response.task().id());
  const Heard cancelled = agent.call(service + "CancelTask", cancel.SerializeAsString());
  REQUIRE(task.ParseFromString(cancelled.messages.at(0)));
  CHECK(task.status().state() == v03::TASK_STATE_CANCELLED);
  GrpcOptions options;
  options.speaks_0_3 = false;
  GrpcAgent modern(nullptr, options);
  CHECK(modern.call(service + "GetTask", get.SerializeAsString()).status.error_code() ==
        grpc::StatusCode::UNIMPLEMENTED);
}

TEST_CASE("a door that closes ends its calls, and calls beyond its number are refused",
          "[a2a][grpc]") {
  GrpcOptions options;
  options.calls_max = 1;
  GrpcAgent agent(nullptr, options);
  auto hanging = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool good = false;
    const auto call =
        agent.stub->PrepareCall(&context, "/lf.a2a.v1.A2AService/SendStreamingMessage", &queue);
    call->StartCall(nullptr);
    queue.Next(&tag, &good);
    const grpc::Slice slice(GrpcAgent::say("hang", "1").SerializeAsString());
    const grpc::ByteBuffer sent(&slice, 1);
    call->WriteLast(sent, grpc::WriteOptions(), nullptr);
    queue.Next(&tag, &good);
    while (good) {
      grpc::ByteBuffer event;
      call->Read(&event, nullptr);
      queue.Next(&tag, &good);
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    queue.Next(&tag, &good);
    queue.Shutdown();
    return status;
  });
  agent.world.loop().run_until([&] { return agent.door->calls() == 1; });
  const Heard refused =
      agent.call("/lf.a2a.v1.A2AService/SendMessage", agent.say("hi", "2").SerializeAsString());
  CHECK(refused.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  agent.door.reset();
  CHECK_FALSE(hanging.get().ok());
}

TEST_CASE("our own client works over gRPC in both versions", "[a2a][grpc]") {
  GrpcAgent agent;
  GrpcClient grpc(agent.world.loop());
  http::CurlClient http(agent.world.watcher());
  const auto run = [&](auto task) { return run_task(agent.world.loop(), std::move(task)); };
  for (const char* version : {"1.0", "0.3"}) {
    INFO(version);
    AgentCard card = Agent::card_options().card;
    card.interfaces = {{agent.door->address(), "GRPC", version, ""}};
    CHECK_FALSE(RemoteAgent::create(http, card, "http://127.0.0.1/card.json"));
    ClientOptions options;
    options.grpc = &grpc;
    options.token = "t";
    const auto remote =
        std::move(*RemoteAgent::create(http, card, "http://127.0.0.1/card.json", options));
    SendRequest request;
    request.message.id = std::string("m") + version;
    request.message.role = Role::user;
    request.message.parts.push_back(text_part("hi"));
    const auto sent = run(remote->send(request));
    REQUIRE(sent);
    const TaskRecord task = std::get<TaskRecord>(*sent);
    CHECK(task.status.state == TaskState::completed);
    CHECK(task.artifacts.at(0).parts.at(0).text == "done: hi");
    GetRequest get;
    get.id = task.id;
    CHECK(run(remote->get(get)).value().history.size() == task.history.size());
    get.id = "none";
    CHECK(run(remote->get(get)).error().fault == Fault::task_not_found);
    CHECK(run(remote->cancel(task.id)).error().fault == Fault::task_not_cancelable);
    request.message.id += "s";
    request.message.parts = {text_part("stream 20")};
    auto stream = run(remote->stream(request));
    REQUIRE(stream);
    std::string text;
    while (true) {
      auto event = run((*stream)->next());
      REQUIRE(event);
      if (!*event) break;
      if (const auto* chunk = std::get_if<ArtifactUpdate>(&**event)) {
        text += chunk->artifact.parts.at(0).text;
      }
    }
    CHECK(text.ends_with("18 19 "));
    PushConfig config;
    config.task_id = task.id;
    config.id = "c";
    config.url = "https://example.com/hook";
    config.scheme = "Bearer";
    config.credentials = "secret";
    CHECK(run(remote->create_push(config)).value().url == config.url);
    CHECK(run(remote->list_push(task.id)).value().size() == 1);
    CHECK(run(remote->get_push(task.id, "c")).value().scheme == "Bearer");
    CHECK(run(remote->delete_push(task.id, "c")));
    CHECK(run(remote->list_push(task.id)).value().empty());
  }
}

TEST_CASE("a stream over gRPC that nobody reads on ends with its client", "[a2a][grpc]") {
  GrpcAgent agent;
  http::CurlClient http(agent.world.watcher());
  AgentCard card = Agent::card_options().card;
  card.interfaces = {{agent.door->address(), "GRPC", "1.0", ""}};
  auto grpc = std::make_unique<GrpcClient>(agent.world.loop());
  ClientOptions options;
  options.grpc = grpc.get();
  const auto remote =
      std::move(*RemoteAgent::create(http, card, "http://127.0.0.1/card.json", options));
  SendRequest request;
  request.message.id = "m";
  request.message.role = Role::user;
  request.message.parts.push_back(text_part("hang"));
  auto stream = run_task(agent.world.loop(), remote->stream(request));
  REQUIRE(stream);
  CHECK(agent.door->calls() == 1);
  SECTION("when the stream dies") {
    stream->reset();
    agent.world.loop().run_until([&] { return agent.door->calls() == 0; });
  }
  SECTION("when the client dies before it") {
    grpc.reset();
    agent.world.loop().run_until([&] { return agent.door->calls() == 0; });
    stream->reset();
  }
  CHECK(agent.runner.running == 1);
}

TEST_CASE("an agent that is not there is unreachable over gRPC", "[a2a][grpc]") {
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  GrpcClient grpc(world.loop());
  AgentCard card = Agent::card_options().card;
  card.interfaces = {{"127.0.0.1:1", "GRPC", "1.0", ""}};
  ClientOptions options;
  options.grpc = &grpc;
  const auto remote =
      std::move(*RemoteAgent::create(http, card, "http://127.0.0.1/card.json", options));
  CHECK(run_task(world.loop(), remote->cancel("x")).error().fault == Fault::unreachable);
}

}  // namespace ambit::a2a
