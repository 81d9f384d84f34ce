// Tasks as a view of the journal: what a new process folds from it is what the old one had.

#include "a2a/journal_store.h"

#include "a2a/agent_runner.h"
#include "a2a/service.h"
#include "a2a/task_fact.h"
#include "async/race.h"
#include "run_task.h"
#include "runtime/agents/scripted.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

std::vector<std::string> ids_in(const agents::MemoryJournal& journal) {
  std::vector<std::string> ids;
  for (const agents::Event& event : journal.events) {
    if (event.type == "task.created") ids.push_back(event.run);
  }
  return ids;
}

// Counts up to the number in its message, a chunk each, and goes on where it stopped.
class CountingRunner final : public TaskRunner {
 public:
  int resumed = 0;
  Task<Result<std::optional<Message>>> answer(Run /*run*/) override {
    co_return std::optional<Message>();
  }
  Task<Result<void>> run(Run run, RunEvents& events) override {
    co_await ok(events.status(TaskState::working, std::nullopt));
    co_return co_await count(run, 0, events);
  }
  Task<Result<void>> resume(Run run, TaskRecord so_far, RunEvents& events) override {
    ++resumed;
    const std::size_t from = so_far.artifacts.empty() ? 0 : so_far.artifacts[0].parts.size();
    co_return co_await count(run, static_cast<int>(from), events);
  }

 private:
  static Task<Result<void>> count(Run run, int from, RunEvents& events) {
    const int to = std::stoi(run.message.parts.at(0).text);
    for (int n = from; n < to; ++n) {
      co_await delay(std::chrono::milliseconds(1));
      Artifact artifact;
      artifact.id = "count";
      artifact.parts.push_back(text_part(std::to_string(n) + " "));
      co_await ok(events.artifact(std::move(artifact), n > 0, n + 1 == to));
    }
    co_return co_await events.status(TaskState::completed, std::nullopt);
  }
};

SendRequest request_of(const std::string& text, const std::string& id) {
  SendRequest request;
  request.message.id = id;
  request.message.role = Role::user;
  request.message.parts.push_back(text_part(text));
  request.return_immediately = true;
  return request;
}

Call caller(const std::string& name = "alice") {
  Call call;
  call.caller = name;
  return call;
}

std::string text_of(const TaskRecord& task) {
  std::string text;
  for (const Artifact& artifact : task.artifacts) {
    for (const Part& part : artifact.parts) text += part.text;
  }
  return text;
}

std::string counted(int to) {
  std::string text;
  for (int n = 0; n < to; ++n) text += std::to_string(n) + " ";
  return text;
}

// A process' worth of service on a journal that outlives it.
struct Life {
  JournalTaskStore store;
  CountingRunner runner;
  Service service;
  Life(sim::SimWorld& world, agents::MemoryJournal& journal, StoreLimits limits = {})
      : store(journal, "clerk", limits), service(world.world(), store, runner, options()) {
    store.restore(ids_in(journal));
  }
  static ServiceOptions options() {
    ServiceOptions options = Agent::card_options();
    options.card.has_push_notifications = true;
    return options;
  }
};

}  // namespace

TEST_CASE("a new process begins with what is open and the newest of what has ended",
          "[a2a][journal]") {
  StoreLimits limits;
  limits.tasks_max = 2;
  TaskRoll roll(limits);
  const auto change = [&roll](const std::string& id, std::optional<TaskState> state) {
    TaskChanges changes;
    if (state) changes.emplace_back(TaskStatus{*state, std::nullopt, 1});
    const agents::Event event = changed_event(id, changes, "clerk");
    roll.follow(event.run, event.type, event.body);
  };
  for (const char* id : {"t1", "t2", "t3", "t4", "t5", "t6", "t7"}) {
    TaskRecord record;
    record.id = id;
    const agents::Event event = created_event(record, "alice", "clerk");
    roll.follow(event.run, event.type, event.body);
    change(id, TaskState::working);
  }
  CHECK(roll.ids().size() == 7);
  // Ended in another order than made: the newest are those that were made last.
  change("t7", TaskState::rejected);
  change("t1", TaskState::completed);
  change("t3", TaskState::failed);
  change("t4", TaskState::canceled);
  change("t2", TaskState::input_required);
  change("t5", TaskState::auth_required);
  change("t4", std::nullopt);          // as a push configuration does after the end
  change("t1", TaskState::completed);  // of one that was left out already
  change("t9", TaskState::working);    // of one that was never made
  roll.follow("t2", "turn.completed", R"({"state":"TASK_STATE_COMPLETED"})");
  CHECK(roll.ids() == std::vector<std::string>{"t2", "t4", "t5", "t6", "t7"});
}

