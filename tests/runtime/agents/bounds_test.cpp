#include "agents/gate.h"
#include "agents/sub_agents.h"
#include "scripted.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <utility>

namespace ambit::agents {
namespace {

// Who may begin, and what was told of them.
class NamedInstances final : public Identities {
 public:
  Result<Identity> begin(const Charge& charge) override {
    charges.push_back(charge);
    if (refuses == charge.agent) return Err(Code::denied, "it would be wider");
    return Identity{"key-of-" + charge.session, "{}", "{}", "hash"};
  }
  void end(const std::string& /*run*/, const std::string& session) override {
    ended.push_back(session);
  }
  std::vector<Charge> charges;
  std::vector<std::string> ended;
  std::string refuses;
};

// Has one thing to say after the first call.
class TellingQuota final : public Quotas {
 public:
  Result<std::uint64_t> reserve(const Action& /*action*/, const Spending& /*most*/) override {
    return 1;
  }
  void settle(std::uint64_t /*id*/, const Spending& spent, bool /*failed*/) override {
    if (spent.calls > 0) notices_.push_back({"limit.breaker_opened", R"({"tool":"pay"})"});
  }
  void cancel(std::uint64_t /*id*/) override {}
  std::vector<Notice> take_notices() override { return std::exchange(notices_, {}); }

 private:
  std::vector<Notice> notices_;
};

struct Desk {
  explicit Desk(std::vector<Message> script) : model(std::move(script)) {}

  FleetRun& run(int inputs, int repeat = 1) {
    start(inputs, repeat);
    loop.run_until([&] { return scope->size() == 0; });
    return *fleet_run;
  }
  void start(int inputs, int repeat = 1) {
    Ports ports{guard, journal, any_arguments};
    ports.approvals = people ? &approvals : nullptr;
    ports.quotas = quota ? &*quota : nullptr;
    if (telling) ports.quotas = &*telling;
    ports.check_tool = check_tool;
    ports.roster = &roster;
    ports.identities = identities ? &*identities : nullptr;
    scope.reset();
    fleet_run.emplace(fleet, RunOptions{"r", "ops@example.com", 1, repeat},
                      std::map<std::string, Model*>{{"m", &model}}, std::vector<Toolbox*>{&tools},
                      ports);
    if (resume) REQUIRE(fleet_run->restore(journal));
    std::string lines;
    for (int n = 0; n < inputs; ++n) {
      lines += R"({"id":")" + std::string(1, static_cast<char>('a' + n)) + R"(","who":"p)" +
               std::to_string(n) + "\"}\n";
    }
    scope.emplace();
    scope->spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, read_inputs(fleet.workflow, lines), result));
  }
  const SessionState& only() { return fleet_run->sessions().at(0)->state; }
  std::vector<std::string> types() const {
    std::vector<std::string> names;
    for (const Event& event : journal.events) names.push_back(event.type);
    return names;
  }
  bool recorded(const std::string& type, const std::string& text) const {
    return std::any_of(journal.events.begin(), journal.events.end(), [&](const Event& event) {
      return event.type == type && event.body.find(text) != std::string::npos;
    });
  }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  ScriptedModel model;
  TableGuard guard;
  MemoryJournal journal;
  FakeApprovals approvals;
  std::optional<CallQuota> quota;
  std::optional<TellingQuota> telling;
  std::optional<NamedInstances> identities;
  ToolCheck check_tool;
  CountingTools tools{{tool("look", true), tool("pay", false)}};
  Roster roster;
  Result<void> result;
  bool people = false;
  bool resume = false;
  std::optional<FleetRun> fleet_run;
  std::optional<Scope> scope;
};

Desk escalating(std::string arguments = "{}") {
  return Desk({calls("pay", std::move(arguments)), says("paid")});
}

}  // namespace

TEST_CASE("an escalated action waits for a person, and is done once they say yes", "[agents]") {
  Desk desk = escalating();
  desk.people = true;
  desk.guard.verdicts["pay"] = Verdict::escalate;
  desk.run(1);
  REQUIRE(desk.result);
  CHECK(desk.tools.ran == std::vector<std::string>{"a:pay:call_1_1"});
  CHECK(desk.only().end == SessionEnd::completed);
  CHECK(desk.approvals.reasons == std::vector<std::string>{"rule of pay"});
  const std::vector<std::string> types = desk.types();
  const std::vector<std::string> walk(types.begin() + 4, types.begin() + 8);
  CHECK(walk == std::vector<std::string>{"action.decided", "approval.requested",
                                         "approval.answered", "action.outcome"});
  CHECK(desk.recorded("approval.answered", R"("answer":"approved","by":"eve")"));
}

