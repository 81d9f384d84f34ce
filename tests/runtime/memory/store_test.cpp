// The store of the memories: entries, bounds, time, calls that come twice, and its search against a
// search that looks at every text.

#include "memory/store.h"

#include "memory/words.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <random>

namespace ambit::memory {
namespace {

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "ambit-memory-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

std::unique_ptr<Store> open(const Folder& folder) {
  auto store = Store::open(folder.path, Store::Mode::write);
  REQUIRE(store);
  return std::move(*store);
}

Space space(std::string name = "notes") {
  Space made;
  made.name = std::move(name);
  made.bounds.name = "notes";
  return made;
}

Entry entry(std::string key, std::string value) {
  Entry made;
  made.key = std::move(key);
  made.value = std::move(value);
  made.trust = agents::Trust::trusted;
  made.sources = {"tool:look", "user"};
  made.tainted = false;
  made.run = "r";
  made.session = "s";
  made.agent = "clerk";
  made.person = "eve";
  return made;
}

std::vector<std::string> keys(const Listing& listing) {
  std::vector<std::string> all;
  for (const Entry& one : listing.entries) all.push_back(one.key);
  return all;
}

}  // namespace

TEST_CASE("what is kept is there with where it came from, also after a restart", "[memory]") {
  const Folder folder;
  Entry wanted = entry("colour", "blue");
  {
    auto store = open(folder);
    CHECK(*store->put(space(), wanted, "", 1000) == false);
  }
  auto store = open(folder);
  wanted.written_unix_ms = 1000;
  CHECK(*store->get("notes", "colour", 2000) == wanted);
  CHECK(*store->put(space(), entry("colour", "red"), "", 3000) == true);
  CHECK((*store->get("notes", "colour", 4000))->value == "red");
  CHECK_FALSE(*store->get("notes", "shape", 4000));
  CHECK_FALSE(*store->get("other", "colour", 4000));
  CHECK(*store->erase(space(), "colour", "", 5000) == true);
  CHECK(*store->erase(space(), "colour", "", 5000) == false);
  CHECK_FALSE(*store->get("notes", "colour", 6000));
  CHECK(*store->spaces() == std::vector<SpaceFacts>{{"notes", 0, 0}});
}

TEST_CASE("spaces do not see each other, whatever their keys", "[memory]") {
  const Folder folder;
  auto store = open(folder);
  REQUIRE(store->put(space("notes/a"), entry("k", "of a"), "", 1));
  REQUIRE(store->put(space("notes/b"), entry("k", "of b"), "", 1));
  CHECK((*store->get("notes/a", "k", 2))->value == "of a");
  CHECK((*store->get("notes/b", "k", 2))->value == "of b");
  CHECK(store->search("notes/a", "of b", 9, 2)->size() == 1);
  CHECK(keys(*store->list("notes/b", "", "", 9, 2)) == std::vector<std::string>{"k"});
  CHECK(store->spaces()->size() == 2);
}

TEST_CASE("a listing goes on after the last key that was seen", "[memory]") {
  const Folder folder;
  auto store = open(folder);
  for (const char* key : {"b/2", "a", "b/1", "c", "b/3"}) {
    REQUIRE(store->put(space(), entry(key, "x"), "", 1));
  }
  const Listing first = *store->list("notes", "b/", "", 2, 2);
  CHECK(keys(first) == std::vector<std::string>{"b/1", "b/2"});
  CHECK(first.more);
  const Listing rest = *store->list("notes", "b/", "b/2", 2, 2);
  CHECK(keys(rest) == std::vector<std::string>{"b/3"});
  CHECK_FALSE(rest.more);
  CHECK(keys(*store->list("notes", "", "", 9, 2)) ==
        std::vector<std::string>{"a", "b/1", "b/2", "b/3", "c"});
  CHECK(keys(*store->list("notes", "", "d", 9, 2)).empty());
}

TEST_CASE("a memory keeps to its bounds, and says which one", "[memory]") {
  const Folder folder;
  auto store = open(folder);
  Space small = space();
  small.bounds.entries_max = 2;
  small.bounds.entry_bytes_max = 10;
  small.bounds.bytes_max = 16;
  const auto refused = [&](Entry one) {
    const auto put = store->put(small, std::move(one), "", 1);
    REQUIRE_FALSE(put);
    CHECK(put.error().code == Code::exhausted);
    return put.error().message;
  };
  CHECK(refused(entry("key", "12345678")).find("10 bytes (maxEntryBytes)") != std::string::npos);
  REQUIRE(store->put(small, entry("a", "123456789"), "", 1));
  CHECK(refused(entry("b", "123456")).find("16 bytes (maxBytes)") != std::string::npos);
  REQUIRE(store->put(small, entry("b", "12345"), "", 1));
  CHECK(refused(entry("c", "")).find("2 entries (maxEntries)") != std::string::npos);
  // Another text in the place of one needs no place of its own.
  REQUIRE(store->put(small, entry("a", "1234"), "", 1));
  CHECK(refused(entry("a", "12345678901")).find("maxEntryBytes") != std::string::npos);
  CHECK((*store->get("notes", "a", 1))->value == "1234");
  CHECK(*store->spaces() == std::vector<SpaceFacts>{{"notes", 2, 11}});
  CHECK(store->put(small, entry("", "x"), "", 1).error().code == Code::invalid);
  CHECK(store->put(small, entry(std::string(key_bytes_max + 1, 'k'), ""), "", 1).error().code ==
        Code::invalid);
}

TEST_CASE("what has expired is gone, and makes room", "[memory]") {
  const Folder folder;
  auto store = open(folder);
  Space short_lived = space();
  short_lived.bounds.lifetime_ms = 100;
  short_lived.bounds.entries_max = 1;
  REQUIRE(store->put(short_lived, entry("a", "alpha"), "", 1000));
  CHECK((*store->get("notes", "a", 1099))->expires_unix_ms == 1100);
  CHECK(store->search("notes", "alpha", 9, 1099)->size() == 1);
  CHECK_FALSE(*store->get("notes", "a", 1100));
  CHECK(store->search("notes", "alpha", 9, 1100)->empty());
  CHECK(store->list("notes", "", "", 9, 1100)->entries.empty());
  CHECK_FALSE(store->put(short_lived, entry("b", "beta"), "", 1099));
  REQUIRE(store->put(short_lived, entry("b", "beta"), "", 1100));
  CHECK(*store->spaces() == std::vector<SpaceFacts>{{"notes", 1, 5}});
}

TEST_CASE("a write whose call comes again is made once, whatever came between", "[memory]") {
  const Folder folder;
  {
    auto store = open(folder);
    CHECK(*store->put(space(), entry("k", "first"), "run/s/call_1", 1) == false);
    CHECK(*store->put(space(), entry("k", "second"), "run/s/call_2", 2) == true);
  }
  auto store = open(folder);
  CHECK(*store->put(space(), entry("k", "first"), "run/s/call_1", 3) == false);
  CHECK((*store->get("notes", "k", 4))->value == "second");
  CHECK(*store->erase(space(), "k", "run/s/call_3", 5) == true);
  REQUIRE(store->put(space(), entry("k", "third"), "run/s/call_4", 6));
  CHECK(*store->erase(space(), "k", "run/s/call_3", 7) == true);
  CHECK((*store->get("notes", "k", 8))->value == "third");
  // A write that was refused was not made.
  Space none = space();
  none.bounds.entries_max = 1;
  REQUIRE_FALSE(store->put(none, entry("l", "x"), "run/s/call_5", 9));
  CHECK(*store->put(space(), entry("l", "x"), "run/s/call_5", 9) == false);
  CHECK(*store->get("notes", "l", 10));
}

TEST_CASE("a memory that is read alone cannot be changed, and one that is not there says so",
          "[memory]") {
  const Folder folder;
  const auto absent = Store::open(folder.path, Store::Mode::read);
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code == Code::not_found);
  {
    REQUIRE(open(folder)->put(space(), entry("k", "v"), "", 1));
  }
  auto store = Store::open(folder.path, Store::Mode::read);
  REQUIRE(store);
  CHECK((*(*store)->get("notes", "k", 2))->value == "v");
  CHECK_FALSE((*store)->put(space(), entry("k", "w"), "", 3));
}

