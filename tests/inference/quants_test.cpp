#include "inference/quants.h"

#include "inference/ops.h"
#include "inference/repack.h"
#include "inference/requantize.h"
#include "inference/sampler.h"
#include "support.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>

namespace ambit::inference {

namespace {

constexpr DType quantized[] = {DType::q4_0, DType::q8_0, DType::q4_k, DType::q5_k, DType::q6_k};

std::vector<std::byte> bytes_of(const std::vector<int>& values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

std::vector<float> floats_of(DType type, const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / block_bytes(type) * block_elements(type));
  to_floats(type, bytes.data(), values.size(), values.data());
  return values;
}

std::vector<float> noise(std::size_t count, std::uint64_t seed) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(uniform(seed, i, 0) + uniform(seed, i, 1) - 1.0);
  return values;
}

constexpr int half_one[2] = {0x00, 0x3C};   // 1.0 as a half float
constexpr int half_two[2] = {0x00, 0x40};   // 2.0
constexpr int half_half[2] = {0x00, 0x38};  // 0.5

}  // namespace

TEST_CASE("a block of Q4_0 is read as it is defined", "[quants]") {
  std::vector<int> block = {half_half[0], half_half[1]};
  for (int i = 0; i < 16; ++i) block.push_back(i | (15 - i) << 4);
  const auto values = floats_of(DType::q4_0, bytes_of(block));
  for (int i = 0; i < 16; ++i) {
    CHECK(values[static_cast<std::size_t>(i)] == 0.5F * static_cast<float>(i - 8));
    CHECK(values[static_cast<std::size_t>(16 + i)] == 0.5F * static_cast<float>(7 - i));
  }
}

TEST_CASE("a block of Q4_K is read as it is defined", "[quants]") {
  std::vector<int> block = {half_one[0], half_one[1], half_two[0], half_two[1]};
  // Scales 1..8 with 32 more for the last four, offsets 9..12 and 50..53: each split as the format
  // splits it.
  const int scales[8] = {1, 2, 3, 4, 37, 38, 39, 40};
  const int offsets[8] = {9, 10, 11, 12, 50, 51, 52, 53};
  for (int i = 0; i < 4; ++i) block.push_back(scales[i] | scales[i + 4] >> 4 << 6);
  for (int i = 0; i < 4; ++i) block.push_back(offsets[i] | offsets[i + 4] >> 4 << 6);
  for (int i = 0; i < 4; ++i) block.push_back((scales[i + 4] & 15) | (offsets[i + 4] & 15) << 4);
  for (int i = 0; i < 128; ++i) block.push_back(i % 16 | (i / 32 + 5) << 4);
  const auto values = floats_of(DType::q4_k, bytes_of(block));
  for (int i = 0; i < 256; ++i) {
    const int group = i / 32;
    const int level = group % 2 == 0 ? i % 16 : group / 2 + 5;
    CHECK(values[static_cast<std::size_t>(i)] ==
          static_cast<float>(scales[group] * level - 2 * offsets[group]));
  }
}

TEST_CASE("a block of Q5_K has its fifth bits in a plane of their own", "[quants]") {
  std::vector<int> block = {half_one[0], half_one[1], half_one[0], half_one[1]};
  for (int i = 0; i < 4; ++i) block.push_back(1);
  for (int i = 0; i < 4; ++i) block.push_back(2);
  for (int i = 0; i < 4; ++i) block.push_back(1 | 2 << 4);
  for (int i = 0; i < 32; ++i) block.push_back(i % 2 == 0 ? 0b10100101 : 0);
  for (int i = 0; i < 128; ++i) block.push_back(3 | 7 << 4);
  const auto values = floats_of(DType::q5_k, bytes_of(block));
  for (int i = 0; i < 256; ++i) {
    const int group = i / 32;
    const bool fifth = i % 2 == 0 && (0b10100101 >> group & 1) != 0;
    const int level = (group % 2 == 0 ? 3 : 7) + (fifth ? 16 : 0);
    CHECK(values[static_cast<std::size_t>(i)] == static_cast<float>(level - 2));
  }
}

TEST_CASE("a block of Q6_K is read as it is defined", "[quants]") {
  std::vector<int> block;
  for (int i = 0; i < 128; ++i) block.push_back(i % 16 | (15 - i % 16) << 4);
  for (int i = 0; i < 64; ++i) block.push_back(0 | 1 << 2 | 2 << 4 | 3 << 6);
  for (int i = 0; i < 16; ++i) block.push_back((i - 8) & 0xFF);
  block.push_back(half_half[0]);
  block.push_back(half_half[1]);
  const auto values = floats_of(DType::q6_k, bytes_of(block));
  for (int i = 0; i < 256; ++i) {
    const int quarter = i % 128 / 32;  // two low nibbles, then two high ones
    const int low = quarter < 2 ? i % 16 : 15 - i % 16;
    CHECK(values[static_cast<std::size_t>(i)] ==
          0.5F * static_cast<float>(i / 16 - 8) * static_cast<float>(low + 16 * quarter - 32));
  }
}

