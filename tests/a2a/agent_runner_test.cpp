// Agents of a fleet as A2A agents: what a session comes to becomes the task's state, and the record
// holds all of it in the run with the task's id.

#include "a2a/agent_runner.h"

#include "a2a/service.h"
#include "agents/artifacts.h"
#include "run_task.h"
#include "runtime/agents/scripted.h"
#include "schemas.h"
#include "sim/sim_world.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using agents::Verdict;
using rpc::Json;

// Remembers what it was asked, beside doing what its script says.
class HeardModel final : public agents::Model {
 public:
  explicit HeardModel(std::vector<agents::Message> script) : script_(std::move(script)) {}
  Task<Result<agents::Turn>> generate(agents::TurnRequest request) override {
    heard.push_back(request.messages);
    if (!streams) return script_.generate(std::move(request));
    return generate_words(std::move(request));
  }
  // As an engine does: word by word, while it decodes.
  Task<Result<agents::Turn>> generate_words(agents::TurnRequest request) {
    const auto on_text = request.on_text;
    auto turn = co_await script_.generate(std::move(request));
    if (!turn) co_return turn;
    const std::string& text = turn->message.content;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find(' ', at), text.size() - 1) + 1;
      if (on_text) on_text(text.substr(at, end - at));
      at = end;
      co_await delay(pause);
    }
    co_return turn;
  }
  void observe(const std::string& session, agents::SessionEvent event) override {
    if (event == agents::SessionEvent::gone) gone.push_back(session);
    if (event == agents::SessionEvent::ended) ended.push_back(session);
  }
  std::string identity() const override { return script_.identity(); }
  std::vector<std::vector<agents::Message>> heard;
  std::vector<std::string> gone;
  std::vector<std::string> ended;
  bool streams = false;
  Duration pause = std::chrono::milliseconds(1);

 private:
  agents::ScriptedModel script_;
};

struct Desk {
  sim::SimWorld world{3};
  agents::Fleet fleet = agents::small_fleet();
  HeardModel model;
  agents::TableGuard guard;
  agents::MemoryJournal journal;
  agents::Roster roster;
  agents::CountingTools tools{{agents::tool("look", true), agents::tool("restart", false)}};
  std::unique_ptr<AgentRunner> runner;
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  int messages = 0;

  explicit Desk(std::vector<agents::Message> script, AgentRunnerOptions options = {},
                agents::Approvals* approvals = nullptr)
      : model(std::move(script)) {
    fleet.agents[0].a2a.emplace();
    fleet.agents[0].description = "Works reports.";
    runner = std::make_unique<AgentRunner>(
        fleet, fleet.agents[0], model,
        agents::Ports{guard, journal, agents::any_arguments, approvals, nullptr, nullptr, &roster},
        options);
    if (!run(runner->open({&tools}))) throw std::logic_error("no tools");
    ServiceOptions service_options;
    service_options.card =
        card_of(fleet, fleet.agents[0], "http://localhost/agents/clerk", true, true);
    service = std::make_unique<Service>(world.world(), store, *runner, std::move(service_options));
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  SendRequest request(const std::string& text, const std::string& context = "",
                      const std::string& task = "") {
    SendRequest request;
    request.message.id = "m" + std::to_string(++messages);
    request.message.role = Role::user;
    request.message.context_id = context;
    request.message.task_id = task;
    request.message.parts.push_back(text_part(text));
    return request;
  }
  Call caller() {
    Call call;
    call.caller = "alice";
    return call;
  }
  const TaskRecord& sent(SendRequest request) {
    auto result = run(service->send(caller(), std::move(request)));
    return std::get<TaskView>(result.value()).task->record;
  }
  std::vector<std::string> types_of(const std::string& run_id) {
    std::vector<std::string> types;
    for (const agents::Event& event : journal.events) {
      if (event.run == run_id) types.push_back(event.type);
    }
    return types;
  }
};

// What a client of a stream holds in the end, and how many chunks it came in.
struct Followed {
  std::string text;
  int chunks = 0;
  bool has_last = false;
  std::vector<TaskState> states;
};

Task<Followed> follow(SubscriptionHandle stream) {
  Followed seen;
  while (true) {
    auto update = co_await stream->queue().receive();
    if (!update) co_return seen;
    const StreamEvent& event = (*update)->event();
    if (const auto* status = std::get_if<StatusUpdate>(&event)) {
      seen.states.push_back(status->status.state);
    } else if (const auto* chunk = std::get_if<ArtifactUpdate>(&event)) {
      if (!chunk->append) seen.text.clear();
      seen.text += chunk->artifact.parts.at(0).text;
      seen.has_last = chunk->last_chunk;
      ++seen.chunks;
    }
  }
}

std::string words_of(const TaskRecord& task) {
  return task.status.message ? task.status.message->parts.at(0).text : "";
}

}  // namespace

