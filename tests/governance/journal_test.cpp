#include "log/journal.h"

#include "../support/run_task.h"
#include "../support/temporary_folder.h"
#include "async/race.h"
#include "fake_world.h"
#include "log/retention.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

using ambit::Code;
using ambit::join;
using ambit::Result;
using ambit::run_task;
using ambit::Task;
using ambit::TemporaryFolder;
using ambit::agents::Event;
using ambit::agents::StoredEvent;
using ambit::log::FakeWorld;
using ambit::log::JournalOptions;
using ambit::log::LogJournal;
using ambit::log::LogReader;

namespace {

JournalOptions options_in(const TemporaryFolder& folder) {
  JournalOptions options;
  options.writer.folder = folder.path() + "/log";
  options.writer.map_bytes = 64U << 20;
  return options;
}

std::unique_ptr<LogJournal> open(FakeWorld& world, JournalOptions options) {
  auto journal = LogJournal::open(world.world(), std::move(options));
  if (!journal) FAIL(journal.error().message);
  return std::move(*journal);
}

Event event(const std::string& session, const std::string& body = "{}") {
  return Event{"action.decided", "run-1", session,
               "clerk",          body,    {{"arguments", "{\"a\":" + body + "}"}}};
}

std::vector<Result<std::uint64_t>> append_all(FakeWorld& world, LogJournal& journal,
                                              const std::vector<Event>& events) {
  std::vector<Task<Result<std::uint64_t>>> tasks;
  for (const Event& one : events) tasks.push_back(journal.append(one));
  const auto all = [](std::vector<Task<Result<std::uint64_t>>> list)
      -> Task<std::vector<Result<std::uint64_t>>> {
    auto results = co_await join(std::move(list));
    co_return results;
  };
  return run_task(world.loop(), all(std::move(tasks)));
}

}  // namespace

TEST_CASE("events come back in order with their payloads", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  const auto indexes =
      append_all(world, *journal, {event("a", "{\"n\":1}"), event("b"), event("a")});
  CHECK(indexes[2] == Result<std::uint64_t>(2));
  std::vector<StoredEvent> events;
  REQUIRE(journal->read("run-1", [&](const StoredEvent& one) {
    events.push_back(one);
    return true;
  }));
  REQUIRE(events.size() == 3);
  CHECK(events[0].event == event("a", "{\"n\":1}"));
  CHECK(events[1].event.session == "b");
  CHECK(events[2].index == 2);
  CHECK(events[2].unix_ns == world.now_ns);
}

TEST_CASE("events come back with the person whose data they hold", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  {
    auto journal = open(world, options_in(folder));
    Event of_a_person = event("a");
    of_a_person.subject = "ada@example.org";
    append_all(world, *journal, {of_a_person, event("b")});
  }
  auto journal = open(world, options_in(folder));
  std::vector<Event> events;
  const auto keep = [&](const StoredEvent& one) {
    events.push_back(one.event);
    return true;
  };
  REQUIRE(journal->recover("run-1", keep));
  REQUIRE(journal->read("run-1", keep));
  REQUIRE(events.size() == 4);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    CHECK(events[i].subject == "ada@example.org");
    CHECK(events[i + 1].subject.empty());
  }
}

TEST_CASE("reading a run stops when the visitor has seen enough", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  append_all(world, *journal, {event("a"), event("a"), event("a")});
  int seen = 0;
  REQUIRE(journal->read("run-1", [&](const StoredEvent&) { return ++seen < 2; }));
  CHECK(seen == 2);
  REQUIRE(journal->read("run-2", [&](const StoredEvent&) { return ++seen < 9; }));
  CHECK(seen == 2);
}