TEST_CASE("a no, and no answer in time, are refusals that the agent hears", "[agents]") {
  Desk denied = escalating();
  denied.people = true;
  denied.guard.verdicts["pay"] = Verdict::escalate;
  denied.approvals.standard.end = ApprovalEnd::denied;
  denied.run(1);
  CHECK(denied.tools.ran.empty());
  CHECK(denied.only().end == SessionEnd::denied);
  CHECK(denied.only().messages.at(2).content ==
        "error: denied by policy: refused by eve: rule of pay");
  Desk expired = escalating();
  expired.people = true;
  expired.guard.verdicts["pay"] = Verdict::escalate;
  expired.approvals.standard.end = ApprovalEnd::expired;
  expired.run(1);
  CHECK(expired.tools.ran.empty());
  CHECK(expired.only().messages.at(2).content ==
        "error: denied by policy: nobody approved it in time: rule of pay");
}

TEST_CASE("an action that a person changed is a new one, decided anew", "[agents]") {
  Desk desk = escalating(R"({"amount":900})");
  desk.people = true;
  desk.guard.verdicts["pay"] = Verdict::escalate;
  desk.approvals.standard = {ApprovalEnd::modified, "eve", "", R"({"amount":5})"};
  desk.run(1);
  REQUIRE(desk.result);
  CHECK(desk.tools.ran.size() == 1);
  CHECK(desk.only().calls.size() == 2);
  CHECK(desk.only().calls[1].call.arguments == R"({"amount":5})");
  CHECK(desk.recorded("action.decided", R"("supersedes":"r/a/2")"));
  const auto decided = std::count_if(desk.guard.seen.begin(), desk.guard.seen.end(),
                                     [](const Action& action) { return action.tool == "pay"; });
  CHECK(decided == 2);
  CHECK(desk.approvals.used.contains("request-1-changed"));
}

TEST_CASE("time that a person takes is not the agent's", "[agents]") {
  Desk desk = escalating();
  desk.people = true;
  desk.guard.verdicts["pay"] = Verdict::escalate;
  desk.approvals.takes = std::chrono::hours(2);
  desk.fleet.agents[0].limits.wall_ms = 5000;
  desk.run(1);
  CHECK(desk.only().end == SessionEnd::completed);
}

TEST_CASE("sessions that wait for people leave their places to others", "[agents]") {
  Desk desk({calls("pay", "{}"), says("paid")});
  desk.people = true;
  desk.guard.verdicts["pay"] = Verdict::escalate;
  desk.fleet.workflow.concurrency = 1;
  desk.approvals.takes = std::chrono::seconds(60);
  desk.start(20);
  desk.loop.run_until([&] { return desk.approvals.waiting == 20; });
  CHECK(desk.fleet_run->only_waits());
  CHECK(desk.fleet_run->progress().waiting == 20);
  desk.loop.run_until([&] { return desk.scope->size() == 0; });
  CHECK(desk.fleet_run->progress().ends.at(SessionEnd::completed) == 20);
}

