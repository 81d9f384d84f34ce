#include "agents/turn_loop.h"

#include "scripted.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

struct Desk {
  explicit Desk(std::vector<Message> script) : model(std::move(script)) {}

  // Runs the inputs a, b, ... and gives the run.
  FleetRun& run(int inputs, const std::string& id = "r") {
    fleet_run.emplace(fleet, RunOptions{id, "ops@example.com", 1, 1},
                      std::map<std::string, Model*>{{"m", &model}}, std::vector<Toolbox*>{&tools},
                      Ports{guard, journal, any_arguments});
    if (resume) {
      const auto restored = fleet_run->restore(journal);
      REQUIRE(restored);
    }
    std::string lines;
    for (int n = 0; n < inputs; ++n)
      lines += std::string(R"({"id":")") + static_cast<char>('a' + n) + "\"}\n";
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, read_inputs(fleet.workflow, lines), result));
    loop.run_until([&] { return scope.size() == 0; });
    return *fleet_run;
  }
  const SessionState& only() { return fleet_run->sessions().at(0)->state; }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  ScriptedModel model;
  TableGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("look", true), tool("pay", false)}};
  Result<void> result;
  bool resume = false;
  std::optional<FleetRun> fleet_run;
};

std::vector<std::string> types(const MemoryJournal& journal) {
  std::vector<std::string> names;
  for (const Event& event : journal.events) names.push_back(event.type);
  return names;
}

}  // namespace

TEST_CASE("a session goes from call to result to answer, and all of it is recorded in order",
          "[agents]") {
  Desk desk({calls("look", "{}"), says("found it")});
  desk.run(1);
  REQUIRE(desk.result);
  CHECK(desk.only().end == SessionEnd::completed);
  CHECK(desk.only().answer == "found it");
  CHECK(desk.tools.ran == std::vector<std::string>{"a:look:call_1_1"});
  CHECK(types(desk.journal) ==
        std::vector<std::string>{"run.started", "session.started", "action.decided",
                                 "turn.completed", "action.decided", "action.outcome",
                                 "action.decided", "turn.completed", "session.ended", "run.ended"});
}

TEST_CASE("what policy denies does not run, and the agent hears why", "[agents]") {
  Desk desk({calls("pay", "{}"), says("could not")});
  desk.guard.verdicts["pay"] = Verdict::deny;
  desk.run(1);
  CHECK(desk.tools.ran.empty());
  CHECK(desk.only().end == SessionEnd::denied);
  CHECK(desk.only().messages.at(2).content == "error: denied by policy: rule of pay");
}

TEST_CASE("what is escalated does not run and the session says so", "[agents]") {
  Desk desk({calls("pay", "{}"), says("waiting")});
  desk.guard.verdicts["pay"] = Verdict::escalate;
  desk.run(1);
  CHECK(desk.tools.ran.empty());
  CHECK(desk.only().end == SessionEnd::escalated);
}

TEST_CASE("a tool that is not offered is denied, whatever the policy says", "[agents]") {
  Desk desk({calls("format_disk", "{}"), says("no")});
  desk.run(1);
  CHECK(desk.tools.ran.empty());
  CHECK(desk.only().calls.at(0).reason == "agent clerk is not offered a tool \"format_disk\"");
}

TEST_CASE("an agent that never stops is stopped by its limit", "[agents]") {
  std::vector<Message> endless(100, calls("look", "{}"));
  Desk desk(endless);
  desk.fleet.agents[0].limits.tool_calls = 3;
  desk.run(1);
  CHECK(desk.tools.ran.size() == 3);
  CHECK(desk.only().end == SessionEnd::limit);
  CHECK(desk.only().error == "the limit maxToolCalls = 3 of session a is used up");
}

TEST_CASE("a model or a tool that never answers is cut off when the wall time ends", "[agents]") {
  Desk slow_model({says("too late")});
  slow_model.model.thinks = std::chrono::hours(1);
  slow_model.fleet.agents[0].limits.wall_ms = 5000;
  slow_model.run(1);
  CHECK(slow_model.only().end == SessionEnd::limit);
  CHECK(slow_model.only().error ==
        "model m: the limit maxWallTime = 5000 ms of session a is used up");
  CHECK(slow_model.poller.now() < std::chrono::seconds(6));
  Desk slow_tool({calls("look", "{}"), says("too late")});
  slow_tool.tools.takes = std::chrono::hours(1);
  slow_tool.fleet.agents[0].limits.wall_ms = 5000;
  slow_tool.run(1);
  CHECK(slow_tool.only().end == SessionEnd::limit);
  CHECK(slow_tool.only().calls.at(0).outcome == OutcomeKind::timeout);
  CHECK(slow_tool.poller.now() < std::chrono::seconds(6));
}

