// What must be kept, and what must not be erased: said on record, obeyed, and ended on record.

#include "log/retention.h"

#include "../support/temporary_folder.h"
#include "log/verify.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>

using namespace ambit;
using namespace ambit::log;

namespace {

constexpr std::int64_t start_ns = 1'795'219'200'000'000'000;
constexpr std::int64_t day_ns = std::int64_t{86'400} * 1'000'000'000;

struct Log {
  Log() : writer(open_writer(folder.path())) {
    REQUIRE(
        writer->append({event_of("s1", "{}", "of jane", "jane"), event_of("s2", "{}", "run's")}));
  }
  Retention now() const {
    auto retention = read_retention(LogReader(writer->store()));
    if (!retention) FAIL(retention.error().message);
    return *retention;
  }
  std::uint64_t say(agents::Event event) {
    auto prepared = prepare(std::move(event), start_ns, [] { return std::string(); });
    REQUIRE(prepared);
    auto indexes = writer->append({*prepared});
    REQUIRE(indexes);
    return *indexes->front();
  }
  Result<std::uint64_t> erase(const std::string& subject, std::int64_t at_ns) {
    return writer->erase(subject, "ann", "she asked", at_ns);
  }
  TemporaryFolder folder;
  std::unique_ptr<LogWriter> writer;
};

}  // namespace

TEST_CASE("what must be kept for a time is not erased before it is over", "[retention]") {
  Log log;
  log.say(*retention_event(log.now(), {30, false}, "ann", "the contract"));
  const auto early = log.erase("jane", start_ns + 29 * day_ns);
  REQUIRE_FALSE(early);
  CHECK(early.error().code == Code::denied);
  CHECK_THAT(early.error().message, Catch::Contains("2026-12-21"));
  CHECK(log.erase("jane", start_ns + 30 * day_ns));
  const auto report = verify_log(log.folder.path());
  REQUIRE(report);
  CHECK(report->good());
}

TEST_CASE("fleets of high risk are kept for six months, and that is not taken back",
          "[retention]") {
  Log log;
  CHECK_FALSE(retention_event(log.now(), {182, true}, "ann", "x"));
  log.say(*retention_event(log.now(), {183, true}, "ann", "AI Act, article 19"));
  CHECK(log.now().is_high_risk);
  const auto less = retention_event(log.now(), {100, false}, "ann", "cheaper");
  REQUIRE_FALSE(less);
  CHECK(less.error().code == Code::denied);
  log.say(*retention_event(log.now(), {400, false}, "ann", "longer"));
  CHECK(log.now().is_high_risk);
  CHECK(log.now().days == 400);
  CHECK_FALSE(retention_event(log.now(), {400, false}, "", "nobody says so"));
}

TEST_CASE("a hold forbids to erase until it is released, and says who placed it", "[retention]") {
  Log log;
  Hold hold;
  hold.by = "counsel";
  hold.reason = "case 7";
  SECTION("on a subject") {
    hold.subject = *log.writer->number_of("jane");
  }
  SECTION("on a run") {
    hold.run = "run-1";
  }
  SECTION("on everything") {}
  const std::uint64_t placed = log.say(hold_event(hold));
  const auto refused = log.erase("jane", start_ns);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("counsel") && Catch::Contains("case 7"));
  CHECK_FALSE(release_event(log.now(), placed + 7, "counsel", "over"));
  log.say(*release_event(log.now(), placed, "counsel", "over"));
  CHECK(log.now().holds.empty());
  CHECK_FALSE(release_event(log.now(), placed, "counsel", "again"));
  CHECK(log.erase("jane", start_ns));
}

TEST_CASE("a hold on another subject or another run forbids nothing", "[retention]") {
  Log log;
  Hold hold;
  hold.by = "counsel";
  hold.reason = "case 7";
  hold.run = "run-2";
  log.say(hold_event(hold));
  hold.run.clear();
  hold.subject = *log.writer->number_of("run/run-1");
  log.say(hold_event(hold));
  CHECK(log.now().holds.size() == 2);
  CHECK(log.erase("jane", start_ns));
  CHECK_FALSE(log.erase("run/run-1", start_ns));
}
