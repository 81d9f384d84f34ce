#include "replay/replay.h"

#include "agents/sub_agents.h"
#include "runtime/agents/scripted.h"
#include "runtime/agents/summing_model.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace ambit;
using namespace ambit::agents;

namespace {

// A run of three sessions, each: a call that is allowed, one that is denied, an answer.
struct Recorded {
  Recorded() {
    guard.verdicts["rm"] = Verdict::deny;
    FleetRun run(fleet, {"run-1", "ann", 7, 1}, {{"m", &model}}, {&tools},
                 {guard, journal, any_arguments});
    const auto done = run_task(loop, run.run({{"a", "one", ""}, {"b", "two", ""}, {"c", "x", ""}}));
    REQUIRE(done);
  }
  replay::Report again(replay::Options options = {}) {
    const auto specs = std::make_shared<const std::vector<ToolSpec>>(
        std::vector<ToolSpec>{tool("ls", true), tool("rm", false)});
    replay::Replay replay({fleet, {{"m", &model}}, guard, {{"clerk", specs}}}, options);
    auto report = run_task(loop, replay.run(journal, "run-1"));
    if (!report) FAIL(report.error().message);
    return *report;
  }
  // The record that is the `number`th of its type.
  agents::Event& record(const std::string& type, int number) {
    for (agents::Event& event : journal.events) {
      if (event.type == type && number-- == 0) return event;
    }
    FAIL("no such record");
    return journal.events.front();
  }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  ScriptedModel model{{calls("ls", "{}"), calls("rm", R"({"path":"/"})"), says("all done")}};
  TableGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("ls", true), tool("rm", false)}};
};

void replace(std::string& text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a run replays identically, and no tool is called for it", "[replay]") {
  Recorded recorded;
  const std::size_t ran = recorded.tools.ran.size();
  const replay::Report report = recorded.again();
  for (const auto& each : report.differences) UNSCOPED_INFO(each.what);
  CHECK(report.differences.empty());
  CHECK(report.sessions == 3);
  CHECK(report.turns == 9);
  CHECK(report.tokens == 45);
  CHECK(report.decisions == 15);
  CHECK(recorded.tools.ran.size() == ran);
}

TEST_CASE("a model that says one thing otherwise is named with its turn", "[replay]") {
  Recorded recorded;
  recorded.model =
      ScriptedModel({calls("ls", "{}"), calls("rm", R"({"path":"/tmp"})"), says("all done")});
  const replay::Report report = recorded.again();
  REQUIRE(report.differences.size() == 1);
  CHECK(report.differences[0].turn == 2);
  CHECK_THAT(report.differences[0].what, Catch::Contains("the model said something else"));
  CHECK_THAT(report.differences[0].what, Catch::Contains("/tmp"));
}

TEST_CASE("a record in which a turn was altered diverges there", "[replay]") {
  Recorded recorded;
  agents::Event& altered = recorded.record("turn.completed", 4);
  replace(altered.payloads.at(0).bytes, "assistant\",\"content\":\"\"",
          "assistant\",\"content\":\"!\"");
  const replay::Report report = recorded.again();
  REQUIRE(report.differences.size() == 1);
  CHECK(report.differences[0].session == altered.session);
}

TEST_CASE("a run with summaries replays identically, and another summary is named", "[replay]") {
  FakePoller poller;
  Loop loop{poller};
  const Fleet fleet = compacting_fleet();
  SummingModel model(20);
  TableGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("look", true)}};
  FleetRun run(fleet, {"run-1", "ann", 7, 1}, {{"m", &model}}, {&tools},
               {guard, journal, any_arguments});
  REQUIRE(run_task(loop, run.run({{"a", "one", ""}})));
  const std::int64_t summaries = run.sessions().at(0)->state.compactions;
  REQUIRE(summaries >= 3);
  const auto specs =
      std::make_shared<const std::vector<ToolSpec>>(std::vector<ToolSpec>{tool("look", true)});
  const auto again = [&](const Fleet& by) {
    replay::Replay replay({by, {{"m", &model}}, guard, {{"clerk", specs}}}, {});
    auto report = run_task(loop, replay.run(journal, "run-1"));
    if (!report) FAIL(report.error().message);
    return *report;
  };
  const replay::Report same = again(fleet);
  for (const auto& each : same.differences) UNSCOPED_INFO(each.what);
  CHECK(same.differences.empty());
  CHECK(same.turns == static_cast<std::uint64_t>(21 + summaries));
  Fleet without = fleet;
  without.agents[0].compaction.reset();
  CHECK(again(without).differences.size() == 1);
  for (agents::Event& event : journal.events) {
    if (event.body.find("compacts") == std::string::npos) continue;
    replace(event.payloads.at(0).bytes, "looked ", "looked! ");
    break;
  }
  const replay::Report altered = again(fleet);
  REQUIRE(altered.differences.size() == 1);
  CHECK_THAT(altered.differences[0].what, Catch::Contains("the model said something else"));
}

