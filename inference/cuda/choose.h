#pragma once

// The next token of each row, on the device: the grammar's mask, the temperature, and chance that
// is a function of (seed, position, token id) alone, so a session draws the same whoever shares the
// batch.

#include "inference/cuda/rows.h"

namespace ambit::inference::cuda {

// Philox with four words and ten rounds: the counter is (position, token), the key is the seed.
// Gives 64 bits.
GPU_FUNCTION std::uint64_t philox(std::uint64_t seed, std::uint64_t position, std::uint32_t token) {
  std::uint32_t x[4] = {static_cast<std::uint32_t>(position),
                        static_cast<std::uint32_t>(position >> 32U), token, 0};
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * x[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * x[2];
    const std::uint32_t next[4] = {
        static_cast<std::uint32_t>(b >> 32U) ^ x[1] ^ key0, static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ x[3] ^ key1, static_cast<std::uint32_t>(a)};
    for (int i = 0; i < 4; ++i) x[i] = next[i];
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return std::uint64_t{x[1]} << 32U | x[0];
}

struct Best {
  double score;
  std::int32_t token;  // -1: none
};
// The higher score, ties to the lowest id: any order of comparing gives the same.
GPU_FUNCTION Best better(const Best& a, const Best& b) {
  if (a.token < 0) return b;
  if (b.token < 0) return a;
  if (a.score != b.score) return a.score > b.score ? a : b;
  return a.token < b.token ? a : b;
}
GPU_FUNCTION Best exchange(const Best& best, unsigned with) {
  union {
    double value;
    std::uint32_t words[2];
  } bits{best.score};
  bits.words[0] = exchange_bits(bits.words[0], with);
  bits.words[1] = exchange_bits(bits.words[1], with);
  return {bits.value, exchange(best.token, with)};
}

inline constexpr unsigned choose_threads = 256;
inline constexpr std::size_t choose_bytes = choose_threads / warp_lanes * sizeof(Best);

// Gumbel's trick: the largest of logit / T - log(-log u) is a draw from the softmax.
GPU_KERNEL(choose_threads)
choose_tokens(GPU_JOB(ChooseJob) job) {
  await_inputs();
  const unsigned row = block_x();
  const Choice how = job.choices[row];
  if (how.wanted == 0) return;
  const float* logits = job.logits + std::size_t{row} * job.stride;
  const std::uint32_t* mask =
      how.mask < 0 ? nullptr : job.masks + static_cast<std::size_t>(how.mask) * job.mask_words;
  Best best{0.0, -1};
  for (unsigned token = thread(); token < job.vocabulary; token += choose_threads) {
    if (mask != nullptr && (mask[token / 32] >> token % 32 & 1U) == 0) continue;
    auto score = static_cast<double>(logits[token]);
    if (how.temperature > 0.0) {
      const std::uint64_t bits = philox(how.seed, how.position, token);
      const double u = (static_cast<double>(bits >> 11U) + 0.5) * 0x1p-53;
      score = score / how.temperature - logarithm(-logarithm(u));
    }
    best = better(best, {score, static_cast<std::int32_t>(token)});
  }
  for (unsigned with = warp_lanes / 2; with > 0; with /= 2)
    best = better(best, exchange(best, with));
  auto* parts = shared_at<Best>(0);
  if (lane() == 0) parts[warp()] = best;
  block_barrier();
  if (thread() != 0) return;
  for (unsigned w = 1; w < choose_threads / warp_lanes; ++w) best = better(best, parts[w]);
  job.chosen[row] = best.token;
}

}  // namespace ambit::inference::cuda
