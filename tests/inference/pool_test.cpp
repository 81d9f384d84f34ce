// The pool: every part of the work is done once, whoever gets a processor, and no two threads that
// work at the same time have the same number.

#include "inference/cpu/pool.h"

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <vector>

namespace ambit::inference {
namespace {

TEST_CASE("every part of a pool's work is done once, by any number of threads", "[pool]") {
  for (const unsigned threads : {1U, 2U, 3U, 9U}) {
    Pool pool(threads);
    for (std::size_t round = 0; round < 200; ++round) {
      const std::size_t total = round % 41;
      std::vector<std::atomic<int>> done(total);
      pool.each(total, 1 + round % 5, [&](std::size_t first, std::size_t last, std::size_t) {
        for (std::size_t i = first; i < last; ++i) done[i].fetch_add(1);
      });
      for (const std::atomic<int>& count : done) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("two threads that work at the same time have different numbers", "[pool]") {
  constexpr std::size_t threads = 5;
  Pool pool(threads);
  std::array<std::atomic<int>, threads> inside{};
  std::atomic<int> clashes = 0;
  for (int round = 0; round < 100; ++round) {
    pool.each(64, 1, [&](std::size_t, std::size_t, std::size_t worker) {
      if (inside.at(worker).fetch_add(1) != 0) clashes.fetch_add(1);
      inside.at(worker).fetch_sub(1);
    });
  }
  REQUIRE(clashes == 0);
}

TEST_CASE("a pool that was never used, or has nothing to do, ends", "[pool]") {
  Pool idle(4);
  Pool pool(4);
  pool.each(0, 1, [](std::size_t, std::size_t, std::size_t) { FAIL("there is no part"); });
}

}  // namespace
}  // namespace ambit::inference
