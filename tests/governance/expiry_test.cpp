// What was kept for long enough goes, and makes room; what is held or in flight stays; and what has
// expired is told from what somebody has taken out.

#include "log/expiry.h"

#include "../support/temporary_folder.h"
#include "log/verify.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>
#include <lmdb.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace ambit::log {
namespace {

constexpr std::int64_t born_ns = 1'795'219'200'000'000'000;

// A log of payloads that are kept for ten days.
struct Kept {
  explicit Kept(std::int64_t days = 10) : writer(open_writer(folder.path())) {
    if (days == 0) return;
    auto event = retention_event({}, {days, false}, "ann", "the contract");
    REQUIRE(event);
    retention = say(std::move(*event), 0);
  }
  std::uint64_t say(agents::Event event, std::int64_t day) {
    auto prepared = prepare(std::move(event), born_ns + day * retention_day_ns,
                            [] { return std::string(salt_bytes, 's'); });
    REQUIRE(prepared);
    auto indexes = writer->append({*prepared});
    if (!indexes) FAIL(indexes.error().message);
    REQUIRE(indexes->front());
    return *indexes->front();
  }
  // One payload of a run, on a day.
  std::uint64_t tell(const std::string& run, std::int64_t day, const std::string& subject = "",
                     std::size_t bytes = 100, const std::string& type = "turn.completed",
                     const std::string& body = "{}") {
    agents::Event event{type, run, "", "clerk", body, {{"message", std::string(bytes, 'm')}}};
    event.subject = subject;
    return say(std::move(event), day);
  }
  Expired expire(std::int64_t day) {
    auto expired = writer->expire("ann", born_ns + day * retention_day_ns);
    if (!expired) FAIL(expired.error().message);
    return *expired;
  }
  std::uint64_t hold(const std::string& run, std::optional<std::uint64_t> subject,
                     std::int64_t day) {
    Hold wanted;
    wanted.by = "counsel";
    wanted.reason = "case 7";
    wanted.run = run;
    wanted.subject = subject;
    return say(hold_event(wanted), day);
  }
  void release(std::uint64_t index, std::int64_t day) {
    const auto now = read_retention(LogReader(writer->store()));
    REQUIRE(now);
    auto event = release_event(*now, index, "counsel", "over");
    REQUIRE(event);
    say(std::move(*event), day);
  }
  bool is_there(std::uint64_t index) const {
    const auto record = LogReader(writer->store()).get(index);
    if (!record) FAIL(record.error().message);
    CHECK(record->payloads.size() + record->expired.size() == 1);
    return record->expired.empty();
  }
  VerifyReport verify() const {
    auto report = verify_log(folder.path());
    if (!report) FAIL(report.error().message);
    return *report;
  }
  void check_good() const {
    const VerifyReport report = verify();
    CAPTURE(report.what);
    CHECK(report.good());
  }
  // As somebody would who can write the file and knows its format.
  void take_out(std::uint64_t index) {
    writer.reset();
    auto store = Store::open(folder.path(), Store::Mode::write, 64U << 20);
    REQUIRE(store);
    REQUIRE((*store)->remove_payloads({{index, 0}}));
  }
  std::uint64_t file_bytes() const {
    return std::filesystem::file_size(folder.path() + "/data.mdb");
  }
  std::size_t subjects() const { return (*Subjects::load(folder.path()))->size(); }

  TemporaryFolder folder;
  std::unique_ptr<LogWriter> writer;
  std::uint64_t retention = 0;
};

}  // namespace

TEST_CASE("a payload expires when it was kept for long enough, and is shown as expired",
          "[expiry]") {
  Kept log;
  const std::uint64_t old = log.tell("a", 1, "jane");
  const std::uint64_t young = log.tell("b", 2, "joe");
  REQUIRE(log.expire(10).payloads == 0);
  CHECK(log.writer->size() == 3);  // nothing to say
  const Expired expired = log.expire(11);
  CHECK(expired.payloads == 1);
  CHECK(expired.bytes > 100);
  CHECK(expired.before == old + 1);
  CHECK(expired.index == std::uint64_t{3});
  CHECK(expired.subjects == 1);  // jane's key
  CHECK_FALSE(log.is_there(old));
  CHECK(log.is_there(young));
  const LogReader reader(log.writer->store());
  CHECK(reader.get(old)->expired == std::vector<std::string>{"message"});
  CHECK(reader.get(old)->erased.empty());
  CHECK(reader.leaf(3)->body == R"({"before":2,"by":"ann","retention":0})");
  const auto read = reader.read_run("a", [](const agents::StoredEvent&) { return true; });
  REQUIRE(!read);
  CHECK(read.error().code == Code::not_found);
  CHECK_THAT(read.error().message, Catch::Contains("has expired"));
  const VerifyReport report = log.verify();
  CAPTURE(report.what);
  CHECK(report.good());
  CHECK(report.expired == 1);
  CHECK(report.payloads == 1);
  CHECK_THAT(report.summary, Catch::Contains("1 payloads have expired"));
  // The person comes back: with another number and another key.
  log.tell("c", 12, "jane");
  CHECK(log.writer->number_of("jane") == Result<std::uint64_t>(3));
  log.check_good();
}

