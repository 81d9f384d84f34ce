#include "inference/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ambit::inference {

std::size_t TokenMask::count() const {
  std::size_t count = 0;
  for (const std::uint64_t word : words_) count += static_cast<std::size_t>(std::popcount(word));
  return count;
}

TokenId TokenMask::single() const {
  TokenId only = -1;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    if (words_[i] == 0) continue;
    if (only >= 0 || !std::has_single_bit(words_[i])) return -1;
    only = static_cast<TokenId>(i * 64 + static_cast<std::size_t>(std::countr_zero(words_[i])));
  }
  return only;
}

namespace {

// The finalizer of SplitMix64: every input bit changes half of the output bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

}  // namespace

double uniform(std::uint64_t seed, std::uint64_t position, std::uint64_t token) {
  const std::uint64_t bits = mix(mix(mix(seed) ^ position) ^ token);
  return (static_cast<double>(bits >> 11U) + 0.5) * 0x1p-53;
}

TokenId Sampler::sample(std::span<const float> logits, const TokenMask* mask,
                        std::span<const TokenId> past, const agents::Sampling& how) {
  collect(logits, mask);
  if (candidates_.empty()) return -1;
  bias(how);
  penalize(past, how);
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  if (!(how.temperature > 0))
    return std::min_element(candidates_.begin(), candidates_.end(), better)->token;
  if (how.top_k > 0 || how.top_p < 1.0 || how.min_p > 0) {
    std::sort(candidates_.begin(), candidates_.end(), better);
    filter(how);
  }
  // Gumbel's trick: the maximum of logit / T - log(-log u) is a draw from the softmax.
  TokenId best = -1;
  double most = 0;
  for (const Candidate& candidate : candidates_) {
    const double u = uniform(how.seed, past.size(), static_cast<std::uint64_t>(candidate.token));
    const double score =
        static_cast<double>(candidate.logit) / how.temperature - std::log(-std::log(u));
    if (best < 0 || score > most || (score == most && candidate.token < best)) {
      best = candidate.token;
      most = score;
    }
  }
  return best;
}

void Sampler::collect(std::span<const float> logits, const TokenMask* mask) {
  candidates_.clear();
  if (mask == nullptr || mask->words().empty()) {
    for (std::size_t i = 0; i < logits.size(); ++i)
      candidates_.push_back({logits[i], static_cast<TokenId>(i)});
    return;
  }
  for (std::size_t w = 0; w < mask->words().size(); ++w) {
    for (std::uint64_t word = mask->words()[w]; word != 0; word &= word - 1) {
      const std::size_t i = w * 64 + static_cast<std::size_t>(std::countr_zero(word));
      if (i < logits.size()) candidates_.push_back({logits[i], static_cast<TokenId>(i)});
    }
  }
}

// Candidates are in the order of their ids here.
void Sampler::bias(const agents::Sampling& how) {
  for (const auto& [token, added] : how.logit_bias) {
    const auto at =
        std::lower_bound(candidates_.begin(), candidates_.end(), token,
                         [](const Candidate& each, TokenId id) { return each.token < id; });
    if (at != candidates_.end() && at->token == token) at->logit += static_cast<float>(added);
  }
}

void Sampler::penalize(std::span<const TokenId> past, const agents::Sampling& how) {
  const bool repeats = how.repeat_penalty > 0 && how.repeat_penalty != 1.0;
  if (!repeats && how.presence_penalty == 0 && how.frequency_penalty == 0) return;
  const auto window = past.last(std::min(past.size(), penalty_window));
  recent_.assign(window.begin(), window.end());
  std::sort(recent_.begin(), recent_.end());
  const auto factor = static_cast<float>(how.repeat_penalty);
  for (Candidate& candidate : candidates_) {
    const auto [first, last] = std::equal_range(recent_.begin(), recent_.end(), candidate.token);
    if (first == last) continue;
    if (repeats)
      candidate.logit = candidate.logit > 0 ? candidate.logit / factor : candidate.logit * factor;
    const auto times = static_cast<double>(last - first);
    candidate.logit -= static_cast<float>(how.presence_penalty + times * how.frequency_penalty);
  }
}

std::vector<Likelihood> likelihoods(std::span<const float> logits, TokenId token,
                                    std::size_t count) {
  const auto most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  const double total = most + std::log(sum);
  const auto of = [&](TokenId id) {
    return Likelihood{id, static_cast<double>(logits[static_cast<std::size_t>(id)]) - total};
  };
  std::vector<TokenId> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(count, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](TokenId a, TokenId b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  std::vector<Likelihood> found = {of(token)};
  for (auto at = order.begin(); at != end; ++at) found.push_back(of(*at));
  return found;
}

// Candidates are sorted, the likeliest first; keeps a beginning of them, at least one.
void Sampler::filter(const agents::Sampling& how) {
  if (how.top_k > 0 && candidates_.size() > static_cast<std::size_t>(how.top_k))
    candidates_.resize(static_cast<std::size_t>(how.top_k));
  weights_.clear();
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    weights_.push_back(
        std::exp(static_cast<double>(candidate.logit - candidates_[0].logit) / how.temperature));
    total += weights_.back();
  }
  std::size_t keep = candidates_.size();
  if (how.top_p < 1.0) {
    double sum = 0;
    for (keep = 0; keep < weights_.size() && (keep == 0 || sum < how.top_p * total); ++keep)
      sum += weights_[keep];
  }
  if (how.min_p > 0)
    while (keep > 1 && weights_[keep - 1] < how.min_p * weights_[0]) --keep;
  candidates_.resize(keep);
}

}  // namespace ambit::inference