TEST_CASE("a run that is cut off anywhere around an approval asks once and pays once at most",
          "[agents]") {
  Desk whole = escalating();
  whole.people = true;
  whole.guard.verdicts["pay"] = Verdict::escalate;
  whole.run(1);
  const std::vector<Event> events = whole.journal.events;
  for (std::size_t cut = 1; cut < events.size(); ++cut) {
    for (const bool was_used : {false, true}) {
      Desk desk = escalating();
      desk.people = true;
      desk.guard.verdicts["pay"] = Verdict::escalate;
      desk.journal.events.assign(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut));
      // What the people's folder held when it was cut off.
      const bool asked = std::any_of(desk.journal.events.begin(), desk.journal.events.end(),
                                     [](const Event& e) { return e.type == "approval.requested"; });
      const bool answered =
          std::any_of(desk.journal.events.begin(), desk.journal.events.end(),
                      [](const Event& e) { return e.type == "approval.answered"; });
      const bool done = std::any_of(desk.journal.events.begin(), desk.journal.events.end(),
                                    [](const Event& e) { return e.type == "action.outcome"; });
      if (asked) desk.approvals.asked = whole.approvals.asked;
      if (done || (answered && was_used)) desk.approvals.used = whole.approvals.used;
      desk.resume = true;
      desk.run(1);
      INFO("cut after " << cut << " events, the last of them " << events[cut - 1].type
                        << (was_used ? ", used" : ""));
      REQUIRE(desk.result);
      // In doubt: it was taken, and nobody knows what became of it; so that is asked too.
      const bool in_doubt = answered && was_used && !done;
      CHECK(desk.approvals.asked.size() == (in_doubt ? 2U : 1U));
      if (in_doubt) CHECK(desk.approvals.reasons.back().starts_with("in doubt"));
      CHECK(desk.tools.ran.size() == (done ? 0U : 1U));
      CHECK(desk.only().end == SessionEnd::completed);
    }
  }
}

TEST_CASE("a call in doubt is asked about, and done again only if people say so", "[agents]") {
  Desk whole({calls("pay", "{}"), says("paid")});
  whole.run(1);
  const auto& all = whole.journal.events;
  const auto decided = std::find_if(all.begin(), all.end(), [](const Event& event) {
    return event.type == "action.decided" &&
           event.body.find(R"("tool":"pay")") != std::string::npos;
  });
  REQUIRE(decided != all.end());
  const std::vector<Event> cut(all.begin(), decided + 1);
  for (const ApprovalEnd said :
       {ApprovalEnd::approved, ApprovalEnd::done, ApprovalEnd::denied, ApprovalEnd::expired}) {
    Desk desk({calls("pay", "{}"), says("paid")});
    desk.people = true;
    desk.fleet.agents[0].limits.tool_calls = 1;  // the call that was cut off is the one
    desk.approvals.standard.end = said;
    desk.journal.events = cut;
    desk.resume = true;
    desk.run(1);
    INFO("people say " << to_string(said));
    REQUIRE(desk.result);
    REQUIRE(desk.approvals.reasons.size() == 1);
    CHECK(desk.approvals.reasons[0].starts_with("in doubt"));
    CHECK(desk.tools.ran.size() == (said == ApprovalEnd::approved ? 1U : 0U));
    const bool good = said == ApprovalEnd::approved || said == ApprovalEnd::done;
    CHECK(desk.only().end == (good ? SessionEnd::completed : SessionEnd::denied));
    // And once more at every event of that: nobody is asked twice, nothing is done twice.
    const std::vector<Event> events = desk.journal.events;
    for (std::size_t at = cut.size(); at < events.size(); ++at) {
      Desk later({calls("pay", "{}"), says("paid")});
      later.people = true;
      later.approvals.standard.end = said;
      later.approvals.asked = desk.approvals.asked;
      later.journal.events.assign(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(at));
      const bool done = std::any_of(
          later.journal.events.begin() + static_cast<std::ptrdiff_t>(cut.size()),
          later.journal.events.end(), [](const Event& e) { return e.type == "action.outcome"; });
      if (done) later.approvals.used = desk.approvals.used;
      later.resume = true;
      later.run(1);
      INFO("cut again after " << at << " events");
      REQUIRE(later.result);
      CHECK(later.approvals.asked.size() == 1);
      CHECK(later.tools.ran.size() == (said == ApprovalEnd::approved && !done ? 1U : 0U));
      CHECK(later.only().end == desk.only().end);
    }
  }
}

TEST_CASE("64 calls side by side against a quota for 10 run exactly 10", "[agents]") {
  for (const bool by_budget : {false, true}) {
    Desk desk({calls("pay", "{}"), says("done")});
    desk.tools.takes = std::chrono::seconds(1);
    if (by_budget) {
      desk.fleet.limits.tool_calls = 10;
    } else {
      desk.quota.emplace(10);
    }
    desk.run(16, 4);
    REQUIRE(desk.result);
    CHECK(desk.fleet_run->sessions().size() == 64);
    CHECK(desk.tools.ran.size() == 10);
    if (!by_budget) CHECK(desk.quota->spent == 10);
    CHECK(
        desk.recorded("action.decided", by_budget ? R"("bound":"budget")" : R"("bound":"quota")"));
  }
}

