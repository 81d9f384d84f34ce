// The console without a browser: who gets in, what is found, what may be put on record, and what
// leaves the door.

#include "../support/memory_stream.h"
#include "../support/run_task.h"
#include "../support/temporary_folder.h"
#include "console/door.h"
#include "console/files.h"
#include "fake_world.h"
#include "io/file.h"
#include "log/merkle.h"
#include "log/verify.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sys/file.h>

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

using namespace ambit;
using namespace ambit::console;
using ambit::log::FakeWorld;
using nlohmann::json;

namespace {

const std::string secret(64, 'a');

log::Prepared of(const std::string& type, const std::string& session, const std::string& body,
                 const std::string& payload = "") {
  log::Prepared made = log::event_of(session, body, payload);
  made.event.type = type;
  return made;
}

// A run with a denied action, an allowed one with its outcome, and a turn.
void record_run(log::LogWriter& writer) {
  std::vector<log::Prepared> group;
  group.push_back(of("run.started", "", R"({"fleet":"desk","principal":"jane"})"));
  group.push_back(of("session.started", "s1", R"({"principal":"jane"})"));
  group.push_back(of(
      "turn.completed", "s1",
      R"({"action":"run-1/s1/1","finish":"tool_calls","model":"m","usage":{"cachedTokens":3,"energyUj":7000,"inputTokens":9,"movedBytes":123456,"outputTokens":5}})"));
  group.push_back(of(
      "action.decided", "s1",
      R"({"action":"run-1/s1/2","kind":"tool_call","onBehalfOf":"jane","policies":["no-rm"],"policySet":"x","reason":"forbidden by no-rm","tool":"rm","verdict":"deny"})",
      R"({"path":"/etc"})"));
  group.push_back(of(
      "action.decided", "s1",
      R"({"action":"run-1/s1/3","kind":"tool_call","onBehalfOf":"jane","policies":["ls"],"policySet":"x","reason":"permitted by ls","tool":"ls","verdict":"allow"})"));
  group.push_back(of("action.outcome", "s1",
                     R"({"action":"run-1/s1/3","durationUs":40,"outcome":"ok","tool":"ls"})",
                     "a b"));
  group.push_back(of("session.ended", "s1", R"({"error":"","state":"denied"})"));
  for (std::size_t i = 0; i < group.size(); ++i)
    group[i].unix_ns += static_cast<std::int64_t>(i) * 1'000'000;
  const auto done = writer.append(group);
  if (!done) FAIL(done.error().message);
}

struct Fixture {
  Fixture() {
    auto writer = log::open_writer(folder.path());
    record_run(*writer);
  }
  std::unique_ptr<Desk> open() {
    DeskOptions options;
    options.folder = folder.path();
    options.unix_ns = [this] { return now_ns; };
    options.random = log::counter(5);
    auto desk = Desk::open(options);
    if (!desk) FAIL(desk.error().message);
    return std::move(*desk);
  }
  TemporaryFolder folder;
  std::int64_t now_ns = 1'795'219'300'000'000'000;
  Person ann{"ann", Role::reviewer};
  Person bob{"bob", Role::reviewer};
};

json get(Desk& desk, const std::string& what, const http::Query& query = {}) {
  const auto text = desk.get(what, query, {"ann", Role::reviewer});
  if (!text) FAIL(text.error().message);
  return json::parse(*text);
}

}  // namespace

TEST_CASE("a link logs in once, and only for a while", "[console]") {
  Access access;
  access.add_code("code-1", {"ann", Role::reviewer}, 1000);
  access.add_code("code-2", {"bob", Role::owner}, 1000);
  REQUIRE(access.log_in("code-1", secret, 2000));
  CHECK(access.by_cookie(secret, 2001)->name == "ann");
  CHECK_FALSE(access.log_in("code-1", secret + "b", 2002));
  CHECK_FALSE(access.log_in("code-2", secret, 1000 + Access::code_ms));
  CHECK_FALSE(access.by_cookie("code-1", 2002));
}

TEST_CASE("a login ends after an hour without a request, and after eight hours", "[console]") {
  Access access;
  REQUIRE(access.add_token("0123456789abcdef", {"ann", Role::owner}));
  REQUIRE(access.log_in("0123456789abcdef", secret, 0));
  CHECK(access.by_cookie(secret, Access::idle_ms - 1));
  CHECK_FALSE(access.by_cookie(secret, 2 * Access::idle_ms + 1));
  REQUIRE(access.log_in("0123456789abcdef", secret, 0));
  std::int64_t now = 0;
  while (access.by_cookie(secret, now)) now += Access::idle_ms / 2;
  CHECK(now > Access::session_ms);
  CHECK(now <= Access::session_ms + Access::idle_ms);
}

