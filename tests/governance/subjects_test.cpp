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
  const auto jane = (*subjects)->find("jane");
  REQUIRE(jane);
  REQUIRE(jane->has_value());
  REQUIRE((*subjects)->erase({**jane}));
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

TEST_CASE("the list of subjects survives a crash at any byte of what was written last",
          "[subjects]") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/subjects";
  // Three entries by one sync, of which a crash may leave any part, and zeros for the rest.
  std::vector<std::string> names = {"a", "b", std::string(300, 'c'), "d"};
  std::vector<std::size_t> ends;
  {
    auto subjects = Subjects::load(folder.path());
    REQUIRE((*subjects)->number_of(names[0], counter()));
    REQUIRE((*subjects)->sync());
    ends.push_back(std::filesystem::file_size(path));
    for (std::size_t i = 1; i < names.size(); ++i) {
      REQUIRE((*subjects)->number_of(names[i], counter(i)));
      ends.push_back(ends.back() + 50 + names[i].size());
    }
    REQUIRE(std::filesystem::file_size(path) == ends[0]);
    REQUIRE((*subjects)->sync());
    REQUIRE((*subjects)->syncs() == 2);
  }
  const std::string bytes = read_file(path);
  REQUIRE(bytes.size() == ends.back());
  const auto check = [&](std::size_t length, std::size_t zeros) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        << bytes.substr(0, length) << std::string(zeros, '\0');
    auto subjects = Subjects::load(folder.path());
    CAPTURE(length, zeros);
    if (!subjects) FAIL(subjects.error().message);
    std::size_t whole = 0;
    while (whole < ends.size() && ends[whole] <= length) ++whole;
    // What is cut off in its checksum's own zeros is whole.
    const std::size_t found = (*subjects)->size();
    if (found != whole) REQUIRE((found == whole + 1 && bytes[length] == '\0'));
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto number = (*subjects)->find(names[i]);
      if (!number || number->has_value() != (i < found)) FAIL("subject " << i);
    }
    if (length % 16 != 0 && zeros % 16 != 0) return;
    // It can be written to again.
    REQUIRE((*subjects)->number_of("new", counter(9)));
    REQUIRE((*subjects)->sync());
    const auto again = Subjects::load(folder.path());
    REQUIRE(again);
    CHECK((*again)->size() == found + 1);
    CHECK((*again)->get(**(*again)->find("new")) == (*subjects)->get(found + 1));
  };
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    for (const std::size_t zeros : std::vector<std::size_t>{0, 1, 7, 40, 64, 200})
      check(length, zeros);
    check(length, bytes.size() - length);
  }
}

TEST_CASE("a list of subjects that was altered is refused", "[subjects]") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/subjects";
  {
    auto subjects = Subjects::load(folder.path());
    for (const char* name : {"a", "b", "c"}) REQUIRE((*subjects)->number_of(name, counter()));
    REQUIRE((*subjects)->sync());
  }
  const std::string bytes = read_file(path);
  // Any byte of all but the last entry. An entry that says to be longer than all that follows
  // passes for one that was cut off: then verification misses its key.
  for (std::size_t at = 0; at < bytes.size() - 51; ++at) {
    if (at == 17 + 40 || at == 17 + 51 + 40) continue;
    std::string altered = bytes;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << altered;
    const auto subjects = Subjects::load(folder.path());
    CAPTURE(at);
    REQUIRE(!subjects);
    CHECK_THAT(subjects.error().message,
               Catch::Contains(at < 17 ? "no list of subjects" : "damaged at byte"));
  }
}

TEST_CASE("memory holds little of a subject, and many become durable at once", "[subjects]") {
  TemporaryFolder folder;
  constexpr std::uint64_t count = 100'000;
  auto subjects = Subjects::load(folder.path());
  REQUIRE(subjects);
  std::optional<Subject> kept;
  for (std::uint64_t i = 1; i <= count; ++i) {
    const auto number = (*subjects)->number_of("run/" + std::to_string(i), counter(i));
    if (number != ambit::Result<std::uint64_t>(i)) FAIL("subject " << i);
    if ((*subjects)->index_bytes() > (i + 128) * 40) FAIL("memory at subject " << i);
    if (i == 777) kept = **(*subjects)->get(i);
  }
  CHECK((*subjects)->index_bytes() <= count * 40);
  REQUIRE((*subjects)->sync());
  CHECK((*subjects)->syncs() == 1);
  REQUIRE((*subjects)->sync());
  CHECK((*subjects)->syncs() == 1);
  const auto again = Subjects::load(folder.path());
  REQUIRE(again);
  CHECK((*again)->size() == count);
  CHECK((*again)->index_bytes() <= count * 40);
  for (const std::uint64_t i : std::vector<std::uint64_t>{1, 776, 777, count - 1, count}) {
    CHECK((*again)->find("run/" + std::to_string(i)) ==
          ambit::Result<std::optional<std::uint64_t>>(i));
  }
  CHECK((*again)->get(777) == ambit::Result<std::optional<Subject>>(kept));
  CHECK((*again)->find("run/0") == ambit::Result<std::optional<std::uint64_t>>(std::nullopt));
}

TEST_CASE("a list of subjects stays within its size, and says so", "[subjects]") {
  TemporaryFolder folder;
  auto subjects = Subjects::load(folder.path(), 17 + 2 * 51);
  REQUIRE((*subjects)->number_of("a", counter()));
  REQUIRE((*subjects)->number_of("b", counter()));
  const auto refused = (*subjects)->number_of("c", counter());
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::exhausted);
  CHECK_THAT(refused.error().message, Catch::Contains("its greatest size of 119 bytes"));
  CHECK((*subjects)->number_of("b", counter()) == ambit::Result<std::uint64_t>(2));
  REQUIRE((*subjects)->sync());
  CHECK(Subjects::load(folder.path(), 17 + 2 * 51));
  const auto too_long = Subjects::load(folder.path(), 17 + 2 * 51 - 1);
  REQUIRE(!too_long);
  CHECK(too_long.error().code == Code::exhausted);
}

