// Snapshots: a session that is folded from its newest one on is the very session that is folded
// from its first event, a run that is cut off anywhere goes on the same, and what a restart reads
// does not grow with the age of its sessions.

#include "agents/snapshot.h"

#include "agents/compaction.h"
#include "agents/sub_agents.h"
#include "runtime/agents/summing_model.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

namespace ambit::agents {
namespace {

// Has a rule a tool, and remembers what it is told that sessions have read.
class ReadGuard final : public Guard {
 public:
  Decision decide(const Action& action) override { return table.decide(action); }
  void heard(const std::string& session, Speaker /*speaker*/, const std::string& /*name*/,
             const std::string& text) override {
    texts.emplace(session, text);
  }
  void missed(const std::string& session) override { told_of_more.insert(session); }
  using Texts = std::multiset<std::pair<std::string, std::string>>;
  [[nodiscard]] Texts heard_but_of(const std::set<std::string>& sessions) const {
    Texts some = texts;
    std::erase_if(some, [&](const auto& one) { return sessions.contains(one.first); });
    return some;
  }
  TableGuard table;
  Texts texts;
  std::set<std::string> told_of_more;
};

// A record that has no room for snapshots.
class FullJournal final : public Journal {
 public:
  Task<Result<std::uint64_t>> append(Event event) override { return kept.append(std::move(event)); }
  Result<void> post(Event event) override {
    if (event.type != snapshot_type) return kept.post(std::move(event));
    ++refused;
    return Err(Code::exhausted, "it cannot keep up");
  }
  Result<void> read(const std::string& run,
                    const std::function<bool(const StoredEvent&)>& visit) override {
    return kept.read(run, visit);
  }
  MemoryJournal kept;
  int refused = 0;
};

struct SnapshotDesk {
  FleetRun& run(Journal& into) {
    Ports ports{guard, into, any_arguments};
    ports.snapshots = limits;
    ports.roster = &roster;
    ports.approvals = approvals;
    sub_agents.emplace(fleet, models, ports, std::vector<Toolbox*>{&tools});
    fleet_run.emplace(fleet, RunOptions{"r", "eve", 1, 1}, models,
                      std::vector<Toolbox*>{&tools, &*sub_agents}, ports);
    if (resume) REQUIRE(fleet_run->restore(into));
    Result<void> result;
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, {{"main", "Look at all of it.", ""}}, result));
    loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
    return *fleet_run;
  }
  FleetRun& run() { return run(journal); }
  const SessionState& only() { return fleet_run->sessions().at(0)->state; }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  std::map<std::string, Model*> models;
  ReadGuard guard;
  MemoryJournal journal;
  CountingTools tools{{tool("look", true), tool("pay", false)}};
  FakeApprovals* approvals = nullptr;
  Roster roster;
  SnapshotLimits limits{1, 8U << 20, 2};
  bool resume = false;
  std::optional<SubAgents> sub_agents;
  std::optional<FleetRun> fleet_run;
};

using Sessions = std::map<std::string, SessionState>;
using Reading = Result<void> (Journal::*)(const std::string&,
                                          const std::function<bool(const StoredEvent&)>&);

Sessions folded(MemoryJournal& journal, Reading reading, bool with_snapshots = true) {
  Sessions all;
  Result<void> good;
  REQUIRE((journal.*reading)("r", [&](const StoredEvent& stored) {
    const bool is_told = with_snapshots || stored.event.type != snapshot_type;
    if (!stored.event.session.empty() && is_told) {
      good = apply(all[stored.event.session], stored.event);
    }
    return good.has_value();
  }));
  if (!good) FAIL(good.error().message);
  return all;
}

std::size_t snapshots_in(const std::vector<Event>& events) {
  return static_cast<std::size_t>(
      std::count_if(events.begin(), events.end(),
                    [](const Event& event) { return event.type == snapshot_type; }));
}

MemoryJournal first_of(const MemoryJournal& journal, std::size_t count) {
  MemoryJournal part;
  part.events.assign(journal.events.begin(),
                     journal.events.begin() + static_cast<std::ptrdiff_t>(count));
  return part;
}

