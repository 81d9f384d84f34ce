// A run whose fleet file is read again: who lives keeps what he began with, who begins later has
// what is new.

#include "agents/fleet_run.h"
#include "scripted.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

struct Edition {
  Fleet fleet;
  CountingTools tools;
};

// The fleet with other instructions, and tools of its own.
std::shared_ptr<Edition> edition(const std::string& instructions, const std::string& definition) {
  auto made =
      std::make_shared<Edition>(Edition{small_fleet(), CountingTools({tool("look", true)})});
  made->fleet.workflow.concurrency = 1;
  made->fleet.agents[0].instructions = instructions;
  made->fleet.agents[0].definition = definition;
  return made;
}

Task<void> adopt_later(FleetRun& run, std::shared_ptr<Edition> next, Duration after) {
  co_await delay(after);
  auto cast = std::make_shared<Cast>();
  cast->fleet = &next->fleet;
  std::vector<Toolbox*> boxes{&next->tools};
  auto catalogues = co_await cast_tools(next->fleet, std::move(boxes), nullptr);
  if (catalogues) cast->catalogues = std::move(*catalogues);
  cast->owner = std::move(next);
  run.adopt(std::move(cast));
}

Task<void> run_all(FleetRun& run, std::vector<Input> inputs, Result<void>& out) {
  out = co_await run.run(std::move(inputs));
}

}  // namespace

TEST_CASE("sessions begin with the fleet as it was read last, and keep it", "[agents]") {
  FakePoller poller;
  Loop loop{poller};
  auto first = edition("Old.", "aa");
  auto second = edition("New.", "bb");
  const std::weak_ptr<Edition> gone = second;
  CountingTools& new_tools = second->tools;
  ScriptedModel model({calls("look", "{}"), calls("look", "{}"), says("done")});
  model.thinks = std::chrono::seconds(1);
  TableGuard guard;
  MemoryJournal journal;
  {
    FleetRun run(first->fleet, RunOptions{"r", "eve", 1, 1}, {{"m", &model}}, {&first->tools},
                 {guard, journal, any_arguments});
    Result<void> result;
    Scope scope;
    scope.spawn(run_all(run, {{"a", "one", ""}, {"b", "two", ""}}, result));
    // In the middle of the first session.
    scope.spawn(adopt_later(run, std::move(second), std::chrono::milliseconds(1500)));
    loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
    CHECK(run.sessions().at(0)->state.messages.at(0).content == "Old.");
    CHECK(run.sessions().at(1)->state.messages.at(0).content == "New.");
    CHECK(first->tools.ran == std::vector<std::string>{"a:look:call_1_1", "a:look:call_2_1"});
    CHECK(new_tools.ran == std::vector<std::string>{"b:look:call_1_1", "b:look:call_2_1"});
  }
  CHECK(gone.expired());
  std::vector<std::string> definitions;
  for (const Event& event : journal.events) {
    if (event.type != "session.started") continue;
    const auto fact = fact_of(event);
    REQUIRE(fact);
    definitions.push_back(std::get<SessionStarted>(*fact).definition);
  }
  CHECK(definitions == std::vector<std::string>{"aa", "bb"});
}

TEST_CASE("a session of an agent that the fleet has no more does not begin", "[agents]") {
  FakePoller poller;
  Loop loop{poller};
  auto first = edition("Old.", "aa");
  first->fleet.workflow.concurrency = 1;
  ScriptedModel model({says("done")});
  model.thinks = std::chrono::seconds(1);
  TableGuard guard;
  MemoryJournal journal;
  FleetRun run(first->fleet, RunOptions{"r", "eve", 1, 1}, {{"m", &model}}, {&first->tools},
               {guard, journal, any_arguments});
  Result<void> result;
  Scope scope;
  scope.spawn(run_all(run, {{"a", "one", ""}, {"b", "two", ""}}, result));
  auto empty = std::make_shared<Cast>();
  Fleet nobody = first->fleet;
  nobody.agents.clear();
  empty->fleet = &nobody;
  loop.run_until([&] {
    if (run.live() == 1 && !run.sessions().at(0)->state.id.empty()) run.adopt(empty);
    return scope.size() == 0;
  });
  REQUIRE(result);
  CHECK(run.flows().at(0)->answer->end == SessionEnd::completed);
  CHECK(run.flows().at(1)->answer->end == SessionEnd::denied);
  CHECK(run.flows().at(1)->answer->error == "the fleet has no agent clerk any more");
}

}  // namespace ambit::agents
