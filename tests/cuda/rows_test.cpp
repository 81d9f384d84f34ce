// Operations on single rows against the CPU's, to the bit where the order of sums is the same.

#include "inference/cuda/rows.h"

#include "forms.h"
#include "inference/ops.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

namespace {

const Kernels& cpu() {
  return *usable_kernels().back();
}

}  // namespace

TEST_CASE("gates give the CPU's bits, whatever the width", "[rows]") {
  const bool gelu = GENERATE(false, true);
  const std::size_t width = GENERATE(std::size_t{16}, std::size_t{48}, std::size_t{400});
  const std::size_t rows = 3;
  const std::size_t stride = 2 * width + 16;
  const auto device = test_device(schedule(21));
  const auto values = noise(rows * stride, 7, 9.0F);
  const Array<float> from(*device, values);
  const FormArrays out(*device, rows, width);
  device->run(GateJob{from.at(), static_cast<std::uint32_t>(width + 16),
                      static_cast<std::uint32_t>(stride), 3, gelu, out.view});
  REQUIRE(device->failure().empty());
  std::vector<float> expected(rows * width);
  for (std::size_t r = 0; r < rows; ++r)
    (gelu ? cpu().geglu : cpu().swiglu)(&values[r * stride], &values[r * stride + width + 16],
                                        width, &expected[r * width]);
  CHECK(same_bits(out.floats.read(), expected));
}

TEST_CASE("levels of inputs are the CPU's", "[rows]") {
  const std::size_t width = 160;
  const auto device = test_device(schedule(22));
  std::vector<float> values = noise(2 * width, 8, 3.0F);
  std::fill_n(values.begin() + 32, 32, 0.0F);  // a block of nothing
  const Array<float> residual(*device, 2 * width);
  const Array<float> made(*device, values);
  const FormArrays out(*device, 2, width);
  // A gate of 1 * up cannot be had exactly; a norm can: take its own result as what is rounded.
  const Array<float> ones(*device, std::vector<float>(width, 1.0F));
  NormJob job{};
  job.residual = residual.at();
  job.made = made.at();
  job.next = ones.at();
  job.out = out.view;
  job.epsilon = 1e-5F;
  job.width = width;
  job.made_stride = width;
  job.rows = 2;
  device->run(job);
  REQUIRE(device->failure().empty());
  CHECK(same_bits(residual.read(), values));  // it was zero
  const auto normed = out.floats.read();
  const auto levels = out.levels.read();
  const auto blocks = out.blocks.read();
  for (std::size_t r = 0; r < 2; ++r) {
    std::vector<std::int8_t> expected(16 * width);
    std::vector<InputBlock> of(16 * width / 32);
    cpu().quantize_row(&normed[r * width], width, expected.data(), of.data());
    for (std::size_t d = 0; d < width; ++d) {
      const std::size_t in_half = d % 16;
      const std::size_t place = d / 32 * 32 + in_half / 4 * 8 + d % 32 / 16 * 4 + in_half % 4;
      CHECK(levels[r * width + place] == expected[levels_at(0, width) + d / 32 * 512 + d % 32]);
    }
    for (std::size_t b = 0; b < width / 32; ++b) {
      const LevelBlock& ours = blocks[r * width / 32 + b];
      CHECK(ours.scale == of[b * 16].scale);
      CHECK(ours.minus_sum == of[b * 16].minus_sum);
      CHECK(-32 * ours.sums[0] == of[b * 16].start_halves[0]);
      CHECK(-32 * ours.sums[1] == of[b * 16].start_halves[1]);
    }
  }
}

TEST_CASE("what does not fit a half float stays at its border", "[rows]") {
  const auto device = test_device();
  const std::vector<float> values = {1e6F, 1.0F, -1e6F, 1.0F, 70000.0F, 1.0F};
  std::vector<float> gate_up(2 * 16, 0.0F);
  for (std::size_t i = 0; i < 3; ++i) {
    gate_up[i] = 40.0F;  // silu(40) is 40
    gate_up[16 + i] = values[2 * i];
  }
  const Array<float> from(*device, gate_up);
  const FormArrays out(*device, 1, 16);
  device->run(GateJob{from.at(), 16, 32, 1, false, out.view});
  const auto halves = out.halves.read();
  CHECK(f16_to_float(halves[0]) == 65504.0F);
  CHECK(f16_to_float(halves[1]) == -65504.0F);
  CHECK(f16_to_float(halves[2]) == 65504.0F);
  for (std::size_t i = 16; i < 32; ++i) CHECK(halves[i] == 0);
}

