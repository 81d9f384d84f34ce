// The shim's warpgroups: products of 64 outputs against plain sums, and the mistakes that a GPU
// would not forgive, each of which must be reported.

#include "inference/cuda/warpgroup.h"

#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

namespace {

constexpr unsigned group_threads = warpgroup_warps * warp_lanes;
constexpr std::size_t tiles_at = 64;  // after the barriers

// 64 outputs by 32 inputs, 16 columns; bfloat16.
struct Example {
  std::vector<float> weights = noise(64 * 32, 1);
  std::vector<float> inputs = noise(16 * 32, 2);
  std::vector<std::uint16_t> columns = std::vector<std::uint16_t>(16 * 32);  // in tiles

  Example() {
    for (float& w : weights) w = rounded(w);
    for (std::size_t column = 0; column < 16; ++column) {
      for (std::size_t k = 0; k < 32; ++k) {
        float& x = inputs[column * 32 + k];
        x = rounded(x);
        columns[((column / 8 * 4 + k / 8) * 8 + column % 8) * 8 + k % 8] =
            inference::float_to_bf16(x);
      }
    }
  }
  static float rounded(float value) {
    return inference::bf16_to_float(inference::float_to_bf16(value));
  }
  // What this thread gives to the product of a half of the inputs.
  void operands(unsigned half, std::uint32_t (&a)[4]) const {
    const auto at = [&](unsigned output, unsigned k) {
      return inference::float_to_bf16(weights[output * 32 + half * 16 + k]);
    };
    for (unsigned r = 0; r < 4; ++r) {
      const unsigned output = warp() * 16 + lane() / 4 + r % 2 * 8;
      const unsigned k = lane() % 4 * 2 + r / 2 * 8;
      a[r] = two(at(output, k), at(output, k + 1));
    }
  }
};

void bring(const Example& example) {
  auto* barrier = shared_at<Barrier>(0);
  if (thread() == 0) {
    barrier_init(barrier, 1);
    barriers_ready();
  }
  block_barrier();
  if (thread() > 0) return;
  barrier_expect(barrier, 2 * tile_bytes);
  bulk_copy(shared_bytes() + tiles_at, example.columns.data(), 2 * tile_bytes, barrier);
}

constexpr std::size_t enough = tiles_at + 2 * tile_bytes;

// One product whose end is left to `after`.
template <class After>
std::string fault_of(const After& after, std::uint64_t seed = 0) {
  const Example example;
  return run_block(group_threads, enough, seed, [&] {
    bring(example);
    barrier_wait(shared_at<Barrier>(0), 0);
    std::uint32_t a[4];
    example.operands(0, a);
    float sums[2][4] = {};
    tile_fence();
    multiply_tile<true>(sums, a, shared_bytes() + tiles_at, true);
    after(sums, a, example);
  });
}

}  // namespace

TEST_CASE("a warpgroup's product is the sum of the products, in any order of copies",
          "[warpgroup]") {
  const Example example;
  for (const std::uint64_t seed : {0U, 1U, 2U, 3U, 4U}) {
    std::vector<float> made(64 * 16);
    const std::string fault = run_block(group_threads, enough, seed, [&] {
      bring(example);
      barrier_wait(shared_at<Barrier>(0), 0);
      std::uint32_t a[2][4];
      float sums[2][4];  // nothing yet: the first product does not add
      tile_fence();
      for (unsigned half = 0; half < 2; ++half) {
        example.operands(half, a[half]);
        multiply_tile<true>(sums, a[half], shared_bytes() + tiles_at + half * 2 * core_bytes,
                            half > 0);
      }
      tile_commit();
      tile_wait(sums);
      for (unsigned n = 0; n < 2; ++n)
        for (unsigned c = 0; c < 4; ++c)
          made[(n * 8 + lane() % 4 * 2 + c % 2) * 64 + warp() * 16 + lane() / 4 + c / 2 * 8] =
              sums[n][c];
    });
    CHECK(fault.empty());
    for (std::size_t column = 0; column < 16; ++column) {
      for (std::size_t output = 0; output < 64; ++output) {
        float sum = 0;
        for (std::size_t k = 0; k < 32; ++k)
          sum = std::fma(example.weights[output * 32 + k], example.inputs[column * 32 + k], sum);
        CHECK(made[column * 64 + output] == sum);
      }
    }
  }
}

TEST_CASE("a product that is waited for rightly is no fault", "[warpgroup]") {
  CHECK(fault_of([](auto& sums, auto&, const Example&) {
          tile_commit();
          tile_wait(sums);
          sums[0][0] = 1;
        }).empty());
}

TEST_CASE("a product that reads a tile before its copy is there is reported", "[warpgroup]") {
  const Example example;
  CHECK(run_block(group_threads, enough, 0, [&] {
          bring(example);
          block_barrier();
          const std::uint32_t a[4] = {};
          float sums[2][4] = {};
          tile_fence();
          multiply_tile<true>(sums, a, shared_bytes() + tiles_at, true);
          tile_commit();
          tile_wait(sums);
        }) == "a product reads a tile whose copy is under way");
}

TEST_CASE("a tile that is filled again while a product still reads it is reported", "[warpgroup]") {
  CHECK(fault_of([](auto& sums, auto&, const Example& example) {
          auto* barrier = shared_at<Barrier>(0);
          if (thread() == 0) {
            barrier_expect(barrier, 2 * tile_bytes);
            bulk_copy(shared_bytes() + tiles_at, example.columns.data(), 2 * tile_bytes, barrier);
          }
          tile_commit();
          tile_wait(sums);
        }) == "a tile is filled while a product may still read it");
}

