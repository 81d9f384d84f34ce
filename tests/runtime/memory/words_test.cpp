// Words of texts: which there are, in which form.

#include "memory/words.h"

#include <catch2/catch.hpp>

namespace ambit::memory {

using Words = std::vector<std::string>;

TEST_CASE("words are runs of letters and digits, case folded in every script", "[memory]") {
  CHECK(words_of("Hello, WORLD! x86-64") == Words{"hello", "world", "x86", "64"});
  CHECK(words_of("ÄRGER Ärger") == Words{"ärger", "ärger"});
  CHECK(words_of("ΣΟΦΟΣ σοφος σοφός") == Words{"σοφοσ", "σοφοσ", "σοφόσ"});
  CHECK(words_of("МОСКВА Ąžuolas İ") == Words{"москва", "ąžuolas", "İ"});
  CHECK(words_of("").empty());
  CHECK(words_of(" .,;— \n").empty());
}

TEST_CASE("scripts without spaces give a word a character", "[memory]") {
  CHECK(words_of("東京tower") == Words{"東", "京", "tower"});
  CHECK(words_of("한국어 말") == Words{"한국어", "말"});
}

TEST_CASE("marks belong to their letters, and bytes that are no UTF-8 part words", "[memory]") {
  CHECK(words_of("cafe\xCC\x81 au") == Words{"cafe\xCC\x81", "au"});
  CHECK(words_of("a\xFF"
                 "b\xE4\xB8"
                 "c \xED\xA0\x80"
                 "d") == Words{"a", "b", "c", "d"});
}

TEST_CASE("a long word counts by its beginning, cut at a character", "[memory]") {
  const Words words =
      words_of(std::string(500, 'a') + " " + std::string(word_bytes_max - 1, 'b') + "é and");
  REQUIRE(words.size() == 3);
  CHECK(words[0] == std::string(word_bytes_max, 'a'));
  CHECK(words[1] == std::string(word_bytes_max - 1, 'b'));
  CHECK(words[2] == "and");
}

TEST_CASE("the tables of words are sorted and do not overlap", "[memory]") {
  const auto check = [](const auto& rows) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      CHECK(rows[i].first <= rows[i].last);
      if (i > 0) CHECK(rows[i - 1].last < rows[i].first);
    }
    CHECK(rows.size() > 10);
  };
  check(word_ranges());
  check(case_folds());
  for (const CodeRange& one : ideograph_ranges()) CHECK(one.first <= one.last);
}

}  // namespace ambit::memory
