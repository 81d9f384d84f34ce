#include "inference/sampler.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <map>

namespace ambit::inference {

namespace {

TokenId draw(std::vector<float> logits, const agents::Sampling& how, std::size_t position = 3,
             const TokenMask* mask = nullptr) {
  const std::vector<TokenId> past(position, 0);
  return Sampler().sample(logits, mask, past, how);
}

std::map<TokenId, int> draws(const std::vector<float>& logits, agents::Sampling how, int count) {
  std::map<TokenId, int> seen;
  for (int i = 0; i < count; ++i) {
    how.seed = static_cast<std::uint64_t>(i);
    ++seen[draw(logits, how)];
  }
  return seen;
}

}  // namespace

TEST_CASE("greedy takes the likeliest, ties go to the lowest id", "[sampler]") {
  CHECK(draw({1, 3, 2}, {}) == 1);
  CHECK(draw({1, 3, 3, 3}, {}) == 1);
  TokenMask mask(4);
  mask.allow(2);
  mask.allow(3);
  CHECK(draw({9, 9, 1, 1}, {}, 3, &mask) == 2);
  const TokenMask none(1);
  CHECK(draw({9}, {}, 3, &none) == -1);
}

TEST_CASE("a draw depends on seed, position and logits alone", "[sampler]") {
  agents::Sampling how;
  how.temperature = 1.0;
  how.seed = 42;
  const std::vector<float> logits(100, 0.0F);
  CHECK(draw(logits, how, 7) == draw(logits, how, 7));
  std::map<TokenId, int> by_position;
  for (std::size_t position = 1; position < 60; ++position)
    ++by_position[draw(logits, how, position)];
  CHECK(by_position.size() > 30);
}

TEST_CASE("draws follow the probabilities", "[sampler]") {
  agents::Sampling how;
  how.temperature = 1.0;
  const auto seen = draws({std::log(1.0F), std::log(2.0F), std::log(5.0F)}, how, 8000);
  CHECK(seen.at(0) == Approx(1000).margin(120));
  CHECK(seen.at(1) == Approx(2000).margin(160));
  CHECK(seen.at(2) == Approx(5000).margin(200));
  how.temperature = 0.5;  // squares the odds: 1 : 4 : 25
  CHECK(draws({std::log(1.0F), std::log(2.0F), std::log(5.0F)}, how, 6000).at(2) ==
        Approx(5000).margin(200));
}

TEST_CASE("top-k, top-p and min-p keep the likeliest", "[sampler]") {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.15F),
                                     std::log(0.05F)};
  agents::Sampling how;
  how.temperature = 1.0;
  how.top_k = 2;
  CHECK(draws(logits, how, 400).size() == 2);
  how = {};
  how.temperature = 1.0;
  how.top_p = 0.85;
  CHECK(draws(logits, how, 400).size() == 3);
  how.top_p = 0.01;
  CHECK(draws(logits, how, 50).size() == 1);
  how = {};
  how.temperature = 1.0;
  how.min_p = 0.5;
  CHECK(draws(logits, how, 400).size() == 2);
}

TEST_CASE("the repeat penalty weakens what was said lately", "[sampler]") {
  agents::Sampling how;
  how.repeat_penalty = 1.5;
  const std::vector<TokenId> past = {1};
  const std::vector<float> logits = {1.0F, 1.2F, -1.0F};
  CHECK(Sampler().sample(logits, nullptr, past, how) == 0);
  const std::vector<TokenId> long_ago(200, 0);
  std::vector<TokenId> faded = {1};
  faded.insert(faded.end(), long_ago.begin(), long_ago.end());
  CHECK(Sampler().sample(logits, nullptr, faded, how) == 1);
}

TEST_CASE("presence and frequency penalties count what was said lately", "[sampler]") {
  const std::vector<TokenId> past = {0, 0, 0, 1};
  const std::vector<float> logits = {2.0F, 1.9F, 1.0F};
  agents::Sampling how;
  how.presence_penalty = 0.5;
  CHECK(Sampler().sample(logits, nullptr, past, how) == 0);
  how.presence_penalty = 0;
  how.frequency_penalty = 0.2;
  CHECK(Sampler().sample(logits, nullptr, past, how) == 1);
  how.frequency_penalty = 1.0;
  CHECK(Sampler().sample(logits, nullptr, past, how) == 2);
}

TEST_CASE("a bias moves single logits, and tokens that are not there are passed over",
          "[sampler]") {
  const std::vector<float> logits = {2.0F, 1.0F, 0.0F};
  agents::Sampling how;
  how.logit_bias = {{2, 5.0}, {0, -100.0}, {77, 100.0}, {-3, 100.0}};
  CHECK(Sampler().sample(logits, nullptr, {}, how) == 2);
  TokenMask mask(3);
  mask.allow(0);
  mask.allow(1);
  CHECK(Sampler().sample(logits, &mask, {}, how) == 1);
}

TEST_CASE("likelihoods sum to one, the likeliest first, ties to the lowest id", "[sampler]") {
  const std::vector<float> logits = {1.0F, 3.0F, 3.0F, -2.0F};
  const auto found = likelihoods(logits, 3, 4);
  REQUIRE(found.size() == 5);
  CHECK(found[0].token == 3);
  CHECK(found[1].token == 1);
  CHECK(found[2].token == 2);
  CHECK(found[4].token == 3);
  double sum = 0;
  for (std::size_t i = 1; i < found.size(); ++i) sum += std::exp(found[i].logprob);
  CHECK(sum == Approx(1.0));
  CHECK(found[1].logprob - found[0].logprob == Approx(5.0));
  CHECK(likelihoods(logits, 0, 99).size() == 5);
}

TEST_CASE("a mask knows how many and which single token it allows", "[sampler]") {
  TokenMask mask(200);
  CHECK(mask.single() == -1);
  mask.allow(131);
  CHECK(mask.single() == 131);
  CHECK(mask.count() == 1);
  CHECK(mask.allows(131));
  CHECK_FALSE(mask.allows(130));
  mask.allow(7);
  CHECK(mask.single() == -1);
  CHECK(TokenMask().allows(5));
}

}  // namespace ambit::inference