TEST_CASE("sums and weights that are touched before the wait are reported", "[warpgroup]") {
  CHECK(fault_of([](auto& sums, auto&, const Example&) {
          if (thread() == 77) sums[1][2] = 1;
          tile_commit();
          tile_wait(sums);
        }) == "a product's sums are changed before it is waited for");
  CHECK(fault_of([](auto& sums, auto& a, const Example&) {
          if (thread() == 5) a[3] ^= 1U;
          tile_commit();
          tile_wait(sums);
        }) == "a product's weights are changed before it is waited for");
  bool is_number = true;
  fault_of([&](auto& sums, auto&, const Example&) {
    if (thread() == 9) is_number = sums[0][0] == sums[0][0];
    tile_commit();
    tile_wait(sums);
  });
  CHECK_FALSE(is_number);  // whoever reads too early sees nothing
}

TEST_CASE("a fence, a commit and a wait are each missed", "[warpgroup]") {
  CHECK(fault_of([](auto& sums, auto&, const Example&) { tile_wait(sums); }) ==
        "products are waited for that nobody has committed");
  CHECK(fault_of([](auto&, auto&, const Example&) { tile_commit(); }) ==
        "the block ended before its copies and products");
  CHECK(fault_of([](auto& sums, auto& a, const Example&) {
          tile_commit();
          tile_wait(sums);
          multiply_tile<true>(sums, a, shared_bytes() + tiles_at, true);
          tile_commit();
          tile_wait(sums);
        }) == "a product without a fence before it");
}

TEST_CASE("tiles outside shared memory or off their border are reported", "[warpgroup]") {
  const auto at = [](std::ptrdiff_t offset) {
    return run_block(group_threads, enough, 0, [&] {
      const std::uint32_t a[4] = {};
      float sums[2][4] = {};
      tile_fence();
      multiply_tile<true>(sums, a, shared_bytes() + offset, true);
      tile_commit();
      tile_wait(sums);
    });
  };
  CHECK(at(static_cast<std::ptrdiff_t>(enough)) == "a product's tile is outside shared memory");
  CHECK(at(512) == "a product's tile is outside shared memory");
  CHECK(at(-16) == "a product's tile is outside shared memory");
  CHECK(at(72) == "a product's tile is not on a border of 16 bytes");
}

TEST_CASE("a warpgroup of which a thread is missing or asks for something else is reported",
          "[warpgroup]") {
  CHECK(run_block(group_threads, enough, 0, [] {
          const std::uint32_t a[4] = {};
          float sums[2][4] = {};
          tile_fence();
          if (thread() != 40) multiply_tile<true>(sums, a, shared_bytes() + tiles_at, true);
        }) == "threads wait for others that never come: 127 at a warpgroup's product");
  CHECK(run_block(group_threads, enough, 0, [] {
          const std::uint32_t a[4] = {};
          float sums[2][4] = {};
          tile_fence();
          multiply_tile<true>(sums, a, shared_bytes() + tiles_at, thread() != 3);
          tile_commit();
          tile_wait(sums);
        }) == "threads of a warpgroup ask for different products");
}

TEST_CASE("barriers report who has not made them, who comes too often, and who never comes",
          "[warpgroup]") {
  CHECK(run_block(32, enough, 0, [] { barrier_arrive(shared_at<Barrier>(0)); }) ==
        "a barrier is used that nobody has made");
  CHECK(run_block(32, enough, 0, [] {
          auto* barrier = shared_at<Barrier>(8);
          if (lane() > 0) return;
          barrier_init(barrier, 2);
          barrier_expect(barrier, 16);
          barrier_arrive(barrier);
          barrier_arrive(barrier);
        }) == "more arrive at a barrier than its phase is for");
  CHECK(run_block(32, enough, 0, [] {
          auto* barrier = shared_at<Barrier>(8);
          if (lane() == 0) barrier_init(barrier, 2);
          warp_barrier();
          if (lane() == 0) barrier_arrive(barrier);
          barrier_wait(barrier, 0);
        }) == "threads wait for others that never come: 32 at a barrier's phase");
  CHECK(run_block(32, enough, 0, [] { barrier_init(shared_at<Barrier>(enough), 1); }) ==
        "a barrier is not in shared memory");
}

TEST_CASE("copies that go outside, off a border or over another are reported", "[warpgroup]") {
  const std::vector<std::uint64_t> source(256);
  const auto copy = [&](std::size_t to, unsigned bytes, unsigned times = 1) {
    return run_block(32, enough, 0, [&] {
      if (lane() > 0) return;
      auto* barrier = shared_at<Barrier>(0);
      barrier_init(barrier, 1);
      for (unsigned i = 0; i < times; ++i)
        bulk_copy(shared_bytes() + to, source.data(), bytes, barrier);
      barrier_expect(barrier, bytes * times);
      barrier_wait(barrier, 0);
    });
  };
  CHECK(copy(64, 512).empty());
  CHECK(copy(enough - 16, 512) == "a copy goes outside shared memory");
  CHECK(copy(72, 512) == "a copy is not on borders of 16 bytes");
  CHECK(copy(64, 24) == "a copy is not on borders of 16 bytes");
  CHECK(copy(64, 512, 2) == "two copies to the same place are under way");
}

}  // namespace ambit::inference::cuda