TEST_CASE("an agent's answer completes the task, and the task's run is in the record",
          "[a2a][runner]") {
  Desk desk({agents::calls("look", "{}"), agents::says("all is well")});
  const TaskRecord& task = desk.sent(desk.request("look, please"));
  CHECK(task.status.state == TaskState::completed);
  REQUIRE(task.artifacts.size() == 1);
  CHECK(task.artifacts[0].parts[0].text == "all is well");
  CHECK(desk.tools.ran.size() == 1);
  CHECK(desk.types_of(task.id) ==
        std::vector<std::string>{"run.started", "session.started", "action.decided",
                                 "turn.completed", "action.decided", "action.outcome",
                                 "action.decided", "turn.completed", "session.ended", "run.ended"});
  CHECK(desk.journal.events[0].body.find("alice") != std::string::npos);
  CHECK(desk.model.heard[0].back().content == "look, please");
}

TEST_CASE("an action that waits for approval shows as AUTH_REQUIRED and names who may approve",
          "[a2a][runner]") {
  Desk desk({agents::calls("restart", "{}"), agents::says("I asked for it")});
  desk.guard.verdicts["restart"] = Verdict::escalate;
  const TaskRecord& task = desk.sent(desk.request("restart it"));
  CHECK(task.status.state == TaskState::auth_required);
  CHECK(words_of(task).find("ops@example.com") != std::string::npos);
  CHECK(words_of(task).find("restart: rule of restart") != std::string::npos);
  CHECK(task.artifacts.at(0).parts.at(0).text == "I asked for it");
  CHECK(desk.tools.ran.empty());
  // The client may go on in the same task.
  const TaskRecord& more = desk.sent(desk.request("never mind", "", task.id));
  CHECK(more.id == task.id);
  CHECK(more.history.size() == 3);
}

TEST_CASE("what policy refuses is told; an agent that may not even think rejects the task",
          "[a2a][runner]") {
  Desk desk({agents::calls("restart", "{}"), agents::says("I may not")});
  desk.guard.verdicts["restart"] = Verdict::deny;
  const TaskRecord& task = desk.sent(desk.request("restart it"));
  CHECK(task.status.state == TaskState::completed);
  CHECK(words_of(task).find("rule of restart") != std::string::npos);
  Desk mute({agents::says("x")});
  mute.guard.verdicts["scripted"] = Verdict::deny;
  const TaskRecord& refused = mute.sent(mute.request("hi"));
  CHECK(refused.status.state == TaskState::rejected);
  CHECK(refused.artifacts.empty());
}

TEST_CASE("a limit that stops the agent fails the task in words", "[a2a][runner]") {
  Desk desk({agents::calls("look", "{}"), agents::calls("look", "{}"), agents::says("x")});
  desk.fleet.agents[0].limits.tool_calls = 1;
  const TaskRecord& task = desk.sent(desk.request("hi"));
  CHECK(task.status.state == TaskState::failed);
  CHECK(words_of(task).find("limit") != std::string::npos);
}

TEST_CASE("without a record nothing happens, and the task fails", "[a2a][runner]") {
  Desk desk({agents::calls("look", "{}"), agents::says("x")});
  desk.journal.fail_after = 4;
  const TaskRecord& task = desk.sent(desk.request("hi"));
  CHECK(task.status.state == TaskState::failed);
  CHECK(words_of(task).find("disk is full") != std::string::npos);
  CHECK(desk.tools.ran.empty());
}

