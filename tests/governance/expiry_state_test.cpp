// What an expiry leaves to the next one saves it the reading, and changes nothing in what it does.

#include "../support/temporary_folder.h"
#include "log/expiry.h"
#include "log/verify.h"
#include "log/writer.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <set>
#include <tuple>

namespace ambit::log {
namespace {

constexpr std::int64_t first_ns = 1'795'219'200'000'000'000;
constexpr std::int64_t hour_ns = retention_day_ns / 24;

// A log of payloads that are kept for ten days; times in hours.
struct Aging {
  Aging() : writer(open_writer(folder.path())) { keep(10); }

  void keep(std::int64_t days) {
    auto event = retention_event({}, {days, false}, "ann", "the contract");
    REQUIRE(event);
    say(std::move(*event), 0);
  }
  static Prepared made(agents::Event event, std::int64_t hour) {
    auto prepared = prepare(std::move(event), first_ns + hour * hour_ns,
                            [] { return std::string(salt_bytes, 's'); });
    REQUIRE(prepared);
    return std::move(*prepared);
  }
  static Prepared told(const std::string& run, std::int64_t hour, const std::string& subject) {
    agents::Event event{"turn.completed", run, "", "clerk", "{}", {{"message", "words"}}};
    event.subject = subject;
    return made(std::move(event), hour);
  }
  std::uint64_t say(agents::Event event, std::int64_t hour) {
    auto indexes = writer->append({made(std::move(event), hour)});
    if (!indexes) FAIL(indexes.error().message);
    REQUIRE(indexes->front());
    return *indexes->front();
  }
  std::uint64_t tell(const std::string& run, std::int64_t hour, const std::string& subject) {
    auto indexes = writer->append({told(run, hour, subject)});
    if (!indexes) FAIL(indexes.error().message);
    return *indexes->front();
  }
  // `each` payloads an hour.
  void fill(std::int64_t from, std::int64_t to, int each) {
    for (std::int64_t hour = from; hour < to; ++hour) {
      std::vector<Prepared> group;
      for (int i = 0; i < each; ++i) {
        const std::string name = std::to_string(hour) + "/" + std::to_string(i % 3);
        group.push_back(told("run " + name, hour, "person " + name));
      }
      REQUIRE(writer->append(group));
    }
  }
  Expired expire(std::int64_t hour) {
    auto expired = writer->expire("ann", first_ns + hour * hour_ns);
    if (!expired) FAIL(expired.error().message);
    return *expired;
  }
  std::uint64_t hold(const Hold& wanted, std::int64_t hour) {
    Hold hold = wanted;
    hold.by = "counsel";
    hold.reason = "case 7";
    return say(hold_event(hold), hour);
  }
  void release(std::uint64_t index, std::int64_t hour) {
    const auto now = read_retention(LogReader(writer->store()));
    REQUIRE(now);
    auto event = release_event(*now, index, "counsel", "over");
    REQUIRE(event);
    say(std::move(*event), hour);
  }
  void reopen() {
    writer.reset();
    writer = open_writer(folder.path());
  }
  void forget_hint() const { std::filesystem::remove(folder.path() + "/expiry"); }
  std::set<std::uint64_t> payloads() const {
    std::set<std::uint64_t> found;
    const auto snapshot = writer->store()->snapshot();
    REQUIRE(snapshot);
    REQUIRE(snapshot->for_each_row([&](const LogRow& row) -> Result<void> {
      if (row.kind == RowKind::payload) found.insert(row.index);
      return {};
    }));
    return found;
  }
  std::uint64_t rows() const {
    std::uint64_t count = 0;
    const auto snapshot = writer->store()->snapshot();
    REQUIRE(snapshot);
    REQUIRE(snapshot->for_each_row([&](const LogRow&) -> Result<void> {
      ++count;
      return {};
    }));
    return count;
  }
  void check_good() const {
    const auto report = verify_log(folder.path());
    if (!report) FAIL(report.error().message);
    CAPTURE(report->what);
    CHECK(report->good());
  }

