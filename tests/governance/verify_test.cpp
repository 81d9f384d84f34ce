#include "log/verify.h"

#include "../support/temporary_folder.h"
#include "log/reader.h"
#include "log/writer.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

namespace fs = std::filesystem;
using ambit::TemporaryFolder;
using ambit::agents::Event;
using namespace ambit::log;

namespace {

// Deterministic "random" bytes: a test that fails can be run again.
LogWriter::FillRandom counter() {
  return [state = std::uint64_t{7}](std::span<std::uint8_t> bytes) mutable {
    for (std::uint8_t& byte : bytes) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      byte = static_cast<std::uint8_t>(state >> 56);
    }
  };
}

Prepared prepared(std::uint64_t number) {
  Prepared made;
  made.event = Event{
      "action.decided", "run-" + std::to_string(number % 3),      "s" + std::to_string(number % 7),
      "clerk",          "{\"n\":" + std::to_string(number) + "}", {}};
  made.event.payloads = {{"arguments", std::string(number * 37 % 900, 'p')}};
  if (number % 50 == 0) made.event.payloads.push_back({"result", std::string(9000, 'r')});
  for (std::size_t i = 0; i < made.event.payloads.size(); ++i)
    made.salts.push_back(std::string(32, static_cast<char>(number)));
  made.unix_ns = 1'795'219'200'000'000'000 + static_cast<std::int64_t>(number);
  return made;
}

std::unique_ptr<LogWriter> open_writer(const std::string& folder) {
  auto writer = LogWriter::open({folder, "ambit/test", 64U << 20}, counter());
  if (!writer) FAIL(writer.error().message);
  return std::move(*writer);
}

// A log of some hundred records in groups of different sizes, closed and sealed, or as a crash
// leaves it.
void make_log(const std::string& folder, bool sealed, std::uint64_t records = 400) {
  auto writer = open_writer(folder);
  for (std::uint64_t at = 0; at < records;) {
    std::vector<Prepared> group;
    for (std::uint64_t size = at % 23 + 1; size > 0 && at < records; --size)
      group.push_back(prepared(at++));
    const auto result = writer->append(group);
    if (!result) FAIL(result.error().message);
  }
  if (sealed) REQUIRE(writer->seal());
}

VerifyReport verify(const std::string& folder) {
  const auto report = verify_log(folder);
  if (!report) FAIL(report.error().message);
  return *report;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void flip(const fs::path& path, std::size_t at, std::uint8_t mask = 1) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(file.get() ^ mask);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

}  // namespace

TEST_CASE("a log that was closed in order verifies", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path(), true);
  const VerifyReport report = verify(folder.path());
  CHECK(report.what.empty());
  CHECK(report.records == 400);
  CHECK(report.payloads == 408);
  CHECK(report.checkpoints == 1);
  CHECK(report.sealed);
  CHECK_THAT(report.summary, Catch::StartsWith("400 records"));
}

TEST_CASE("a log that was not closed verifies, and so does an empty one", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path() + "/a", false);
  CHECK(verify(folder.path() + "/a").good());
  CHECK_FALSE(verify(folder.path() + "/a").sealed);
  make_log(folder.path() + "/b", true, 0);
  CHECK(verify(folder.path() + "/b").good());
  CHECK(verify(folder.path() + "/b").records == 0);
}

TEST_CASE("a log is verified with the key that the reader trusts", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path() + "/log", true);
  const std::string right = read_file(folder.path() + "/log/vkey");
  CHECK(verify_log(folder.path() + "/log", right)->good());
  const auto other = SignerKey::from_seed("ambit/test", std::array<std::uint8_t, 32>{});
  const auto report = verify_log(folder.path() + "/log", other->verifier().text());
  REQUIRE(report);
  CHECK_THAT(report->what, Catch::Contains("there is no signature of the key ambit/test"));
  CHECK_FALSE(verify_log(folder.path() + "/log", "no key"));
}

TEST_CASE("a folder without a log is an error, not a report", "[verify]") {
  TemporaryFolder folder;
  const auto report = verify_log(folder.path());
  REQUIRE(!report);
  CHECK(report.error().code == ambit::Code::not_found);
}

TEST_CASE("the first bad record is named", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path(), true);
  const std::string data = read_file(folder.path() + "/data.mdb");
  // The body of record 123 stands in the file once; older copies of its page may hold it too.
  const std::string wanted = "\"body\":{\"n\":123}";
  std::size_t named = 0;
  for (std::size_t at = data.find(wanted); at != std::string::npos;
       at = data.find(wanted, at + 1)) {
    flip(folder.path() + "/data.mdb", at + 13);
    const VerifyReport report = verify(folder.path());
    CHECK_FALSE(report.good());
    if (report.bad_index == std::uint64_t{123}) ++named;
    flip(folder.path() + "/data.mdb", at + 13);
  }
  CHECK(named == 1);
  CHECK(verify(folder.path()).good());
}