TEST_CASE("a conversation goes on by its context, with its taint, for its caller alone",
          "[a2a][runner]") {
  Desk desk(
      {agents::calls("look", "{}"), agents::says("the answer is 7"), agents::says("still 7")});
  const TaskRecord& first = desk.sent(desk.request("what is it?"));
  const TaskRecord& second = desk.sent(desk.request("and now?", first.context_id));
  CHECK(second.id != first.id);
  const auto& heard = desk.model.heard.back();
  REQUIRE(heard.size() == 3);
  CHECK(heard[0].content == "what is it?");
  CHECK(heard[1].content == "the answer is 7");
  CHECK(desk.model.ended.size() == 2);  // what was said may be gone on with
  CHECK(desk.model.gone.empty());
  CHECK(heard[2].content == "and now?");
  const auto started = std::find_if(
      desk.journal.events.begin(), desk.journal.events.end(), [&](const agents::Event& event) {
        return event.run == second.id && event.type == "session.started";
      });
  REQUIRE(started != desk.journal.events.end());
  CHECK(started->body.find("\"tainted\":true") != std::string::npos);
  // The session can be folded from the record alone.
  agents::SessionState folded;
  for (const agents::Event& event : desk.journal.events) {
    if (event.run == second.id && !event.type.starts_with("run.")) {
      REQUIRE(agents::apply(folded, event));
    }
  }
  CHECK(folded.messages.size() == 4);
  CHECK(folded.tainted);
  Call bob = desk.caller();
  bob.caller = "bob";
  const std::size_t before = desk.model.heard.size();
  desk.run(desk.service->send(bob, desk.request("and for me?", first.context_id)));
  CHECK(desk.model.heard.at(before).size() == 1);
}

TEST_CASE("conversations are forgotten within their bounds, the oldest first", "[a2a][runner]") {
  AgentRunnerOptions options;
  options.conversations_max = 1;
  options.conversation_bytes_max = 50;
  Desk desk({}, options);
  desk.sent(desk.request("a", "one"));
  desk.sent(desk.request("b", "two"));
  desk.sent(desk.request("c", "one"));
  CHECK(desk.model.heard.back().size() == 1);
  desk.sent(desk.request(std::string(100, 'x'), "one"));
  desk.sent(desk.request("d", "one"));
  CHECK(desk.model.heard.back().size() == 1);
}

TEST_CASE("a record of data becomes the workflow's prompt; files are refused", "[a2a][runner]") {
  Desk desk({agents::says("x")});
  SendRequest record = desk.request("");
  Part data;
  data.kind = Part::Kind::data;
  data.data = rpc::Value(rpc::Json({{"id", "INC-7"}}));
  record.message.parts = {data};
  CHECK(desk.sent(record).status.state == TaskState::completed);
  CHECK(desk.model.heard.back().back().content == "Report INC-7.");
  SendRequest lacking = desk.request("");
  data.data = rpc::Value(rpc::Json({{"other", 1}}));
  lacking.message.parts = {data};
  const TaskRecord& failed = desk.sent(lacking);
  CHECK(failed.status.state == TaskState::failed);
  CHECK(words_of(failed).find("${id}") != std::string::npos);
  SendRequest file = desk.request("");
  Part raw;
  raw.kind = Part::Kind::raw;
  raw.text = "aGk=";
  file.message.parts = {raw};
  CHECK(desk.sent(file).status.state == TaskState::rejected);
}

TEST_CASE("cancelling a task stops its session, which ends in the record", "[a2a][runner]") {
  Desk desk({agents::calls("look", "{}"), agents::says("x")});
  SendRequest request = desk.request("hi");
  request.return_immediately = true;
  const std::string id = desk.sent(std::move(request)).id;
  desk.world.loop().run_until([&] { return desk.tools.ran.size() == 1; });
  TaskRequest named;
  named.id = id;
  const auto cancelled = desk.run(desk.service->cancel(desk.caller(), named));
  CHECK(cancelled.value().task->record.status.state == TaskState::canceled);
  desk.run(desk.runner->settle());
  CHECK(desk.types_of(id).back() == "session.ended");
  CHECK(desk.model.gone.size() == 1);
  CHECK(desk.model.heard.size() == 1);
}