TEST_CASE("a tool that is not as a person pinned it is withheld and recorded", "[agents]") {
  Desk desk({calls("pay", "{}"), says("could not")});
  desk.check_tool = [](const ToolSpec& spec) -> Result<void> {
    if (spec.name == "look") return {};
    return Err(Code::denied, "its description has changed");
  };
  desk.run(1);
  REQUIRE(desk.result);
  CHECK(desk.tools.ran.empty());
  CHECK(desk.recorded("tool.quarantined", R"("tool":"pay")"));
  CHECK(desk.only().calls.at(0).verdict == Verdict::deny);
}

TEST_CASE("a session's events carry whose data they are", "[agents]") {
  Desk desk({says("ok")});
  desk.fleet.workflow.subject = "customer/${who}";
  desk.run(2);
  for (const Event& event : desk.journal.events) {
    if (event.session.empty()) continue;
    CHECK(event.subject == (event.session == "a" ? "customer/p0" : "customer/p1"));
  }
  SessionState folded;
  for (const Event& event : desk.journal.events) {
    if (event.session == "b") REQUIRE(apply(folded, event));
  }
  CHECK(folded.subject == "customer/p1");
}

TEST_CASE("a stop ends a session at once, whatever it waits for, and the record says why",
          "[agents]") {
  for (const char* waits_for : {"model", "tool", "person"}) {
    Desk desk({calls("pay", "{}"), says("done")});
    desk.people = true;
    desk.approvals.takes = std::chrono::hours(1);
    if (waits_for == std::string("model")) desk.model.thinks = std::chrono::hours(1);
    if (waits_for == std::string("tool")) desk.tools.takes = std::chrono::hours(1);
    if (waits_for == std::string("person")) desk.guard.verdicts["pay"] = Verdict::escalate;
    desk.start(2);
    const Instant soon = desk.poller.now() + std::chrono::seconds(1);
    bool late = false;
    desk.scope->spawn([](bool& flag) -> Task<void> {
      co_await delay(std::chrono::seconds(1));
      flag = true;
    }(late));
    desk.loop.run_until([&] { return late; });
    CHECK(desk.roster.stop(Selector{"", "", "a"}, "stopped by eve: too dear") == 1);
    desk.loop.run_until([&] { return desk.only().end != SessionEnd::running; });
    INFO(waits_for);
    CHECK(desk.only().end == SessionEnd::stopped);
    CHECK(desk.poller.now() - soon < std::chrono::milliseconds(100));
    CHECK(desk.recorded("session.ended", "stopped by eve: too dear"));
    CHECK(desk.fleet_run->sessions()[1]->state.end == SessionEnd::running);
    CHECK(desk.roster.stop(Selector{}, "stopped by eve") == 1);
    desk.loop.run_until([&] { return desk.scope->size() == 0; });
    REQUIRE(desk.result);
    CHECK(desk.fleet_run->progress().ends.at(SessionEnd::stopped) == 2);
  }
}

TEST_CASE("after a stop nothing that is meant begins any more", "[agents]") {
  Desk desk({calls("look", "{}"), says("done")});
  desk.fleet.workflow.concurrency = 2;
  desk.tools.takes = std::chrono::hours(1);
  desk.start(20);
  desk.loop.run_until([&] { return desk.tools.ran.size() == 2; });
  desk.roster.stop(Selector{"", "clerk", ""}, "stopped");
  desk.loop.run_until([&] { return desk.scope->size() == 0; });
  REQUIRE(desk.result);
  CHECK(desk.tools.ran.size() == 2);
  CHECK(desk.recorded("run.ended", R"("notBegun":18)"));
}

TEST_CASE("a paused session goes no further than its next step, until it is resumed", "[agents]") {
  Desk desk({calls("look", "{}"), says("done")});
  desk.start(1);
  desk.loop.run_until([&] { return desk.tools.ran.size() == 1; });
  CHECK(desk.roster.pause(Selector{"r", "", ""}) == 1);
  bool later = false;
  desk.scope->spawn([](bool& flag) -> Task<void> {
    co_await delay(std::chrono::hours(1));
    flag = true;
  }(later));
  desk.loop.run_until([&] { return later; });
  CHECK(desk.model.turns == 1);
  CHECK(desk.only().end == SessionEnd::running);
  CHECK(desk.roster.resume(Selector{"r", "", ""}) == 1);
  desk.loop.run_until([&] { return desk.scope->size() == 0; });
  CHECK(desk.model.turns == 2);
}