// At every cut: from the newest snapshots on it folds to what it folds to from the beginning; and a
// snapshot takes away nothing that counts.
void check_folds(const MemoryJournal& journal) {
  REQUIRE(snapshots_in(journal.events) >= 2);
  for (std::size_t cut = 1; cut <= journal.events.size(); ++cut) {
    INFO("cut after " << cut << " events, the last of them " << journal.events[cut - 1].type);
    MemoryJournal part = first_of(journal, cut);
    const Sessions whole = folded(part, &Journal::read);
    CHECK(folded(part, &Journal::recover) == whole);
    const Sessions plain = folded(part, &Journal::read, false);
    for (const auto& [id, state] : whole) {
      const SessionState& full = plain.at(id);
      CHECK(state.messages == full.messages);
      CHECK(state.task() == full.task());
      CHECK(state.usage == full.usage);
      CHECK(state.turns == full.turns);
      CHECK(state.actions == full.actions);
      CHECK(state.tainted == full.tainted);
      CHECK(state.parent == full.parent);
      CHECK(state.requester == full.requester);
      CHECK(state.compactions == full.compactions);
      CHECK(state.window_tokens == full.window_tokens);
      CHECK(state.call_count() == full.call_count());
      CHECK(earned_end(state) == earned_end(full));
      CHECK(spent_by(state).tool_calls == spent_by(full).tool_calls);
      CHECK((state.in_doubt() == nullptr) == (full.in_doubt() == nullptr));
      CHECK((state.waits() == nullptr) == (full.waits() == nullptr));
    }
  }
}

// Cut off after each event, it goes on to the same end.
template <class Make>
void check_resumes(Make make) {
  auto whole = make();
  whole->run();
  const MemoryJournal journal = whole->journal;
  for (std::size_t cut = 2; cut < journal.events.size(); ++cut) {
    INFO("cut after " << cut << " events, the last of them " << journal.events[cut - 1].type);
    auto desk = make();
    desk->journal.events = first_of(journal, cut).events;
    desk->resume = true;
    desk->run();
    CHECK(desk->only().messages == whole->only().messages);
    CHECK(desk->only().answer == whole->only().answer);
    CHECK(desk->only().end == whole->only().end);
    CHECK(desk->only().call_count() == whole->only().call_count());
    // The guard of a session that goes on knows all that was read.
    std::set<std::string> ended;
    for (std::size_t at = 0; at < cut; ++at) {
      if (journal.events[at].type == "session.ended") ended.insert(journal.events[at].session);
    }
    CHECK(desk->guard.heard_but_of(ended) == whole->guard.heard_but_of(ended));
    CHECK(desk->guard.told_of_more.empty());
    CHECK(folded(desk->journal, &Journal::recover) == folded(desk->journal, &Journal::read));
  }
}

struct ToolsDesk : SnapshotDesk {
  ToolsDesk() {
    models = {{"m", &model}};
    guard.table.verdicts["pay"] = Verdict::deny;
  }
  ScriptedModel model{{calls("look", "{}"), calls("pay", R"({"to":"bob"})"), calls("look", "{}"),
                       calls("look", R"({"at":"\u00e9 \"x\""})"), calls("look", "{}"),
                       calls("look", "{}"), calls("look", "{}"), calls("look", "{}"),
                       calls("look", "{}"), calls("look", "{}"), calls("look", "{}"),
                       calls("look", "{}"), says("all seen")}};
};

struct CompactingDesk : SnapshotDesk {
  explicit CompactingDesk(int looks = 12) : model(looks) {
    fleet = compacting_fleet();
    fleet.agents[0].limits = {-1, -1, -1, -1};
    models = {{"m", &model}};
  }
  SummingModel model;
};