TEST_CASE("nothing expires of a log of which nobody has said how long it is kept", "[expiry]") {
  Kept log(0);
  log.tell("a", 1);
  const auto expired = log.writer->expire("ann", born_ns + 1000 * retention_day_ns);
  REQUIRE(!expired);
  CHECK(expired.error().code == Code::invalid);
  CHECK_THAT(expired.error().message, Catch::Contains("ambit audit retain"));
  CHECK_FALSE(log.writer->expire("", born_ns));
}

TEST_CASE("the disk stays as it is while old payloads expire and new ones come", "[expiry]") {
  Kept log;
  std::uint64_t full = 0;
  for (std::int64_t day = 1; day <= 60; ++day) {
    for (int i = 0; i < 20; ++i) {
      const std::size_t bytes = i % 2 == 0 ? 40'000 : 300;
      log.tell("run " + std::to_string(day), day, "person " + std::to_string(day * 20 + i), bytes);
    }
    const Expired expired = log.expire(day);
    CHECK(expired.payloads == (day > 10 ? 20 : 0));
    CHECK(expired.subjects == (day > 10 ? 20 : 0));
    if (day == 20) full = log.file_bytes();
  }
  // Forty days of payloads are 16 MB; what is left of them are leaves.
  CHECK(full > 4'000'000);
  CHECK(log.file_bytes() < full + 1'500'000);
  CHECK(log.subjects() == 200);
  log.check_good();
  CHECK(log.verify().expired == 1000);
}

TEST_CASE("many payloads expire in several transactions", "[expiry]") {
  Kept log;
  std::vector<Prepared> group;
  for (int i = 0; i < 1500; ++i) {
    group.push_back(event_of("s" + std::to_string(i % 7), "{}", "one"));
    group.back().event.payloads.push_back({"result", "two"});
    group.back().salts.push_back(std::string(salt_bytes, 't'));
    group.back().unix_ns = born_ns + retention_day_ns;
  }
  REQUIRE(log.writer->append(group));
  CHECK(log.expire(11).payloads == 3000);
  CHECK(log.expire(12).payloads == 0);
  const VerifyReport report = log.verify();
  CAPTURE(report.what);
  CHECK(report.good());
  CHECK(report.expired == 3000);
  CHECK(report.payloads == 0);
}

TEST_CASE("a log is written to while payloads expire, and holds all that a plan said of it",
          "[expiry]") {
  Kept log;
  for (int i = 0; i < 4000; ++i) log.tell("old", 0, "person " + std::to_string(i % 50));
  log.hold("", log.writer->number_of("person 7").value(), 1);
  std::atomic<bool> is_over = false;
  // New payloads of those whose old ones go, one of whom is held, in the midst of it.
  std::thread beside([&] {
    for (int i = 0; i < 200 || !is_over; ++i) {
      auto prepared =
          prepare({"turn.completed", "new", "", "clerk", "{}", {{"message", "m"}}},
                  born_ns + 11 * retention_day_ns, [] { return std::string(salt_bytes, 's'); });
      prepared->event.subject = "person " + std::to_string(i % 50);
      const auto done = log.writer->append({*prepared});
      if (!done || !done->front()) std::abort();
    }
  });
  const Expired expired = log.expire(20);
  is_over = true;
  beside.join();
  CHECK(expired.payloads == 4000 - 80);
  CHECK(expired.held == 80);
  log.check_good();
  // Nobody who was given a payload meanwhile has lost its key.
  const LogReader reader(log.writer->store());
  for (std::uint64_t i = 4002; i < log.writer->size(); ++i) {
    const auto record = reader.get(i);
    REQUIRE(record);
    if (record->leaf.run == "new") CHECK(record->payloads.size() == 1);
  }
}