TEST_CASE("a run with snapshots replays identically", "[replay]") {
  FakePoller poller;
  Loop loop{poller};
  const Fleet fleet = compacting_fleet();
  SummingModel model(20);
  TableGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("look", true)}};
  Ports ports{guard, journal, any_arguments};
  ports.snapshots = {1000, 500, 2};
  FleetRun run(fleet, {"run-1", "ann", 7, 1}, {{"m", &model}}, {&tools}, ports);
  REQUIRE(run_task(loop, run.run({{"a", "one", ""}})));
  const auto snapshots =
      std::count_if(journal.events.begin(), journal.events.end(),
                    [](const agents::Event& event) { return event.type == agents::snapshot_type; });
  REQUIRE(snapshots >= 3);
  const auto specs =
      std::make_shared<const std::vector<ToolSpec>>(std::vector<ToolSpec>{tool("look", true)});
  replay::Replay replay({fleet, {{"m", &model}}, guard, {{"clerk", specs}}}, {});
  const auto report = run_task(loop, replay.run(journal, "run-1"));
  REQUIRE(report);
  for (const auto& each : report->differences) UNSCOPED_INFO(each.what);
  CHECK(report->differences.empty());
  const SessionState& state = run.sessions().at(0)->state;
  CHECK(report->turns == static_cast<std::uint64_t>(state.turns));
  CHECK(report->decisions == static_cast<std::uint64_t>(state.turns + state.call_count()));
}

namespace {

// Calls a tool, and then says what the tool gave: another result is another answer.
class EchoModel final : public Model {
 public:
  Task<Result<Turn>> generate(TurnRequest request) override {
    co_await delay(std::chrono::milliseconds(1));
    const Message& last = request.messages.back();
    Turn turn;
    turn.message = last.role == Role::tool ? says("it gave " + last.content) : calls("ls", "{}");
    turn.finish = turn.message.tool_calls.empty() ? FinishReason::stop : FinishReason::tool_calls;
    turn.usage.output_tokens = 5;
    co_return turn;
  }
  std::string identity() const override { return "echo"; }
};

}  // namespace

TEST_CASE("one tool result that was altered is named with the turn that read it", "[replay]") {
  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  EchoModel model;
  TableGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("ls", true)}};
  FleetRun run(fleet, {"run-1", "ann", 7, 1}, {{"m", &model}}, {&tools},
               {guard, journal, any_arguments});
  REQUIRE(run_task(loop, run.run({{"a", "one", ""}, {"b", "two", ""}})));
  const auto specs =
      std::make_shared<const std::vector<ToolSpec>>(std::vector<ToolSpec>{tool("ls", true)});
  const auto again = [&] {
    replay::Replay replay({fleet, {{"m", &model}}, guard, {{"clerk", specs}}}, {});
    auto report = run_task(loop, replay.run(journal, "run-1"));
    if (!report) FAIL(report.error().message);
    return *report;
  };
  CHECK(again().differences.empty());
  agents::Event* altered = nullptr;
  for (agents::Event& event : journal.events) {
    if (event.type == "action.outcome") altered = &event;
  }
  REQUIRE(altered != nullptr);
  altered->payloads.at(0).bytes += "!";
  const replay::Report report = again();
  REQUIRE(report.differences.size() == 1);
  CHECK(report.differences[0].session == altered->session);
  CHECK(report.differences[0].turn == 2);
  CHECK_THAT(report.differences[0].what, Catch::Contains("the model said something else"));
}

TEST_CASE("a policy that decides otherwise is named with the decision", "[replay]") {
  Recorded recorded;
  recorded.guard.verdicts["ls"] = Verdict::escalate;
  SECTION("at the first one") {
    const replay::Report report = recorded.again();
    REQUIRE(report.differences.size() == 1);
    CHECK(report.differences[0].turn == 1);
    CHECK_THAT(report.differences[0].what,
               Catch::Contains("ls: recorded allow (table), now escalate (table)"));
  }
  SECTION("at every one, for a candidate policy: the model is not asked") {
    const int turns = recorded.model.turns;
    const replay::Report report = recorded.again({false, 100, 64});
    CHECK(report.differences.size() == 3);
    CHECK(report.decisions == 12);
    CHECK(recorded.model.turns == turns);
  }
}

TEST_CASE("the order of the replayed sessions changes nothing", "[replay]") {
  Recorded recorded;
  CHECK(recorded.again({true, 1, 1}).turns == 9);
  CHECK(recorded.again({true, 1, 2}).turns == 9);
}

TEST_CASE("a run that is not there is an error", "[replay]") {
  Recorded recorded;
  const auto specs = std::make_shared<const std::vector<ToolSpec>>();
  replay::Replay replay(
      {recorded.fleet, {{"m", &recorded.model}}, recorded.guard, {{"clerk", specs}}}, {});
  const auto report = run_task(recorded.loop, replay.run(recorded.journal, "run-9"));
  REQUIRE(!report);
  CHECK(report.error().code == Code::not_found);
}