struct DelegatingDesk : SnapshotDesk {
  DelegatingDesk() {
    AgentSpec worker = fleet.agents[0];
    worker.name = "worker";
    worker.model = "w";
    worker.tools = {"look"};
    fleet.models.push_back(fleet.models[0]);
    fleet.models[1].name = "w";
    fleet.agents[0].tools = {"agent__worker", "look"};
    fleet.agents.push_back(worker);
    models = {{"m", &lead}, {"w", &hand}};
  }
  ScriptedModel lead{{calls("look", "{}"), calls("agent__worker", R"({"task":"look"})"),
                      calls("look", "{}"), says("all done")}};
  ScriptedModel hand{{calls("look", "{}"), calls("look", "{}"), says("seen")}};
};

const std::string run_id = "r";
const std::string session_id = "s";
const std::string agent_name = "clerk";
const Origin origin{run_id, session_id, agent_name, "jane"};

CallRecord call(int number, Verdict verdict, std::optional<OutcomeKind> outcome) {
  CallRecord record;
  record.action = "r/s/" + std::to_string(number);
  record.call = {"call_" + std::to_string(number), "look", R"({"n":"\u00e9"})"};
  record.verdict = verdict;
  record.reason = "a \"reason\"\n";
  record.policies = {"p1", "p2"};
  record.obligations = {{"redact", "to"}, {"warn", "yes"}};
  record.outcome = outcome;
  record.detail = "exit 1";
  return record;
}

// Something in every member.
SessionState full_state() {
  SessionState state;
  REQUIRE(apply(state, Fact(SessionStarted{"ops", "be brief", "hello"}), origin));
  Message said{Role::assistant, "I \"look\"", {{"call_1_1", "look", R"({"a":1})"}}, "", ""};
  state.messages.push_back(said);
  state.messages.push_back({Role::tool, "3: pool exhausted", {}, "call_1_1", "look"});
  state.parent = "p";
  state.usage = {1, 2, 3, 4, 5, 6, 7, 8, 9, 20};
  state.cost_micros = 10;
  state.turns = 11;
  state.actions = 12;
  state.finish = FinishReason::length;
  state.tainted = true;
  state.replaced = {{Role::user, "what was asked", {}, "", ""},
                    {Role::tool, "what was read", {}, "call_0_1", "look"}};
  state.compactions = 13;
  state.task_bytes = 2;
  state.window_tokens = 14;
  state.uncompacted = 15;
  state.has_read_more = true;
  state.earlier_calls = {16, 17, 18, 19};
  state.calls = {call(1, Verdict::allow, OutcomeKind::ok),
                 call(2, Verdict::escalate, std::nullopt)};
  state.calls[1].asked = {"request-1", "r/s/1",
                          ApprovalAnswer{ApprovalEnd::modified, "eve", "request-2", ""}};
  return state;
}

}  // namespace

TEST_CASE("a snapshot holds every member of a state, through the record too", "[snapshot]") {
  const SessionState state = full_state();
  const Fact fact = snapshot_of(state, {});
  const Event event = to_event(fact, origin);
  CHECK(event.type == "session.snapshot");
  CHECK(event.body == R"({"turns":11})");
  const Result<Fact> read = fact_of(event);
  REQUIRE(read);
  CHECK(to_event(*read, origin) == event);
  SessionState recovered;
  REQUIRE(apply(recovered, event));
  CHECK(recovered == state);
  SessionState live = state;
  live.recorded_bytes = 1000;
  REQUIRE(apply(live, fact, origin, 5));
  CHECK(live == state);
}

TEST_CASE("texts that are no UTF-8 are the same live and recovered", "[snapshot]") {
  SessionState live = full_state();
  live.messages.push_back({Role::assistant, "half \xC3", {}, "", ""});
  live.replaced[1].content = "raw \xff";
  Fact fact = snapshot_of(live, {});
  const Event event = to_event(fact, origin);
  REQUIRE(apply(live, std::move(fact), origin));
  SessionState recovered;
  REQUIRE(apply(recovered, event));
  CHECK(recovered == live);
  CHECK(live.replaced[1].content == "raw \xEF\xBF\xBD");
}