TEST_CASE("a model is told by when its turn is due", "[agents]") {
  Desk unbounded({says("done")});
  unbounded.fleet.limits.wall_ms = -1;
  unbounded.fleet.agents[0].limits.wall_ms = -1;
  unbounded.run(1);
  CHECK(unbounded.model.due_s == Urgency::never_s);
  Desk bounded({calls("look", "{}"), says("done")});
  bounded.fleet.agents[0].limits.wall_ms = 90'000;
  bounded.tools.takes = std::chrono::seconds(20);
  const std::int64_t begun = std::chrono::floor<std::chrono::seconds>(bounded.loop.now()).count();
  bounded.run(1);
  CHECK(bounded.model.turns == 2);
  // The end of the session, whatever has passed of it.
  CHECK(bounded.model.due_s >= begun + 90);
  CHECK(bounded.model.due_s <= begun + 91);
}

TEST_CASE("a journal that fails stops everything before its effect", "[agents]") {
  for (std::int64_t good = 0; good < 9; ++good) {
    Desk desk({calls("pay", "{}"), says("paid")});
    desk.journal.fail_after = good;
    desk.run(1);
    INFO("the journal fails after " << good);
    REQUIRE_FALSE(desk.result);
    // The fifth event is the decision about the payment: without it nothing was paid.
    CHECK(desk.tools.ran.size() == (good >= 5 ? 1U : 0U));
  }
}

TEST_CASE("many sessions run at once and never more than allowed", "[agents]") {
  Desk desk({calls("look", "{}"), says("ok")});
  desk.fleet.workflow.concurrency = 4;
  FleetRun& run = desk.run(20);
  REQUIRE(desk.result);
  CHECK(run.progress().ended == 20);
  CHECK(run.progress().turns == 40);
  CHECK(desk.tools.ran.size() == 20);
}

TEST_CASE("a run that was cut off at any event goes on, and does nothing twice that must not be",
          "[agents]") {
  Desk whole({calls("look", "{}"), calls("pay", "{}"), says("ok")});
  whole.run(1);
  const std::vector<Event> events = whole.journal.events;
  for (std::size_t cut = 1; cut < events.size(); ++cut) {
    Desk desk({calls("look", "{}"), calls("pay", "{}"), says("ok")});
    desk.journal.events.assign(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut));
    desk.resume = true;
    desk.run(1);
    INFO("cut after " << cut << " events, the last of them " << events[cut - 1].type);
    REQUIRE(desk.result);
    CHECK(desk.only().end != SessionEnd::running);
    const auto paid = std::count(desk.tools.ran.begin(), desk.tools.ran.end(), "a:pay:call_2_1");
    // Payment decided and no outcome recorded: in doubt, so it must not run again and a person is
    // asked.
    bool in_doubt = false;
    bool done = false;
    for (std::size_t i = 0; i < cut; ++i) {
      const bool is_pay = events[i].body.find("\"tool\":\"pay\"") != std::string::npos;
      in_doubt = in_doubt || (is_pay && events[i].type == "action.decided");
      done = done || (is_pay && events[i].type == "action.outcome");
    }
    CHECK(paid == (in_doubt ? 0 : 1));
    CHECK(desk.only().end == (in_doubt && !done ? SessionEnd::escalated : SessionEnd::completed));
  }
}

TEST_CASE("inputs that cannot be used fail alone", "[agents]") {
  const Workflow workflow{"clerk", "", "id", "Report ${id}: ${text}", 1};
  const auto inputs =
      read_inputs(workflow,
                  "{\"id\":\"a\",\"text\":\"x\"}\nnonsense\n\n{\"id\":\"a\",\"text\":\"y\"}\n"
                  "{\"id\":\"b/../c\",\"text\":\"z\"}\n{\"id\":\"d\"}\r\n{\"id\":7,\"text\":true}");
  REQUIRE(inputs.size() == 6);
  CHECK(inputs[0].prompt == "Report a: x");
  CHECK(inputs[1].error == "line 2 is not a JSON object");
  CHECK(inputs[2].error == "line 4: the id \"a\" is there already");
  CHECK(inputs[3].error.starts_with("line 5: the id \"b/../c\" must be"));
  CHECK(inputs[4].error == "line 6: the prompt needs a field: nothing is known as ${text}");
  CHECK(inputs[5].id == "7");
  CHECK(inputs[5].prompt == "Report 7: true");
}

TEST_CASE("transcripts of the same run are the same bytes", "[agents]") {
  auto all = [] {
    Desk desk({calls("look", R"({"q":1})"), says("ok")});
    std::string text;
    for (const auto& session : desk.run(5).sessions()) text += transcript(session->state) + "\n";
    return text;
  };
  const std::string first = all();
  CHECK(first == all());
  CHECK(first.find("\"verdict\":\"allow\"") != std::string::npos);
}

}  // namespace ambit::agents
