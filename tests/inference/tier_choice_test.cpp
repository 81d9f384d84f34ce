#include "inference/tier_choice.h"

#include "support.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

namespace ambit::inference {

namespace {

// A clock that says to the thread of the test, which computes, and to that of the page file, which
// reads, that so much time has passed since they last asked.
std::function<std::int64_t()> clock_of(std::int64_t compute_us, std::int64_t read_us) {
  struct Times {
    std::atomic<std::int64_t> computing{0}, reading{0};
  };
  return
      [times = std::make_shared<Times>(), here = std::this_thread::get_id(), compute_us, read_us] {
        if (std::this_thread::get_id() == here) return times->computing += compute_us;
        return times->reading += read_us;
      };
}

// Many sessions speak, are parked, and go on. Gives all that was said.
std::vector<std::string> say_all(Decoder& decoder, std::size_t sessions) {
  std::vector<std::string> said;
  std::vector<agents::TurnRequest> talks;
  for (std::size_t i = 0; i < 2 * sessions; ++i) {
    const std::size_t who = i % sessions;
    if (i < sessions)
      talks.push_back(ask("session " + std::to_string(i * 7919) + std::string(60, 'a'), 4,
                          "s" + std::to_string(i)));
    else
      talks[who].messages.push_back({agents::Role::user, "and then?", {}, "", ""});
    decoder.observe(talks[who].session, agents::SessionEvent::call_ends_soon);
    const auto turn = decoder.complete(talks[who]);
    if (!turn) return {};
    talks[who].messages.push_back(turn->message);
    decoder.observe(talks[who].session, agents::SessionEvent::parked);
    said.push_back(turn->message.content);
  }
  return said;
}

}  // namespace

TEST_CASE("what is measured outweighs what sizes tell", "[disk]") {
  TierChoice choice(0.001, 0.002);
  CHECK(choice.pays());
  choice.add_read(4, 0.4);  // so slow that a few are enough
  CHECK_FALSE(choice.pays());
  choice.add_computed(2000, 2000 * 0.02);
  CHECK(choice.pays());
  CHECK_FALSE(TierChoice(0.002, 0.001).pays());
}

TEST_CASE("what is nearly as good changes nothing, and what was long ago fades", "[disk]") {
  TierChoice choice(0.010, 0.011);
  for (int i = 0; i < 1000; ++i) {
    choice.add_read(100, 100 * (i % 2 == 0 ? 0.011 : 0.013));
    CHECK(choice.pays());
  }
  for (int i = 0; i < 1000 && choice.pays(); ++i) choice.add_read(100, 100 * 0.015);
  CHECK_FALSE(choice.pays());
  for (int i = 0; i < 100; ++i) choice.add_read(100, 100 * 0.010);
  CHECK_FALSE(choice.pays());
  for (int i = 0; i < 100; ++i) choice.add_read(100, 100 * 0.008);
  CHECK(choice.pays());
}

TEST_CASE("a tier that was given up is found again by what tries it, and not by one lucky page",
          "[disk]") {
  TierChoice choice(0.001, 0.002);
  choice.add_read(2000, 2000 * 1.0);
  choice.add_computed(2000, 2000 * 0.010);
  REQUIRE_FALSE(choice.pays());
  choice.add_probes(1, 0.002);
  CHECK_FALSE(choice.pays());
  for (int i = 0; i < 20; ++i) choice.add_probes(1, 0.020);
  CHECK_FALSE(choice.pays());
  int tries = 0;
  while (!choice.pays() && tries < 40) {
    choice.add_probes(1, 0.002);
    ++tries;
  }
  CHECK(choice.pays());
  CHECK(tries > 1);
}

TEST_CASE("a page that only tries the disk takes no place there", "[kv][disk]") {
  constexpr std::size_t bytes = 512;
  std::atomic<std::int64_t> now_us{0};
  auto made = PageFile::open(std::filesystem::temp_directory_path().string(), bytes, 2 * bytes,
                             [&] { return now_us += 5; });
  REQUIRE(made);
  PageFile& file = **made;
  const std::vector<std::byte> page(bytes, std::byte{'k'});
  REQUIRE(file.probe(page.data(), 3));
  CHECK_FALSE(file.probe(page.data(), 4));  // one at a time
  CHECK(file.under_way() == 0);             // nobody waits for it
  std::vector<PageFile::Done> done;
  while (done.empty()) done = file.take_done(false);
  CHECK(done[0].what == PageFile::Done::What::probe);
  CHECK(done[0].ok);
  CHECK(done[0].took_us == 5);
  CHECK(file.slots_used() == 0);
  CHECK(file.level(Tier::disk).written == 0);
  CHECK(file.probe(page.data(), 5));
}

TEST_CASE("without a clock nothing is learnt", "[disk]") {
  TierChoice choice(0.001, 0.002);
  choice.add_read(1000, 0);
  choice.add_computed(1e6, 0);
  choice.add_read(0, 10);
  choice.add_probes(1, 0);
  CHECK(choice.pays());
}

TEST_CASE("a disk that is slower than computing is left alone, and all say the same",
          "[engine][disk]") {
  constexpr std::size_t sessions = 60;
  const auto file = synthetic({});
  REQUIRE(file != nullptr);
  const auto everything = decoder_for(file);
  REQUIRE(everything != nullptr);
  const std::vector<std::string> expected = say_all(*everything, sessions);
  REQUIRE(expected.size() == 2 * sessions);
  EngineOptions options;
  options.kv_bytes = 32 * Forward::page_bytes(file->model().config, options.kv_type);
  options.kv_disk_folder = std::filesystem::temp_directory_path().string();
  options.kv_disk_bytes = 256U << 20U;
  options.threads = 1;  // by sizes the disk pays
  options.clock_us = clock_of(10, 1'000'000);
  const auto slow = decoder_for(file, options);
  REQUIRE(slow != nullptr);
  CHECK(say_all(*slow, sessions) == expected);
  CHECK(slow->stats().kv.disk.timed > 0);
  CHECK(slow->stats().kv.disk.read < sessions / 2);
  CHECK(slow->stats().kv.evicted > 0);
  options.threads = 8;  // by sizes it does not
  options.clock_us = clock_of(1'000'000, 10);
  const auto fast = decoder_for(file, options);
  REQUIRE(fast != nullptr);
  CHECK(say_all(*fast, sessions) == expected);
  CHECK(fast->stats().kv.disk.read > sessions);
}

TEST_CASE("a disk that has become fast again is found again", "[engine][disk]") {
  const auto file = synthetic({});
  REQUIRE(file != nullptr);
  EngineOptions options;
  options.kv_bytes = 32 * Forward::page_bytes(file->model().config, options.kv_type);
  options.kv_disk_folder = std::filesystem::temp_directory_path().string();
  options.kv_disk_bytes = 256U << 20U;
  const auto slow_us = std::make_shared<std::atomic<std::int64_t>>(1'000'000);
  options.clock_us = [slow_us, here = std::this_thread::get_id(), reading = std::int64_t{0},
                      computing = std::int64_t{0}]() mutable {
    if (std::this_thread::get_id() == here) return computing += 10'000;
    return reading += *slow_us;
  };
  const auto decoder = decoder_for(file, options);
  REQUIRE(decoder != nullptr);
  REQUIRE(say_all(*decoder, 60).size() == 120);
  const KvCache::Stats before = decoder->stats().kv;
  CHECK(before.evicted > 0);
  *slow_us = 10;
  for (int i = 0; i < 12 && decoder->stats().kv.disk.read < before.disk.read + 20; ++i)
    REQUIRE(say_all(*decoder, 60).size() == 120);
  const KvCache::Stats stats = decoder->stats().kv;
  CHECK(stats.disk.probes > 0);
  CHECK(stats.disk.probes <= stats.evicted / 64 + 1);
  CHECK(stats.disk.read >= before.disk.read + 20);
}

TEST_CASE("a folder in which no pages can lie is said at once", "[engine][disk]") {
  SynthShape shape;
  const auto file = synthetic(shape);
  EngineOptions options;
  options.kv_disk_folder = "/nowhere/at/all";
  options.kv_disk_bytes = 1U << 20U;
  options.kv_disk_pays = false;
  CHECK(decoder_for(file, options) != nullptr);
  options.kv_disk_pays.reset();
  const auto made = Decoder::make(file, options);
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error().message, Catch::Contains("/nowhere/at/all"));
}

}  // namespace ambit::inference
