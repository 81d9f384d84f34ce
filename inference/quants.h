#pragma once

// The quantised formats of weight files, exactly as their public definition has them. A block is 32
// or 256 elements: whole numbers (levels) and the scales that turn them into weights:
//   Q8_0  w = d * (level - 128)              32 elements, stored as signed bytes
//   Q4_0  w = d * (level - 8)                32 elements
//   Q4_K  w = d * s * level - m * t          256 elements in groups of 32 with s, t of 6 bits each
//   Q5_K  as Q4_K with levels of 5 bits
//   Q6_K  w = d * s * (level - 32)           256 elements in groups of 16 with s of 8 bits, signed
// d and m are half floats.

#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>

namespace ambit::inference {

// A block taken apart. What its format does not have is 0.
struct QuantBlock {
  std::uint16_t d = 0;           // bits of a half float
  std::uint16_t m = 0;           // the same
  std::int8_t scales[16] = {};   // s of each group
  std::uint8_t offsets[8] = {};  // t of each group
  std::uint8_t levels[256] = {};
};

// The level that stands for 0; 0 where offsets say it.
constexpr int zero_level(DType type) {
  switch (type) {
    case DType::q8_0:
      return 128;
    case DType::q4_0:
      return 8;
    case DType::q6_k:
      return 32;
    default:
      return 0;
  }
}

void read_block(DType type, const std::byte* bytes, QuantBlock& block);
void write_block(DType type, const QuantBlock& block, std::byte* bytes);

// `count` elements, a multiple of the type's block.
void dequantize(DType type, const std::byte* bytes, std::size_t count, float* out);
// Picks the scales that give the smallest squared error among a few candidates, then rounds.
void quantize(DType type, const float* values, std::size_t count, std::byte* out);

}  // namespace ambit::inference
