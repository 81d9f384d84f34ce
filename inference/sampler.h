#pragma once

// From logits to a token. Randomness is a function of (seed, position, token id), so a session
// draws the same whoever shares the batch, and one changed logit moves no other token's luck.
// Order: bias, penalties, mask, temperature, top-k, top-p, min-p, draw. Temperature 0: the
// likeliest token, ties to the lowest id.

#include "agents/ports.h"
#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ambit::inference {

// Which tokens are possible: one bit each. An empty mask allows all.
class TokenMask {
 public:
  TokenMask() = default;
  explicit TokenMask(std::size_t size) : words_((size + 63) / 64) {}
  void allow(TokenId token) {
    words_[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1}
                                                    << (static_cast<std::size_t>(token) % 64);
  }
  [[nodiscard]] bool allows(TokenId token) const {
    return words_.empty() || ((words_[static_cast<std::size_t>(token) / 64] >>
                               (static_cast<std::size_t>(token) % 64)) &
                              1U) != 0;
  }
  [[nodiscard]] std::span<const std::uint64_t> words() const { return words_; }
  [[nodiscard]] std::size_t count() const;
  // The only token allowed, or -1.
  [[nodiscard]] TokenId single() const;
  [[nodiscard]] std::size_t bytes() const { return words_.size() * sizeof(std::uint64_t); }

 private:
  std::vector<std::uint64_t> words_;
};

class Sampler {
 public:
  static constexpr std::size_t penalty_window = 64;  // tokens that the repeat penalty looks back

  // `past`: all tokens so far, prompt included; the new token's position is past.size().
  // -1 when the mask allows nothing.
  TokenId sample(std::span<const float> logits, const TokenMask* mask,
                 std::span<const TokenId> past, const agents::Sampling& how);

 private:
  struct Candidate {
    float logit;
    TokenId token;
  };
  void collect(std::span<const float> logits, const TokenMask* mask);
  void bias(const agents::Sampling& how);
  void penalize(std::span<const TokenId> past, const agents::Sampling& how);
  void filter(const agents::Sampling& how);

  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
  std::vector<TokenId> recent_;
};

struct Likelihood {
  TokenId token = 0;
  double logprob = 0;
};
// Of `token` first, then of the `count` likeliest tokens, the likeliest first, ties to the lowest
// id.
std::vector<Likelihood> likelihoods(std::span<const float> logits, TokenId token,
                                    std::size_t count);

// In (0, 1), from the mixed bits of its three keys.
double uniform(std::uint64_t seed, std::uint64_t position, std::uint64_t token);

}  // namespace ambit::inference