TEST_CASE("a snapshot keeps the newest calls and those that were not allowed, and counts the rest",
          "[snapshot]") {
  SessionState state = full_state();
  state.earlier_calls = {};
  state.calls.clear();
  for (int n = 1; n <= 20; ++n) {
    const bool denied = n == 3 || n == 5 || n == 7;
    state.calls.push_back(call(n, denied ? Verdict::deny : Verdict::allow,
                               denied ? OutcomeKind::denied : OutcomeKind::ok));
  }
  const Cost before = spent_by(state);
  SnapshotLimits limits;
  limits.calls_max = 2;
  REQUIRE(apply(state, Fact(snapshot_of(state, limits)), origin));
  std::vector<std::string> kept;
  for (const CallRecord& record : state.calls) kept.push_back(record.action);
  CHECK(kept == std::vector<std::string>{"r/s/5", "r/s/7", "r/s/19", "r/s/20"});
  CHECK(state.earlier_calls == EarlierCalls{16, 15, 0, 1});
  CHECK(state.call_count() == 20);
  CHECK(spent_by(state).tool_calls == before.tool_calls);
  CHECK(earned_end(state) == SessionEnd::denied);
  state.calls.clear();
  CHECK(earned_end(state) == SessionEnd::denied);
  state.earlier_calls.escalated = 1;
  CHECK(earned_end(state) == SessionEnd::escalated);
}

TEST_CASE("of what was read a snapshot keeps what a guard would, and says that there was more",
          "[snapshot]") {
  SessionState state = full_state();
  state.has_read_more = false;
  state.replaced.assign(5, {Role::tool, std::string(1000, 'x'), {}, "call_1_1", "look"});
  state.replaced.insert(state.replaced.begin(), {Role::assistant, "mine", {}, "", ""});
  SnapshotLimits limits;
  limits.heard_bytes_max = 6000;
  CHECK(snapshot_of(state, limits).state->replaced.size() == 5);
  CHECK_FALSE(snapshot_of(state, limits).state->has_read_more);
  limits.heard_bytes_max = 3500;
  CHECK(snapshot_of(state, limits).state->replaced.size() == 3);
  CHECK(snapshot_of(state, limits).state->has_read_more);
}

TEST_CASE("a snapshot that is damaged or of another state is refused", "[snapshot]") {
  const SessionState state = full_state();
  const Event good = to_event(snapshot_of(state, {}), origin);
  const auto refused = [&](Event event) {
    SessionState empty;
    return !apply(empty, event);
  };
  for (std::size_t at = 0; at < good.payloads.size(); ++at) {
    Event damaged = good;
    const std::string& name = damaged.payloads[at].name;
    if (name == "prompt" || name == "summary") continue;
    damaged.payloads[at].bytes = "[1]\n";
    INFO(name);
    CHECK(refused(damaged));
  }
  Event open = good;
  for (Payload& payload : open.payloads) {
    if (payload.name != "messages") continue;
    payload.bytes.resize(payload.bytes.rfind("{\"role\":\"tool\""));
  }
  CHECK(refused(open));
  SessionState other = state;
  ++other.turns;
  const auto applied = apply(other, good);
  REQUIRE(!applied);
  CHECK(applied.error().message ==
        "the record of session s does not fit together: session.snapshot: it is of another state");
  SessionState ended = state;
  ended.end = SessionEnd::stopped;
  CHECK_FALSE(apply(ended, good));
  CHECK_FALSE(refused(good));
}

TEST_CASE("folded from its newest snapshot a session is what it is from its first event",
          "[snapshot]") {
  SECTION("tool calls, one of them denied") {
    ToolsDesk desk;
    desk.run();
    CHECK(desk.only().end == SessionEnd::denied);
    check_folds(desk.journal);
    CHECK(folded(desk.journal, &Journal::recover).at("main") == desk.only());
  }
  SECTION("a conversation that gives way to summaries") {
    CompactingDesk desk;
    desk.run();
    CHECK(desk.only().compactions >= 2);
    check_folds(desk.journal);
    CHECK(folded(desk.journal, &Journal::recover).at("main") == desk.only());
  }
  SECTION("an agent that gives a task to another one") {
    DelegatingDesk desk;
    desk.run();
    CHECK(desk.only().answer == "all done");
    check_folds(desk.journal);
    const Sessions all = folded(desk.journal, &Journal::recover);
    CHECK(all.at("main") == desk.only());
    CHECK(all.at("main.call_2_1").parent == "main");
  }
  SECTION("people who approve, change and refuse") {
    ToolsDesk desk;
    FakeApprovals people;
    desk.approvals = &people;
    desk.guard.table.verdicts["pay"] = Verdict::escalate;
    people.standard = GENERATE(ApprovalAnswer{ApprovalEnd::approved, "eve", "", ""},
                               ApprovalAnswer{ApprovalEnd::modified, "eve", "", R"({"to":"ann"})"},
                               ApprovalAnswer{ApprovalEnd::denied, "eve", "", ""});
    desk.run();
    check_folds(desk.journal);
    CHECK(folded(desk.journal, &Journal::recover).at("main") == desk.only());
  }
}

