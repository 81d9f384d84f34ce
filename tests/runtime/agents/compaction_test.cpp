// Conversations that outgrow the window: what gives way, what stays, and that the record tells the
// same story again.

#include "agents/compaction.h"

#include "runtime/agents/summing_model.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

namespace ambit::agents {
namespace {

// What the guard is told that a session has read.
class HearingGuard final : public Guard {
 public:
  Decision decide(const Action& action) override {
    Decision decision;
    decision.verdict = Verdict::allow;
    seen.push_back(action);
    return decision;
  }
  void heard(const std::string& /*session*/, Speaker speaker, const std::string& /*name*/,
             const std::string& text) override {
    texts.insert({speaker, text});
  }
  std::multiset<std::pair<Speaker, std::string>> texts;
  std::vector<Action> seen;
};

struct LongDesk {
  FleetRun& run() {
    fleet_run.emplace(fleet, RunOptions{"r", "eve", 1, 1},
                      std::map<std::string, Model*>{{"m", &model}}, std::vector<Toolbox*>{&tools},
                      Ports{guard, journal, any_arguments});
    if (resume) REQUIRE(fleet_run->restore(journal));
    Result<void> result;
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, {{"main", "Look at all of it.", ""}}, result));
    loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
    return *fleet_run;
  }
  const SessionState& only() { return fleet_run->sessions().at(0)->state; }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = compacting_fleet();
  SummingModel model{20};
  HearingGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("look", true)}};
  bool resume = false;
  std::optional<FleetRun> fleet_run;
};

bool is_summary(const Event& event) {
  return event.body.find("\"compacts\"") != std::string::npos;
}

// No call without its result, no result without its call; the last may be open.
bool is_whole(const Messages& messages) {
  for (std::size_t at = 0; at < messages.size(); ++at) {
    const std::size_t results =
        static_cast<std::size_t>(std::count_if(messages.begin(), messages.end(), [&](auto& one) {
          const auto& all = messages[at].tool_calls;
          return std::any_of(all.begin(), all.end(),
                             [&](const ToolCall& call) { return call.id == one.tool_call_id; });
        }));
    if (messages[at].role == Role::assistant && results != messages[at].tool_calls.size()) {
      return false;
    }
    if (messages[at].role != Role::tool) continue;
    const bool answers = std::any_of(messages.begin(), messages.end(), [&](const Message& one) {
      return std::any_of(one.tool_calls.begin(), one.tool_calls.end(), [&](const ToolCall& call) {
        return call.id == messages[at].tool_call_id;
      });
    });
    if (!answers) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a conversation longer than the window gives way to summaries and goes on", "[agents]") {
  LongDesk desk;
  desk.run();
  const SessionState& state = desk.only();
  CHECK(state.end == SessionEnd::completed);
  CHECK(state.answer == "done after 20");
  CHECK(desk.tools.ran.size() == 20);
  CHECK(state.compactions >= 3);
  CHECK(state.compactions == desk.model.summaries);
  CHECK(desk.model.widest <= 400);
  CHECK(state.messages[0].content == "You look.");
  CHECK(state.messages[1].content.starts_with("Look at all of it.\n\nWhat was said"));
  CHECK(state.task() == "Look at all of it.");
  for (const TurnRequest& request : desk.model.requests) {
    CHECK(is_whole(request.messages));
    CHECK(request.messages[0].content == "You look.");
  }
  // All that was said stands in what was replaced and in what is left.
  std::size_t results = 0;
  for (const Message& message : state.replaced) results += message.role == Role::tool ? 1 : 0;
  for (const Message& message : state.messages) results += message.role == Role::tool ? 1 : 0;
  CHECK(results == 20);
  // Each summary is an action of its own, decided before and paid for.
  const auto summaries =
      std::count_if(desk.journal.events.begin(), desk.journal.events.end(), is_summary);
  CHECK(summaries == state.compactions);
  const auto turns = std::count_if(desk.guard.seen.begin(), desk.guard.seen.end(),
                                   [](auto& one) { return one.kind == ActionKind::model_call; });
  CHECK(turns == state.turns);
  CHECK(state.turns == 21 + state.compactions);
}

TEST_CASE("without compaction the conversation stays as it is", "[agents]") {
  LongDesk desk;
  desk.fleet.agents[0].compaction.reset();
  desk.run();
  CHECK(desk.only().compactions == 0);
  CHECK(desk.only().replaced.empty());
  CHECK(desk.model.widest > 400);
}

TEST_CASE("a run that is cut off anywhere goes on in the same conversation", "[agents]") {
  LongDesk whole;
  whole.run();
  const std::vector<Event> events = whole.journal.events;
  REQUIRE(std::count_if(events.begin(), events.end(), is_summary) >= 3);
  for (std::size_t cut = 2; cut < events.size(); ++cut) {
    INFO("cut after " << cut << " events, the last of them " << events[cut - 1].type);
    LongDesk desk;
    desk.journal.events.assign(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut));
    desk.resume = true;
    desk.run();
    CHECK(desk.only().messages == whole.only().messages);
    CHECK(desk.only().replaced == whole.only().replaced);
    CHECK(desk.only().answer == whole.only().answer);
    // The guard of a session that goes on knows all that was read.
    if (events[cut - 1].type != "session.ended") CHECK(desk.guard.texts == whole.guard.texts);
  }
  // No summary is a source of anything.
  for (const auto& [speaker, text] : whole.guard.texts) {
    CHECK(text.find("in summary") == std::string::npos);
    CHECK_FALSE(text.starts_with("looked "));
  }
}