namespace {

// Two agents: the planner gives the worker a task, and the seed of each is its own.
struct Delegated {
  Delegated() {
    AgentSpec worker = fleet.agents[0];
    worker.name = "worker";
    worker.model = "w";
    worker.tools = {"ls"};
    fleet.agents[0].tools = {"agent__worker"};
    fleet.models.push_back(fleet.models[0]);
    fleet.models[1].name = "w";
    fleet.agents.push_back(worker);
    const Ports ports{guard, journal, any_arguments};
    Roster roster;
    Ports with = ports;
    with.roster = &roster;
    SubAgents others(fleet, models(), with, {&tools});
    FleetRun run(fleet, {"run-1", "ann", 7, 1}, models(), {&tools, &others}, with);
    REQUIRE(run_task(loop, run.run({{"a", "one", ""}})));
  }
  std::map<std::string, Model*> models() { return {{"m", &planner}, {"w", &seeded}}; }
  replay::Report again(std::uint64_t more = 0) {
    seeded.more = more;
    const auto of_planner = std::make_shared<std::vector<ToolSpec>>();
    SubAgents others(fleet, models(), {guard, journal, any_arguments}, {});
    const auto listed = run_task(loop, others.list());
    for (const ToolSpec& spec : *listed) {
      if (spec.name == "agent__worker") of_planner->push_back(spec);
    }
    const auto of_worker =
        std::make_shared<const std::vector<ToolSpec>>(std::vector<ToolSpec>{tool("ls", true)});
    replay::Replay replay({fleet, models(), guard, {{"clerk", of_planner}, {"worker", of_worker}}},
                          {});
    auto report = run_task(loop, replay.run(journal, "run-1"));
    if (!report) FAIL(report.error().message);
    return *report;
  }

  // Says its seed: a replay that seeds it otherwise is found out.
  class SeededModel final : public Model {
   public:
    Task<Result<Turn>> generate(TurnRequest request) override {
      co_await delay(std::chrono::milliseconds(1));
      Turn turn;
      turn.message = says(std::to_string(request.sampling.seed + more));
      turn.usage.output_tokens = 3;
      co_return turn;
    }
    std::string identity() const override { return "seeded"; }
    std::uint64_t more = 0;
  };

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  ScriptedModel planner{{calls("agent__worker", R"({"task":"look"})"), says("all done")}};
  SeededModel seeded;
  TableGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("ls", true)}};
};

}  // namespace

TEST_CASE("what was delegated is replayed by its own agent, from its own seed", "[replay]") {
  Delegated run;
  const replay::Report report = run.again();
  for (const auto& each : report.differences) UNSCOPED_INFO(each.what);
  CHECK(report.differences.empty());
  CHECK(report.sessions == 2);
  CHECK(report.turns == 3);
  const replay::Report other = run.again(1);
  REQUIRE(other.differences.size() == 1);
  CHECK(other.differences[0].session == "a.call_1_1");
}

TEST_CASE("a decision is replayed by the facts that it was made by", "[replay]") {
  Recorded recorded;
  agents::Event& decided = recorded.record("action.decided", 1);
  replace(decided.body, R"("kind":)", R"("autonomyLevel":2,"chain":["planner"],"kind":)");
  recorded.guard.seen.clear();
  const auto report = recorded.again({false, 100, 1});
  CHECK(report.differences.empty());
  const auto at = std::find_if(recorded.guard.seen.begin(), recorded.guard.seen.end(),
                               [](const Action& action) { return !action.chain.empty(); });
  REQUIRE(at != recorded.guard.seen.end());
  CHECK(at->autonomy_level == 2);
  CHECK(at->chain == std::vector<std::string>{"planner"});
}

TEST_CASE("turns after what was redacted are left out, and counted", "[replay]") {
  Recorded recorded;
  agents::Event& outcome = recorded.record("action.outcome", 0);
  replace(outcome.body, "{", R"({"redacted":["result:email"],)");
  outcome.payloads.at(0).bytes = "[redacted]";
  const replay::Report report = recorded.again();
  CHECK(report.differences.empty());
  CHECK(report.turns == 7);
  CHECK(report.unreadable == 2);
}

TEST_CASE("a run of an agent whom the fleet does not have is an error", "[replay]") {
  Recorded recorded;
  recorded.fleet.agents[0].name = "somebody";
  const auto specs = std::make_shared<const std::vector<ToolSpec>>();
  replay::Replay replay(
      {recorded.fleet, {{"m", &recorded.model}}, recorded.guard, {{"somebody", specs}}}, {});
  const auto report = run_task(recorded.loop, replay.run(recorded.journal, "run-1"));
  REQUIRE(!report);
  CHECK(report.error().code == Code::invalid);
  CHECK_THAT(report.error().message, Catch::Contains("the agent clerk"));
}