TEST_CASE("what is held does not expire until it is released", "[expiry]") {
  Kept log;
  const std::uint64_t first = log.tell("a", 1, "jane");
  const std::uint64_t second = log.tell("b", 1, "joe");
  std::uint64_t hold = 0;
  bool stays_second = false;
  SECTION("a subject") {
    hold = log.hold("", *log.writer->number_of("jane"), 2);
  }
  SECTION("a run") {
    hold = log.hold("a", std::nullopt, 2);
  }
  SECTION("everything") {
    hold = log.hold("", std::nullopt, 2);
    stays_second = true;
  }
  const Expired expired = log.expire(20);
  CHECK(expired.held == (stays_second ? 2 : 1));
  CHECK(expired.payloads == (stays_second ? 0 : 1));
  CHECK(log.is_there(first));
  CHECK(log.is_there(second) == stays_second);
  log.check_good();
  log.release(hold, 21);
  log.check_good();
  const Expired later = log.expire(22);
  CHECK(later.payloads == (stays_second ? 2 : 1));
  CHECK(later.held == 0);
  CHECK(log.subjects() == 0);
  CHECK_FALSE(log.is_there(first));
  log.check_good();
}

TEST_CASE("who is held keeps the number, and so the hold", "[expiry]") {
  Kept log;
  log.tell("a", 1, "jane");
  const std::uint64_t number = *log.writer->number_of("jane");
  REQUIRE(log.expire(11).subjects == 1);
  log.tell("a", 12, "jane");
  CHECK(log.writer->number_of("jane") == Result<std::uint64_t>(number + 1));
  log.hold("", number + 1, 13);
  REQUIRE(log.expire(30).payloads == 0);
  CHECK(log.writer->number_of("jane") == Result<std::uint64_t>(number + 1));
}

TEST_CASE("what a restart may have to go on with does not expire", "[expiry]") {
  Kept log;
  SECTION("a run that has not ended") {
    log.say({"run.started", "a", "", "", "{}", {}}, 1);
    const std::uint64_t turn = log.tell("a", 1);
    const std::uint64_t other = log.tell("b", 1);
    CHECK(log.expire(20).in_flight == 1);
    CHECK(log.is_there(turn));
    CHECK_FALSE(log.is_there(other));
    log.check_good();
    log.say({"run.ended", "a", "", "", "{}", {}}, 20);
    log.say({"run.resumed", "a", "", "", "{}", {}}, 20);
    CHECK(log.expire(21).payloads == 0);
    log.say({"run.ended", "a", "", "", "{}", {}}, 21);
    CHECK(log.expire(22).payloads == 1);
  }
  SECTION("a task that has not come to its last state") {
    log.tell("t", 1, "", 10, "task.created", R"({"caller":"ann","context":"c"})");
    log.say({"run.started", "t", "", "", "{}", {}}, 1);
    log.say({"run.ended", "t", "", "", "{}", {}}, 1);
    log.tell("t", 1, "", 10, "task.changed", R"({"changes":1,"state":"TASK_STATE_AUTH_REQUIRED"})");
    CHECK(log.expire(20).in_flight == 2);
    log.tell("t", 20, "", 10, "task.changed", R"({"changes":1})");
    CHECK(log.expire(21).in_flight == 2);
    log.tell("t", 21, "", 10, "task.changed", R"({"changes":2,"state":"TASK_STATE_COMPLETED"})");
    CHECK(log.expire(22).payloads == 2);
  }
  log.check_good();
}

