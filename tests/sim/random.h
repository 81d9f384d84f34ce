#pragma once

// Random: the one source of chance in a simulation. The same seed gives the same numbers on every
// machine (std's distributions do not promise that). fork() gives an independent stream, so that
// one part's use of chance does not shift another's.

#include "async/check.h"

#include <cstdint>

namespace ambit::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  // SplitMix64 (public domain, by Sebastiano Vigna).
  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }
  // From 0 to count - 1. The bias of the remainder does not matter here.
  std::uint64_t below(std::uint64_t count) {
    INVARIANT(count > 0);
    return next() % count;
  }
  // Both ends are possible.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    INVARIANT(low <= high);
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  bool chance(double probability) {
    return static_cast<double>(next() >> 11U) < probability * 9007199254740992.0;  // 2^53
  }
  Random fork() { return Random(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace ambit::sim