TEST_CASE("a log that was rolled back, cut off or mixed up does not verify", "[verify]") {
  TemporaryFolder folder;
  const std::string log = folder.path() + "/log";
  make_log(log, true);
  const std::string data = read_file(log + "/data.mdb");
  SECTION("an old copy of the data file") {
    make_log(folder.path() + "/old", true, 100);
    write_file(log + "/data.mdb", read_file(folder.path() + "/old/data.mdb"));
    CHECK_THAT(verify(log).what, Catch::Contains("closed with 400 records"));
  }
  SECTION("a file that was cut off") {
    write_file(log + "/data.mdb", data.substr(0, data.size() / 2));
    CHECK_FALSE(verify(log).good());
  }
  SECTION("an empty file") {
    write_file(log + "/data.mdb", "");
    CHECK_THAT(verify(log).what, Catch::Contains("header pages"));
  }
  SECTION("a file of something else") {
    write_file(log + "/data.mdb", std::string(100'000, 'x'));
    CHECK_FALSE(verify(log).good());
  }
  SECTION("a seal that was taken away with one that is altered") {
    flip(log + "/seal", 30);
    CHECK_FALSE(verify(log).good());
  }
}

TEST_CASE("each flipped byte of a sealed log is found, and none ends the verifier", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path(), true, 150);
  const std::size_t size = fs::file_size(folder.path() + "/data.mdb");
  std::mt19937 random(20261121);
  std::size_t found = 0;
  std::size_t in_a_record = 0;
  constexpr std::size_t flips = 150;
  for (std::size_t i = 0; i < flips; ++i) {
    const std::size_t at = random() % size;
    const auto mask = static_cast<std::uint8_t>(1U << (random() % 8));
    flip(folder.path() + "/data.mdb", at, mask);
    const VerifyReport report = verify(folder.path());
    CAPTURE(at, int{mask}, report.what);
    CHECK_FALSE(report.good());
    found += report.good() ? 0 : 1;
    in_a_record += report.bad_index ? 1 : 0;
    flip(folder.path() + "/data.mdb", at, mask);
  }
  std::cout << "flipped bytes: " << found << " of " << flips << " found, " << in_a_record
            << " with the record\n";
  CHECK(found == flips);
  CHECK(in_a_record > flips / 3);
  CHECK(verify(folder.path()).good());
}

TEST_CASE("each flipped byte of the seal or the key is found", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path(), true, 20);
  for (const char* name : {"/seal", "/vkey"}) {
    const std::string path = folder.path() + name;
    const std::size_t size = fs::file_size(path) - 1;  // not the last newline of the key
    for (std::size_t at = 0; at < size; at += 7) {
      flip(path, at);
      const auto report = verify_log(folder.path());
      CAPTURE(path, at);
      CHECK_FALSE((report && report->good()));
      flip(path, at);
    }
  }
  CHECK(verify(folder.path()).good());
}

TEST_CASE("a log goes on after it was closed, and verifies again", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path(), true);
  {
    auto writer = open_writer(folder.path());
    CHECK(writer->size() == 400);
    REQUIRE(writer->append({prepared(400)}));
    REQUIRE(writer->seal());
  }
  const VerifyReport report = verify(folder.path());
  CHECK(report.good());
  CHECK(report.records == 401);
}

TEST_CASE("a log whose newest checkpoint does not fit is not written to", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path(), false);
  const SignerKey other = *SignerKey::from_seed("ambit/test", std::array<std::uint8_t, 32>{});
  write_file(folder.path() + "/key", other.text() + "\n");
  const auto writer = LogWriter::open({folder.path(), "", 64U << 20}, counter());
  REQUIRE(!writer);
  CHECK_THAT(writer.error().message, Catch::Contains("newest checkpoint"));
}

TEST_CASE("the log is written out as tiles that lead to its checkpoint", "[verify]") {
  TemporaryFolder folder;
  make_log(folder.path() + "/log", true, 600);
  const auto store = Store::open(folder.path() + "/log", Store::Mode::read, 0);
  REQUIRE(store);
  const std::string out = folder.path() + "/tiles";
  CHECK(write_tiles(**store, out) == ambit::Result<std::uint64_t>(600));
  CHECK(fs::file_size(out + "/tile/0/000") == 8192);
  CHECK(fs::file_size(out + "/tile/0/001") == 8192);
  CHECK(fs::file_size(out + "/tile/0/002.p/88") == 88 * 32);
  CHECK(fs::file_size(out + "/tile/1/000.p/2") == 2 * 32);
  // The entries alone give the root again.
  Tree tree;
  for (const std::string name : {"000", "001", "002.p/88"}) {
    const std::string bundle = read_file(out + "/tile/entries/" + name);
    for (std::size_t at = 0; at < bundle.size();) {
      const std::size_t length = static_cast<unsigned char>(bundle[at]) * 256U +
                                 static_cast<unsigned char>(bundle[at + 1]);
      tree.append(leaf_hash(bundle.substr(at + 2, length)));
      at += 2 + length;
    }
  }
  const auto key = VerifierKey::parse(read_file(folder.path() + "/log/vkey"));
  const auto text = open_note(read_file(out + "/checkpoint"), *key);
  REQUIRE(text);
  CHECK(Checkpoint::parse(*text)->root == tree.root());
}
