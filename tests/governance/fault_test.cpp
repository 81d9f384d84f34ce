// What disks and operators do to a log: pages that were never written, a clock that was set back, a
// second process, an old copy in the log's place. Detected or survived, and always said.

#include "../support/temporary_folder.h"
#include "io/file.h"
#include "log/reader.h"
#include "log/verify.h"
#include "log/witness.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>

using namespace ambit;
using namespace ambit::log;

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t header_pages = 2;

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_all(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The pages in which the two files differ; one that is only in `after` differs.
std::vector<std::size_t> changed_pages(const std::string& before, const std::string& after) {
  std::vector<std::size_t> pages;
  for (std::size_t at = 0; at * page_bytes < after.size(); ++at) {
    const std::string_view now = std::string_view(after).substr(at * page_bytes, page_bytes);
    const std::string_view then = at * page_bytes < before.size()
                                      ? std::string_view(before).substr(at * page_bytes, page_bytes)
                                      : std::string_view();
    if (now != then) pages.push_back(at);
  }
  return pages;
}

void put_page(std::string& file, const std::string& from, std::size_t page) {
  const std::string bytes = from.substr(page * page_bytes, page_bytes);
  if (file.size() < page * page_bytes + bytes.size()) {
    file.resize(page * page_bytes + bytes.size(), '\0');
  }
  file.replace(page * page_bytes, bytes.size(), bytes);
}

}  // namespace

TEST_CASE("a torn write leaves the log as it was, or is found", "[fault]") {
  // Each round: a group is committed, and then the disk is made to hold only some of the pages that
  // the commit wrote. Without the header page that is what a crash leaves; with it, what a disk
  // leaves that lied about having written.
  const char* asked = std::getenv("AMBIT_TORN_WRITES");
  const int rounds = asked != nullptr ? std::atoi(asked) : 40;
  TemporaryFolder folder;
  std::mt19937 random(5);
  int as_before = 0;
  int as_after = 0;
  int found = 0;
  const std::string data = folder.path() + "/data.mdb";
  {
    fill(*open_writer(folder.path()), 200);
  }
  for (int round = 0; round < rounds; ++round) {
    const std::string before = read_all(data);
    std::uint64_t size_before = 0;
    std::uint64_t size_after = 0;
    {
      const auto writer = open_writer(folder.path());
      size_before = writer->size();
      // One commit: the one after it may use again what this one has freed.
      std::vector<Prepared> group;
      for (auto left = 1 + random() % 60; left > 0; --left) {
        group.push_back(
            event_of("s" + std::to_string(left % 5), "{}", std::string(random() % 3000, 'p')));
      }
      REQUIRE(writer->append(group));
      size_after = writer->size();
    }
    const std::string after = read_all(data);
    const std::vector<std::size_t> pages = changed_pages(before, after);
    const bool with_header = round % 2 == 1;
    std::string torn = before;
    std::size_t left_out = 0;
    for (const std::size_t page : pages) {
      const bool is_header = page < header_pages;
      const bool is_written = is_header ? with_header : random() % 4 != 0;
      if (is_written) put_page(torn, after, page);
      left_out += !is_header && !is_written ? 1 : 0;
    }
    write_all(data, torn);
    const auto report = verify_log(folder.path());
    REQUIRE(report);
    CAPTURE(round, with_header, left_out, pages.size(), report->what);
    if (report->good()) {
      // Good is only what is whole: every record of before, or every one of after.
      CHECK((report->records == size_before || (report->records == size_after && with_header)));
      ++(report->records == size_before ? as_before : as_after);
    } else {
      CHECK(with_header);
      CHECK_FALSE(report->what.empty());
      ++found;
      // The writer does not go on from there as if nothing had been.
      const auto reopened = LogWriter::open({folder.path(), "", 64U << 20}, counter());
      if (reopened) CHECK((*reopened)->size() <= size_after);
    }
    write_all(data, after);
  }
  std::cout << "torn writes: " << rounds << ": the log as before " << as_before << ", as after "
            << as_after << ", damage found and named " << found << ", damage taken for good 0\n";
  CHECK(as_before > 0);
  CHECK(found > 0);
}

TEST_CASE("a clock that was set back changes no order, and is said", "[fault]") {
  TemporaryFolder folder;
  {
    const auto writer = open_writer(folder.path());
    Prepared late = event_of("s", "{}", "");
    Prepared early = event_of("s", "{}", "");
    early.unix_ns -= std::int64_t{3600} * 1'000'000'000;
    REQUIRE(writer->append({late, early, early, late}));
  }
  const auto report = verify_log(folder.path());
  REQUIRE(report);
  CHECK(report->good());
  CHECK(report->clock_back == 1);
  CHECK(report->first_clock_back == 1);
  CHECK_THAT(report->summary, Catch::Contains("set back 1 times, first before record 1"));
}

TEST_CASE("a second process cannot write the log, and says who does", "[fault]") {
  TemporaryFolder folder;
  const auto writer = open_writer(folder.path());
  const auto second = LogWriter::open({folder.path(), "", 64U << 20}, counter());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::conflict);
  CHECK_THAT(second.error().message, Catch::Contains("(process "));
}

TEST_CASE("an old copy in the log's place verifies, and whoever saw more than it is told",
          "[fault]") {
  TemporaryFolder folder;
  const std::string data = folder.path() + "/log/data.mdb";
  std::string note;
  std::vector<VerifierKey> keys;
  {
    const auto writer = open_writer(folder.path() + "/log");
    fill(*writer, 20);
    keys = {writer->verifier()};
  }
  const std::string old_copy = read_all(data);
  auto witness = Witness::open(folder.path() + "/witness", "ambit/witness", keys, counter(2));
  REQUIRE(witness);
  const auto ask = [&](std::uint64_t old_size) {
    const auto reader = LogReader::open(folder.path() + "/log");
    REQUIRE(reader);
    const auto step = (*reader)->consistency(old_size);
    REQUIRE(step);
    const auto answer =
        (*witness)->add_checkpoint(AddCheckpoint{old_size, step->proof, step->note}.text(), 9);
    REQUIRE(answer);
    return *answer;
  };
  {
    fill(*open_writer(folder.path() + "/log"), 5, "more");
  }
  CHECK(ask(0).status == 200);
  write_all(data, old_copy);
  const auto report = verify_log(folder.path() + "/log");
  REQUIRE(report);
  CHECK(report->good());
  const WitnessAnswer answer = ask(0);
  CHECK(answer.status == 409);
  CHECK_THAT(answer.body, Catch::Contains("25"));
}