TEST_CASE("blocks of any bytes come back as they were", "[quants]") {
  for (const DType type : quantized) {
    std::vector<std::byte> bytes(block_bytes(type));
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>(static_cast<int>(uniform(3, i, 1) * 256));
    QuantBlock block;
    read_block(type, bytes.data(), block);
    std::vector<std::byte> again(bytes.size());
    write_block(type, block, again.data());
    INFO(to_string(type));
    CHECK(again == bytes);
  }
}

TEST_CASE("quantising loses no more than the type's bits", "[quants]") {
  const auto values = noise(1024, 5);
  const auto loss = [&](DType type) {
    std::vector<std::byte> bytes(row_bytes(type, values.size()));
    from_floats(type, values.data(), values.size(), bytes.data());
    const auto back = floats_of(type, bytes);
    double off = 0;
    double all = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      off += std::pow(static_cast<double>(back[i] - values[i]), 2);
      all += std::pow(static_cast<double>(values[i]), 2);
    }
    return std::sqrt(off / all);
  };
  CHECK(loss(DType::q8_0) < 0.008);
  CHECK(loss(DType::q6_k) < 0.025);
  CHECK(loss(DType::q5_k) < 0.045);
  CHECK(loss(DType::q4_k) < 0.09);
  CHECK(loss(DType::q4_0) < 0.11);
}

TEST_CASE("zeros and single values quantise to themselves", "[quants]") {
  for (const DType type : quantized) {
    std::vector<float> values(256, 0.0F);
    std::vector<std::byte> bytes(row_bytes(type, values.size()));
    from_floats(type, values.data(), values.size(), bytes.data());
    INFO(to_string(type));
    CHECK(floats_of(type, bytes) == values);
    values.assign(256, -0.75F);
    from_floats(type, values.data(), values.size(), bytes.data());
    for (const float value : floats_of(type, bytes)) CHECK(value == Approx(-0.75).epsilon(0.02));
  }
}