  TemporaryFolder folder;
  std::unique_ptr<LogWriter> writer;
};

// The same numbers each time.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  int below(int sides) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int>((state_ >> 33U) % static_cast<std::uint64_t>(sides));
  }

 private:
  std::uint64_t state_;
};

}  // namespace

TEST_CASE("an expiry reads what is new and what has come of age, not the whole log", "[expiry]") {
  Aging log;
  log.fill(1, 480, 10);
  const std::uint64_t all = log.rows();
  const Expired first = log.expire(300);
  CHECK(first.payloads == 600);
  CHECK(first.rows > all);
  // Nothing new and nothing old: what the first has recorded, and where it stopped.
  CHECK(log.expire(300).payloads == 0);
  CHECK(log.expire(300).rows < 30);
  CHECK(log.expire(300).subjects == 0);
  // What is new, with its payloads.
  log.fill(480, 482, 10);
  CHECK(log.expire(300).rows < 80);
  // What has come of age: five hours of ten records, read for the plan and for the removal.
  log.reopen();
  const Expired later = log.expire(305);
  CHECK(later.payloads == 50);
  CHECK(later.subjects == 15);
  CHECK(later.rows < 2 * 2 * (50 + 20) + 40);
  log.check_good();
}

TEST_CASE("what was held is found again when it is released, without what lies between",
          "[expiry]") {
  Aging log;
  const std::uint64_t first = log.tell("a", 1, "jane");
  log.fill(2, 40, 10);
  const std::uint64_t second = log.tell("case", 40, "joe");
  log.fill(41, 480, 10);
  const std::uint64_t by_run = log.hold({0, std::nullopt, "case", "", ""}, 480);
  Hold of_jane;
  of_jane.subject = *log.writer->number_of("jane");
  const std::uint64_t by_name = log.hold(of_jane, 480);
  const Expired expired = log.expire(400);
  CHECK(expired.held == 2);
  CHECK(log.payloads().count(first) == 1);
  CHECK(log.payloads().count(second) == 1);
  log.check_good();
  SECTION("in the same process") {}
  SECTION("in another one") {
    log.reopen();
  }
  const Expired again = log.expire(400);
  CHECK(again.held == 2);
  CHECK(again.rows < 40);
  log.release(by_run, 481);
  const Expired one = log.expire(401);
  CHECK(one.held == 1);
  CHECK(log.payloads().count(second) == 0);
  CHECK(one.rows < 200);
  log.release(by_name, 482);
  const Expired other = log.expire(402);
  CHECK(other.held == 0);
  CHECK(log.payloads().count(first) == 0);
  CHECK_FALSE(log.writer->number_of("jane"));
  log.check_good();
}

TEST_CASE("a clock that was set back hides nothing from an expiry", "[expiry]") {
  Aging log;
  log.fill(1, 10, 2);
  log.fill(5000, 5003, 2);  // a clock that was wrong
  log.fill(10, 20, 2);
  log.fill(12, 30, 2);  // and one that was put right
  CHECK(log.expire(240 + 9).payloads == 18);
  CHECK(log.expire(240 + 15).payloads == 2 * 6 + 2 * 4);
  CHECK(log.expire(240 + 15).payloads == 0);
  CHECK(log.expire(240 + 29).payloads == 2 * 4 + 2 * 14);
  CHECK(log.payloads().size() == 6);
  log.check_good();
  CHECK(log.expire(240 + 5002).payloads == 6);
  CHECK(log.payloads().empty());
  log.check_good();
}

