// Memories as tools of agents: through the gate, with provenance, once however often a crash makes
// a call come.

#include "memory/tools.h"

#include "agents/fleet_run.h"
#include "runtime/agents/scripted.h"

#include <catch2/catch.hpp>

#include <filesystem>

namespace ambit::memory {
namespace {

using namespace agents;

class FixedClock final : public io::Clock {
 public:
  std::int64_t unix_ns() override { return now_ms * 1'000'000; }
  std::int64_t now_ms = 1'000;
};

class InlineWorkers final : public io::Workers {
 public:
  Task<void> run(std::function<void()> work) override {
    co_await delay(std::chrono::microseconds(10));
    work();
  }
};

// Knows of one value where it was read.
class KnowingGuard final : public Guard {
 public:
  Decision decide(const Action& action) override {
    Decision decision;
    decision.verdict = action.tool == denied ? Verdict::deny : Verdict::allow;
    decision.reason = "rule";
    seen.push_back(action);
    return decision;
  }
  void trace(Action& action) const override {
    if (action.arguments.find("\"value\"") != std::string::npos) action.origins = {origin};
  }
  ArgumentOrigin origin{"value", Trust::user, false, {"user"}};
  std::string denied;
  std::vector<Action> seen;
};

struct Desk {
  Desk() {
    std::string name = (std::filesystem::temp_directory_path() / "ambit-memory-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
    fleet = small_fleet();
    fleet.memories.push_back({"notes"});
    fleet.memories.back().is_shared = true;
    fleet.memories.push_back({"own"});
    fleet.agents[0].memory = {"notes", "own"};
    fleet.agents[0].tools = {"memory__notes__*", "memory__own__*"};
    open();
  }
  ~Desk() {
    store.reset();
    std::filesystem::remove_all(folder);
  }
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  void open() {
    store.reset();
    auto opened = Store::open(folder, Store::Mode::write);
    REQUIRE(opened);
    store = std::move(*opened);
  }

  // One session says the script and gives what it read.
  SessionState run(const std::string& id, std::vector<Message> script,
                   const std::string& person = "eve") {
    ScriptedModel model(std::move(script));
    Roster roster;
    MemoryTools tools({clock, workers, guard, roster, nullptr}, fleet.memories, store);
    Ports ports{guard, journal, any_arguments};
    ports.roster = &roster;
    FleetRun fleet_run(fleet, RunOptions{id, person, 1, 1},
                       std::map<std::string, Model*>{{"m", &model}}, std::vector<Toolbox*>{&tools},
                       ports);
    if (resume) REQUIRE(fleet_run.restore(journal));
    Result<void> result;
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(fleet_run, {{"main", "hello", ""}}, result));
    loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
    return fleet_run.sessions().at(0)->state;
  }

