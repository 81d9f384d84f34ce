// Choosing tokens on the device: masks, ties, chance by (seed, position, token).

#include "inference/cuda/choose.h"

#include "support.h"

#include <catch2/catch.hpp>

#include <map>

namespace ambit::inference::cuda {

namespace {

constexpr std::uint32_t vocabulary = 500;
constexpr std::uint32_t stride = 512;

std::vector<std::int32_t> choose(const std::vector<float>& logits, const std::vector<Choice>& how,
                                 const std::vector<std::uint32_t>& masks, std::uint64_t seed = 0) {
  const auto device = test_device(schedule(seed));
  const Array<float> rows(*device, logits);
  const Array<Choice> choices(*device, how);
  const Array<std::uint32_t> words(*device, masks);
  const Array<std::int32_t> chosen(*device, std::vector<std::int32_t>(how.size(), -7));
  device->run(ChooseJob{rows.at(), choices.at(), words.at(), chosen.at(), vocabulary, 16, stride,
                        static_cast<std::uint32_t>(how.size())});
  INFO(device->failure());
  REQUIRE(device->failure().empty());
  return chosen.read();
}

}  // namespace

TEST_CASE("Philox gives the numbers that its authors published", "[choose]") {
  CHECK(philox(0, 0, 0) == 0xE169C58D6627E8D5U);
}

TEST_CASE("the likeliest token is chosen, of equals the one with the lowest id", "[choose]") {
  auto logits = noise(3 * stride, 4);
  logits[77] = logits[300] = logits[499] = 5.0F;
  logits[500] = 9.0F;  // beyond the vocabulary: padding
  logits[stride + 12] = logits[stride + 13] = 2.0F;
  std::vector<std::uint32_t> masks(2 * 16, 0);
  masks[13 / 32] |= 1U << 13U;
  masks[400 / 32] |= 1U << (400U % 32U);
  const std::vector<Choice> how = {{1, 1, 0.0, -1, 1}, {1, 1, 0.0, 0, 1}, {1, 1, 0.0, 1, 1}};
  for (const std::uint64_t seed : {0U, 4U, 5U})
    CHECK(choose(logits, how, masks, seed) == std::vector<std::int32_t>{77, 13, -1});
}

TEST_CASE("a row that nobody asks for is left alone", "[choose]") {
  CHECK(choose(noise(stride, 4), {{1, 1, 0.0, -1, 0}}, {0}) == std::vector<std::int32_t>{-7});
}

TEST_CASE("chance is the same whoever shares the batch, and another at another position",
          "[choose]") {
  const auto logits = noise(stride, 6, 2.0F);
  std::vector<float> twice = noise(stride, 7);
  twice.insert(twice.end(), logits.begin(), logits.end());
  int changed = 0;
  for (std::uint64_t position = 0; position < 12; ++position) {
    const auto alone = choose(logits, {{9, position, 0.8, -1, 1}}, {0});
    const auto second =
        choose(twice, {{3, 4, 1.0, -1, 1}, {9, position, 0.8, -1, 1}}, {0}, position + 1);
    CHECK(second[1] == alone[0]);
    changed += choose(logits, {{9, position + 1, 0.8, -1, 1}}, {0}) == alone ? 0 : 1;
    // A mask that allows what was chosen changes nothing: no other token's luck has moved.
    std::vector<std::uint32_t> mask(16, 0x55555555U);
    mask[static_cast<std::size_t>(alone[0]) / 32] |= 1U << (alone[0] % 32);
    CHECK(choose(logits, {{9, position, 0.8, 0, 1}}, mask) == alone);
  }
  CHECK(changed > 6);
}

TEST_CASE("tokens are drawn as often as their logits say", "[choose]") {
  // Three tokens with chances of 1/2, 1/3 and 1/6.
  std::vector<float> row(stride, -1e9F);
  row[3] = std::log(3.0F);
  row[100] = std::log(2.0F);
  row[400] = 0.0F;
  constexpr std::size_t together = 60;
  std::vector<float> logits;
  for (std::size_t i = 0; i < together; ++i) logits.insert(logits.end(), row.begin(), row.end());
  std::map<std::int32_t, int> counts;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    std::vector<Choice> how;
    for (std::size_t i = 0; i < together; ++i) how.push_back({seed, i, 1.0, -1, 1});
    for (const std::int32_t token : choose(logits, how, {0})) ++counts[token];
  }
  CHECK(counts.size() == 3);
  // 600 draws: within four standard deviations.
  CHECK(std::abs(counts[3] - 300) < 49);
  CHECK(std::abs(counts[100] - 200) < 47);
  CHECK(std::abs(counts[400] - 100) < 37);
}

}  // namespace ambit::inference::cuda