TEST_CASE(
    "products of panels are those of the rows, the same bits on every machine and for any rows",
    "[quants][invariance]") {
  const DType type = GENERATE(DType::f16, DType::bf16, DType::q4_0, DType::q8_0, DType::q4_k,
                              DType::q5_k, DType::q6_k);
  constexpr std::size_t inputs = 512;
  constexpr std::size_t outputs = 40;  // two panels and a half
  constexpr std::size_t rows = 37;     // odd tiles of every size
  const auto weights = noise(inputs * outputs, 1);
  std::vector<std::byte> bytes(row_bytes(type, inputs) * outputs);
  from_floats(type, weights.data(), weights.size(), bytes.data());
  const auto rounded = floats_of(type, bytes);
  TensorView tensor = {"w", type, {inputs, outputs}, bytes.data(), bytes.size()};
  const WeightRows part = all_rows(tensor);
  const Matrix matrix = repack({&part, 1});
  REQUIRE(matrix.segments.size() == 1);
  const Segment& segment = matrix.segments[0];
  const auto in = noise(inputs * rows, 2);
  std::vector<std::int8_t> levels(48 * inputs);
  std::vector<InputBlock> blocks(48 * inputs / input_block);
  std::vector<std::uint16_t> rounded_inputs(48 * inputs);
  std::vector<float> reference;
  for (const Kernels* kernels : usable_kernels()) {
    INFO(kernels->name << " " << to_string(type));
    const auto product = [&](std::size_t first_row, std::size_t count) {
      for (std::size_t r = 0; r < count; ++r) {
        const float* of_row = &in[(first_row + r) * inputs];
        kernels->quantize_row(of_row, inputs, &levels[levels_at(r, inputs)],
                              &blocks[block_at(r, inputs)]);
        kernels->round_row(of_row, inputs, &rounded_inputs[levels_at(r, inputs)]);
      }
      std::vector<float> out(count * matrix.outputs);
      const MatmulJob job = {type,          segment.panels.data(),   segment.panel_bytes,
                             inputs,        &in[first_row * inputs], inputs,
                             levels.data(), blocks.data(),           rounded_inputs.data(),
                             out.data(),    matrix.outputs,          count};
      kernels->matmul(job, 0, segment.panel_count);
      return out;
    };
    const auto all = product(0, rows);
    // The matrix unit adds products of bfloat16 in an order of its own.
    const bool in_its_own_order = kernels->name == "amx" && type == DType::bf16;
    if (reference.empty() || in_its_own_order) {
      if (!in_its_own_order) reference = all;
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < outputs; ++o) {
          double sum = 0;
          for (std::size_t i = 0; i < inputs; ++i) {
            const std::size_t block = i / input_block * row_padding;
            const double x =
                is_quantized(type)
                    ? static_cast<double>(blocks[block_at(r, inputs) + block].scale) *
                          levels[levels_at(r, inputs) + block * input_block + i % input_block]
                : type == DType::bf16
                    ? static_cast<double>(bf16_to_float(float_to_bf16(in[r * inputs + i])))
                    : static_cast<double>(in[r * inputs + i]);
            sum += static_cast<double>(rounded[o * inputs + i]) * x;
          }
          REQUIRE(all[r * matrix.outputs + o] == Approx(sum).margin(2e-4));
        }
      }
    }
    if (!in_its_own_order) CHECK(all == reference);
    for (const std::size_t count : {1U, 2U, 3U, 5U, 7U, 16U, 21U}) {
      const auto some = product(4, count);
      CHECK(std::memcmp(some.data(), &all[4 * matrix.outputs], some.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("parts of several types are stacked as they are", "[quants]") {
  const auto values = noise(256 * 16, 3);
  std::vector<std::byte> first(row_bytes(DType::q4_k, 256) * 16);
  std::vector<std::byte> second(row_bytes(DType::q6_k, 256) * 16);
  from_floats(DType::q4_k, values.data(), values.size(), first.data());
  from_floats(DType::q6_k, values.data(), values.size(), second.data());
  const TensorView a = {"a", DType::q4_k, {256, 16}, first.data(), first.size()};
  const TensorView b = {"b", DType::q6_k, {256, 16}, second.data(), second.size()};
  const WeightRows parts[] = {all_rows(a), {&a, 0, 5}, all_rows(b)};
  const Matrix matrix = repack(parts);
  CHECK(matrix.outputs == 48);
  CHECK(matrix.parts == std::vector<std::size_t>{0, 16, 32});
  REQUIRE(matrix.segments.size() == 2);
  CHECK(matrix.segments[0].panel_count == 2);
  CHECK(matrix.segments[1].first_output == 32);
  CHECK(matrix.segments[1].type == DType::q6_k);
  CHECK(matrix.segments[0].panel_bytes == panel_bytes(DType::q4_k, 256));
}

TEST_CASE("a model written anew in fewer bits says nearly the same", "[quants]") {
  SynthShape shape;
  shape.width = shape.hidden = 256;
  shape.head_width = 64;
  const std::string path = temporary_path("ambit_quantize");
  const std::string to = temporary_path("ambit_quantized");
  REQUIRE(synthesize(shape).write(path));
  const auto source = Gguf::open(path);
  REQUIRE(source);
  for (const char* name : {"Q8_0", "q4_0", "Q4_K_M", "Q5_K", "Q6_K", "BF16"}) {
    INFO(name);
    const auto recipe = recipe_named(name);
    REQUIRE(recipe);
    const auto done = requantize(*source, *recipe, to);
    REQUIRE(done);
    CHECK(done->bytes_after < done->bytes_before);
    const auto file = ModelFile::open(to);
    REQUIRE(file);
    CHECK((*file)->file().metadata().size() == source->metadata().size() + 1);
    CHECK((*file)->file().find("blk.0.attn_q.weight")->type == recipe->type);
    CHECK((*file)->file().find("blk.0.attn_norm.weight")->type == DType::f32);
    CHECK((*file)->file().find("token_embd.weight")->type == recipe->sensitive);
  }
  CHECK_FALSE(recipe_named("Q3_K"));
  std::filesystem::remove(path);
  std::filesystem::remove(to);
}

TEST_CASE("a weight that is no number is refused", "[quants]") {
  GgufWriter writer;
  std::vector<float> values(64, 1.0F);
  values[40] = std::nanf("");
  writer.add("blk.0.x.weight", DType::f32, {32, 2}, values);
  const std::string bytes = writer.bytes();
  const auto file = Gguf::parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
  REQUIRE(file);
  const auto done = requantize(*file, *recipe_named("Q8_0"), temporary_path("ambit_never"));
  REQUIRE_FALSE(done);
  CHECK_THAT(done.error().message, Catch::Contains("blk.0.x.weight"));
}

}  // namespace ambit::inference
