#include "a2a/rates.h"

#include <algorithm>
#include <chrono>

namespace ambit::a2a {

bool CallerRates::take(const std::string& caller, Instant now) {
  if (limit_.per_second <= 0) return true;
  auto at = buckets_.find(caller);
  if (at == buckets_.end()) {
    if (buckets_.size() >= limit_.callers_max) {
      // Whoever asked longest ago has a full bucket soonest.
      buckets_.erase(std::min_element(
          buckets_.begin(), buckets_.end(),
          [](const auto& a, const auto& b) { return a.second.filled < b.second.filled; }));
    }
    at = buckets_.emplace(caller, Bucket{limit_.burst, now}).first;
  }
  Bucket& bucket = at->second;
  const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
  bucket.left = std::min(limit_.burst, bucket.left + seconds * limit_.per_second);
  bucket.filled = now;
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}

}  // namespace ambit::a2a
