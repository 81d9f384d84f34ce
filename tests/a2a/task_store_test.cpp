#include "a2a/task_store.h"

#include "run_task.h"
#include "sim/sim_world.h"

#include <catch2/catch.hpp>

#include <set>

namespace ambit::a2a {
namespace {

struct Fixture {
  sim::SimWorld world{1};
  MemoryTaskStore store;
  std::int64_t now = 1000;

  explicit Fixture(StoreLimits limits = {}) : store(limits) {}
  Result<TaskStore::Ref> create(const std::string& id, const std::string& owner = "a") {
    TaskRecord record;
    record.id = id;
    record.context_id = "c";
    record.status.state = TaskState::submitted;
    record.status.timestamp_ns = ++now;
    record.history.push_back(said("m-" + id));
    return run_task(world.loop(), store.create(std::move(record), owner));
  }
  Result<void> append(const std::string& id, TaskChange change) {
    TaskChanges changes{std::move(change)};
    return run_task(world.loop(), store.append(id, std::move(changes)));
  }
  Result<void> become(const std::string& id, TaskState state) { return append(id, status(state)); }
  TaskStatus status(TaskState state) {
    TaskStatus status;
    status.state = state;
    status.timestamp_ns = ++now;
    return status;
  }
  static Message said(const std::string& id) {
    Message message;
    message.id = id;
    message.role = Role::user;
    message.parts.push_back(text_part("x"));
    return message;
  }
  std::vector<std::string> ids(const TaskPage& page) {
    std::vector<std::string> all;
    for (const auto& task : page.tasks) all.push_back(task->record.id);
    return all;
  }
};

ArtifactChange chunk(const std::string& text, bool append) {
  ArtifactChange change;
  change.artifact.id = "a";
  change.artifact.parts.push_back(text_part(text));
  change.append = append;
  return change;
}

}  // namespace

TEST_CASE("an ended task takes nothing more", "[a2a][store]") {
  for (const auto end :
       {TaskState::completed, TaskState::failed, TaskState::canceled, TaskState::rejected}) {
    Fixture f;
    REQUIRE(f.create("t"));
    REQUIRE(f.become("t", TaskState::working));
    REQUIRE(f.become("t", end));
    const auto generation = f.store.find("a", "t")->generation;
    CHECK(f.become("t", TaskState::working).error().code == Code::conflict);
    CHECK(f.append("t", chunk("x", true)).error().code == Code::conflict);
    CHECK(f.append("t", Fixture::said("m2")).error().code == Code::conflict);
    CHECK(f.store.find("a", "t")->generation == generation);
    CHECK(f.store.find("a", "t")->record.status.state == end);
  }
}

TEST_CASE("a status' words move to the history when the next one comes", "[a2a][store]") {
  Fixture f;
  REQUIRE(f.create("t"));
  TaskStatus asks = f.status(TaskState::input_required);
  asks.message = Fixture::said("question");
  REQUIRE(f.append("t", asks));
  CHECK(f.store.find("a", "t")->record.history.size() == 1);
  REQUIRE(f.append("t", Fixture::said("reply")));
  const auto& history = f.store.find("a", "t")->record.history;
  REQUIRE(history.size() == 3);
  CHECK(history[1].id == "question");
  CHECK(history[2].id == "reply");
  CHECK_FALSE(f.store.find("a", "t")->record.status.message.has_value());
}

TEST_CASE("an artifact is made longer or replaced", "[a2a][store]") {
  Fixture f;
  REQUIRE(f.create("t"));
  REQUIRE(f.append("t", chunk("1", false)));
  REQUIRE(f.append("t", chunk("2", true)));
  const auto task = f.store.find("a", "t");
  REQUIRE(task->record.artifacts.size() == 1);
  CHECK(task->record.artifacts[0].parts.size() == 2);
  const auto bytes = task->bytes;
  REQUIRE(f.append("t", chunk("3", false)));
  CHECK(task->record.artifacts[0].parts.size() == 1);
  CHECK(task->bytes < bytes);
  CHECK(task->generation == 3);
}

TEST_CASE("a task belongs to its owner", "[a2a][store]") {
  Fixture f;
  REQUIRE(f.create("t", "alice"));
  CHECK(f.store.find("alice", "t") != nullptr);
  CHECK(f.store.find("bob", "t") == nullptr);
  CHECK(f.store.find_message("alice", "m-t") != nullptr);
  CHECK(f.store.find_message("bob", "m-t") == nullptr);
  CHECK(f.store.list("bob", {}, 10, "").value().total == 0);
}

TEST_CASE("a list goes from the latest status, page by page, each task once", "[a2a][store]") {
  Fixture f;
  for (int n = 0; n < 25; ++n) REQUIRE(f.create("t" + std::to_string(n)));
  REQUIRE(f.create("other", "b"));
  REQUIRE(f.become("t3", TaskState::working));
  std::string token;
  std::vector<std::string> seen;
  int pages = 0;
  do {
    const auto page = f.store.list("a", {}, 10, token).value();
    CHECK(page.total == 25);
    for (const auto& id : f.ids(page)) seen.push_back(id);
    token = page.next_token;
    ++pages;
    // What changes meanwhile moves to the front and disturbs nothing.
    if (pages == 1) REQUIRE(f.become("t3", TaskState::completed));
  } while (!token.empty());
  CHECK(pages == 3);
  CHECK(seen.size() == 25);
  CHECK(seen[0] == "t3");
  CHECK(seen[1] == "t24");
  CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == 25);
  for (const char* bad : {"x", "1", "1.", ".1", "-1.-1", "99999999999999999999.1", "1.1x"}) {
    INFO(bad);
    CHECK(f.store.list("a", {}, 10, bad).error().code == Code::invalid);
  }
}

