#include "a2a/codec.h"

#include "a2a/card.h"
#include "io/utc.h"
#include "schemas.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using rpc::Json;

Message full_message() {
  Message message;
  message.id = "m1";
  message.context_id = "c1";
  message.task_id = "t1";
  message.role = Role::user;
  message.parts.push_back(text_part("hi"));
  Part raw;
  raw.kind = Part::Kind::raw;
  raw.text = "aGk=";
  raw.filename = "a.bin";
  raw.media_type = "application/octet-stream";
  message.parts.push_back(raw);
  Part url;
  url.kind = Part::Kind::url;
  url.text = "https://a.example/b";
  message.parts.push_back(url);
  Part data;
  data.kind = Part::Kind::data;
  data.data = rpc::Value(Json(nullptr));
  data.metadata = rpc::Value(Json({{"k", 1}}));
  message.parts.push_back(data);
  message.metadata = rpc::Value(Json({{"https://e.example", {{"x", true}}}}));
  message.extensions = {"https://e.example"};
  message.reference_task_ids = {"t0"};
  return message;
}

TaskRecord full_task() {
  TaskRecord task;
  task.id = "t1";
  task.context_id = "c1";
  task.status.state = TaskState::input_required;
  task.status.message = full_message();
  task.status.timestamp_ns = 1'790'000'000'123'456'789;
  Artifact artifact;
  artifact.id = "a1";
  artifact.name = "n";
  artifact.description = "d";
  artifact.parts = full_message().parts;
  artifact.extensions = {"https://e.example"};
  task.artifacts.push_back(artifact);
  for (int n = 0; n < 5; ++n) {
    task.history.push_back(full_message());
    task.history.back().id = "h" + std::to_string(n);
  }
  task.metadata = rpc::Value(Json({{"k", "v"}}));
  return task;
}

std::string fault_of(const std::string& json) {
  const auto request = read_send_request(Json::parse(json));
  return request ? "" : request.error().field;
}

}  // namespace

TEST_CASE("a message reads as it was written", "[a2a]") {
  const Message message = full_message();
  CHECK(read_message(to_json(message), "") == message);
  CHECK(fault_1_0("Message", to_json(message)).empty());
}

TEST_CASE("whatever we write fits the published schema", "[a2a]") {
  const TaskRecord task = full_task();
  CHECK(fault_1_0("Task", to_json(task)).empty());
  CHECK(fault_1_0("StreamResponse", to_json(StreamEvent(task))).empty());
  CHECK(fault_1_0("StreamResponse", to_json(StreamEvent(full_message()))).empty());
  StatusUpdate status;
  status.task_id = "t1";
  status.context_id = "c1";
  status.status = task.status;
  status.metadata = task.metadata;
  CHECK(fault_1_0("StreamResponse", to_json(StreamEvent(status))).empty());
  ArtifactUpdate chunk;
  chunk.task_id = "t1";
  chunk.context_id = "c1";
  chunk.artifact = task.artifacts[0];
  chunk.append = chunk.last_chunk = true;
  CHECK(fault_1_0("StreamResponse", to_json(StreamEvent(chunk))).empty());
  PushConfig push;
  push.url = "https://a.example";
  push.scheme = "Bearer";
  push.task_id = "t1";
  CHECK(fault_1_0("TaskPushNotificationConfig", to_json(push)).empty());
  for (int state = 1; state <= 8; ++state) {
    TaskStatus one;
    one.state = static_cast<TaskState>(state);
    CHECK(fault_1_0("TaskStatus", to_json(one)).empty());
    CHECK(to_task_state(to_string(one.state)) == one.state);
  }
  // The check itself can fail.
  CHECK_FALSE(fault_1_0("Task", Json({{"id", "x"}, {"kind", "task"}})).empty());
}

TEST_CASE("a card fits the schema of its version", "[a2a]") {
  AgentCard card;
  card.name = "n";
  card.description = "d";
  card.version = "1";
  card.interfaces = {{"https://a.example/", "JSONRPC", "1.0", "t"},
                     {"https://a.example/old", "JSONRPC", "0.3", ""}};
  card.provider_organization = "o";
  card.provider_url = "https://o.example";
  card.documentation_url = "https://o.example/doc";
  card.icon_url = "https://o.example/icon";
  card.needs_bearer_token = true;
  Extension extension;
  extension.uri = "https://e.example";
  extension.description = "x";
  extension.is_required = true;
  extension.params = rpc::Value(Json({{"a", 1}}));
  card.extensions.push_back(extension);
  Skill skill;
  skill.id = skill.name = skill.description = "s";
  skill.tags = skill.examples = skill.input_modes = skill.output_modes = {"x"};
  card.skills.push_back(skill);
  CHECK(fault_1_0("AgentCard", to_json(card, CardShape::pure)).empty());
  CHECK(fault_0_3("AgentCard", to_json(card, CardShape::old)).empty());
  const Json hybrid = to_json(card, CardShape::hybrid);
  CHECK(hybrid["supportedInterfaces"].size() == 2);
  CHECK(hybrid["url"] == "https://a.example/old");
  CHECK(hybrid["preferredTransport"] == "JSONRPC");
}

