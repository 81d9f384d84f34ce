#include "inference/cuda/panels.h"

#include "inference/quants.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ambit::inference::cuda {

namespace {

constexpr std::size_t word_bytes = 4;
constexpr std::size_t word_row = 64;  // the same word of 16 outputs

// Bytes before the levels of a block, and how many rows of words the levels have.
struct BlockShape {
  std::size_t head;
  std::size_t level_rows;
  std::size_t plane_rows;
  std::size_t super;  // bytes before every 8 blocks
};
BlockShape shape_of(WeightType type) {
  switch (type) {
    case WeightType::q8_0:
      return {32, 8, 0, 0};
    case WeightType::q4_0:
      return {32, 4, 0, 0};
    case WeightType::q4_k:
      return {32, 4, 0, 64};
    case WeightType::q5_k:
      return {32, 4, 1, 64};
    default:
      return {32, 4, 2, 32};
  }
}

// Where the word of an output is in a lane-ordered block: lane 4 g + t has, for its part of the
// inputs, outputs g and g + 8.
std::size_t lane_of(std::size_t output, std::size_t t) {
  return output % 8 * 4 + t;
}

// Levels: 8-bit ones get their sign back, the words go to their lanes; all else stays as it is.
void put_quantized(WeightType type, const std::byte* from, std::size_t inputs, std::byte* to) {
  const BlockShape shape = shape_of(type);
  const std::size_t words = shape.level_rows / 4;  // of a lane and an output
  for (std::size_t block = 0; block < inputs / block_inputs; ++block) {
    if (block % 8 == 0 && shape.super > 0) {
      std::memcpy(to, from, shape.super);
      from += shape.super;
      to += shape.super;
    }
    const std::size_t levels = shape.level_rows * word_row;
    std::memcpy(to, from, shape.head);
    std::memcpy(to + shape.head + levels, from + shape.head + levels, shape.plane_rows * word_row);
    for (std::size_t row = 0; row < shape.level_rows; ++row) {
      for (std::size_t output = 0; output < panel_rows; ++output) {
        const std::size_t reg = row / 4 * 2 + output / 8;
        std::uint32_t word = 0;
        std::memcpy(&word, from + shape.head + row * word_row + output * word_bytes, word_bytes);
        if (type == WeightType::q8_0) word ^= 0x80808080U;
        std::memcpy(to + shape.head + (lane_of(output, row % 4) * 2 * words + reg) * word_bytes,
                    &word, word_bytes);
      }
    }
    const std::size_t bytes = shape.head + levels + shape.plane_rows * word_row;
    from += bytes;
    to += bytes;
  }
}

float value_at(DType type, const std::byte* panel, std::size_t input, std::size_t output) {
  const std::size_t at = type == DType::bf16
                             ? input / 32 * 512 + input % 32 / 2 * 32 + output * 2 + input % 2
                             : input * panel_rows + output;
  if (type == DType::f32) {
    float value = 0;
    std::memcpy(&value, panel + at * sizeof value, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, panel + at * sizeof bits, sizeof bits);
  return type == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

// Pairs of 16-bit floats: pair p of a block is of lane p / 4, step p % 4 / 2.
void put_halves(DType type, const std::byte* from, std::size_t inputs, std::byte* to) {
  for (std::size_t input = 0; input < inputs; ++input) {
    const std::size_t k = input % block_inputs;
    const std::size_t pair = k / 2;
    for (std::size_t output = 0; output < panel_rows; ++output) {
      const std::size_t at = type == DType::bf16
                                 ? input / 32 * 1024 + pair * word_row + output * 4 + k % 2 * 2
                                 : (input * panel_rows + output) * 2;
      const std::size_t word = pair % 2 * 2 + output / 8;
      std::memcpy(to + input / block_inputs * 1024 + pair % 4 / 2 * 512 +
                      lane_of(output, pair / 4) * 16 + word * word_bytes + k % 2 * 2,
                  from + at, 2);
    }
  }
}

// The nearest of the 8-bit floats that are not beyond 448.
std::uint8_t to_fp8(float value) {
  const std::uint8_t sign = std::signbit(value) ? 0x80U : 0U;
  const float size = std::fabs(value);
  if (!(size < 464.0F)) return static_cast<std::uint8_t>(sign | 0x7EU);
  int exponent = 0;
  std::frexp(size, &exponent);
  const int step = std::max(exponent - 4, -9);  // of the mantissa's last bit
  const auto whole = static_cast<int>(std::nearbyint(std::ldexp(size, -step)));
  const int made = (step + 9) * 8 + whole;
  return static_cast<std::uint8_t>(sign | std::min(made, 0x7E));
}

void put_fp8(const Segment& segment, const std::byte* from, std::size_t inputs, std::byte* to,
             float* scales) {
  for (std::size_t output = 0; output < panel_rows; ++output) {
    float most = 0;
    for (std::size_t input = 0; input < inputs; ++input)
      most = std::max(most, std::fabs(value_at(segment.type, from, input, output)));
    const float inverse = most > 0 ? 448.0F / most : 0.0F;
    // The kernels read the bytes as halves, which are 2^-8 of them.
    scales[output] = most / 448.0F * 256.0F;
    for (std::size_t input = 0; input < inputs; ++input) {
      const std::size_t k = input % block_inputs;
      const std::size_t pair = k / 2;
      const std::size_t reg = pair % 2 * 2 + output / 8;
      const std::size_t word = pair % 4 / 2 * 2 + reg / 2;
      to[input / block_inputs * 512 + lane_of(output, pair / 4) * 16 + word * word_bytes + reg % 2 +
         k % 2 * 2] =
          static_cast<std::byte>(to_fp8(value_at(segment.type, from, input, output) * inverse));
    }
  }
}

}  // namespace

WeightType weight_type(DType type, bool fp8) {
  switch (type) {
    case DType::f32:
      return fp8 ? WeightType::fp8 : WeightType::f32;
    case DType::f16:
      return fp8 ? WeightType::fp8 : WeightType::f16;
    case DType::bf16:
      return fp8 ? WeightType::fp8 : WeightType::bf16;
    case DType::q8_0:
      return WeightType::q8_0;
    case DType::q4_0:
      return WeightType::q4_0;
    case DType::q4_k:
      return WeightType::q4_k;
    case DType::q5_k:
      return WeightType::q5_k;
    case DType::q6_k:
      break;
  }
  return WeightType::q6_k;
}

std::size_t panel_bytes(WeightType type, std::size_t inputs) {
  const std::size_t blocks = whole_blocks(inputs);
  switch (type) {
    case WeightType::f32:
      return blocks * 2048;
    case WeightType::f16:
    case WeightType::bf16:
      return blocks * 1024;
    case WeightType::fp8:
      return blocks * 512;
    default:
      break;
  }
  const BlockShape shape = shape_of(type);
  return blocks * (shape.head + (shape.level_rows + shape.plane_rows) * word_row) +
         blocks / 8 * shape.super;
}

std::size_t segment_blocks(std::size_t blocks) {
  const std::size_t segments = std::clamp<std::size_t>(blocks / 2, 1, segments_max);
  return (blocks + segments - 1) / segments;
}

void device_panel(const Segment& segment, std::size_t panel, std::size_t inputs, WeightType type,
                  std::byte* out, float* scales) {
  const std::byte* from = segment.panels.data() + panel * segment.panel_bytes;
  std::memset(out, 0, panel_bytes(type, inputs));
  switch (type) {
    case WeightType::f32:
      std::memcpy(out, from, inputs * panel_rows * sizeof(float));
      return;
    case WeightType::f16:
    case WeightType::bf16:
      return put_halves(segment.type, from, inputs, out);
    case WeightType::fp8:
      return put_fp8(segment, from, inputs, out, scales);
    default:
      put_quantized(type, from, inputs, out);
  }
}

}  // namespace ambit::inference::cuda