TEST_CASE("when a model cannot answer, its fallback is another action and takes the turn",
          "[agents]") {
  Desk desk({says("by the first")});
  FleetRun* run = nullptr;
  SayingModel down([](const TurnRequest&) { return says("FAIL"); });
  down.name = "down";
  desk.fleet.models.push_back({"large", "/l.gguf", {}, 64, 1024, "", "", ""});
  desk.fleet.models.back().fallback = {"m"};
  desk.fleet.models.back().price = {3, 0, 15};
  desk.fleet.models[0].price = {1, 0, 2};
  desk.fleet.agents[0].model = "large";
  desk.fleet_run.emplace(desk.fleet, RunOptions{"r", "ops", 1, 1},
                         std::map<std::string, Model*>{{"m", &desk.model}, {"large", &down}},
                         std::vector<Toolbox*>{&desk.tools},
                         Ports{desk.guard, desk.journal, any_arguments});
  run = &*desk.fleet_run;
  desk.scope.emplace();
  desk.scope->spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
    out = co_await r.run(std::move(in));
  }(*run, {{"a", "hi", ""}}, desk.result));
  desk.loop.run_until([&] { return desk.scope->size() == 0; });
  REQUIRE(desk.result);
  CHECK(desk.only().end == SessionEnd::completed);
  CHECK(desk.recorded("action.decided", R"("tool":"down")"));
  CHECK(desk.recorded("turn.completed", R"("model":"scripted")"));
  // 10 tokens in at 1 dollar a million, 5 out at 2.
  CHECK(desk.only().cost_micros == 20);
}

TEST_CASE("a turn that could cost more than what is left is not begun", "[agents]") {
  Desk desk({says("dear")});
  desk.fleet.models[0].price = {1, 0, 1000};
  desk.fleet.agents[0].limits.money_micros = 1000;
  desk.run(1);
  CHECK(desk.model.turns == 0);
  CHECK(desk.only().end == SessionEnd::limit);
}

TEST_CASE("each instance of an agent is recorded with its key, and every action names it",
          "[agents]") {
  Desk desk = escalating();
  desk.identities.emplace();
  desk.run(2);
  REQUIRE(desk.result);
  CHECK(desk.recorded("identity.issued", R"({"instance":"key-of-a","tokenHash":"hash"})"));
  CHECK(desk.recorded("identity.issued", "key-of-b"));
  CHECK(desk.recorded("action.decided", R"("instance":"key-of-a")"));
  CHECK(desk.recorded("action.decided", R"("requester":"ops@example.com")"));
  REQUIRE(desk.identities->charges.size() == 2);
  CHECK(desk.identities->charges[0].requester == "ops@example.com");
  CHECK(desk.identities->charges[0].left.turns == desk.fleet.agents[0].limits.turns);
  CHECK(desk.identities->ended.size() == 2);
}

TEST_CASE("an agent that gets no identity does nothing", "[agents]") {
  Desk desk = escalating();
  desk.identities.emplace();
  desk.identities->refuses = "clerk";
  desk.run(1);
  CHECK_FALSE(desk.result);
  CHECK(desk.tools.ran.empty());
  CHECK(desk.model.turns == 0);
}

TEST_CASE("an approval is used under what the last decision asks for", "[agents]") {
  Desk desk = escalating();
  desk.people = true;
  desk.guard.verdicts["pay"] = Verdict::escalate;
  desk.run(1);
  REQUIRE(desk.result);
  REQUIRE(desk.approvals.used_by.size() == 1);
  CHECK(desk.approvals.used_by[0].verdict == Verdict::escalate);
  CHECK(desk.approvals.used_by[0].reason == "rule of pay");
}

TEST_CASE("what the quotas have to say goes into the record", "[agents]") {
  Desk desk = escalating();
  desk.telling.emplace();
  desk.run(1);
  REQUIRE(desk.result);
  CHECK(desk.recorded("limit.breaker_opened", "pay"));
  std::string types;
  for (const std::string& type : desk.types()) types += type + " ";
  CHECK_THAT(types, Catch::Contains("limit.breaker_opened action.outcome"));
}

}  // namespace ambit::agents