TEST_CASE("history is cut from its beginning", "[a2a]") {
  const TaskRecord task = full_task();
  TaskDetail detail;
  detail.history_length = 2;
  detail.has_artifacts = false;
  const Json json = to_json(task, detail);
  REQUIRE(json["history"].size() == 2);
  CHECK(json["history"][0]["messageId"] == "h3");
  CHECK(json["history"][1]["messageId"] == "h4");
  CHECK_FALSE(json.contains("artifacts"));
  detail.history_length = 0;
  CHECK_FALSE(to_json(task, detail).contains("history"));
}

TEST_CASE("a request's fault is named by its path", "[a2a]") {
  const std::string good = R"({"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]})";
  CHECK(fault_of(R"({"message":)" + good + "}").empty());
  CHECK(fault_of(R"({"message":)" + good + R"(,"tenant":null,"unknown":[1]})").empty());
  CHECK(fault_of("{}") == "message");
  CHECK(fault_of(R"({"message":5})") == "message");
  CHECK(fault_of(R"({"message":{"role":"ROLE_USER","parts":[{"text":"x"}]}})") ==
        "message.messageId");
  CHECK(fault_of(R"({"message":{"messageId":"m","role":"user","parts":[{"text":"x"}]}})") ==
        "message.role");
  CHECK(fault_of(R"({"message":{"messageId":"m","role":"ROLE_USER","parts":[]}})") ==
        "message.parts");
  CHECK(fault_of(R"({"message":{"messageId":"m","role":"ROLE_USER","parts":[{}]}})") ==
        "message.parts[0]");
  CHECK(
      fault_of(
          R"({"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a","url":"b"}]}})") ==
      "message.parts[0]");
  CHECK(
      fault_of(
          R"({"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a"},{"raw":"?"}]}})") ==
      "message.parts[1].raw");
  CHECK(fault_of(R"({"message":)" + good + R"(,"configuration":{"historyLength":-1}})") ==
        "configuration.historyLength");
  CHECK(fault_of(R"({"message":)" + good + R"(,"configuration":{"historyLength":99999999999}})") ==
        "configuration.historyLength");
  CHECK(fault_of(R"({"message":)" + good +
                 R"(,"configuration":{"taskPushNotificationConfig":{}}})") ==
        "configuration.taskPushNotificationConfig.url");
}

TEST_CASE("times are written in UTC and read with any offset", "[a2a]") {
  CHECK(io::utc_text(0) == "1970-01-01T00:00:00.000Z");
  CHECK(io::utc_text(1'698'400'800'123'456'789) == "2023-10-27T10:00:00.123Z");
  CHECK(parse_time("2023-10-27T10:00:00Z") == 1'698'400'800'000'000'000);
  CHECK(parse_time("2023-10-27T12:30:00.5+02:30") == 1'698'400'800'500'000'000);
  CHECK(parse_time("2023-10-27T10:00:00.123456789123Z") == 1'698'400'800'123'456'789);
  for (const char* bad : {"", "2023", "2023-10-27", "2023-10-27 10:00:00Z", "2023-13-27T10:00:00Z",
                          "2023-10-27T25:00:00Z", "2023-10-27T10:00:00", "2023-10-27T10:00:00.Z",
                          "2023-10-27T10:00:00Zx", "-023-10-27T10:00:00Z", "9999-10-27T10:00:00Z",
                          "2023-10-27T10:00:00+99:00"}) {
    INFO(bad);
    CHECK_FALSE(parse_time(bad).has_value());
  }
}

TEST_CASE("base64 is told from other text", "[a2a]") {
  for (const char* good : {"", "aGk=", "aGkh", "aA==", "aA", "_-8="}) CHECK(is_base64(good));
  for (const char* bad : {"a", "a===", "aGk=x", "=", "aG k", "aGkhb=", "\xC3\xA4"}) {
    INFO(bad);
    CHECK_FALSE(is_base64(bad));
  }
}

TEST_CASE("a media type is accepted by its name or a pattern", "[a2a]") {
  CHECK(accepts({"text/plain"}, "text/plain; charset=utf-8"));
  CHECK(accepts({"text/*"}, "text/html"));
  CHECK(accepts({"*/*"}, "image/png"));
  CHECK_FALSE(accepts({"text/plain"}, "text/html"));
  CHECK_FALSE(accepts({"text/*"}, "textual/x"));
  CHECK_FALSE(accepts({}, "text/plain"));
}

}  // namespace ambit::a2a