TEST_CASE("no more sessions than may be at once; the others wait as submitted", "[a2a][runner]") {
  AgentRunnerOptions options;
  options.sessions_max = 1;
  Desk desk({agents::calls("look", "{}"), agents::says("x")}, options);
  SendRequest first = desk.request("1");
  SendRequest second = desk.request("2");
  first.return_immediately = second.return_immediately = true;
  const TaskRecord& one = desk.sent(std::move(first));
  const TaskRecord& two = desk.sent(std::move(second));
  desk.world.loop().run_until([&] { return desk.tools.ran.size() == 1; });
  CHECK(one.status.state == TaskState::working);
  CHECK(two.status.state == TaskState::submitted);
  desk.world.loop().run_until([&] { return desk.service->runs() == 0; });
  CHECK(two.status.state == TaskState::completed);
}

TEST_CASE("the card is made from the fleet file; tools are shown to known callers alone",
          "[a2a][runner]") {
  Desk desk({});
  desk.fleet.agents[0].a2a->version = "2.1";
  desk.fleet.agents[0].a2a->examples = {"Work report 7."};
  const AgentCard card =
      card_of(desk.fleet, desk.fleet.agents[0], "http://x/agents/clerk", true, true);
  CHECK(fault_1_0("AgentCard", to_json(card, CardShape::pure)) == "");
  CHECK(card.version == "2.1");
  CHECK(card.skills.size() == 1);
  CHECK(card.skills[0].examples.size() == 1);
  CHECK(card.interfaces.size() == 4);
  const AgentCard extended = extended_card_of(card, desk.runner->tools());
  REQUIRE(extended.skills.size() == 3);
  CHECK(extended.skills[1].id == "look");
}

TEST_CASE("a session that its process left goes on where its record ends", "[a2a][runner]") {
  const std::vector<agents::Message> script = {agents::calls("look", "{}"),
                                               agents::says("all is well")};
  Desk desk(script);
  const TaskRecord first = desk.sent(desk.request("look, please"));
  const std::size_t tools_before = desk.tools.ran.size();
  // The record as it stands after the tool's outcome: nothing behind it was written.
  auto& events = desk.journal.events;
  const auto at = std::find_if(events.begin(), events.end(), [](const agents::Event& event) {
    return event.type == "action.outcome";
  });
  REQUIRE(at != events.end());
  events.erase(at + 1, events.end());
  TaskRecord cut = first;
  cut.status = {TaskState::working, std::nullopt, 1};
  cut.artifacts.clear();
  Run run;
  run.task_id = cut.id;
  run.context_id = cut.context_id;
  run.caller = "alice";
  run.message = cut.history.front();
  struct Heard final : RunEvents {
    std::vector<TaskState> states;
    std::string text;
    Task<Result<void>> status(TaskState state, std::optional<Message> /*message*/) override {
      states.push_back(state);
      co_return Result<void>();
    }
    Task<Result<void>> artifact(Artifact artifact, bool /*append*/, bool /*last*/) override {
      text += artifact.parts.at(0).text;
      co_return Result<void>();
    }
  } heard;
  REQUIRE(desk.run(desk.runner->resume(run, cut, heard)));
  CHECK(heard.text == "all is well");
  CHECK(heard.states == std::vector<TaskState>{TaskState::completed});
  CHECK(desk.tools.ran.size() == tools_before);
  const auto types = desk.types_of(cut.id);
  CHECK(std::count(types.begin(), types.end(), "run.started") == 1);
  CHECK(std::count(types.begin(), types.end(), "run.resumed") == 1);
  CHECK(std::count(types.begin(), types.end(), "session.started") == 1);
  // Once more: the session has ended, only its end is told.
  heard = Heard();
  REQUIRE(desk.run(desk.runner->resume(run, cut, heard)));
  CHECK(heard.text == "all is well");
  CHECK(desk.types_of(cut.id).size() == types.size());
}