TEST_CASE("the record of a compacted session folds to what it was live", "[agents]") {
  LongDesk desk;
  desk.run();
  SessionState folded;
  for (const Event& event : desk.journal.events) {
    if (!event.session.empty()) REQUIRE(apply(folded, event));
  }
  CHECK(folded.messages == desk.only().messages);
  CHECK(folded.replaced == desk.only().replaced);
  CHECK(folded.compactions == desk.only().compactions);
  CHECK(folded.usage == desk.only().usage);
  CHECK(folded.window_tokens == desk.only().window_tokens);
}

TEST_CASE("a summary that is not to be had, or is empty, leaves the conversation whole",
          "[agents]") {
  LongDesk failing;
  failing.model.fails = true;
  failing.run();
  CHECK(failing.only().answer == "done after 20");
  CHECK(failing.only().compactions == 0);
  // Once for each turn that made it longer, not again and again.
  CHECK(failing.model.summaries > 0);
  CHECK(failing.model.summaries <= 20);
  LongDesk silent;
  silent.model.is_silent = true;
  silent.run();
  CHECK(silent.only().answer == "done after 20");
  CHECK(silent.only().compactions == 0);
  CHECK(silent.only().turns == 21 + silent.model.summaries);
}

TEST_CASE("a summary counts against the budget of its session", "[agents]") {
  LongDesk desk;
  desk.fleet.agents[0].limits.turns = 10;
  desk.run();
  CHECK(desk.only().end == SessionEnd::limit);
  CHECK(desk.only().turns == 10);
  CHECK(desk.only().compactions > 0);
}

TEST_CASE("what was said before a session is summed up without its task", "[agents]") {
  const CompactionSpec spec;
  ModelSpec model;
  model.context_max = 100;
  model.tokens_max = 10;
  SessionState state;
  const std::string run = "r";
  const std::string session = "s";
  const std::string agent = "clerk";
  SessionStarted started{"eve", "Be brief.", "And now?"};
  started.earlier = {{Role::user, std::string(150, 'q'), {}, "", ""},
                     {Role::assistant, std::string(150, 'a'), {}, "", ""}};
  REQUIRE(apply(state, Fact(started), {run, session, agent}));
  const std::size_t cut = compaction_due(state, spec, model);
  REQUIRE(cut == 4);
  TurnRequest request;
  request.on_text = [](const std::string&) {};
  ask_for_summary(request, state, spec, cut);
  REQUIRE(request.messages.size() == 4);
  CHECK(request.messages[2].role == Role::assistant);
  CHECK(request.messages[3].content == spec.instructions);
  CHECK(request.tool_choice == ToolChoice::none);
  CHECK(request.tokens_max == spec.tokens_max);
  CHECK_FALSE(request.on_text);
  REQUIRE(compact(state, cut, "Seven."));
  REQUIRE(state.messages.size() == 2);
  CHECK(state.messages[1].content ==
        "And now?\n\nWhat was said and done before, in summary:\nSeven.");
  CHECK(state.replaced.size() == 3);
  CHECK(compaction_due(state, spec, model) == 0);
  // What fits nowhere is a record that is not ours.
  CHECK_FALSE(compact(state, 2, "x"));
  CHECK_FALSE(compact(state, 7, "x"));
  SessionState open = state;
  open.messages.push_back(calls("look", "{}"));
  CHECK_FALSE(compact(open, 3, "x"));
}

}  // namespace ambit::agents
