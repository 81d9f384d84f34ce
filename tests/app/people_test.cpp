// People who approve, as the program asks them: who is asked when, what goes into the record, and
// what jails ask for at run time. With a world that has no operating system but its files.

#include "app/people.h"

#include "app/jail_gate.h"
#include "governance/fake_world.h"
#include "governance/guard.h"
#include "io/file.h"
#include "runtime/agents/scripted.h"
#include "support/run_task.h"
#include "support/temporary_folder.h"

#include <catch2/catch.hpp>

namespace ambit::app {
namespace {

log::SignerKey key_of(const std::string& name) {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = static_cast<std::uint8_t>(name[0]);
  return *log::SignerKey::from_seed(name, bytes);
}

struct Desk {
  explicit Desk(PeopleOptions options = {}) {
    std::string keys;
    for (const char* name : {"ada", "eve", "max"}) keys += key_of(name).verifier().text() + "\n";
    approvers = folder.path() + "/approvers";
    REQUIRE(io::write_file(approvers, keys, 0600));
    options.folder = folder.path() + "/approvals";
    options.approvers = approvers;
    options.journal = &journal;
    auto opened = FolderApprovals::open(world.world(), std::move(options));
    if (!opened) FAIL(opened.error().message);
    people = std::move(*opened);
  }
  std::int64_t now_ms() const { return world.now_ns / 1'000'000; }
  // As `ambit approve` does it, from another process.
  Result<governance::ApprovalState> answer(const std::string& id, const std::string& who,
                                           governance::Answer answer) {
    auto other =
        governance::ApprovalFolder::open(folder.path() + "/approvals", approvers, now_ms());
    const auto* request = other->desk().request(id);
    if (request == nullptr) return Err(Code::not_found, "no such request");
    const governance::ApprovalAnswer said{id, request->hash, answer, "seen", "", now_ms()};
    return other->answer(sign(said, key_of(who)), now_ms());
  }
  std::string types() const {
    std::string all;
    for (const agents::Event& event : journal.events) all += event.type + " ";
    return all;
  }