TEST_CASE("recovery begins each session at its newest snapshot, and looks at no payload before it",
          "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  const auto snapshot = [](const std::string& session) {
    Event made = event(session);
    made.type = "session.snapshot";
    return made;
  };
  {
    auto journal = open(world, options_in(folder));
    Event of_jane = event("a");
    of_jane.subject = "jane";
    Event begun = event("");
    begun.type = "run.started";
    append_all(world, *journal,
               {begun, of_jane, snapshot("a"), event("b"), of_jane, snapshot("a"), event("a"),
                event("quoted \"c\""), snapshot("quoted \"c\""), event("b")});
    REQUIRE(run_task(world.loop(), journal->close()));
  }
  auto writer =
      ambit::log::LogWriter::open(options_in(folder).writer, [](std::span<std::uint8_t> bytes) {
        std::fill(bytes.begin(), bytes.end(), std::uint8_t{7});
      });
  REQUIRE(writer);
  REQUIRE((*writer)->erase("jane", "ops", "asked for it", 1));
  REQUIRE((*writer)->seal());
  writer->reset();
  auto journal = open(world, options_in(folder));
  const auto all = journal->read("run-1", [](const StoredEvent&) { return true; });
  REQUIRE(!all);
  CHECK(all.error().code == Code::not_found);
  std::vector<std::uint64_t> read;
  REQUIRE(journal->recover("run-1", [&](const StoredEvent& one) {
    CHECK(one.event.payloads.size() == 1);
    read.push_back(one.index);
    return true;
  }));
  CHECK(read == std::vector<std::uint64_t>{0, 3, 5, 6, 8, 9});
}

TEST_CASE("events that wait together become durable in one group", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  append_all(world, *journal, std::vector<Event>(500, event("a")));
  CHECK(journal->stats().records == 500);
  CHECK(journal->stats().groups <= 2);
}

TEST_CASE("each record names the one before it in its session, also after a restart", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  {
    auto journal = open(world, options_in(folder));
    append_all(world, *journal, {event("a"), event("b"), event("a")});
  }
  auto journal = open(world, options_in(folder));
  append_all(world, *journal, {event("b")});
  const LogReader reader = journal->reader();
  const auto hash = [&reader](std::uint64_t index) {
    const auto record = reader.get(index);
    REQUIRE(record);
    return ambit::log::to_hex(ambit::log::bytes_of(record->hash));
  };
  CHECK(reader.get(0)->leaf.previous.empty());
  CHECK(reader.get(1)->leaf.previous.empty());
  CHECK(reader.get(2)->leaf.previous == hash(0));
  CHECK(reader.get(3)->leaf.previous == hash(1));
}

TEST_CASE("a record is given with a proof that others can check", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  append_all(world, *journal, std::vector<Event>(300, event("a")));
  const auto record = journal->reader().get(77);
  REQUIRE(record);
  const auto checkpoint =
      ambit::log::verify_tlog_proof(record->tlog_proof(), record->bytes, journal->verifier());
  REQUIRE(checkpoint);
  CHECK(checkpoint->size == 300);
  CHECK_FALSE(ambit::log::verify_tlog_proof(record->tlog_proof(), record->bytes + " ",
                                            journal->verifier()));
}