TEST_CASE("a run that is cut off anywhere goes on from its newest snapshots", "[snapshot]") {
  SECTION("tool calls") {
    check_resumes([] { return std::make_unique<ToolsDesk>(); });
  }
  SECTION("summaries") {
    check_resumes([] { return std::make_unique<CompactingDesk>(); });
  }
  SECTION("sub-agents") {
    check_resumes([] { return std::make_unique<DelegatingDesk>(); });
  }
}

TEST_CASE("a guard is told that a session has read more than a snapshot keeps", "[snapshot]") {
  CompactingDesk desk;
  desk.limits.heard_bytes_max = 300;
  desk.run();
  CHECK(desk.guard.told_of_more.empty());  // it has heard it itself
  CompactingDesk again;
  again.limits = desk.limits;
  again.journal.events = first_of(desk.journal, desk.journal.events.size() - 2).events;
  again.resume = true;
  again.run();
  CHECK(again.guard.told_of_more == std::set<std::string>{"main"});
  CHECK(again.only().answer == desk.only().answer);
}

TEST_CASE("a short session has no snapshot", "[snapshot]") {
  ToolsDesk desk;
  desk.limits = {};
  desk.run();
  CHECK(snapshots_in(desk.journal.events) == 0);
}

TEST_CASE("where the record has no room for a snapshot the session goes on without", "[snapshot]") {
  ToolsDesk desk;
  FullJournal journal;
  desk.run(journal);
  CHECK(journal.refused >= 3);
  CHECK(snapshots_in(journal.kept.events) == 0);
  CHECK(desk.only().answer == "all seen");
}

namespace {

struct Extent {
  std::size_t most_read = 0;  // by a restart, at the worst moment
  std::size_t snapshots = 0;  // bytes of them
  std::size_t others = 0;
};

Extent extent_of(int looks) {
  CompactingDesk desk(looks);
  desk.limits = {4000, 2000, 4};
  desk.run();
  Extent extent;
  std::size_t since = 0;
  for (const Event& event : desk.journal.events) {
    const bool is_snapshot = event.type == snapshot_type;
    since = (is_snapshot ? 0 : since) + bytes_of(event);
    (is_snapshot ? extent.snapshots : extent.others) += bytes_of(event);
    extent.most_read = std::max(extent.most_read, since);
  }
  // That is what is read.
  std::size_t read = 0;
  REQUIRE(desk.journal.recover("r", [&](const StoredEvent& stored) {
    read += stored.event.session.empty() ? 0 : bytes_of(stored.event);
    return true;
  }));
  CHECK(read <= extent.most_read);
  return extent;
}

}  // namespace

TEST_CASE("what a restart reads does not grow with the age of a compacted session", "[snapshot]") {
  const Extent young = extent_of(40);
  const Extent old = extent_of(400);
  INFO("read " << young.most_read << " and " << old.most_read << " bytes; recorded " << young.others
               << " and " << old.others << "; in snapshots " << young.snapshots << " and "
               << old.snapshots);
  CHECK(old.others >= 8 * young.others);
  CHECK(old.most_read <= 2 * young.most_read);
  CHECK(old.most_read * 10 <= old.others);
  CHECK(old.snapshots <= old.others);
}

}  // namespace ambit::agents