  log::FakeWorld world;
  TemporaryFolder folder;
  std::string approvers;
  agents::MemoryJournal journal;
  std::unique_ptr<FolderApprovals> people;
};

agents::Action payment() {
  agents::Action action;
  action.id = "r/s/1";
  action.run = "r";
  action.session = "s";
  action.agent = "clerk";
  action.on_behalf_of = "ada";
  action.requester = "max";
  action.tool = "pay";
  action.arguments = R"({"n":1})";
  return action;
}

agents::Decision asks(std::vector<std::pair<std::string, std::string>> obligations = {}) {
  agents::Decision decision;
  decision.verdict = agents::Verdict::escalate;
  decision.reason = "large";
  decision.obligations = std::move(obligations);
  return decision;
}

std::vector<std::vector<std::string>> people_of(
    const std::vector<governance::ApprovalLevel>& levels) {
  std::vector<std::vector<std::string>> all;
  for (const auto& level : levels) all.push_back(level.people);
  return all;
}

}  // namespace

TEST_CASE("the owner is asked first, then the levels of the fleet", "[app]") {
  const std::vector<log::VerifierKey> keys = {key_of("ada").verifier(), key_of("eve").verifier()};
  const std::vector<agents::ApprovalLevelSpec> levels = {{1000, {"eve"}}, {2000, {"*"}}};
  using People = std::vector<std::vector<std::string>>;
  agents::Action action = payment();
  CHECK(levels_for(action, {}, {}, keys).empty());  // everybody, at once
  const auto made = levels_for(action, {}, levels, keys);
  CHECK(people_of(made) == People{{"ada"}, {"eve"}, {"ada", "eve"}});
  CHECK(made[0].after_ms == 0);
  CHECK(made[1].after_ms == 1000);
  // Whom a policy names is asked alone.
  CHECK(people_of(levels_for(action, {"eve"}, levels, keys)) == People{{"eve"}});
  // An owner who asked himself, or has no key, is no first level: the next one begins at once.
  action.requester = "ada";
  CHECK(people_of(levels_for(action, {}, levels, keys)) == People{{"eve"}, {"ada", "eve"}});
  CHECK(levels_for(action, {}, levels, keys)[0].after_ms == 0);
  action.on_behalf_of = "nobody";
  CHECK(levels_for(action, {}, levels, keys)[0].people == std::vector<std::string>{"eve"});
}

TEST_CASE("what becomes of an approval is in the record, with its run and session", "[app]") {
  Desk desk;
  const auto ticket = run_task(desk.world.loop(), desk.people->ask(payment(), asks()));
  REQUIRE(ticket);
  CHECK(desk.types() == "approval.asked ");
  CHECK(desk.journal.events[0].run == "r");
  CHECK(desk.journal.events[0].session == "s");
  CHECK_FALSE(desk.answer(ticket->id, "max", governance::Answer::approve));  // the requester
  REQUIRE(desk.answer(ticket->id, "ada", governance::Answer::approve));
  const auto answer = run_task(desk.world.loop(), desk.people->answered(ticket->id));
  REQUIRE(answer);
  CHECK(answer->end == agents::ApprovalEnd::approved);
  CHECK(answer->by == "ada");
  CHECK(desk.types() == "approval.asked approval.refused approval.voted ");
  const auto used = run_task(desk.world.loop(), desk.people->use(ticket->id, payment(), asks()));
  CHECK(used == true);
  const auto again = run_task(desk.world.loop(), desk.people->use(ticket->id, payment(), asks()));
  CHECK(again == false);
  CHECK_THAT(desk.types(), Catch::EndsWith("approval.voted approval.used "));
}

TEST_CASE("an approval of too few people is refused when it is used, and that is recorded",
          "[app]") {
  Desk desk;
  const auto ticket = run_task(desk.world.loop(), desk.people->ask(payment(), asks()));
  REQUIRE(ticket);
  REQUIRE(desk.answer(ticket->id, "ada", governance::Answer::approve));
  const auto used = run_task(desk.world.loop(),
                             desk.people->use(ticket->id, payment(), asks({{"approvers", "2"}})));
  REQUIRE_FALSE(used);
  CHECK_THAT(used.error().message, Catch::Contains("2 are needed"));
  CHECK_THAT(desk.types(), Catch::EndsWith("approval.refused "));
}

TEST_CASE("a policy's people and its deadline reach the request", "[app]") {
  Desk desk;
  const auto ticket = run_task(
      desk.world.loop(),
      desk.people->ask(payment(), asks({{"approvers", "1 of eve"}, {"deadline", "60000 ms"}})));
  REQUIRE(ticket);
  CHECK(ticket->expires_unix_ms == desk.now_ms() + 60'000);
  CHECK_FALSE(desk.answer(ticket->id, "ada", governance::Answer::approve));
  CHECK(desk.answer(ticket->id, "eve", governance::Answer::approve));
}

TEST_CASE("nothing is asked that cannot be recorded", "[app]") {
  Desk desk;
  desk.journal.fail_after = 0;
  CHECK_FALSE(run_task(desk.world.loop(), desk.people->ask(payment(), asks())));
}

namespace {

// A jail's gate under one policy set, with a session of the clerk that works for max.
struct Door {
  explicit Door(const std::string& policies, bool with_people = true)
      : guard(*governance::PolicyGuard::create({{"p.cedar", policies}}, {})),
        book(desk.journal),
        gate(*guard, book, with_people ? desk.people.get() : nullptr, "r") {
    agents::Event started{"session.started", "r", "s", "clerk", R"({"principal":"max"})", {}};
    REQUIRE(run_task(desk.world.loop(), book.append(std::move(started))));
    agents::Event decided{
        "action.decided", "r", "s", "clerk", R"({"onBehalfOf":"ada","tainted":true})", {}};
    REQUIRE(run_task(desk.world.loop(), book.append(std::move(decided))));
  }
  sandbox::EgressAsk ask() const {
    sandbox::EgressAsk made;
    made.agent = "clerk";
    made.session = "s";
    made.method = "GET";
    made.url = "https://api.example.com/x";
    made.host = "api.example.com";
    made.port = 443;
    return made;
  }
  const agents::Event& last(const std::string& type) const {
    for (auto at = desk.journal.events.rbegin(); at != desk.journal.events.rend(); ++at) {
      if (at->type == type) return *at;
    }
    FAIL("no event " + type + " in " + desk.types());
    return desk.journal.events.front();
  }

  Desk desk;
  std::unique_ptr<governance::PolicyGuard> guard;
  SessionBook book;
  JailGate gate;
};

const std::string ask_for_egress =
    R"(@advice("escalate") @reason("look first") permit(principal, action == Action::"egress", resource);)";

}  // namespace

TEST_CASE("what a jail wants to reach waits for a person, and goes on once they say yes", "[app]") {
  Door door(ask_for_egress);
  struct Outcome {
    std::optional<Result<void>> result;
  } outcome;
  Scope scope;
  scope.spawn([](JailGate& gate, sandbox::EgressAsk ask, Outcome& out) -> Task<void> {
    out.result = co_await gate.may_request(std::move(ask));
  }(door.gate, door.ask(), outcome));
  auto& loop = door.desk.world.loop();
  loop.run_until([&] { return door.desk.types().find("egress.requested") != std::string::npos; });
  CHECK_FALSE(outcome.result);
  const std::string& body = door.last("egress.requested").body;
  const std::string id = body.substr(body.find("\"request\":\"") + 11, 32);
  REQUIRE(door.desk.answer(id, "ada", governance::Answer::approve));
  loop.run_until([&] { return outcome.result.has_value(); });
  CHECK(outcome.result->has_value());
  CHECK_THAT(door.last("egress.answered").body, Catch::Contains(R"("by":"ada")"));
  CHECK_THAT(door.last("egress.decided").body, Catch::Contains(R"("verdict":"escalate")"));
  CHECK_THAT(door.last("egress.decided").body, Catch::Contains(R"("onBehalfOf":"ada")"));
  CHECK_THAT(door.desk.types(), Catch::Contains("approval.used"));
}

TEST_CASE("what a jail wants is refused where a person says no, or nobody can be asked", "[app]") {
  Door alone(ask_for_egress, false);
  const auto refused = run_task(alone.desk.world.loop(), alone.gate.may_request(alone.ask()));
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("nobody can be asked"));
  Door forbidden(R"(permit(principal, action == Action::"tool_call", resource);)");
  const auto denied =
      run_task(forbidden.desk.world.loop(), forbidden.gate.may_request(forbidden.ask()));
  REQUIRE_FALSE(denied);
  CHECK_THAT(denied.error().message, Catch::Contains("denied by policy"));
  // Reading a path is a tool call of its own.
  sandbox::OpenAsk open;
  open.session = "s";
  open.path = "/data/x";
  CHECK(run_task(forbidden.desk.world.loop(), forbidden.gate.may_open(open)));
  CHECK_THAT(forbidden.last("open.decided").body, Catch::Contains(R"("tainted":true)"));
}

}  // namespace ambit::app