TEST_CASE("a chain of agents that is too deep is refused", "[a2a][runner]") {
  Desk desk({agents::says("hello")});
  const auto deep = [&](const char* chain) {
    SendRequest request = desk.request("hi");
    Json metadata = Json::object();
    metadata["urn:ambit:a2a:delegation:1"] = Json::parse(chain);
    request.message.metadata = rpc::Value(metadata);
    return desk.sent(std::move(request));
  };
  const TaskRecord allowed = deep(R"({"sub":"bob","act":{"sub":"a"}})");
  CHECK(allowed.status.state == TaskState::completed);
  CHECK(desk.journal.events[0].body.find(R"("delegation":{"sub":"bob")") != std::string::npos);
  const TaskRecord refused = deep(
      R"({"act":{"sub":"a","act":{"sub":"b","act":{"sub":"c","act":{"sub":"d","act":{"sub":"e"}}}}}})");
  CHECK(refused.status.state == TaskState::rejected);
  CHECK(words_of(refused).find("depth") != std::string::npos);
  CHECK(deep("3").status.state == TaskState::rejected);
}

TEST_CASE("words are told while they are decoded, and the last turn's are the answer",
          "[a2a][runner]") {
  agents::Message look = agents::calls("look", "{}");
  look.content = "let me look first";
  Desk desk({look, agents::says("one two three four")});
  desk.model.streams = true;
  auto stream = desk.run(desk.service->stream(desk.caller(), desk.request("hi")));
  REQUIRE(stream);
  const Followed seen = desk.run(follow(std::move(*stream)));
  CHECK(seen.text == "one two three four");
  CHECK(seen.has_last);
  CHECK(seen.chunks == 3 + 4);
  CHECK(seen.states == std::vector<TaskState>{TaskState::working, TaskState::completed});
  Call caller = desk.caller();
  const TaskRecord& task = desk.service->list(caller, {}).value().tasks.at(0)->record;
  REQUIRE(task.artifacts.size() == 1);
  CHECK(task.artifacts[0].parts.size() == 4);
}

TEST_CASE("an engine is never held up: words that come while nobody takes them go out together",
          "[a2a][runner]") {
  Desk desk({agents::says(std::string(3000, 'x') + " " + std::string(2000, 'y'))});
  desk.model.streams = true;
  desk.model.pause = Duration(0);
  auto stream = desk.run(desk.service->stream(desk.caller(), desk.request("hi")));
  REQUIRE(stream);
  const Followed seen = desk.run(follow(std::move(*stream)));
  CHECK(seen.text.size() == 5001);
  CHECK(seen.has_last);
}

TEST_CASE("while a person is waited for the task says so, its place is free, and then it goes on",
          "[a2a][runner]") {
  agents::FakeApprovals people;
  people.takes = std::chrono::seconds(60);
  AgentRunnerOptions options;
  options.sessions_max = 1;
  Desk desk({agents::calls("restart", "{}"), agents::says("restarted")}, options, &people);
  desk.guard.verdicts["restart"] = Verdict::escalate;
  auto stream = desk.run(desk.service->stream(desk.caller(), desk.request("restart it")));
  REQUIRE(stream);
  desk.world.loop().run_until([&] { return people.waiting == 1; });
  // A blocking call does not wait for people, and others are not kept out.
  desk.guard.verdicts.clear();
  const TaskRecord& other = desk.sent(desk.request("just look"));
  CHECK(other.status.state == TaskState::completed);
  CHECK(people.waiting == 1);
  const Followed seen = desk.run(follow(std::move(*stream)));
  CHECK(seen.states == std::vector<TaskState>{TaskState::working, TaskState::auth_required,
                                              TaskState::working, TaskState::completed});
  CHECK(seen.text == "restarted");
}

