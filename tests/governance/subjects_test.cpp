#include "log/subjects.h"

#include "../support/temporary_folder.h"
#include "log/reader.h"
#include "log/verify.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

using ambit::Code;
using ambit::TemporaryFolder;
using namespace ambit::log;

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("no payload and no name of a subject stands in the log in the clear", "[subjects]") {
  TemporaryFolder folder;
  {
    auto writer = open_writer(folder.path());
    REQUIRE(writer->append({event_of("a", "{}", "the diagnosis of Jane", "jane@example.com")}));
  }
  const std::string data = read_file(folder.path() + "/data.mdb");
  CHECK(data.find("diagnosis") == std::string::npos);
  CHECK(data.find("jane@example.com") == std::string::npos);
  const auto reader = LogReader::open(folder.path());
  REQUIRE(reader);
  CHECK((*reader)->get(0)->payloads.at(0).bytes == "the diagnosis of Jane");
}

TEST_CASE("an erased subject's payloads are gone, all others stay, all proofs hold", "[subjects]") {
  TemporaryFolder folder;
  {
    auto writer = open_writer(folder.path());
    REQUIRE(writer->append(
        {event_of("a", "{}", "of jane", "jane"), event_of("a", "{}", "of joe", "joe"),
         event_of("b", "{}", "more of jane", "jane"), event_of("b", "{}", "of nobody")}));
    const auto index = writer->erase("jane", "the data officer", "asked for it", 1);
    REQUIRE(index == ambit::Result<std::uint64_t>(4));
    // Numbers are not given again: what comes now is another subject's.
    REQUIRE(writer->append({event_of("a", "{}", "of jane, later", "jane")}));
    REQUIRE(writer->seal());
  }
  const auto report = verify_log(folder.path());
  REQUIRE(report);
  CAPTURE(report->what);
  CHECK(report->good());
  CHECK(report->records == 6);
  CHECK(report->payloads == 3);
  CHECK(report->erased == 2);
  CHECK_THAT(report->summary, Catch::Contains("2 payloads were erased"));
  const auto reader = LogReader::open(folder.path());
  REQUIRE(reader);
  const auto erased = (*reader)->get(0);
  REQUIRE(erased);
  CHECK(erased->payloads.empty());
  CHECK(erased->erased == std::vector<std::string>{"arguments"});
  CHECK((*reader)->get(1)->payloads.at(0).bytes == "of joe");
  CHECK((*reader)->get(5)->payloads.at(0).bytes == "of jane, later");
  const auto tombstone = (*reader)->get(4);
  CHECK(tombstone->leaf.type == erased_type);
  CHECK(tombstone->leaf.body.find("jane") == std::string::npos);
  CHECK(tombstone->leaf.body == R"({"by":"the data officer","reason":"asked for it","subject":1})");
}

TEST_CASE("a key that is gone without a record of it is found", "[subjects]") {
  TemporaryFolder folder;
  {
    auto writer = open_writer(folder.path());
    REQUIRE(
        writer->append({event_of("a", "{}", "of joe", "joe"), event_of("a", "{}", "x", "jane")}));
  }
  auto subjects = Subjects::load(folder.path());
  REQUIRE(subjects);
  REQUIRE((*subjects)->erase(*(*subjects)->find("jane")));
  const auto report = verify_log(folder.path());
  REQUIRE(report);
  CHECK(report->bad_index == std::uint64_t{1});
  CHECK_THAT(report->what, Catch::Contains("no record says why"));
}

TEST_CASE("who is not there cannot be erased", "[subjects]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path());
  const auto result = writer->erase("nobody", "me", "why not", 1);
  REQUIRE(!result);
  CHECK(result.error().code == Code::not_found);
  CHECK(writer->size() == 0);
}

TEST_CASE("the list of subjects survives a crash at any byte of its last entry", "[subjects]") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/subjects";
  std::uint64_t first = 0;
  std::size_t whole = 0;
  {
    auto subjects = Subjects::load(folder.path());
    first = *(*subjects)->number_of("a", counter());
    whole = std::filesystem::file_size(path);
    REQUIRE((*subjects)->number_of("b", counter()) == ambit::Result<std::uint64_t>(first + 1));
  }
  const std::string bytes = read_file(path);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes.substr(0, length);
    auto subjects = Subjects::load(folder.path());
    CAPTURE(length);
    REQUIRE(subjects);
    CHECK((*subjects)->find("a").has_value() == (length >= whole));
    CHECK_FALSE((*subjects)->find("b"));
    // It can be written to again.
    REQUIRE((*subjects)->number_of("c", counter()));
    CHECK((*Subjects::load(folder.path()))->find("c"));
  }
}

TEST_CASE("a list of subjects that was altered is refused", "[subjects]") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/subjects";
  {
    auto subjects = Subjects::load(folder.path());
    REQUIRE((*subjects)->number_of("a", counter()));
    REQUIRE((*subjects)->number_of("b", counter()));
  }
  std::string bytes = read_file(path);
  bytes[30] = static_cast<char>(bytes[30] ^ 1);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  const auto subjects = Subjects::load(folder.path());
  REQUIRE(!subjects);
  CHECK_THAT(subjects.error().message, Catch::Contains("damaged at byte"));
}

TEST_CASE("a stored payload opens in its place, under its key, unaltered, and no other way",
          "[subjects]") {
  PayloadCipher cipher;
  SubjectKey key{};
  key[0] = 1;
  const std::string salt(salt_bytes, 's');
  const std::string stored = cipher.seal(5, key, 77, 2, salt, "the payload");
  CHECK(PayloadCipher::subject_of(stored) == ambit::Result<std::uint64_t>(5));
  std::string opened;
  REQUIRE(cipher.open(stored, key, 77, 2, opened));
  CHECK(opened == salt + "the payload");
  CHECK_FALSE(cipher.open(stored, key, 78, 2, opened));
  CHECK_FALSE(cipher.open(stored, key, 77, 3, opened));
  SubjectKey other = key;
  other[31] = 1;
  CHECK_FALSE(cipher.open(stored, other, 77, 2, opened));
  CHECK_FALSE(cipher.open(stored.substr(0, 40), key, 77, 2, opened));
  CHECK_FALSE(cipher.open("", key, 77, 2, opened));
  for (std::size_t at = 9; at < stored.size(); ++at) {
    std::string altered = stored;
    altered[at] = static_cast<char>(altered[at] ^ 0x10);
    CHECK_FALSE(cipher.open(altered, key, 77, 2, opened));
  }
  REQUIRE(cipher.open(cipher.seal(5, key, 1, 0, salt, ""), key, 1, 0, opened));
  CHECK(opened == salt);
}