TEST_CASE("a task of every kind of change is the same after it was folded from the journal",
          "[a2a][journal]") {
  sim::SimWorld world(1);
  agents::MemoryJournal journal;
  JournalTaskStore store(journal, "clerk");
  const auto run = [&](auto task) { return run_task(world.loop(), std::move(task)); };
  TaskRecord record;
  record.id = "t1";
  record.context_id = "c";
  record.status = {TaskState::submitted, std::nullopt, 1'790'000'000'123'456'789};
  Message message;
  message.id = "m1";
  message.role = Role::user;
  message.parts.push_back(text_part("hi"));
  Part data;
  data.kind = Part::Kind::data;
  data.data = rpc::Value(Json());
  message.parts.push_back(data);
  record.history.push_back(message);
  record.metadata = rpc::Value(Json({{"k", 1}}));
  const std::string owner = std::string("alice") + '\0' + "north";
  REQUIRE(run(store.create(record, owner)));
  Message words = message;
  words.id = "m2";
  words.role = Role::agent;
  ArtifactChange chunk;
  chunk.artifact.id = "a";
  chunk.artifact.parts.push_back(text_part("one"));
  PushChange push;
  push.config = {"north", "p", "t1", "https://example.com/", "tok", "Bearer", "cr3d", true};
  TaskChanges changes;
  changes.emplace_back(TaskStatus{TaskState::working, words, 1'790'000'000'123'456'999});
  changes.emplace_back(chunk);
  chunk.append = true;
  changes.emplace_back(chunk);
  changes.emplace_back(push);
  REQUIRE(run(store.append("t1", changes)));
  Message more = message;
  more.id = "m3";
  TaskChanges said;
  said.emplace_back(more);
  REQUIRE(run(store.append("t1", said)));
  CHECK(journal.events.size() == 3);

  JournalTaskStore again(journal, "clerk");
  const auto restored = again.restore(ids_in(journal));
  CHECK(restored.open == 1);
  CHECK(restored.left_out.empty());
  const auto before = store.find(owner, "t1");
  const auto after = again.find(owner, "t1");
  REQUIRE(after);
  CHECK(after->record == before->record);
  CHECK(after->push == before->push);
  CHECK(after->generation == before->generation);
  CHECK(after->bytes == before->bytes);
  CHECK(again.find_message(owner, "m3"));
  CHECK_FALSE(again.find_message(owner, "m2"));
  CHECK_FALSE(again.find("alice", "t1"));
  // Another agent on the same journal has no such task.
  JournalTaskStore other(journal, "other");
  other.restore(ids_in(journal));
  CHECK_FALSE(other.find(owner, "t1"));
  PushChange removed;
  removed.config.id = "p";
  removed.is_removed = true;
  TaskChanges without;
  without.emplace_back(removed);
  REQUIRE(run(again.append("t1", without)));
  CHECK(again.find(owner, "t1")->push.empty());
}

TEST_CASE("nothing is shown that the journal does not have", "[a2a][journal]") {
  sim::SimWorld world(1);
  agents::MemoryJournal journal;
  Life life(world, journal);
  const auto run = [&](auto task) { return run_task(world.loop(), std::move(task)); };
  journal.fail_after = 0;
  const auto refused = run(life.service.send(caller(), request_of("3", "m1")));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().fault == Fault::exhausted);
  CHECK(life.store.size() == 0);
  journal.fail_after = 3;
  const auto sent = run(life.service.send(caller(), request_of("50", "m2")));
  const std::string id = std::get<TaskView>(sent.value()).task->record.id;
  world.loop().run_until([&] { return life.service.runs() == 0; });
  // Its last state could not be written, so nobody was told of it.
  CHECK(life.store.find(caller().caller + '\0', id)->record.status.state == TaskState::working);
  JournalTaskStore fresh(journal, "clerk");
  fresh.restore(ids_in(journal));
  const auto told = life.store.find(std::string("alice") + '\0', id);
  CHECK(fresh.find(std::string("alice") + '\0', id)->record == told->record);
}