TEST_CASE("a payload that somebody took out is missed", "[expiry]") {
  Kept log;
  log.say({"run.started", "open", "", "", "{}", {}}, 1);
  const std::uint64_t open = log.tell("open", 1);
  const std::uint64_t by_run = log.tell("held", 1);
  const std::uint64_t by_name = log.tell("b", 1, "jane");
  const std::uint64_t before = log.tell("c", 1);
  const std::uint64_t young = log.tell("d", 5);
  log.hold("held", std::nullopt, 2);
  const std::uint64_t hold = log.hold("", *log.writer->number_of("jane"), 2);
  std::uint64_t victim = 0;
  std::uint64_t found = 0;
  SECTION("before there is a record of expiry") {
    victim = found = before;
  }
  SECTION("of a run in flight") {
    REQUIRE(log.expire(11).payloads == 1);
    victim = found = open;
  }
  SECTION("of a run that is held") {
    REQUIRE(log.expire(11).payloads == 1);
    victim = found = by_run;
  }
  SECTION("of somebody who is held") {
    // Whose it was is gone with it, but the record of expiry knows what it held.
    found = *log.expire(11).index;
    victim = by_name;
  }
  SECTION("of somebody who was held, and nothing has expired since") {
    found = *log.expire(11).index;
    log.release(hold, 12);
    victim = by_name;
  }
  SECTION("that is younger") {
    REQUIRE(log.expire(11).payloads == 1);
    victim = found = young;
  }
  SECTION("that is younger than what a forged record says") {
    victim = found = young;
    log.say({"payloads.expired",
             std::string(retention_run),
             "",
             "",
             R"({"before":7,"by":"eve","held":{"count":1,"hash":""},"retention":0})",
             {}},
            11);
  }
  SECTION("by a record that goes by no retention") {
    victim = found = before;
    log.say({"payloads.expired",
             std::string(retention_run),
             "",
             "",
             R"({"before":7,"by":"eve","retention":1})",
             {}},
            11);
  }
  log.take_out(victim);
  const VerifyReport report = log.verify();
  CHECK(report.bad_index == found);
  CHECK_THAT(report.what, Catch::Contains(victim == found ? "is missing, and no record says"
                                                          : "who are held are not all there"));
}

TEST_CASE("a payload that is there is checked, also where others have expired", "[expiry]") {
  Kept log;
  const std::uint64_t held = log.tell("a", 1);
  log.tell("b", 1);
  log.hold("a", std::nullopt, 2);
  REQUIRE(log.expire(11).payloads == 1);
  log.writer.reset();
  MDB_env* environment = nullptr;
  MDB_txn* transaction = nullptr;
  MDB_dbi table = 0;
  REQUIRE(mdb_env_create(&environment) == 0);
  mdb_env_set_maxdbs(environment, 2);
  REQUIRE(mdb_env_open(environment, log.folder.path().c_str(), 0, 0600) == 0);
  REQUIRE(mdb_txn_begin(environment, nullptr, 0, &transaction) == 0);
  REQUIRE(mdb_dbi_open(transaction, "log", 0, &table) == 0);
  std::string key(8, '\0');
  key[7] = static_cast<char>(held);
  key += std::string("\1\0", 2);
  MDB_val k{key.size(), key.data()};
  MDB_val v{};
  REQUIRE(mdb_get(transaction, table, &k, &v) == 0);
  std::string stored(static_cast<char*>(v.mv_data), v.mv_size);
  stored.back() = static_cast<char>(stored.back() ^ 1);
  v = {stored.size(), stored.data()};
  REQUIRE(mdb_put(transaction, table, &k, &v, 0) == 0);
  REQUIRE(mdb_txn_commit(transaction) == 0);
  mdb_env_close(environment);
  const VerifyReport report = log.verify();
  CHECK(report.bad_index == held);
  CHECK_THAT(report.what, Catch::Contains("not what was stored"));
}

TEST_CASE("what a crash has left between the record and the removal is removed the next time",
          "[expiry]") {
  Kept log;
  const std::uint64_t first = log.tell("a", 1);
  const std::uint64_t second = log.tell("b", 1);
  {
    // The record, and half of what it announces.
    const auto now = read_retention(LogReader(log.writer->store()));
    const auto snapshot = log.writer->store()->snapshot();
    auto plan = plan_expiry(*snapshot, *now, born_ns + 11 * retention_day_ns);
    REQUIRE(plan);
    CHECK(plan->payloads == 2);
    log.say(expired_event(*plan, "ann"), 11);
  }
  log.check_good();
  REQUIRE(log.writer->store()->remove_payloads({{first, 0}}));
  log.check_good();
  CHECK(log.is_there(second));
  CHECK_FALSE(log.is_there(first));
  log.writer.reset();
  log.writer = open_writer(log.folder.path());
  const Expired completed = log.expire(12);
  CHECK(completed.payloads == 1);
  CHECK(completed.subjects == 2);
  CHECK_FALSE(log.is_there(second));
  log.check_good();
  REQUIRE(log.writer->seal());
  CHECK(log.verify().sealed);
}

}  // namespace ambit::log