TEST_CASE("a hint of another log, or one that is damaged, is not gone by", "[expiry]") {
  Aging log;
  log.fill(1, 100, 5);
  REQUIRE(log.expire(250).payloads == 50);
  const std::string hint = log.folder.path() + "/expiry";
  SECTION("damaged") {
    std::filesystem::resize_file(hint, std::filesystem::file_size(hint) - 1);
  }
  SECTION("of another log") {
    Aging other;
    other.fill(1, 90, 7);
    REQUIRE(other.expire(300).payloads > 0);
    std::filesystem::copy_file(other.folder.path() + "/expiry", hint,
                               std::filesystem::copy_options::overwrite_existing);
  }
  SECTION("of a time when the log was longer") {
    Aging other;
    other.fill(1, 200, 5);
    REQUIRE(other.expire(300).payloads > 0);
    std::filesystem::copy_file(other.folder.path() + "/expiry", hint,
                               std::filesystem::copy_options::overwrite_existing);
  }
  const Expired expired = log.expire(260);
  CHECK(expired.payloads == 50);
  CHECK(expired.rows > log.rows());
  log.check_good();
}

TEST_CASE("a crash at any moment of an expiry is completed by the next one", "[expiry]") {
  Aging log;
  log.fill(1, 60, 4);
  REQUIRE(log.expire(250).payloads == 40);
  const auto before = log.payloads();
  {
    // The record and a part of what it announces; the hint is as before.
    const auto now = read_retention(LogReader(log.writer->store()));
    const auto snapshot = log.writer->store()->snapshot();
    auto plan = plan_expiry(*snapshot, *now, first_ns + 255 * hour_ns,
                            ExpiryState::read(log.folder.path(), *snapshot));
    REQUIRE(plan);
    CHECK(plan->payloads == 20);
    log.say(expired_event(*plan, "ann"), 255);
  }
  log.check_good();
  const std::uint64_t one = *before.begin();
  REQUIRE(log.writer->store()->remove_payloads({{one, 0}, {one + 2, 0}}));
  log.reopen();
  log.check_good();
  const Expired completed = log.expire(255);
  CHECK(completed.payloads == 18);
  CHECK(completed.subjects == 15);
  CHECK(log.payloads().size() == before.size() - 20);
  log.check_good();
}

TEST_CASE("with what the last one has left an expiry does the same as without", "[expiry]") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Aging with;
    Aging without;
    Dice dice(seed);
    std::int64_t hour = 1;
    std::vector<std::uint64_t> holds;
    const auto both = [&](const auto& act) {
      const auto one = act(with);
      CHECK(act(without) == one);
      return one;
    };
    for (int step = 0; step < 60; ++step) {
      hour += dice.below(12);
      if (dice.below(15) == 0) hour += dice.below(2) == 0 ? 700 : -200;
      if (hour < 0) hour = 0;
      const std::string run = "r" + std::to_string(dice.below(6));
      const std::string who = dice.below(2) == 0 ? "" : "p" + std::to_string(dice.below(9));
      const int what = dice.below(12);
      if (what < 5) {
        const int count = 1 + dice.below(30);
        for (int i = 0; i < count; ++i) both([&](Aging& log) { return log.tell(run, hour, who); });
      } else if (what == 5) {
        both([&](Aging& log) { return log.say({"run.started", run, "", "", "{}", {}}, hour); });
      } else if (what == 6) {
        both([&](Aging& log) { return log.say({"run.ended", run, "", "", "{}", {}}, hour); });
      } else if (what == 7) {
        Hold hold;
        const auto number = with.writer->number_of(who);
        if (number) hold.subject = *number;
        if (!number && dice.below(3) > 0) hold.run = run;
        holds.push_back(both([&](Aging& log) { return log.hold(hold, hour); }));
      } else if (what == 8 && !holds.empty()) {
        both([&](Aging& log) {
          log.release(holds.back(), hour);
          return true;
        });
        holds.pop_back();
      } else if (what == 9) {
        const std::int64_t days = 5 + dice.below(10);
        both([&](Aging& log) {
          log.keep(days);
          return true;
        });
      } else {
        if (dice.below(4) == 0) with.reopen();
        without.forget_hint();
        both([&](Aging& log) {
          const Expired done = log.expire(hour);
          return std::tuple(done.index, done.before, done.payloads, done.bytes, done.held,
                            done.in_flight);
        });
        CHECK(with.payloads() == without.payloads());
      }
    }
    with.check_good();
    without.check_good();
    CHECK(with.writer->size() == without.writer->size());
  }
}

}  // namespace ambit::log