TEST_CASE("a task that waited for a person when its process ended waits on, and says nothing twice",
          "[a2a][runner]") {
  agents::FakeApprovals people;
  people.takes = std::chrono::hours(1);
  Desk desk({agents::calls("restart", "{}"), agents::says("restarted")}, {}, &people);
  desk.guard.verdicts["restart"] = Verdict::escalate;
  const TaskRecord cut = desk.sent(desk.request("restart it"));
  CHECK(cut.status.state == TaskState::auth_required);
  CHECK(words_of(cut).find("ops@example.com: restart: rule of restart") != std::string::npos);
  desk.runner->leave_open();
  desk.service.reset();
  people.takes = std::chrono::milliseconds(5);
  ServiceOptions again;
  again.card = card_of(desk.fleet, desk.fleet.agents[0], "http://localhost/", true, true);
  Service service(desk.world.world(), desk.store, *desk.runner, again);
  CHECK(service.recover() == 1);
  TaskRequest named;
  named.id = cut.id;
  auto stream = service.subscribe(desk.caller(), named);
  REQUIRE(stream);
  const Followed seen = desk.run(follow(std::move(*stream)));
  CHECK(seen.states == std::vector<TaskState>{TaskState::working, TaskState::completed});
  CHECK(seen.text == "restarted");
}

TEST_CASE("the guard knows who asked through whom, and takes nobody for an agent of the fleet",
          "[a2a][runner]") {
  Desk desk({agents::calls("look", "{}"), agents::says("hello")});
  SendRequest request = desk.request("hi");
  Json metadata = Json::object();
  metadata["urn:ambit:a2a:delegation:1"] =
      Json::parse(R"({"sub":"bob","act":{"sub":"clerk","act":{"sub":"other/desk"}}})");
  request.message.metadata = rpc::Value(metadata);
  CHECK(desk.sent(std::move(request)).status.state == TaskState::completed);
  CHECK(desk.guard.seen.at(0).chain == std::vector<std::string>{"other/desk", "elsewhere/clerk"});
}

TEST_CASE("a file of a message is kept in the record, and the agent reads it by its hash",
          "[a2a]") {
  Desk desk(
      {agents::calls("artifact__read", R"({"artifact":"sha256:5-bytes"})"), agents::says("read")});
  SendRequest request = desk.request("Look into this:");
  Part file;
  file.kind = Part::Kind::raw;
  file.text = "aGVsbG8=";
  file.filename = "notes.txt";
  request.message.parts.push_back(file);
  CHECK(desk.sent(request).status.state != TaskState::completed);
  // With artifacts, and an agent that may read them.
  desk.fleet.artifacts.emplace();
  desk.fleet.agents[0].tools = {"look", "artifact__read"};
  agents::Artifacts artifacts(
      {desk.journal, desk.roster,
       [](std::string_view bytes) { return std::to_string(bytes.size()) + "-bytes"; }},
      *desk.fleet.artifacts);
  agents::Ports ports{desk.guard, desk.journal, agents::any_arguments};
  ports.roster = &desk.roster;
  ports.artifacts = &artifacts;
  AgentRunner runner(desk.fleet, desk.fleet.agents[0], desk.model, ports);
  REQUIRE(desk.run(runner.open({&desk.tools, &artifacts})));
  Service service(desk.world.world(), desk.store, runner, {});
  request.message.id = "with-file";
  auto result = desk.run(service.send(desk.caller(), request));
  REQUIRE(result);
  const TaskRecord& record = std::get<TaskView>(*result).task->record;
  CHECK(record.status.state == TaskState::completed);
  const auto& heard = desk.model.heard.back();
  CHECK(heard.at(0).content == "Look into this:\n[notes.txt, 5 bytes: artifact sha256:5-bytes]");
  CHECK(heard.back().content == "hello");
  const auto at =
      std::find_if(desk.journal.events.begin(), desk.journal.events.end(),
                   [](const agents::Event& event) { return event.type == agents::artifact_event; });
  REQUIRE(at != desk.journal.events.end());
  CHECK(at->payloads.at(0).bytes == "hello");
  request.message.id = "with-nonsense";
  request.message.parts.back().text = "no base64!";
  auto refused = desk.run(service.send(desk.caller(), request));
  CHECK(
      (!refused || std::get<TaskView>(*refused).task->record.status.state != TaskState::completed));
}

}  // namespace ambit::a2a
