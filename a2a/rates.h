#pragma once

// CallerRates: how often one caller may ask: so many at once, and so many a second after that.
// Pure: the time is told. What it remembers is bounded; a caller that was forgotten begins afresh.

#include "async/loop.h"

#include <map>
#include <string>

namespace ambit::a2a {

struct RateLimit {
  double per_second = 0;  // 0: as often as they like
  double burst = 100;
  std::size_t callers_max = 10'000;
};

class CallerRates {
 public:
  explicit CallerRates(RateLimit limit) : limit_(limit) {}
  // False: too often.
  bool take(const std::string& caller, Instant now);

 private:
  struct Bucket {
    double left = 0;
    Instant filled{};
  };
  RateLimit limit_;
  std::map<std::string, Bucket> buckets_;
};

}  // namespace ambit::a2a