TEST_CASE("a norm of what a block made comes before the sum, then the next block's norm",
          "[rows]") {
  const std::size_t width = 336;
  const std::size_t rows = 4;
  const auto x = noise(rows * width, 31);
  const auto made_values = noise(rows * (width + 16), 32);
  const auto after = noise(width, 33);
  const auto next = noise(width, 34);
  const auto run = [&](std::uint64_t seed, std::size_t count, bool selects) {
    const auto device = test_device(schedule(seed));
    const Array<float> residual(*device, x);
    const Array<float> made(*device, made_values);
    const Array<float> of_after(*device, after);
    const Array<float> of_next(*device, next);
    const Array<std::uint32_t> select(*device, std::vector<std::uint32_t>{2, 0, 3, 1});
    const FormArrays out(*device, rows, width);
    NormJob job{};
    job.residual = residual.at();
    job.made = selects ? nullptr : made.at();
    job.after = of_after.at();
    job.next = of_next.at();
    job.select = selects ? select.at() : nullptr;
    job.out = out.view;
    job.epsilon = 1e-6F;
    job.width = width;
    job.made_stride = width + 16;
    job.rows = static_cast<std::uint32_t>(count);
    device->run(job);
    REQUIRE(device->failure().empty());
    return out.floats.read();
  };
  std::vector<float> expected(rows * width);
  std::vector<float> gathered(rows * width);
  for (std::size_t r = 0; r < rows; ++r) {
    std::vector<float> added(width);
    cpu().rms_norm(&made_values[r * (width + 16)], after.data(), 1e-6F, width, added.data());
    for (std::size_t d = 0; d < width; ++d) added[d] += x[r * width + d];
    cpu().rms_norm(added.data(), next.data(), 1e-6F, width, &expected[r * width]);
    const std::size_t from[] = {2, 0, 3, 1};
    cpu().rms_norm(&x[from[r] * width], next.data(), 1e-6F, width, &gathered[r * width]);
  }
  const auto ours = run(0, rows, false);
  CHECK(worst_error(ours, expected) < 1e-6);
  CHECK(same_bits(run(41, rows, false), ours));
  auto alone = run(42, 1, false);
  alone.resize(width);
  CHECK(same_bits(alone, {ours.begin(), ours.begin() + width}));
  CHECK(worst_error(run(43, rows, true), gathered) < 1e-6);
}

TEST_CASE("caps are the CPU's bits", "[rows]") {
  const auto device = test_device(schedule(3));
  auto values = noise(2 * 336, 9, 60.0F);
  const Array<float> rows(*device, values);
  device->run(CapJob{rows.at(), 330, 336, 2, 30.0F});
  auto expected = values;
  for (std::size_t r = 0; r < 2; ++r) {
    cpu().soft_cap(&expected[r * 336], 336, 30.0F);
    std::copy_n(&values[r * 336 + 330], 6, &expected[r * 336 + 330]);
  }
  CHECK(same_bits(rows.read(), expected));
}

TEST_CASE("exp is the CPU's, from nothing to overflow", "[rows]") {
  // silu(-x) * 1 with x so large that exp is all of it.
  std::vector<float> gate_up(2 * 64, 1.0F);
  for (std::size_t i = 0; i < 64; ++i) gate_up[i] = -95.0F + 3.1F * static_cast<float>(i);
  const auto device = test_device();
  const Array<float> from(*device, gate_up);
  const FormArrays out(*device, 1, 64);
  device->run(GateJob{from.at(), 64, 128, 1, false, out.view});
  std::vector<float> expected(64);
  cpu().swiglu(gate_up.data(), gate_up.data() + 64, 64, expected.data());
  CHECK(same_bits(out.floats.read(), expected));
}

TEST_CASE("in tiles each value lies once, where the weight it is multiplied with is", "[rows]") {
  const std::size_t width = 80;
  const std::size_t rows = 13;
  const auto device = test_device(schedule(4));
  std::vector<float> values(rows * 2 * width, 10.0F);  // a gate, then what comes through it
  for (std::size_t i = 0; i < values.size(); ++i)
    if (i / width % 2 == 1)
      values[i] = 1.0F + static_cast<float>(i % width + i / width / 2 * width);
  const Array<float> from(*device, values);
  const FormArrays out(*device, 16, width, true);
  device->run(GateJob{from.at(), width, 2 * width, rows, false, out.view});
  REQUIRE(device->failure().empty());
  const auto halves = out.halves.read();
  const auto plain = out.floats.read();
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t d = 0; d < 96; ++d) {
      // A lane of a weight's word has, of a block's 16 pairs, one in four from each stretch of 8.
      const std::size_t pair = d % 32 / 2;
      const std::size_t tile = d / 32 * 2 + row / 8;
      const std::size_t at = tile * 256 + pair % 4 * 64 + row % 8 * 8 + pair / 4 * 2 + d % 2;
      const bool is_there = row < rows && d < width;
      const float value = is_there ? plain[row * width + d] : 0.0F;
      CHECK(halves[at] == inference::float_to_f16(value));
    }
  }
}

}  // namespace ambit::inference::cuda