  std::string folder;
  FakePoller poller;
  Loop loop{poller};
  Fleet fleet;
  FixedClock clock;
  InlineWorkers workers;
  KnowingGuard guard;
  MemoryJournal journal;
  std::shared_ptr<Store> store;
  bool resume = false;
};

std::vector<std::string> results(const SessionState& state) {
  std::vector<std::string> texts;
  for (const Message& message : state.messages) {
    if (message.role == Role::tool) texts.push_back(message.content);
  }
  return texts;
}

Remembered read_of(const SessionState& state) {
  const auto values = read_remembered(results(state).at(0));
  REQUIRE(values);
  REQUIRE(values->size() == 1);
  return values->front();
}

const std::string put_blue = R"({"key":"colour","value":"blue"})";
const std::string colour = R"({"key":"colour"})";

}  // namespace

TEST_CASE("what one session keeps another one reads, with where it came from", "[memory]") {
  Desk desk;
  const SessionState wrote = desk.run("r1", {calls("memory__notes__put", put_blue), says("kept")});
  CHECK(results(wrote) == std::vector<std::string>{R"({"key":"colour","replaced":false})"});
  CHECK_FALSE(wrote.tainted);
  const SessionState read = desk.run("r2", {calls("memory__notes__get", colour), says("read")});
  CHECK(
      read_of(read) ==
      Remembered{
          "colour", "blue", false, Trust::user, {"memory:notes", "user"}, false, "clerk", "main"});
  CHECK_FALSE(read.tainted);
  const SessionState none =
      desk.run("r3", {calls("memory__notes__get", R"({"key":"x"})"), says("")});
  CHECK(results(none) == std::vector<std::string>{R"({"key":"x","found":false,"tainted":false})"});
}

TEST_CASE("what another person said is nobody's word here", "[memory]") {
  Desk desk;
  desk.run("r1", {calls("memory__notes__put", put_blue), says("kept")}, "eve");
  const auto read = desk.run("r2", {calls("memory__notes__get", colour), says("")}, "bob");
  CHECK(read_of(read).trust == Trust::unknown);
}

TEST_CASE("what a session makes up after reading what nobody vouches for is not believed later",
          "[memory]") {
  Desk desk;
  desk.guard.origin = {"value", Trust::unknown, false, {}};
  desk.run("r1", {calls("memory__notes__put", put_blue), says("kept")});
  CHECK(read_of(desk.run("r2", {calls("memory__notes__get", colour), says("")})).trust ==
        Trust::unknown);
  // A listing of another kind of tool taints; here the value itself came from one.
  desk.guard.origin = {"value", Trust::untrusted, false, {"tool:read_mail"}};
  desk.run("r3", {calls("memory__notes__put", put_blue), says("kept")});
  const Remembered poisoned =
      read_of(desk.run("r4", {calls("memory__notes__get", colour), says("")}));
  CHECK(poisoned.trust == Trust::untrusted);
  CHECK(poisoned.sources == std::vector<std::string>{"memory:notes", "tool:read_mail"});
}

TEST_CASE("a session that was tainted taints those that read what it kept", "[memory]") {
  Desk desk;
  desk.guard.origin = {"value", Trust::unknown, false, {}};
  Entry bad;
  bad.key = "seen";
  bad.value = "from a mail";
  bad.tainted = true;
  Space notes{"notes", desk.fleet.memories[0]};
  REQUIRE(desk.store->put(notes, bad, "", 1));
  const auto both = desk.run("r1", {calls("memory__notes__get", R"({"key":"seen"})"),
                                    calls("memory__notes__put", put_blue), says("")});
  CHECK(both.tainted);
  const Remembered made_up =
      read_of(desk.run("r2", {calls("memory__notes__get", colour), says("")}));
  CHECK(made_up.tainted);
  CHECK(made_up.trust == Trust::untrusted);
}

TEST_CASE("each agent has its own of a memory that is not shared", "[memory]") {
  Desk desk;
  desk.run("r1", {calls("memory__own__put", put_blue), says("kept")});
  AgentSpec other = desk.fleet.agents[0];
  other.name = "other";
  desk.fleet.agents.push_back(other);
  desk.fleet.workflow.agent = "other";
  const auto read = desk.run("r2", {calls("memory__own__get", colour), says("")});
  CHECK(results(read).at(0).find("\"found\":false") != std::string::npos);
  CHECK(desk.store->spaces()->at(0).name == "own/clerk");
}

TEST_CASE("search, list and delete are tools, and a refused write keeps nothing", "[memory]") {
  Desk desk;
  desk.run("r1",
           {calls("memory__notes__put", put_blue),
            calls("memory__notes__put", R"({"key":"sky","value":"The sky is BLUE."})"), says("")});
  const auto state = desk.run(
      "r2", {calls("memory__notes__search", R"({"query":"Blue sky","limit":1})"),
             calls("memory__notes__list", R"({"prefix":"c"})"),
             calls("memory__notes__delete", colour), calls("memory__notes__list", "{}"), says("")});
  const auto texts = results(state);
  const auto found = read_remembered(texts.at(0));
  REQUIRE(found);
  REQUIRE(found->size() == 1);
  CHECK(found->front().key == "sky");
  CHECK(texts.at(1) == R"({"entries":[{"key":"colour","bytes":4,"agent":"clerk","tainted":false}],)"
                       R"("more":false,"tainted":false})");
  CHECK(texts.at(2) == R"({"key":"colour","deleted":true})");
  CHECK(texts.at(3).find("colour") == std::string::npos);
  desk.guard.denied = "memory__notes__put";
  const auto denied = desk.run("r3", {calls("memory__notes__put", put_blue), says("")});
  CHECK(denied.end == SessionEnd::denied);
  CHECK_FALSE(*desk.store->get("notes", "colour", 1));
}

TEST_CASE("a run that is cut off anywhere writes once, and keeps what others wrote since",
          "[memory]") {
  const std::vector<Message> script = {
      calls("memory__notes__put", put_blue),
      calls("memory__notes__put", R"({"key":"colour","value":"green"})"),
      calls("memory__notes__delete", R"({"key":"old"})"), says("done")};
  Desk whole;
  whole.run("r", script);
  const std::vector<agents::Event> events = whole.journal.events;
  for (std::size_t cut = 1; cut < events.size(); ++cut) {
    INFO("cut after " << cut << " events, the last of them " << events[cut - 1].type);
    // All of it was done, and of its record there is a part: the worst that a crash can leave.
    Desk desk;
    desk.run("r", script);
    Space notes{"notes", desk.fleet.memories[0]};
    Entry later;
    later.key = "colour";
    later.value = "of somebody else";
    REQUIRE(desk.store->put(notes, later, "", 1));
    later.key = "old";
    REQUIRE(desk.store->put(notes, later, "", 1));
    desk.journal.events.assign(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut));
    desk.resume = true;
    desk.open();
    const SessionState state = desk.run("r", script);
    CHECK(state.end == SessionEnd::completed);
    CHECK((*desk.store->get("notes", "colour", 1))->value == "of somebody else");
    CHECK(*desk.store->get("notes", "old", 1));
  }
}

TEST_CASE("a value too long to be read whole is cut, and is still told of", "[memory]") {
  Desk desk;
  desk.fleet.memories[0].entry_bytes_max = 24 << 10;
  Space notes{"notes", desk.fleet.memories[0]};
  Entry long_one;
  long_one.key = "k";
  long_one.tainted = false;
  for (int i = 0; i < 20'000; ++i) long_one.value += '\x01';
  REQUIRE(desk.store->put(notes, long_one, "", 1));
  const auto state = desk.run("r", {calls("memory__notes__get", R"({"key":"k"})"), says("")});
  const Remembered value = read_of(state);
  CHECK(value.cut);
  CHECK(value.value.size() > 1000);
  CHECK_FALSE(state.tainted);
}

TEST_CASE("what is no result of a memory taints, and says nothing", "[memory]") {
  CHECK(taints("look", R"({"tainted":false})"));
  CHECK(taints("memory__notes__get", "error: no"));
  CHECK(taints("memory__notes__get", R"({"tainted":"no"})"));
  CHECK_FALSE(taints("memory__notes__put", "error: full"));
  CHECK_FALSE(read_remembered("{\"entries\":[{\"value\":7}]}"));
  CHECK_FALSE(read_remembered("[]"));
  CHECK(memory_tool("memory__a_b__get").store == "a_b");
  CHECK(memory_tool("memory__get").store.empty());
  CHECK(memory_tool("mcp__memory__get").store.empty());
}

}  // namespace ambit::memory
