#include "log/witness.h"

#include "../support/temporary_folder.h"
#include "log/reader.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>

#include <filesystem>

using ambit::TemporaryFolder;
using namespace ambit::log;

namespace {

std::unique_ptr<Witness> open_witness(const std::string& folder, const VerifierKey& log) {
  auto witness = Witness::open(folder, "example.com/witness", {log}, counter(3));
  if (!witness) FAIL(witness.error().message);
  return std::move(*witness);
}

std::string request(const LogReader& reader, std::uint64_t old_size) {
  const auto step = reader.consistency(old_size);
  if (!step) FAIL(step.error().message);
  return AddCheckpoint{old_size, step->proof, step->note}.text();
}

WitnessAnswer ask(Witness& witness, const std::string& body) {
  auto answer = witness.add_checkpoint(body, 1'795'219'200);
  if (!answer) FAIL(answer.error().message);
  return *answer;
}

}  // namespace

TEST_CASE("a witness cosigns a log that only grows, also after a restart", "[witness]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path() + "/log");
  const LogReader reader(writer->store());
  std::uint64_t seen = 0;
  for (int step = 0; step < 6; ++step) {
    fill(*writer, 13);
    auto witness = open_witness(folder.path() + "/witness", writer->verifier());
    const WitnessAnswer answer = ask(*witness, request(reader, seen));
    CAPTURE(step, answer.body);
    REQUIRE(answer.status == 200);
    seen = writer->size();
    const std::string cosigned = reader.consistency(seen)->note + answer.body;
    CHECK(open_cosignature(cosigned, witness->verifier()) ==
          ambit::Result<std::uint64_t>(1'795'219'200));
    // The log's own signature still opens it, and a witness's key is no log's key.
    CHECK(open_note(cosigned, writer->verifier()).has_value());
    CHECK_FALSE(open_note(cosigned, witness->verifier()));
    // The same again is fine: the answer may have been lost.
    CHECK(ask(*witness, request(reader, seen)).status == 200);
  }
}

TEST_CASE("a witness says what it knows to who has another size in mind", "[witness]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path() + "/log");
  const LogReader reader(writer->store());
  auto witness = open_witness(folder.path() + "/witness", writer->verifier());
  fill(*writer, 10);
  REQUIRE(ask(*witness, request(reader, 0)).status == 200);
  fill(*writer, 10);
  const WitnessAnswer wrong = ask(*witness, request(reader, 5));
  CHECK(wrong.status == 409);
  CHECK(wrong.body == "10\n");
  CHECK(ask(*witness, request(reader, 10)).status == 200);
}

TEST_CASE("a log that was rolled back, forked or re-signed gets no cosignature", "[witness]") {
  TemporaryFolder folder;
  const std::string log = folder.path() + "/log";
  auto witness_key = open_writer(log)->verifier();
  auto witness = open_witness(folder.path() + "/witness", witness_key);
  {
    auto writer = open_writer(log);
    fill(*writer, 20);
    std::filesystem::create_directories(folder.path() + "/old");
    for (const char* name : {"/data.mdb", "/key", "/vkey", "/subjects"}) {
      std::filesystem::copy_file(log + name, folder.path() + "/old" + name);
    }
    fill(*writer, 20);
    REQUIRE(ask(*witness, request(LogReader(writer->store()), 0)).status == 200);
  }
  SECTION("rolled back: an older copy") {
    auto old = open_writer(folder.path() + "/old");
    const LogReader reader(old->store());
    const WitnessAnswer answer = ask(*witness, request(reader, 20));
    CHECK(answer.status == 409);
    CHECK(answer.body == "40\n");
  }
  SECTION("forked: the older copy grew in another way, longer than the first") {
    auto old = open_writer(folder.path() + "/old");
    fill(*old, 30, "other");
    const LogReader reader(old->store());
    CHECK(ask(*witness, request(reader, 40)).status == 422);
  }
  SECTION("forked at the same size") {
    auto old = open_writer(folder.path() + "/old");
    fill(*old, 20, "other");
    const LogReader reader(old->store());
    CHECK(ask(*witness, request(reader, 40)).status == 409);
  }
  SECTION("re-signed with another key of the same name") {
    auto other = open_writer(folder.path() + "/other", 99);
    fill(*other, 50);
    const LogReader reader(other->store());
    CHECK(ask(*witness, request(reader, 40)).status == 403);
  }
  SECTION("a log that nobody told it of") {
    auto other = open_writer(folder.path() + "/other", 99, "ambit/elsewhere");
    fill(*other, 5);
    const LogReader reader(other->store());
    CHECK(ask(*witness, request(reader, 0)).status == 404);
  }
}

TEST_CASE("a witness refuses what is no request, and none of it harms", "[witness]") {
  TemporaryFolder folder;
  auto writer = open_writer(folder.path() + "/log");
  fill(*writer, 12);
  auto witness = open_witness(folder.path() + "/witness", writer->verifier());
  const LogReader reader(writer->store());
  const std::string good = request(reader, 0);
  for (const std::string& body :
       {std::string(), std::string("old"), std::string("old x\n\n"), std::string("old 00\n\nx"),
        std::string("old 0\n"), std::string("old 0\nAAAA\n\n") + good.substr(good.find("\n\n") + 2),
        std::string("old 0\n\nnothing"), std::string(1 << 20, 'x')}) {
    CHECK(ask(*witness, body).status == 400);
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string altered = good;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    CHECK(ask(*witness, altered).status != 200);
  }
  CHECK(ask(*witness, good).status == 200);
}

TEST_CASE("a witness does not sign with the key of a log", "[witness]") {
  TemporaryFolder folder;
  const VerifierKey key = open_writer(folder.path() + "/log")->verifier();
  const auto witness = Witness::open(folder.path() + "/log", "w", {key}, counter());
  REQUIRE(!witness);
  CHECK_THAT(witness.error().message, Catch::Contains("the key of a log"));
}