TEST_CASE("a short token is refused, and guessing is slowed down", "[console]") {
  Access access;
  CHECK_FALSE(access.add_token("short", {"ann", Role::reviewer}));
  REQUIRE(access.add_token("0123456789abcdef", {"ann", Role::reviewer}));
  CHECK_FALSE(access.add_token("0123456789abcdef", {"bob", Role::reviewer}));
  for (std::size_t i = 0; i < Access::failures_max; ++i) {
    CHECK(access.log_in("guess", secret, 10).error().code == Code::denied);
  }
  CHECK(access.log_in("0123456789abcdef", secret, 11).error().code == Code::exhausted);
  CHECK(access.log_in("0123456789abcdef", secret, 70'000));
}

TEST_CASE("runs, sessions and sums come from the records", "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  const json runs = get(*desk, "runs");
  REQUIRE(runs["total"] == 1);
  const json& run = runs["runs"][0];
  CHECK(run["run"] == "run-1");
  CHECK(run["person"] == "jane");
  CHECK(run["fleet"] == "desk");
  CHECK(run["totals"]["denied"] == 1);
  CHECK(run["totals"]["allowed"] == 1);
  CHECK(run["totals"]["outputTokens"] == 5);
  CHECK(run["totals"]["energyUj"] == 7000);
  CHECK(run["totals"]["movedBytes"] == 123456);
  CHECK(run["states"] == json{{"denied", 1}});
  CHECK(get(*desk, "run", {{"run", "run-1"}})["list"][0]["session"] == "s1");
  const json agents = get(*desk, "run", {{"run", "run-1"}})["byAgent"];
  REQUIRE(agents.size() == 1);
  CHECK(agents[0]["sessions"] == 1);
  CHECK(agents[0]["totals"]["energyUj"] == 7000);
  CHECK(agents[0]["totals"]["movedBytes"] == 123456);
  CHECK(agents[0]["totals"]["outputTokens"] == 5);
  CHECK(desk->get("run", {{"run", "nowhere"}}, fixture.ann).error().code == Code::not_found);
}

TEST_CASE("records are found by every filter, alone and together", "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  const auto count = [&](const http::Query& query) {
    const json found = get(*desk, "records", query);
    CHECK(found["complete"] == true);
    return found["total"].get<int>();
  };
  CHECK(count({}) == 7);
  CHECK(count({{"verdict", "deny"}}) == 1);
  CHECK(count({{"group", "decisions"}}) == 2);
  CHECK(count({{"group", "calls"}}) == 3);
  CHECK(count({{"group", "turns"}}) == 1);
  CHECK(count({{"tool", "ls"}, {"type", "action.outcome"}}) == 1);
  CHECK(count({{"policy", "no-rm"}}) == 1);
  CHECK(count({{"policy", "no"}}) == 0);
  CHECK(count({{"person", "jane"}}) == 4);
  CHECK(count({{"text", "FORBIDDEN by"}}) == 1);
  CHECK(count({{"text", "\"principal\""}}) == 0);
  CHECK(count({{"agent", "nobody"}}) == 0);
  CHECK(count({{"from", "2026-11-21T00:00:00.003000000Z"}}) == 4);
  CHECK_FALSE(desk->get("records", {{"from", "yesterday"}}, fixture.ann));
  CHECK_FALSE(desk->get("records", {{"limit", "9999"}}, fixture.ann));
  const json newest = get(*desk, "records", {{"order", "newest"}, {"limit", "2"}});
  CHECK(newest["rows"][0]["index"] == 6);
  CHECK(newest["rows"].size() == 2);
}

TEST_CASE("what is recorded later is found too, also by a question that was asked before",
          "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  CHECK(get(*desk, "records", {{"verdict", "deny"}})["total"] == 1);
  const json body = {{"index", 3},
                     {"finding", "question"},
                     {"note", "why?"},
                     {"leafHash", get(*desk, "record", {{"index", "3"}})["hash"]}};
  auto event = desk->draft("annotation", body.dump(), fixture.ann);
  REQUIRE(event);
  event->type = "action.decided";
  event->body = R"({"verdict":"deny"})";
  REQUIRE(desk->append(*event));
  CHECK(get(*desk, "records", {{"verdict", "deny"}})["total"] == 2);
}

TEST_CASE("a record comes with its bytes, its proof, its payloads and what belongs to it",
          "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  const json decided = get(*desk, "record", {{"index", "4"}});
  REQUIRE(decided["links"].size() == 1);
  CHECK(decided["links"][0]["index"] == 5);
  const json record = get(*desk, "record", {{"index", "3"}});
  CHECK(record["payloads"][0]["text"] == R"({"path":"/etc"})");
  const auto leaf = record["leaf"].get<std::string>();
  CHECK(record["hash"] == log::to_hex(log::leaf_hash(leaf)));
  std::vector<log::Hash> proof;
  for (const json& each : record["proof"]) {
    proof.push_back(*log::hash_from(*log::from_base64(each.get<std::string>())));
  }
  const auto key = log::VerifierKey::parse(get(*desk, "session")["vkey"].get<std::string>());
  const auto text = log::open_note(record["checkpoint"].get<std::string>(), *key);
  REQUIRE(text);
  const auto checkpoint = log::Checkpoint::parse(*text);
  CHECK(log::verify_inclusion(3, checkpoint->size, log::leaf_hash(leaf), proof, checkpoint->root));
  CHECK(get(*desk, "proofs", {{"run", "run-1"}})["records"].size() == 7);
  CHECK(get(*desk, "consistency", {{"old", "2"}})["proof"].size() >= 1);
  CHECK(desk->get("consistency", {{"old", "8"}}, fixture.ann).error().code == Code::conflict);
}

TEST_CASE("a sample is what its seed says, over the log as it was", "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  const http::Query query = {{"seed", "spring"}, {"count", "3"}};
  const json first = get(*desk, "sample", query);
  CHECK(first["indexes"].size() == 3);
  CHECK(get(*desk, "sample", query)["indexes"] == first["indexes"]);
  // Drawn by hand: the three records with the smallest keys.
  std::vector<std::pair<log::Hash, std::uint64_t>> keys;
  for (std::uint64_t i = 0; i < 7; ++i) {
    keys.emplace_back(log::sha256("ambit-sample/1\nspring\n" + std::to_string(i)), i);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<std::uint64_t> wanted = {keys[0].second, keys[1].second, keys[2].second};
  std::sort(wanted.begin(), wanted.end());
  CHECK(first["indexes"] == json(wanted));
  const auto event =
      desk->draft("sample", R"({"seed":"spring","count":3,"filter":{}})", fixture.ann);
  REQUIRE(event);
  REQUIRE(desk->append(*event));
  const json reviews = get(*desk, "reviews");
  REQUIRE(reviews["samples"].size() == 1);
  CHECK(reviews["samples"][0]["indexes"] == json(wanted));
  CHECK(reviews["samples"][0]["size"] == 7);
  CHECK_FALSE(desk->draft("sample", R"({"seed":"","count":3})", fixture.ann));
  CHECK_FALSE(
      desk->draft("sample", R"({"seed":"x","count":3,"filter":{"tool":"none"}})", fixture.ann));
}

TEST_CASE("a finding is bound to what was read, and a second person signs it off once",
          "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  json said = {{"index", 3},
               {"finding", "not in order"},
               {"note", "why was it asked?"},
               {"leafHash", std::string(64, '0')}};
  CHECK(desk->draft("annotation", said.dump(), fixture.ann).error().code == Code::conflict);
  said["leafHash"] = get(*desk, "record", {{"index", "3"}})["hash"];
  said["note"] = "  ";
  CHECK(desk->draft("annotation", said.dump(), fixture.ann).error().code == Code::invalid);
  said["note"] = "why was it asked?";
  const auto event = desk->draft("annotation", said.dump(), fixture.ann);
  REQUIRE(event);
  const auto index = desk->append(*event);
  REQUIRE(index);
  const std::string sign =
      R"({"annotation":)" + std::to_string(*index) + R"(,"reason":"so it is"})";
  CHECK(desk->draft("sign-off", sign, fixture.ann).error().code == Code::denied);
  const auto signed_off = desk->draft("sign-off", sign, fixture.bob);
  REQUIRE(signed_off);
  REQUIRE(desk->append(*signed_off));
  CHECK(desk->draft("sign-off", sign, fixture.bob).error().code == Code::conflict);
  const json found = get(*desk, "reviews")["annotations"][0];
  CHECK(found["note"] == "why was it asked?");
  CHECK(found["signedOff"]["by"] == "bob");
  // A review is no run, and the log verifies with it.
  CHECK(get(*desk, "runs")["total"] == 1);
  REQUIRE(desk->close());
  const auto report = log::verify_log(fixture.folder.path());
  REQUIRE(report);
  CHECK(report->good());
}

TEST_CASE("a record that another process writes is read, and not written", "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  const int file = ::open((fixture.folder.path() + "/lock").c_str(), O_RDWR);
  REQUIRE(::flock(file, LOCK_EX | LOCK_NB) == 0);
  agents::Event event{"review.opened", "review", "ann", "", "{}", {}};
  const auto refused = desk->append(event);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::conflict);
  CHECK_THAT(refused.error().message, Catch::Contains("running fleet"));
  CHECK(get(*desk, "records")["total"] == 7);
  ::close(file);
  CHECK(desk->append(event));
}

TEST_CASE("only an owner answers the fleet", "[console]") {
  Fixture fixture;
  const auto desk = fixture.open();
  CHECK(desk->draft("answer", R"({"note":"x"})", fixture.ann).error().code == Code::denied);
  CHECK_FALSE(desk->draft("answer", R"({"note":"x"})", {"olga", Role::owner}));
  CHECK(desk->get("approvals", {}, fixture.ann).error().code == Code::not_found);
}

TEST_CASE("the page is in the program, whole, and names no other place", "[console]") {
  const auto files = page_files();
  REQUIRE(files.size() > 10);
  for (const PageFile& file : files) {
    INFO(file.name);
    CHECK(file.bytes == *io::read_file(std::string(PROJECT_ROOT) + "/governance/console/page/" +
                                           std::string(file.name),
                                       1 << 20));
    CHECK(file.bytes.find("https://") == std::string_view::npos);
    CHECK(file.bytes.find("innerHTML") == std::string_view::npos);
    CHECK(file.bytes.find("style=\"") == std::string_view::npos);
    CHECK(file.bytes.find("eval(") == std::string_view::npos);
  }
}
