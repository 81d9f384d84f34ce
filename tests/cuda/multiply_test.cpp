// Products of every type of weight against the CPU's kernels, on shapes that fill nothing evenly,
// and the same bits for any number of rows, either schedule, any order of blocks and threads.

#include "inference/cuda/multiply.h"

#include "inference/ops.h"
#include "products.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

namespace {

std::vector<float> product(ShimOptions options, const Weight& weight, std::size_t rows,
                           bool fp8 = false) {
  const auto device = test_device(options);
  const OnDevice on(*device, weight, fp8);
  const Inputs in(*device, rows, weight.matrix.inputs);
  const Array<float> out(*device, rows * weight.matrix.outputs);
  device->run(MultiplyJob{on.view, in.view, out.at(),
                          static_cast<std::uint32_t>(weight.matrix.outputs),
                          static_cast<std::uint32_t>(rows)});
  INFO(device->failure());
  REQUIRE(device->failure().empty());
  return out.read();
}

// The same rows by the CPU's plain kernels.
std::vector<float> on_cpu(const Weight& weight, std::size_t rows) {
  const Kernels& kernels = *usable_kernels().back();
  const std::size_t inputs = weight.matrix.inputs;
  const std::vector<float> source = noise(rows * inputs, 5);
  std::vector<float> values(source.size());
  const std::vector<float> ones(inputs, 1.0F);
  const auto device = test_device();
  const Inputs made(*device, rows, inputs);
  const std::vector<float> normed = made.floats.read();
  std::copy_n(normed.begin(), values.size(), values.begin());
  const std::size_t padded = (rows + row_padding - 1) / row_padding * row_padding;
  const std::size_t blocks = (inputs + input_block - 1) / input_block;
  std::vector<std::int8_t> levels(padded * inputs);
  std::vector<InputBlock> of_blocks(padded * blocks);
  std::vector<std::uint16_t> rounded(padded * blocks * input_block);
  for (std::size_t r = 0; r < rows; ++r) {
    if (weight.matrix.is_quantized())
      kernels.quantize_row(&values[r * inputs], inputs, &levels[levels_at(r, inputs)],
                           &of_blocks[block_at(r, inputs)]);
    kernels.round_row(&values[r * inputs], inputs, &rounded[levels_at(r, blocks * input_block)]);
  }
  std::vector<float> out(rows * weight.matrix.outputs);
  const Segment& segment = weight.matrix.segments[0];
  const MatmulJob job = {segment.type,  segment.panels.data(), segment.panel_bytes,
                         inputs,        values.data(),         inputs,
                         levels.data(), of_blocks.data(),      rounded.data(),
                         out.data(),    weight.matrix.outputs, rows};
  kernels.matmul(job, 0, segment.panel_count);
  return out;
}

// Whether rows that were computed with fewer others are the first of `whole`, to the bit.
bool are_first_of(const std::vector<float>& whole, const std::vector<float>& rows) {
  shim_tally().equal_values += rows.size();
  return !rows.empty() && rows.size() <= whole.size() &&
         std::memcmp(rows.data(), whole.data(), rows.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("products agree with the CPU's kernels for every type of weight", "[multiply]") {
  const DType type = GENERATE(DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0,
                              DType::q4_k, DType::q5_k, DType::q6_k);
  const Weight weight(type, inputs_of(type), 40);
  ShimOptions options;
  options.architecture = GENERATE(80U, 90U);
  const auto ours = product(options, weight, 5);
  const auto theirs = on_cpu(weight, 5);
  INFO(to_string(type));
  // F16 rounds its inputs to half floats here and takes them as they are there.
  CHECK(worst_error(ours, theirs) < (type == DType::f16 ? 2e-3 : 2e-6));
}

TEST_CASE("with one segment whole numbers give the CPU's bits", "[multiply]") {
  const DType type = GENERATE(DType::q8_0, DType::q4_0, DType::q4_k, DType::q5_k, DType::q6_k);
  const Weight weight(type, block_elements(type) == 256 ? 256 : 96, 32);
  const auto device = test_device();
  OnDevice on(*device, weight);
  on.view.segment_blocks = on.view.blocks;
  on.view.segments = 1;
  const Inputs in(*device, 3, weight.matrix.inputs);
  const Array<float> out(*device, 3 * weight.matrix.outputs);
  device->run(MultiplyJob{on.view, in.view, out.at(),
                          static_cast<std::uint32_t>(weight.matrix.outputs), 3});
  INFO(to_string(type) << device->failure());
  CHECK(same_bits(out.read(), on_cpu(weight, 3)));
}

TEST_CASE("8-bit floats made at load are close to the weights that they were made of",
          "[multiply]") {
  const DType type = GENERATE(DType::bf16, DType::f16, DType::f32);
  const Weight weight(type, 176, 40);
  ShimOptions options;
  options.architecture = GENERATE(80U, 90U);
  // Three bits of mantissa: an error of up to a 16th of each weight, much less of the sum.
  CHECK(worst_error(product(options, weight, 5, true), on_cpu(weight, 5)) < 0.05);
}

TEST_CASE("a row's product has the same bits alone, in a batch, in either schedule, in any order",
          "[multiply]") {
  const DType type = GENERATE(DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0,
                              DType::q4_k, DType::q5_k, DType::q6_k);
  const bool fp8 = type == DType::f16 && GENERATE(false, true);
  const Weight weight(type, inputs_of(type), 72);  // five panels: the last warp has one alone
  const auto whole = product({}, weight, 67, fp8);
  INFO(to_string(type) << (fp8 ? " as fp8" : ""));
  for (const std::size_t rows : {1U, 7U, 9U, 20U, 64U})
    CHECK(are_first_of(whole, product({}, weight, rows, fp8)));
  CHECK(are_first_of(whole, product(schedule(11), weight, 3, fp8)));
  CHECK(are_first_of(whole, product(schedule(12, 0), weight, 67, fp8)));
  CHECK(are_first_of(whole, product(schedule(13, 1000), weight, 67, fp8)));
}

// A ring of four blocks in shared memory: fewer blocks than it has, as many as are asked for ahead,
// more, and segments that end within it; panels and rows that fill no block of threads.
TEST_CASE("through shared memory many rows have the bits that few have, at every edge of a tile",
          "[multiply]") {
  const DType type = GENERATE(DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_k,
                              DType::q5_k, DType::q6_k);
  const bool fp8 = type == DType::f16 && GENERATE(false, true);
  const bool is_super = block_elements(type) == 256;
  const std::vector<std::size_t> lengths = is_super ? std::vector<std::size_t>{256, 768}
                                           : is_quantized(type)
                                               ? std::vector<std::size_t>{32, 96, 224}
                                               : std::vector<std::size_t>{16, 80, 272};
  const auto compare = [&](std::size_t inputs, std::size_t outputs, std::size_t most) {
    const Weight weight(type, inputs, outputs);
    const auto whole = product(schedule(0, 1000), weight, most, fp8);
    for (const std::size_t rows :
         {1U, 7U, 8U, 9U, 31U, 32U, 33U, 63U, 64U, 65U, 127U, 128U, 129U, 131U}) {
      if (rows > most) break;
      INFO(to_string(type) << (fp8 ? " as fp8, " : ", ") << inputs << " inputs, " << outputs
                           << " outputs, " << rows << " rows");
      CHECK(are_first_of(whole, product(schedule(rows % 3 == 0 ? rows : 0, 0), weight, rows, fp8)));
    }
  };
  for (const std::size_t inputs : lengths) compare(inputs, 40, 131);
  compare(lengths.back(), 136, 33);
}

TEST_CASE("a warpgroup's products have the same bits for any number of rows, tile and order",
          "[multiply]") {
  const DType type = GENERATE(DType::f16, DType::bf16);
  const bool fp8 = type == DType::f16 && GENERATE(false, true);
  struct Case {
    std::size_t inputs, outputs;
  };
  // Segments: one of one block; three of unequal lengths, of which the last warps have none; eight.
  const auto [inputs, outputs] = GENERATE(Case{24, 16}, Case{208, 72}, Case{1000, 136});
  const Weight weight(type, inputs, outputs);
  const auto on = [](std::uint64_t seed, unsigned few_rows_max, unsigned processors = 1) {
    ShimOptions options = schedule(seed, few_rows_max);
    options.architecture = 90;
    options.processors = processors;
    return options;
  };
  const std::size_t most = 300;
  const auto whole = product(on(0, 0), weight, most, fp8);
  INFO(to_string(type) << (fp8 ? " as fp8, " : ", ") << inputs << " inputs");
  for (const std::size_t rows : {1U, 8U, 9U, 17U, 33U, 64U})
    CHECK(are_first_of(whole, product(on(rows % 2, 64), weight, rows, fp8)));
  CHECK(are_first_of(whole, product(on(12, 1000), weight, 131, fp8)));
  for (const std::size_t rows : {1U, 70U, 200U})
    for (const unsigned processors : {1U, 4U, 1000U})  // tiles of 256, 128 and 64 rows
      CHECK(are_first_of(whole, product(on(rows + processors, 0, processors), weight, rows, fp8)));
}

// The shim is told how many processors it has; a device has its own number, so that its large tiles
// need a large weight.
TEST_CASE("on a device the tiles of a large weight give the bits of the small ones", "[multiply]") {
  if (std::getenv("AMBIT_GPU") == nullptr) {
    WARN("skipped: AMBIT_GPU is not set");
    return;
  }
  const Weight weight(DType::bf16, 1024, 16384);
  const auto whole = product({}, weight, 300);
  for (const std::size_t rows : {1U, 12U, 40U, 70U, 130U, 200U}) {
    CHECK(are_first_of(whole, product({}, weight, rows)));
  }
}

TEST_CASE("tokens are looked up in panels of every type", "[multiply]") {
  const DType type = GENERATE(DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0,
                              DType::q4_k, DType::q5_k, DType::q6_k);
  const std::size_t width = block_elements(type) == 256 ? 512 : is_quantized(type) ? 96 : 80;
  const Weight weight(type, width, 37);
  const auto device = test_device(schedule(2));
  const OnDevice on(*device, weight);
  const std::vector<std::int32_t> tokens = {36, 0, 17, 8, 15};
  const Array<std::int32_t> asked(*device, tokens);
  const Array<float> out(*device, tokens.size() * width);
  device->run(EmbedJob{on.view, asked.at(), out.at(), 2.0F, static_cast<std::uint32_t>(width),
                       static_cast<std::uint32_t>(tokens.size())});
  const auto found = out.read();
  std::vector<float> expected(width);
  INFO(to_string(type) << device->failure());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    to_floats(type,
              weight.file.data() + static_cast<std::size_t>(tokens[i]) * row_bytes(type, width),
              width, expected.data());
    for (std::size_t d = 0; d < width; ++d)
      CHECK(found[i * width + d] == Approx(expected[d] * 2.0F).epsilon(1e-6).margin(1e-7));
  }
}

}  // namespace ambit::inference::cuda
