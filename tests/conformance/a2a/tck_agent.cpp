// The agent that the A2A project's TCK is run against (`./check conformance a2a`): what it does is
// said by the beginning of a message's id, or of its text where that begins with "tck-" (the cases
// of ACTS). tck_agent [--0.3 URL GRPC_URL]: listens on a free port of loopback and prints its URL.
// With --0.3 its card is one for both versions (the TCK of 1.0 wants a pure one) and names the two
// URLs, which lead to it over TLS; it prints its own two.

#include "a2a/door.h"
#include "a2a/push.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "io/uv_world.h"
#ifdef AMBIT_GRPC
#include "grpc_door/grpc_door.h"
#endif

#include <nlohmann/json.hpp>

#include <cstdio>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::a2a {
namespace {

using rpc::Json;

constexpr Duration long_work = std::chrono::seconds(4);

// What a message wants done.
std::string wish_of(const Message& message) {
  const std::string& text = message.parts.front().text;
  return text.starts_with("tck-") ? text : message.id;
}

Message said(const std::string& text) {
  Message message;
  message.parts.push_back(text_part(text));
  return message;
}

Artifact artifact_of(Part part) {
  Artifact artifact;
  artifact.id = "result";
  artifact.name = "result";
  artifact.parts.push_back(std::move(part));
  return artifact;
}

Part file_part(Part::Kind kind, std::string text) {
  Part part;
  part.kind = kind;
  part.text = std::move(text);
  part.filename = "output.txt";
  part.media_type = "text/plain";
  return part;
}

class TckRunner final : public TaskRunner {
 public:
  explicit TckRunner(bool is_0_3) : is_0_3_(is_0_3) {}
  // The message that began its task.
  static bool is_first(const Run& run) { return run.message.task_id.empty(); }

  Task<Result<std::optional<Message>>> answer(Run run) override {
    std::optional<Message> message;
    if (wish_of(run.message).starts_with("tck-message-response")) {
      message = said("Direct message response");
    }
    co_return message;
  }

  Task<Result<void>> run(Run run, RunEvents& events) override {
    const std::string id = wish_of(run.message);
    const auto is = [&](std::string_view prefix) { return id.starts_with(prefix); };
    if (is("tck-reject-task")) {
      co_return co_await events.status(TaskState::rejected, said("rejected"));
    }
    if (is("tck-input-required")) {
      co_return co_await events.status(TaskState::input_required, said("which one?"));
    }
    if (is("tck-complete-task") || is("tck-stream-002")) {
      co_return co_await events.status(TaskState::completed, said("Hello from TCK"));
    }
    if (is("tck-auth-required")) {
      co_return co_await events.status(TaskState::auth_required, said("log in first"));
    }
    if (is("tck-task-failure")) {
      co_return co_await events.status(TaskState::failed, said("it did not work"));
    }
    const std::string& text = run.message.parts.front().text;
    // ACTS says it by the text and goes on until "done"; the TCK by the id, for one more turn.
    const bool begins = is("tck-multi-turn") && is_first(run);
    if (begins && text.starts_with("tck-multi-turn")) asking_.insert(run.task_id);
    const bool goes_on = begins || asking_.contains(run.task_id);
    if (goes_on && text.find("done") == std::string::npos) {
      co_return co_await events.status(TaskState::input_required, said("and then?"));
    }
    if (is("tck-artifact-")) co_return co_await with_artifact(id, events);
    co_await ok(events.status(TaskState::working, std::nullopt));
    if (is("test-resubscribe-message-id") || is("tck-long-running")) co_await delay(long_work);
    if (is("tck-cancel")) co_await delay(std::chrono::hours(1));
    if (is("tck-stream-artifact-chunked") || is("tck-stream-chunked")) {
      co_await ok(events.artifact(artifact_of(text_part("chunk-1 ")), false, false));
      co_await ok(events.artifact(artifact_of(text_part("chunk-2")), true, true));
    } else if (is("tck-stream-artifact-file")) {
      co_await ok(
          events.artifact(artifact_of(file_part(Part::Kind::raw, "b3V0cHV0")), false, true));
    } else if (is("tck-stream-") || is("tck-long-running")) {
      co_await ok(events.artifact(artifact_of(text_part(streamed(id))), false, true));
    } else if (is_0_3_ && !is("tck-")) {
      // The TCK of 0.3 says by no id what it wants, and cancels what it began: a task that waits
      // for its client can be cancelled, continued and looked at.
      co_return co_await events.status(TaskState::input_required, said("Hello from TCK"));
    }
    co_return co_await events.status(TaskState::completed, said("Hello from TCK"));
  }

 private:
  static std::string streamed(const std::string& id) {
    if (id.starts_with("tck-stream-001")) return "Stream hello from TCK";
    if (id.starts_with("tck-stream-003")) return "Stream task lifecycle";
    if (id.starts_with("tck-stream-ordering")) return "Ordered output";
    return "Streamed text content";
  }