TEST_CASE("the search finds what looking at every text finds, in the same order", "[memory]") {
  const std::vector<std::string> vocabulary = {"alpha", "Beta", "gamma", "delta", "Ärger",
                                               "東京",  "42",   "naïve", "omega", "zeta"};
  std::mt19937 random(7);
  const auto below = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most - 1)(random);
  };
  const Folder folder;
  auto store = open(folder);
  struct Text {
    std::string key;
    std::vector<std::string> words;
    std::int64_t expires = 0;
  };
  std::vector<Text> texts;  // in the order in which they were kept
  for (int step = 0; step < 160; ++step) {
    const std::int64_t now = 1000 + step;
    const std::string key = "key-" + std::to_string(below(40));
    const auto there =
        std::find_if(texts.begin(), texts.end(), [&](const Text& one) { return one.key == key; });
    if (there != texts.end()) texts.erase(there);
    if (below(5) == 0) {
      REQUIRE(store->erase(space(), key, "", now));
    } else {
      std::string value;
      for (std::size_t n = below(30); n > 0; --n) {
        value += vocabulary[std::min(below(vocabulary.size()), below(vocabulary.size()))] + " ";
      }
      Space of = space();
      of.bounds.lifetime_ms = below(3) == 0 ? 20 : 0;
      REQUIRE(store->put(of, entry(key, value), "", now));
      texts.push_back({key, words_of(key + "\n" + value),
                       of.bounds.lifetime_ms > 0 ? now + of.bounds.lifetime_ms : 0});
    }
    std::string query = vocabulary[below(vocabulary.size())];
    for (std::size_t n = below(3); n > 0; --n) query += " " + vocabulary[below(10)];
    std::vector<std::string> wanted = words_of(query);
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    double count = 0;
    double length = 0;
    std::map<std::string, double> having;
    for (const Text& text : texts) {
      if (text.expires != 0 && text.expires <= now) continue;
      ++count;
      length += static_cast<double>(text.words.size());
      for (const std::string& word : wanted) {
        if (std::find(text.words.begin(), text.words.end(), word) != text.words.end())
          ++having[word];
      }
    }
    std::map<std::string, double> scores;
    for (const Text& text : texts) {
      if (text.expires != 0 && text.expires <= now) continue;
      for (const std::string& word : wanted) {
        const auto times = std::count(text.words.begin(), text.words.end(), word);
        if (times == 0) continue;
        scores[text.key] += rarity(having[word], count) *
                            weight(static_cast<double>(times),
                                   static_cast<double>(text.words.size()), length / count);
      }
    }
    const auto hits = store->search("notes", query, 1000, now);
    REQUIRE(hits);
    INFO("step " << step << ", query " << query);
    REQUIRE(hits->size() == scores.size());
    for (std::size_t i = 0; i < hits->size(); ++i) {
      const Hit& hit = (*hits)[i];
      CHECK(hit.score == Approx(scores.at(hit.entry.key)).epsilon(1e-9));
      if (i > 0) CHECK((*hits)[i - 1].score >= hit.score);
    }
    const auto best = store->search("notes", query, 3, now);
    REQUIRE(best);
    REQUIRE(best->size() == std::min<std::size_t>(3, hits->size()));
    for (std::size_t i = 0; i < best->size(); ++i) {
      CHECK((*best)[i].entry.key == (*hits)[i].entry.key);
    }
  }
}

TEST_CASE("a rarer word and a shorter text weigh more", "[memory]") {
  CHECK(rarity(1, 100) > rarity(50, 100));
  CHECK(rarity(100, 100) > 0);
  CHECK(weight(1, 5, 10) > weight(1, 20, 10));
  CHECK(weight(2, 10, 10) > weight(1, 10, 10));
  CHECK(weight(1000, 10, 10) < 2.3);
}

}  // namespace ambit::memory