TEST_CASE("a list is filtered by state, context and time", "[a2a][store]") {
  Fixture f;
  for (int n = 0; n < 6; ++n) REQUIRE(f.create("t" + std::to_string(n)));
  REQUIRE(f.become("t1", TaskState::completed));
  TaskFilter filter;
  filter.state = TaskState::completed;
  CHECK(f.ids(f.store.list("a", filter, 10, "").value()) == std::vector<std::string>{"t1"});
  filter = {};
  filter.context_id = "none";
  CHECK(f.store.list("a", filter, 10, "").value().total == 0);
  filter = {};
  filter.after_ns = 1006;
  CHECK(f.ids(f.store.list("a", filter, 10, "").value()) == std::vector<std::string>{"t1", "t5"});
}

TEST_CASE("the store forgets the oldest that has ended, never one at work", "[a2a][store]") {
  StoreLimits limits;
  limits.tasks_max = 3;
  Fixture f(limits);
  std::vector<std::string> evicted;
  f.store.on_evicted([&](const StoredTask& task) { evicted.push_back(task.record.id); });
  REQUIRE(f.create("works"));
  REQUIRE(f.create("second"));
  REQUIRE(f.create("first"));
  CHECK(f.create("fourth").error().code == Code::exhausted);
  REQUIRE(f.become("first", TaskState::completed));
  REQUIRE(f.become("second", TaskState::failed));
  for (int n = 0; n < 1000; ++n) {
    const std::string id = "t" + std::to_string(n);
    REQUIRE(f.create(id));
    REQUIRE(f.become(id, TaskState::completed));
    CHECK(f.store.size() == 3);
  }
  CHECK(evicted.size() == 1000);
  CHECK(evicted[0] == "first");
  CHECK(evicted[1] == "second");
  CHECK(f.store.find("a", "works") != nullptr);
  CHECK(f.store.find_message("a", "m-first") == nullptr);
  CHECK(f.store.list("a", {}, 10, "").value().total == 3);
}

TEST_CASE("each bound of a task is an error that changes nothing", "[a2a][store]") {
  StoreLimits limits;
  limits.task_bytes_max = 2000;
  limits.total_bytes_max = 3000;
  limits.history_max = 3;
  Fixture f(limits);
  REQUIRE(f.create("t"));
  CHECK(f.append("t", chunk(std::string(3000, 'x'), true)).error().code == Code::exhausted);
  REQUIRE(f.append("t", chunk(std::string(1500, 'x'), true)));
  CHECK(f.append("t", chunk(std::string(1500, 'x'), true)).error().code == Code::exhausted);
  CHECK(f.store.find("a", "t")->record.artifacts[0].parts.size() == 1);
  REQUIRE(f.create("u"));
  CHECK(f.append("u", chunk(std::string(1500, 'x'), true)).error().code == Code::exhausted);
  REQUIRE(f.become("t", TaskState::completed));
  CHECK(f.append("u", chunk(std::string(1500, 'x'), true)));
  CHECK(f.store.size() == 1);
  CHECK(f.append("gone", chunk("x", true)).error().code == Code::not_found);
  REQUIRE(f.create("v"));
  REQUIRE(f.append("v", Fixture::said("2")));
  REQUIRE(f.append("v", Fixture::said("3")));
  CHECK(f.append("v", Fixture::said("4")).error().code == Code::exhausted);
}

}  // namespace ambit::a2a
