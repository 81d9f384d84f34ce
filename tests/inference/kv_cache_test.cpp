#include "inference/kv_cache.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <numeric>

namespace ambit::inference {

namespace {

using Tokens = std::vector<TokenId>;

Tokens counting(std::size_t count, TokenId first = 0) {
  Tokens tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// As a forward pass would: fills what is missing; each page says which tokens it was made for.
void compute(KvCache& cache, KvCache::Sequence& sequence, const Tokens& tokens) {
  cache.extend(sequence, tokens.size() - sequence.length);
  for (std::size_t i = sequence.length; i < tokens.size(); ++i)
    std::memcpy(sequence.pages[i / page_tokens] + i % page_tokens * sizeof(TokenId), &tokens[i],
                sizeof(TokenId));
  cache.commit(sequence, tokens, tokens.size());
}

Tokens contents(const KvCache::Sequence& sequence) {
  Tokens tokens(sequence.length);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    std::memcpy(&tokens[i], sequence.pages[i / page_tokens] + i % page_tokens * sizeof(TokenId),
                sizeof(TokenId));
  return tokens;
}

constexpr std::size_t page_bytes = page_tokens * sizeof(TokenId);

}  // namespace

TEST_CASE("a second session finds the pages of the first", "[kv]") {
  KvCache cache(page_bytes, 16);
  const Tokens tokens = counting(100);
  auto first = cache.open(tokens, 128);
  REQUIRE(first);
  CHECK(first->cached == 0);
  compute(cache, *first, tokens);
  auto second = cache.open(tokens, 128);
  REQUIRE(second);
  CHECK(second->cached == 96);
  CHECK(second->pages[0] == first->pages[0]);
  compute(cache, *second, tokens);
  CHECK(contents(*second) == tokens);
  CHECK(cache.stats().pages_used == 5);
  cache.close(std::move(*first), tokens, "a");
  cache.close(std::move(*second), tokens, "b");
  CHECK(cache.stats().pages_used == 4);  // the equal tails became one
  CHECK(cache.stats().pages_pinned == 0);
}

TEST_CASE("a session goes on with its own unfinished page without a copy", "[kv]") {
  KvCache cache(page_bytes, 8);
  Tokens tokens = counting(50);
  auto sequence = cache.open(tokens, 60);
  compute(cache, *sequence, tokens);
  const std::byte* tail = sequence->pages[1];
  cache.close(std::move(*sequence), tokens, "s");
  for (TokenId more = 50; more < 70; ++more) tokens.push_back(more);
  sequence = cache.open(tokens, 90);
  REQUIRE(sequence);
  CHECK(sequence->cached == 50);
  CHECK(sequence->pages[1] == tail);
  CHECK(contents(*sequence) == counting(50));
  compute(cache, *sequence, tokens);
  CHECK(contents(*sequence) == tokens);
  cache.close(std::move(*sequence), tokens, "s");
}

TEST_CASE("a page that differs in its middle is copied up to there", "[kv]") {
  KvCache cache(page_bytes, 8);
  const Tokens tokens = counting(64);
  auto sequence = cache.open(tokens, 64);
  compute(cache, *sequence, tokens);
  Tokens other = tokens;
  other[45] = 1000;
  auto fork = cache.open(other, 64);
  REQUIRE(fork);
  CHECK(fork->cached == 45);
  CHECK(fork->pages[0] == sequence->pages[0]);
  CHECK(fork->pages[1] != sequence->pages[1]);
  compute(cache, *fork, other);
  CHECK(contents(*fork) == other);
  CHECK(contents(*sequence) == tokens);
  cache.close(std::move(*sequence), tokens, "a");
  cache.close(std::move(*fork), other, "b");
}

TEST_CASE("the last token is always computed", "[kv]") {
  KvCache cache(page_bytes, 8);
  const Tokens tokens = counting(32);
  auto sequence = cache.open(tokens, 40);
  compute(cache, *sequence, tokens);
  cache.close(std::move(*sequence), tokens, "a");
  sequence = cache.open(tokens, 40);
  REQUIRE(sequence);
  CHECK(sequence->length == 31);
  compute(cache, *sequence, tokens);
  CHECK(contents(*sequence) == tokens);
  cache.close(std::move(*sequence), tokens, "a");
}

TEST_CASE("what does not fit waits, and what was promised is there", "[kv]") {
  KvCache cache(page_bytes, 4);
  CHECK(cache.fits(128));
  CHECK_FALSE(cache.fits(129));
  const Tokens a = counting(10);
  const Tokens b = counting(10, 500);
  auto first = cache.open(a, 96);
  REQUIRE(first);
  CHECK_FALSE(cache.open(b, 64));  // one page is left
  auto second = cache.open(b, 32);
  REQUIRE(second);
  const Tokens grown = counting(96);
  compute(cache, *first, grown);
  CHECK(contents(*first) == grown);
  cache.close(std::move(*first), grown, "a");
  CHECK(cache.open(b, 96).has_value() == true);
}

TEST_CASE("the least recently used pages make room first", "[kv]") {
  KvCache cache(page_bytes, 4);
  const auto use = [&](TokenId first, const std::string& session) {
    const Tokens tokens = counting(33, first);
    auto sequence = cache.open(tokens, 64);
    REQUIRE(sequence);
    compute(cache, *sequence, tokens);
    const std::size_t cached = sequence->cached;
    cache.close(std::move(*sequence), tokens, session);
    return cached;
  };
  CHECK(use(0, "a") == 0);
  CHECK(use(1000, "b") == 0);
  CHECK(use(0, "a") == 32);    // now b is the older one
  CHECK(use(2000, "c") == 0);  // throws b out
  CHECK(use(0, "a") == 32);
  CHECK(use(1000, "b") == 0);
  CHECK(cache.stats().evicted >= 3);
  CHECK(cache.stats().pages_peak <= 4);
}

TEST_CASE("a session that is gone frees its pages, but not those of others", "[kv]") {
  KvCache cache(page_bytes, 16);
  const auto talk = [&](const Tokens& tokens, const std::string& session) {
    auto sequence = cache.open(tokens, tokens.size());
    REQUIRE(sequence);
    compute(cache, *sequence, tokens);
    cache.close(std::move(*sequence), tokens, session);
  };
  Tokens a = counting(64);
  Tokens b = counting(64);
  for (TokenId i = 0; i < 40; ++i) a.push_back(1000 + i);
  for (TokenId i = 0; i < 40; ++i) b.push_back(2000 + i);
  talk(a, "a");
  CHECK(cache.stats().pages_used == 4);
  cache.forget("a");
  CHECK(cache.stats().pages_used == 0);
  talk(a, "a");
  talk(b, "b");
  CHECK(cache.stats().pages_used == 6);
  cache.forget("a");
  CHECK(cache.stats().pages_used == 4);  // the shared beginning and b's own
  cache.forget("nobody");
  cache.forget("b");
  CHECK(cache.stats().pages_used == 2);  // what two have shared is kept for a third
  CHECK(cache.stats().sessions == 0);
}

TEST_CASE("sequences that run side by side meet in the same pages", "[kv]") {
  KvCache cache(page_bytes, 16);
  const Tokens tokens = counting(80);
  auto first = cache.open(tokens, 80);
  auto second = cache.open(tokens, 80);
  auto third = cache.open(tokens, 80);
  compute(cache, *first, tokens);
  cache.adopt(*second, tokens);
  CHECK(second->length == 64);
  CHECK(second->cached == 64);
  compute(cache, *second, tokens);
  compute(cache, *third,
          tokens);  // computed all of it again: its pages are dropped for the known ones
  CHECK(third->pages[0] == first->pages[0]);
  CHECK(third->pages[2] != first->pages[2]);
  CHECK(cache.stats().pages_used == 5);
  for (auto* each : {&*first, &*second, &*third}) cache.close(std::move(*each), tokens, "");
  CHECK(cache.stats().pages_used == 3);
  CHECK(cache.stats().pages_pinned == 0);
}

TEST_CASE("random sessions never lose or mix up a page", "[kv]") {
  KvCache cache(page_bytes, 40);
  std::vector<Tokens> talks(12);
  std::uint64_t state = 7;
  const auto random = [&state](std::size_t below) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state >> 33U) % below;
  };
  for (int round = 0; round < 2000; ++round) {
    const std::size_t who = random(talks.size());
    const std::string name = "s" + std::to_string(who);
    if (talks[who].size() > 250 || random(20) == 0) {
      cache.forget(name);
      talks[who].clear();
    }
    if (talks[who].empty()) talks[who] = counting(random(60) + 1, static_cast<TokenId>(random(2)));
    for (std::size_t i = random(30); i > 0; --i)
      talks[who].push_back(static_cast<TokenId>(random(4)));
    auto sequence = cache.open(talks[who], talks[who].size() + random(40));
    REQUIRE(sequence);
    REQUIRE(contents(*sequence) ==
            Tokens(talks[who].begin(),
                   talks[who].begin() + static_cast<std::ptrdiff_t>(sequence->length)));
    compute(cache, *sequence, talks[who]);
    REQUIRE(contents(*sequence) == talks[who]);
    cache.close(std::move(*sequence), talks[who], name);
    REQUIRE(cache.stats().pages_used <= 40);
    REQUIRE(cache.stats().pages_pinned == 0);
  }
}

}  // namespace ambit::inference