TEST_CASE("a process that dies loses no task: those at work go on, those that wait still wait",
          "[a2a][journal]") {
  sim::SimWorld world(1);
  agents::MemoryJournal journal;
  const auto run = [&](auto task) { return run_task(world.loop(), std::move(task)); };
  std::string counting;
  {
    Life life(world, journal);
    const auto sent = run(life.service.send(caller(), request_of("100", "m1")));
    counting = std::get<TaskView>(sent.value()).task->record.id;
    PushConfig config;
    config.task_id = counting;
    config.id = "p";
    config.url = "https://example.com/";
    REQUIRE(run(life.service.create_push(caller(), config)));
    for (int n = 0; n < 30; ++n) run(delay_task(std::chrono::milliseconds(1)));
  }
  Life life(world, journal);
  const auto known = life.service.get(caller(), {"", counting, std::nullopt});
  REQUIRE(known);
  const std::string before = text_of(known->task->record);
  CHECK(before.size() > 10);
  CHECK(counted(100).starts_with(before));
  CHECK(life.service.recover() == 1);
  CHECK(life.service.recover() == 0);
  // A client subscribes again, and hears the rest, once.
  TaskRequest subscribe;
  subscribe.id = counting;
  auto stream = std::move(life.service.subscribe(caller(), subscribe).value());
  std::string heard;
  while (true) {
    const auto update = run(stream->queue().receive());
    if (!update) break;
    if (const auto* task = std::get_if<TaskRecord>(&(*update)->event())) heard = text_of(*task);
    if (const auto* chunk = std::get_if<ArtifactUpdate>(&(*update)->event())) {
      heard += chunk->artifact.parts.at(0).text;
    }
  }
  CHECK(heard == counted(100));
  CHECK(life.runner.resumed == 1);
  const auto done = life.service.get(caller(), {"", counting, std::nullopt});
  CHECK(done->task->record.status.state == TaskState::completed);
  CHECK(done->task->push.contains("p"));
  // The same message once more gives the same task.
  const auto again = run(life.service.send(caller(), request_of("100", "m1")));
  CHECK(std::get<TaskView>(again.value()).task->record.id == counting);
}

TEST_CASE("a task that had to make room is folded again for its owner alone", "[a2a][journal]") {
  sim::SimWorld world(1);
  agents::MemoryJournal journal;
  StoreLimits limits;
  limits.tasks_max = 2;
  Life life(world, journal, limits);
  const auto run = [&](auto task) { return run_task(world.loop(), std::move(task)); };
  std::vector<std::string> ids;
  for (int n = 0; n < 4; ++n) {
    SendRequest request = request_of("2", "m" + std::to_string(n));
    request.return_immediately = false;
    const auto sent = run(life.service.send(caller(), std::move(request)));
    ids.push_back(std::get<TaskView>(sent.value()).task->record.id);
  }
  CHECK(life.store.size() == 2);
  const auto first = life.service.get(caller(), {"", ids[0], std::nullopt});
  REQUIRE(first);
  CHECK(text_of(first->task->record) == counted(2));
  CHECK_FALSE(life.service.get(caller("bob"), {"", ids[0], std::nullopt}));
  TaskRequest cancel;
  cancel.id = ids[0];
  CHECK(run(life.service.cancel(caller(), cancel)).error().fault == Fault::task_not_cancelable);
}

TEST_CASE("a damaged record of a task is told of and leaves the others alone", "[a2a][journal]") {
  sim::SimWorld world(1);
  agents::MemoryJournal journal;
  {
    Life life(world, journal);
    for (const char* id : {"m1", "m2"}) {
      run_task(world.loop(), life.service.send(caller(), request_of("1", id)));
    }
    world.loop().run_until([&] { return life.service.runs() == 0; });
  }
  journal.events[0].payloads.clear();
  JournalTaskStore store(journal, "clerk");
  const auto restored = store.restore(ids_in(journal));
  CHECK(restored.ended == 1);
  REQUIRE(restored.left_out.size() == 1);
  CHECK(restored.left_out[0].message.find("erased") != std::string::npos);
}

}  // namespace ambit::a2a
