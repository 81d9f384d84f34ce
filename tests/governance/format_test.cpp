// The example of FORMAT.md, computed again. The figures there come from another implementation.

#include "log/canonical_json.h"
#include "log/merkle.h"
#include "log/note.h"
#include "log/record.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>

using namespace ambit::log;

TEST_CASE("the example of the format document comes out byte for byte", "[record]") {
  std::ifstream file(std::string(PROJECT_ROOT) + "/governance/log/FORMAT.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string document = text.str();
  const auto says = [&document](const std::string& wanted) {
    return document.find(wanted) != std::string::npos;
  };

  std::array<std::uint8_t, 32> seed{};
  for (std::size_t i = 0; i < seed.size(); ++i) seed[i] = static_cast<std::uint8_t>(i);
  const auto signer = SignerKey::from_seed("ambit/log-example", seed);
  REQUIRE(signer);
  CHECK(says("\n" + signer->verifier().text() + "\n"));

  const std::string payload = R"({"path":"logs/web.log"})";
  Leaf first{0,
             *parse_time("2026-11-21T08:30:00Z"),
             "action.decided",
             "run-1",
             "INC-7",
             "clerk",
             *canonical_json(std::string_view(R"({"verdict":"allow", "tool":"read_file"})")),
             "",
             {}};
  first.payloads = {{"arguments", payload.size(), commitment(std::string(32, 's'), payload)}};
  const auto first_bytes = to_bytes(first);
  REQUIRE(first_bytes);
  CHECK(says("\n" + *first_bytes + "\n"));
  const Hash first_hash = leaf_hash(*first_bytes);
  CHECK(says("`" + to_hex(first_hash) + "`"));

  const Leaf second{1,
                    first.unix_ns + 250'000'000,
                    "action.outcome",
                    "run-1",
                    "INC-7",
                    "clerk",
                    R"({"outcome":"ok","tool":"read_file"})",
                    to_hex(first_hash),
                    {}};
  const auto second_bytes = to_bytes(second);
  REQUIRE(second_bytes);
  CHECK(says("\n" + *second_bytes + "\n"));
  CHECK(says("`" + to_hex(leaf_hash(*second_bytes)) + "`"));

  Tree tree;
  tree.append(first_hash);
  tree.append(leaf_hash(*second_bytes));
  CHECK(says("the root `" + to_hex(tree.root()) + "`"));
  CHECK(says("\n" + signer->sign(Checkpoint{"ambit/log-example", 2, tree.root()}.text())));
}

TEST_CASE("a leaf reads back as it was written, and in no other form", "[record]") {
  Leaf leaf{7,
            1'795'219'200'000'000'001,
            "t",
            "run",
            "s \xC3\xA4",
            "a",
            R"({"k":[1,2.5,"x"]})",
            std::string(64, 'a'),
            {}};
  leaf.payloads = {{"p", 3, sha256("x")}, {"q", 0, sha256("y")}};
  const auto bytes = to_bytes(leaf);
  REQUIRE(bytes);
  CHECK(parse_leaf(*bytes) == ambit::Result<Leaf>(leaf));
  for (std::size_t i = 0; i < bytes->size(); ++i) {
    for (const int mask : {1, 32}) {
      std::string altered = *bytes;
      altered[i] = static_cast<char>(altered[i] ^ mask);
      const auto parsed = parse_leaf(altered);
      if (parsed) REQUIRE_FALSE(*parsed == leaf);
    }
  }
  CHECK_FALSE(parse_leaf(*bytes + " "));
  CHECK_FALSE(parse_leaf("{}"));
  CHECK_FALSE(parse_leaf(""));
}

TEST_CASE("times are written with nine digits and read back", "[record]") {
  CHECK(time_text(0) == "1970-01-01T00:00:00.000000000Z");
  CHECK(time_text(1'709'210'096'000'000'007) == "2024-02-29T12:34:56.000000007Z");
  CHECK(parse_time("2024-02-29T12:34:56.000000007Z") ==
        ambit::Result<std::int64_t>(1'709'210'096'000'000'007));
  CHECK(parse_time("2024-02-29T12:34:56Z") ==
        ambit::Result<std::int64_t>(1'709'210'096'000'000'000));
  for (const char* bad :
       {"2024-02-30T00:00:00Z", "2024-01-01", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "",
        "2024-01-01T24:00:00Z", "2024-01-01T00:00:00.5Z", "2024-01-01 00:00:00Z"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_time(bad));
  }
}