TEST_CASE("several subjects are erased in one rewrite, and leave no byte of a key", "[subjects]") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/subjects";
  std::vector<Subject> all;
  auto subjects = Subjects::load(folder.path());
  for (std::uint64_t i = 0; i < 20; ++i) {
    const auto number = (*subjects)->number_of("person " + std::to_string(i), counter(i));
    all.push_back(**(*subjects)->get(*number));
  }
  REQUIRE((*subjects)->sync());
  // What a crash in the middle of an earlier attempt has left.
  std::ofstream(path + ".new-abcdef", std::ios::binary) << read_file(path);
  std::filesystem::create_hard_link(path, folder.path() + "/old blocks");
  std::filesystem::create_hard_link(path + ".new-abcdef", folder.path() + "/left blocks");
  REQUIRE((*subjects)->erase({20, 3, 7}));
  CHECK_FALSE(std::filesystem::exists(path + ".new-abcdef"));
  for (const char* name : {"/old blocks", "/left blocks"}) {
    const std::string left = read_file(folder.path() + name);
    CHECK(left == std::string(left.size(), '\0'));
    CHECK(left.size() > 1000);
  }
  const auto again = Subjects::load(folder.path());
  for (std::uint64_t number = 1; number <= 20; ++number) {
    const bool is_erased = number == 3 || number == 7 || number == 20;
    const ambit::Result<std::optional<Subject>> wanted =
        is_erased ? std::nullopt : std::optional(all[number - 1]);
    CHECK((*subjects)->get(number) == wanted);
    CHECK((*again)->get(number) == wanted);
  }
  // Numbers are not given again, not even the last one.
  CHECK((*again)->number_of("person 19", counter()) == ambit::Result<std::uint64_t>(21));
  const auto unknown = (*subjects)->erase({1, 3});
  REQUIRE(!unknown);
  CHECK(unknown.error().code == Code::not_found);
  CHECK((*subjects)->size() == 17);
}

TEST_CASE("a reader follows the list of subjects that another writes", "[subjects]") {
  TemporaryFolder folder;
  auto reader = Subjects::load(folder.path());
  REQUIRE((*reader)->refresh());
  CHECK((*reader)->size() == 0);
  auto writer = Subjects::load(folder.path());
  REQUIRE((*writer)->number_of("a", counter()));
  REQUIRE((*writer)->sync());
  REQUIRE((*reader)->refresh());
  CHECK((*reader)->get(1) == (*writer)->get(1));
  REQUIRE((*writer)->number_of("b", counter(2)));
  // What is not durable yet is nobody else's.
  REQUIRE((*reader)->refresh());
  CHECK((*reader)->size() == 1);
  REQUIRE((*writer)->sync());
  REQUIRE((*reader)->refresh());
  CHECK((*reader)->get(2) == (*writer)->get(2));
  const auto second = (*writer)->get(2);
  REQUIRE((*writer)->erase({1}));
  // Where the erased keys stood are zeros, so that nothing of them can be served any more.
  CHECK_FALSE((*reader)->get(1));
  REQUIRE((*reader)->refresh());
  CHECK((*reader)->get(1) == ambit::Result<std::optional<Subject>>(std::nullopt));
  CHECK((*reader)->get(2) == second);
}

TEST_CASE("a reader that was open before does not show what was erased since", "[subjects]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path());
  REQUIRE(writer->append(
      {event_of("a", "{}", "of jane", "jane"), event_of("a", "{}", "of joe", "joe")}));
  const LogReader reader(writer->store());
  CHECK(reader.get(0)->payloads.at(0).bytes == "of jane");
  REQUIRE(writer->append({event_of("a", "{}", "of jim", "jim")}));
  CHECK(reader.get(2)->payloads.at(0).bytes == "of jim");
  REQUIRE(writer->erase("jane", "me", "asked for it", 1));
  const auto erased = reader.get(0);
  REQUIRE(erased);
  CHECK(erased->payloads.empty());
  CHECK(erased->erased == std::vector<std::string>{"arguments"});
  CHECK(reader.get(1)->payloads.at(0).bytes == "of joe");
  CHECK(reader.get(2)->payloads.at(0).bytes == "of jim");
}

TEST_CASE("a group of a hundred new runs makes their keys durable at once", "[subjects]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path());
  std::vector<Prepared> group;
  for (int i = 0; i < 100; ++i) {
    group.push_back(event_of("a", "{}", "text", "person " + std::to_string(i)));
  }
  REQUIRE(writer->append(group));
  CHECK(writer->subject_syncs() == 1);
  REQUIRE(writer->append(group));
  CHECK(writer->subject_syncs() == 1);
  const auto report = verify_log(folder.path());
  REQUIRE(report);
  CHECK(report->what.empty());
  CHECK(report->payloads == 200);
}

TEST_CASE("only the record of a subject that cannot be listed is refused", "[subjects]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path());
  const auto results = writer->append({event_of("a", "{}", "text", "joe"),
                                       event_of("b", "{}", "text", std::string(513, 'x')),
                                       event_of("c", "{}", "text", "joe")});
  REQUIRE(results);
  CHECK(results->at(0) == ambit::Result<std::uint64_t>(0));
  CHECK_FALSE(results->at(1));
  CHECK(results->at(2) == ambit::Result<std::uint64_t>(1));
  const auto report = verify_log(folder.path());
  REQUIRE(report);
  CHECK(report->what.empty());
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