  static Task<Result<void>> with_artifact(std::string id, RunEvents& events) {
    Part part = text_part("Generated text content");
    if (id.starts_with("tck-artifact-file-url")) {
      part = file_part(Part::Kind::url, "https://example.com/output.txt");
    } else if (id.starts_with("tck-artifact-file")) {
      part = file_part(Part::Kind::raw, "b3V0cHV0");
    } else if (id.starts_with("tck-artifact-data")) {
      part = Part();
      part.kind = Part::Kind::data;
      part.data = rpc::Value(Json({{"key", "value"}, {"count", 42}}));
    }
    Artifact artifact = artifact_of(std::move(part));
    co_await ok(events.artifact(std::move(artifact), false, true));
    co_return co_await events.status(TaskState::completed, std::nullopt);
  }

  bool is_0_3_;
  std::set<std::string> asking_;  // tasks
};

AgentCard card_of(const std::string& url, const std::string& grpc, bool speaks_0_3) {
  AgentCard card;
  card.name = "tck agent";
  card.description = "Does what the beginning of a message's id says.";
  card.version = "1.0.0";
  card.provider_organization = "Ambit";
  card.provider_url = "https://example.com/";
  card.documentation_url = "https://example.com/agent";
  card.icon_url = "https://example.com/agent.svg";
  card.has_push_notifications = true;
  // The TCK of 0.3 wants such a card to be for known callers alone, and has no token.
  card.has_extended_card = !speaks_0_3;
  // The TCK sends one message of a type that nobody has, and wants it to be taken.
  card.input_modes = {"text/plain", "application/json", "*/*"};
  card.output_modes = {"text/plain", "application/json"};
  for (const char* version : {"1.0", "0.3"}) {
    if (version == std::string_view("0.3") && !speaks_0_3) continue;
    card.interfaces.push_back({url + "/", "JSONRPC", version, ""});
    card.interfaces.push_back({url, "HTTP+JSON", version, ""});
    if (!grpc.empty()) card.interfaces.push_back({grpc, "GRPC", version, ""});
  }
  Skill skill;
  skill.id = "tck";
  skill.name = "TCK";
  skill.description = "Answers the TCK.";
  skill.tags = {"tck"};
  skill.examples = {"hello"};
  card.skills.push_back(std::move(skill));
  return card;
}

// What leads to the agent from outside, where something does.
struct Front {
  std::string url;
  std::string grpc;
};

int serve(const Front* front) {
  const bool speaks_0_3 = front != nullptr;
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  PushOptions push_options;
  push_options.takes_any_url = true;
  PushSender push(http, push_options);
  TckRunner runner(speaks_0_3);
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  // The TCK of 0.3 takes 127.0.0.1 and localhost in a card for secrets.
  http::ServerOptions server_options;
  server_options.address = speaks_0_3 ? "127.0.0.2:0" : "127.0.0.1:0";
  server_options.hosts = {"127.0.0.2", "localhost", "127.0.0.1"};
  auto server =
      http::Server::listen(world.world(), std::move(server_options),
                           [&](http::Exchange& exchange) { return door->handle(exchange); });
  if (!server) {
    std::fprintf(stderr, "tck_agent: %s\n", server.error().message.c_str());
    return 1;
  }
  const std::string address = (*server)->address();
  const std::string url =
      speaks_0_3 ? "http://" + address : "http://localhost" + address.substr(address.rfind(':'));
  std::string grpc;
#ifdef AMBIT_GRPC
  GrpcOptions grpc_options;
  grpc_options.speaks_0_3 = speaks_0_3;
  if (speaks_0_3) grpc_options.address = "127.0.0.2:0";
  auto grpc_door = GrpcDoor::listen(world.world(), grpc_options,
                                    [&](std::string& /*tenant*/) { return service.get(); });
  if (grpc_door) grpc = (*grpc_door)->address();
#endif
  ServiceOptions options;
  options.card = front != nullptr ? card_of(front->url, grpc.empty() ? "" : front->grpc, true)
                                  : card_of(url, grpc, false);
  options.extended_card = options.card;
  // The TCK gives the same message id to different messages.
  options.sends_are_idempotent = false;
  options.push = &push;
  service = std::make_unique<Service>(world.world(), store, runner, std::move(options));
  DoorOptions door_options;
  door_options.speaks_0_3 = speaks_0_3;
  door = std::make_unique<Door>(*service, 1'790'000'000, door_options);
  std::printf("%s\n", url.c_str());
  if (front != nullptr) std::printf("http://%s\n", grpc.empty() ? address.c_str() : grpc.c_str());
  std::fflush(stdout);
  world.loop().run();
  return 0;
}

}  // namespace
}  // namespace ambit::a2a

int main(int count, char** arguments) {
  if (count != 4 || std::string_view(arguments[1]) != "--0.3") return ambit::a2a::serve(nullptr);
  const ambit::a2a::Front front{arguments[2], arguments[3]};
  return ambit::a2a::serve(&front);
}