TEST_CASE("an event that can never be recorded fails alone", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  const auto results = append_all(
      world, *journal,
      {event("a"), event("a", "[1]"), event("a", "{\"x\":"), event("a", "{\"n\":9007199254740993}"),
       event("a", "{\"long\":\"" + std::string(70'000, 'x') + "\"}"), event(std::string("a\0b", 3)),
       event("a")});
  CHECK(results[0].has_value());
  for (std::size_t i = 1; i <= 5; ++i) {
    CAPTURE(i);
    REQUIRE(!results[i]);
    CHECK(results[i].error().code == Code::invalid);
  }
  CHECK_THAT(results[3].error().message, Catch::Contains("write it as a string"));
  CHECK_THAT(results[4].error().message, Catch::Contains("into a payload"));
  CHECK(results[6] == Result<std::uint64_t>(1));
}

TEST_CASE("a full queue refuses and loses nothing that it took", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  JournalOptions options = options_in(folder);
  options.queue_max = 10;
  auto journal = open(world, std::move(options));
  const auto results = append_all(world, *journal, std::vector<Event>(64, event("a")));
  std::size_t good = 0;
  for (const auto& result : results) {
    if (result) {
      ++good;
    } else {
      CHECK(result.error().code == Code::exhausted);
    }
  }
  CHECK(good >= 10);
  CHECK(good < 64);
  CHECK(journal->reader().size() == Result<std::uint64_t>(good));
}

TEST_CASE("a log that reached its greatest size fails the whole group and stays readable",
          "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  JournalOptions options = options_in(folder);
  options.writer.map_bytes = 1U << 20;
  auto journal = open(world, std::move(options));
  Event big = event("a");
  big.payloads = {{"result", std::string(100'000, 'x')}};
  std::size_t good = 0;
  for (int i = 0; i < 20; ++i) good += append_all(world, *journal, {big})[0].has_value() ? 1 : 0;
  const auto failed = append_all(world, *journal, {big, big});
  REQUIRE(!failed[0]);
  REQUIRE(!failed[1]);
  CHECK(failed[0].error().code == Code::exhausted);
  CHECK_THAT(failed[0].error().message, Catch::Contains("greatest size"));
  CHECK(good > 3);
  CHECK(journal->reader().size() == Result<std::uint64_t>(good));
}

TEST_CASE("what is posted is in the record before what is appended after it", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  REQUIRE(journal->post(event("a", "{\"n\":1}")));
  REQUIRE(journal->post(event("b", "{\"n\":2}")));
  CHECK(append_all(world, *journal, {event("a", "{\"n\":3}")})[0] == Result<std::uint64_t>(2));
  CHECK(journal->stats().groups == 1);
  std::vector<std::string> bodies;
  REQUIRE(journal->read("run-1", [&](const StoredEvent& one) {
    bodies.push_back(one.event.body);
    return true;
  }));
  CHECK(bodies == std::vector<std::string>{"{\"n\":1}", "{\"n\":2}", "{\"n\":3}"});
  // Nobody waits for the last one, and it is written all the same.
  REQUIRE(journal->post(event("a")));
  CHECK(run_task(world.loop(), journal->close()));
  CHECK(journal->reader().size() == Result<std::uint64_t>(4));
}

TEST_CASE("nothing of a session is written after what it posted could not be", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  JournalOptions options = options_in(folder);
  options.writer.map_bytes = 1U << 20;
  options.group_max = 1;
  auto journal = open(world, std::move(options));
  Event big = event("a");
  big.payloads = {{"result", std::string(2'000'000, 'x')}};
  SECTION("it waits already") {
    REQUIRE(journal->post(big));
    const auto after = append_all(world, *journal, {event("a"), event("b")});
    REQUIRE(!after[0]);
    CHECK(after[0].error().code == Code::closed);
    CHECK(after[1] == Result<std::uint64_t>(0));
  }
  SECTION("it comes later") {
    REQUIRE(journal->post(big));
    CHECK(append_all(world, *journal, {event("b")})[0] == Result<std::uint64_t>(0));
    const auto after = append_all(world, *journal, {event("a")});
    REQUIRE(!after[0]);
    CHECK_THAT(after[0].error().message, Catch::Contains("earlier event of this session"));
    CHECK(!journal->post(event("a")));
  }
  const auto closed = run_task(world.loop(), journal->close());
  REQUIRE(!closed);
  CHECK_THAT(closed.error().message, Catch::Contains("1 sessions"));
  CHECK(journal->reader().size() == Result<std::uint64_t>(1));
}

TEST_CASE("an event that can never be recorded is refused when it is posted", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  const auto refused = journal->post(event("a", "[1]"));
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::invalid);
  CHECK(append_all(world, *journal, {event("a")})[0] == Result<std::uint64_t>(0));
}

TEST_CASE("a second writer of one log is refused by name", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  const auto second = LogJournal::open(world.world(), options_in(folder));
  REQUIRE(!second);
  CHECK(second.error().code == Code::conflict);
  CHECK_THAT(second.error().message, Catch::Contains("another program"));
}

TEST_CASE("the private key is made once, for the owner alone", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  std::string name;
  {
    auto journal = open(world, options_in(folder));
    name = journal->verifier().text();
  }
  namespace fs = std::filesystem;
  const fs::path key = folder.path() + "/log/key";
  CHECK((fs::status(key).permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
        fs::perms::none);
  CHECK(open(world, options_in(folder))->verifier().text() == name);
  fs::remove(key);
  const auto without = LogJournal::open(world.world(), options_in(folder));
  REQUIRE(!without);
  CHECK_THAT(without.error().message, Catch::Contains("private key is missing"));
}

TEST_CASE("a closed journal takes nothing and is sealed", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  append_all(world, *journal, {event("a")});
  REQUIRE(run_task(world.loop(), journal->close()));
  CHECK(std::filesystem::exists(folder.path() + "/log/seal"));
  CHECK(append_all(world, *journal, {event("a")})[0].error().code == Code::closed);
  journal.reset();
  auto again = open(world, options_in(folder));
  append_all(world, *again, {event("a")});
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/log/seal"));
}

TEST_CASE("an append whose awaiter is gone is recorded all the same", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  {
    struct Nothing final : ambit::Event {
      void fire() override {}
    } nothing;
    Task<Result<std::uint64_t>> task = journal->append(event("a"));
    task.start(&nothing);
    std::size_t turns = 0;
    world.loop().run_until([&turns] { return ++turns > 2; });
  }
  append_all(world, *journal, {event("a")});
  CHECK(journal->reader().size() == Result<std::uint64_t>(2));
}

TEST_CASE("records are found by what they say", "[journal]") {
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  append_all(world, *journal,
             {event("a", R"({"tool":"rm","verdict":"deny"})"),
              event("b", R"({"tool":"rm","verdict":"allow"})")});
  world.now_ns += 10;
  append_all(world, *journal, {event("a", R"({"tool":"ls","verdict":"deny"})")});
  const auto found = [&journal](const ambit::log::Filter& filter) {
    std::vector<std::uint64_t> indexes;
    REQUIRE(journal->reader().for_each(filter, [&](const ambit::log::Leaf& leaf) {
      indexes.push_back(leaf.index);
      return true;
    }));
    return indexes;
  };
  using Indexes = std::vector<std::uint64_t>;
  ambit::log::Filter filter;
  CHECK(found(filter) == Indexes{0, 1, 2});
  filter.verdict = "deny";
  CHECK(found(filter) == Indexes{0, 2});
  filter.tool = "rm";
  CHECK(found(filter) == Indexes{0});
  filter = {};
  filter.session = "a";
  filter.run = "run-1";
  CHECK(found(filter) == Indexes{0, 2});
  filter = {};
  filter.from_unix_ns = world.now_ns;
  CHECK(found(filter) == Indexes{2});
  filter = {};
  filter.until_unix_ns = world.now_ns;
  CHECK(found(filter) == Indexes{0, 1});
  filter = {};
  filter.agent = "nobody";
  CHECK(found(filter).empty());
}

TEST_CASE("a journal removes what was kept for long enough only where the record says so",
          "[journal][expiry]") {
  using ambit::log::Expired;
  TemporaryFolder folder;
  FakeWorld world;
  auto journal = open(world, options_in(folder));
  append_all(world, *journal, {event("a"), event("b")});
  const auto say = [&](bool expires) {
    const auto said = ambit::log::retention_event({}, {10, false, expires}, "ann", "the contract");
    REQUIRE(said);
    append_all(world, *journal, {*said});
  };
  const auto expire = [&] {
    auto expired = run_task(world.loop(), journal->expire());
    REQUIRE(expired);
    return *expired;
  };
  world.now_ns += 11 * ambit::log::retention_day_ns;
  CHECK_FALSE(expire());
  say(false);
  CHECK_FALSE(expire());
  say(true);
  const std::optional<Expired> done = expire();
  REQUIRE(done);
  CHECK(done->payloads == 2);
  CHECK(journal->reader().get(0)->expired == std::vector<std::string>{"arguments"});
  CHECK(expire()->payloads == 0);
  REQUIRE(run_task(world.loop(), journal->close()));
  CHECK(run_task(world.loop(), journal->expire()).error().code == Code::closed);
}

TEST_CASE("a folder that cannot be written is one clear error", "[journal]") {
  TemporaryFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  FakeWorld world;
  JournalOptions options;
  options.writer.folder = folder.path() + "/file/log";
  const auto journal = LogJournal::open(world.world(), std::move(options));
  REQUIRE(!journal);
  CHECK_THAT(journal.error().message, Catch::Contains("cannot make the log folder"));
}
