// The shim must find what a GPU would not forgive: else the other tests prove nothing.

#include "cuda/shim.h"

#include "inference/cuda/simt.h"
#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

TEST_CASE("the threads of a block see what others wrote before a barrier, in any order", "[shim]") {
  for (const std::uint64_t seed : {0U, 1U, 2U, 3U}) {
    std::vector<int> seen(96);
    CHECK(run_block(96, 96 * sizeof(int), seed, [&] {
            auto* values = shared_at<int>(0);
            values[thread()] = static_cast<int>(thread());
            block_barrier();
            seen[thread()] = values[95 - thread()];
          }).empty());
    for (int i = 0; i < 96; ++i) CHECK(seen[static_cast<std::size_t>(i)] == 95 - i);
  }
}

TEST_CASE("a missing barrier shows in some order of the threads", "[shim]") {
  int wrong = 0;
  for (std::uint64_t seed = 1; seed < 9; ++seed) {
    std::vector<int> seen(64);
    run_block(64, 64 * sizeof(int), seed, [&] {
      auto* values = shared_at<int>(0);
      values[thread()] = static_cast<int>(thread());
      seen[thread()] = values[63 - thread()];
    });
    for (int i = 0; i < 64; ++i) wrong += seen[static_cast<std::size_t>(i)] == 63 - i ? 0 : 1;
  }
  CHECK(wrong > 0);
}

TEST_CASE("threads that skip a barrier are reported", "[shim]") {
  const std::string fault = run_block(64, 0, 0, [] {
    if (thread() != 7) block_barrier();
  });
  CHECK(fault == "1 threads ended while 63 wait at a barrier of the block");
}

TEST_CASE("a lane that skips an exchange is reported", "[shim]") {
  const std::string fault = run_block(32, 0, 0, [] {
    if (lane() != 3) exchange(1.0F, 16);
  });
  CHECK(fault == "threads wait for others that never come: 31 at an exchange");
}

TEST_CASE("lanes that come to different places are reported", "[shim]") {
  const std::string fault = run_block(32, 0, 5, [] {
    if (lane() < 16)
      warp_barrier();
    else
      exchange(1.0F, 16);
  });
  CHECK(fault ==
        "threads wait for others that never come: 16 at a barrier of the warp 16 at an exchange");
}

TEST_CASE("lanes that exchange with different partners are reported", "[shim]") {
  CHECK(run_block(32, 0, 0, [] { exchange(1.0F, lane() < 8 ? 8 : 4); }) ==
        "lanes of a warp exchange with different partners");
}

TEST_CASE("shared memory that nobody wrote is full of what is no number", "[shim]") {
  bool is_number = true;
  run_block(32, 64, 0, [&] { is_number = shared_at<float>(0)[3] == shared_at<float>(0)[3]; });
  CHECK_FALSE(is_number);
}

TEST_CASE("copies to shared memory are there when their group is waited for, and no sooner",
          "[shim]") {
  const std::vector<Words4> source = {{{1, 2, 3, 4}}, {{5, 6, 7, 8}}};
  std::vector<std::uint32_t> seen;
  CHECK(run_block(32, 2 * sizeof(Words4), 0, [&] {
          if (thread() > 0) return;
          auto* words = shared_at<Words4>(0);
          const auto look = [&] { seen.insert(seen.end(), {words[0].x[1], words[1].x[1]}); };
          words[0] = words[1] = {};
          for (unsigned i = 0; i < 2; ++i) {
            copy16(words + i, &source[i]);
            begin_copies();
          }
          look();
          finish_copies<1>();
          look();
          finish_copies<0>();
          look();
          copy16(words, &source[1]);
          finish_copies<0>();  // of a group that has not begun
          look();
        }).empty());
  constexpr std::uint32_t nothing = 0xFFFFFFFFU;
  CHECK(seen == std::vector<std::uint32_t>{nothing, nothing, 2, nothing, 2, 6, nothing, 6});
}

TEST_CASE("a warp's sum is the same tree in every lane and every order", "[shim]") {
  const auto values = noise(32, 4);
  std::vector<float> expected = values;
  for (std::size_t half = 16; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) expected[i] = expected[i] + expected[i + half];
  for (const std::uint64_t seed : {0U, 8U, 9U}) {
    std::vector<float> sums(32);
    CHECK(run_block(32, 0, seed, [&] { sums[lane()] = warp_sum(values[lane()]); }).empty());
    for (const float sum : sums) CHECK(sum == expected[0]);
  }
}

TEST_CASE("a kernel that asks for too much is a failure of the device", "[shim]") {
  const auto device = make_shim();
  MultiplyJob job{};
  job.weight.type = WeightType::bf16;
  job.weight.segments = 2000;
  job.weight.panel_count = 1;
  job.rows = 1;
  device->run(job);
  CHECK(device->failure() == "multiply_few: a block of 64000 threads");
}

TEST_CASE("8-bit floats are what their definition says", "[shim]") {
  for (unsigned bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7FU) == 0x7FU) continue;  // no number
    const int exponent = static_cast<int>(bits >> 3U & 15U);
    const double mantissa = bits & 7U;
    const double size =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    const double value = (bits & 0x80U) != 0 ? -size : size;
    const float read = fp8_to_float(static_cast<std::uint8_t>(bits));
    CHECK(static_cast<double>(read) == value);
    CHECK(float_to_fp8(read) == bits);
  }
  CHECK(float_to_fp8(1e9F) == 0x7E);
  CHECK(float_to_fp8(-449.0F) == 0xFE);
  CHECK(float_to_fp8(0x1p-10F) == 0);  // halfway to the smallest: to even
  CHECK(float_to_fp8(0x1.8p-9F) == 2);
  CHECK(float_to_fp8(17.0F) == 0x58);  // halfway between 16 and 18: to even
}

}  // namespace ambit::inference::cuda
