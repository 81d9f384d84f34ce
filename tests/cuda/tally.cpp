// Says at the end of a run what the shim has covered.

#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include "cuda/shim.h"

#include <catch2/catch.hpp>

#include <cstdio>

namespace ambit::inference::cuda {
namespace {

struct Tally : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testRunEnded(const Catch::TestRunStats& stats) override {
    const ShimTally tally = shim_tally_of_all();
    if (tally.launches > 0)
      std::printf(
          "shim: %zu kernels covered, %llu launches of %llu blocks, %llu launches in orders drawn "
          "by chance, %llu values equal to the last bit, %zu assertions failed\n",
          tally.kernels.size(), static_cast<unsigned long long>(tally.launches),
          static_cast<unsigned long long>(tally.blocks),
          static_cast<unsigned long long>(tally.permuted_launches),
          static_cast<unsigned long long>(tally.equal_values), stats.totals.assertions.failed);
  }
};
CATCH_REGISTER_LISTENER(Tally)

}  // namespace
}  // namespace ambit::inference::cuda
