#pragma once

// How a lane takes its part of a block of weights, 16 outputs by 32 inputs, and of a block of
// inputs, 8 rows by 32, from the device's memory or from shared memory; and how it adds their
// product to its four sums. Lane = 4 g + t holds
// outputs g and g + 8 of rows 2t and 2t + 1. Sums go along the blocks in the order of the file.
// Whole numbers are summed exactly within the group of a scale, then scaled and added as the CPU's
// kernels do.

#include "inference/cuda/jobs.h"
#include "inference/cuda/simt.h"

namespace ambit::inference::cuda {

struct PanelCursor {
  const std::byte* panel;
  const float* scales;  // of fp8: of this panel
  std::uint32_t blocks;
};

// A block's own bytes, and those that it shares with the other seven of its super-block (none where
// a format has super_bytes 0).
struct BlockPlace {
  const std::byte* super;
  const std::byte* own;
};
template <class Format>
GPU_FUNCTION BlockPlace place_of(const PanelCursor& of, unsigned block) {
  if constexpr (Format::super_bytes == 0) {
    return {of.panel, of.panel + std::size_t{block} * Format::block_bytes};
  } else {
    const std::byte* super =
        of.panel + std::size_t{block / 8} * (Format::super_bytes + 8 * Format::block_bytes);
    return {super, super + Format::super_bytes + block % 8 * Format::block_bytes};
  }
}
// The index-th byte of both, what is shared first.
template <class Format>
GPU_FUNCTION const std::byte* byte_of(const BlockPlace& place, unsigned index) {
  if constexpr (Format::super_bytes > 0)
    if (index < Format::super_bytes) return place.super + index;
  return place.own + (index - Format::super_bytes);
}

// From where a lane takes its part of a block of weights: nobody else of its block of threads wants
// the bytes, or several warps do, for which they have been brought.
struct FromMemory {
  GPU_FUNCTION static Words4 words4(const std::byte* at) { return stream16(at); }
  GPU_FUNCTION static Words2 words2(const std::byte* at) { return stream8(at); }
};
struct FromShared {
  GPU_FUNCTION static Words4 words4(const std::byte* at) {
    return *reinterpret_cast<const Words4*>(at);
  }
  GPU_FUNCTION static Words2 words2(const std::byte* at) {
    return *reinterpret_cast<const Words2*>(at);
  }
};
template <class Format>
GPU_FUNCTION typename Format::Weights weights_of(const PanelCursor& of, unsigned block) {
  return Format::template weights<FromMemory>(place_of<Format>(of, block));
}

GPU_FUNCTION float half_at(const std::byte* at, unsigned index) {
  return half_to_float(reinterpret_cast<const std::uint16_t*>(at)[index]);
}
GPU_FUNCTION const LevelBlock& level_block(const FormView& in, unsigned row, unsigned block) {
  return in.blocks[std::size_t{row} * (in.padded / block_inputs) + block];
}
GPU_FUNCTION Words4 words_at(const std::uint16_t* values, const FormView& in, unsigned row,
                             unsigned block) {
  // Lane t takes inputs 8t to 8t + 7; the weights' words are in the same order.
  return *reinterpret_cast<const Words4*>(values + std::size_t{row + lane() / 4} * in.padded +
                                          block * block_inputs + lane() % 4 * 8);
}

// ---- 16-bit floats

// What the formats whose inputs these are have in common. bring(): a warp copies a block of at most
// 16 rows to a stage in shared memory, which inputs() reads as it reads block 0 of whatever inputs.
// Formats have operands(), too: the weights as two products of 16 inputs take them.
inline constexpr unsigned bring_rows = warp_lanes / 2;
template <bool bf16>
struct HalfInputs {
  static constexpr bool is_bf16 = bf16;
  static constexpr std::uint32_t super_bytes = 0;
  static constexpr std::uint32_t input_bytes = 2 * block_inputs;  // of a row's block
  using Inputs = Words4;
  GPU_FUNCTION static std::uint16_t* values(const FormView& in) {
    return bf16 ? in.bf16 : in.halves;
  }
  GPU_FUNCTION static Inputs inputs(const FormView& in, unsigned row, unsigned block) {
    return words_at(values(in), in, row, block);
  }
  GPU_FUNCTION static FormView stage(std::byte* at, unsigned /*rows*/) {
    FormView made{};
    (bf16 ? made.bf16 : made.halves) = reinterpret_cast<std::uint16_t*>(at);
    made.padded = block_inputs;
    return made;
  }
  GPU_FUNCTION static void bring(const FormView& in, unsigned row, unsigned rows, unsigned block,
                                 const FormView& to, unsigned to_row) {
    GPU_UNROLL for (unsigned i = 0; i < 2; ++i) {
      const unsigned at = i * bring_rows / 2 + lane() / 4;
      if (at < rows)
        copy16(
            values(to) + (to_row + at) * block_inputs + lane() % 4 * 8,
            values(in) + std::size_t{row + at} * in.padded + block * block_inputs + lane() % 4 * 8);
    }
  }
};

struct Bf16Format : HalfInputs<true> {
  static constexpr std::uint32_t block_bytes = 1024;
  struct Weights {
    Words4 half[2];
  };
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    const std::byte* at = of.own + lane() * 16;
    return {{From::words4(at), From::words4(at + 512)}};
  }
  GPU_FUNCTION static void operands(const Weights& w, std::uint32_t (&a)[2][4]) {
    GPU_UNROLL for (unsigned s = 0; s < 2; ++s) GPU_UNROLL for (unsigned i = 0; i < 4; ++i)
        a[s][i] = w.half[s].x[i];
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    multiply_bf16(sums, w.half[0].x, x.x[0], x.x[1]);
    multiply_bf16(sums, w.half[1].x, x.x[2], x.x[3]);
  }
  GPU_FUNCTION static float last(const PanelCursor&, unsigned, float sum) { return sum; }
};

struct F16Format : HalfInputs<false> {
  static constexpr std::uint32_t block_bytes = 1024;
  using Weights = Bf16Format::Weights;
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    return Bf16Format::weights<From>(of);
  }
  GPU_FUNCTION static void operands(const Weights& w, std::uint32_t (&a)[2][4]) {
    Bf16Format::operands(w, a);
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    multiply_f16(sums, w.half[0].x, x.x[0], x.x[1]);
    multiply_f16(sums, w.half[1].x, x.x[2], x.x[3]);
  }
  GPU_FUNCTION static float last(const PanelCursor&, unsigned, float sum) { return sum; }
};

// A byte's exponent and mantissa, read as those of a half float, are its value times 2^-8: exact,
// small ones too. The channel's scale gives the 2^8 back.
struct Fp8Format : HalfInputs<false> {
  static constexpr std::uint32_t block_bytes = 512;
  struct Weights {
    Words4 bytes;
  };
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    return {From::words4(of.own + lane() * 16)};
  }
  // Bytes 0 and 2 of a word become one pair of halves, bytes 1 and 3 the other.
  GPU_FUNCTION static std::uint32_t halves(std::uint32_t bytes) {
    return (bytes & 0x00800080U) << 8U | (bytes & 0x007F007FU) << 7U;
  }
  GPU_FUNCTION static void operands(const Weights& w, std::uint32_t (&a)[2][4]) {
    GPU_UNROLL for (unsigned s = 0; s < 2; ++s) GPU_UNROLL for (unsigned i = 0; i < 4; ++i)
        a[s][i] = halves(w.bytes.x[2 * s + i / 2] >> (i % 2 * 8));
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    std::uint32_t a[2][4];
    operands(w, a);
    multiply_f16(sums, a[0], x.x[0], x.x[1]);
    multiply_f16(sums, a[1], x.x[2], x.x[3]);
  }
  GPU_FUNCTION static float last(const PanelCursor& of, unsigned output, float sum) {
    return sum * of.scales[output];
  }
};

// No tensor cores: each lane multiplies for itself, in the order of the inputs.
struct F32Format {
  static constexpr std::uint32_t block_bytes = 2048;
  static constexpr std::uint32_t super_bytes = 0;
  struct Weights {
    const float* at;  // [32][16]
  };
  struct Inputs {
    const float* at[2];  // of rows 2t and 2t + 1
    std::uint32_t count;
  };
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    return {reinterpret_cast<const float*>(of.own)};
  }
  GPU_FUNCTION static Inputs inputs(const FormView& in, unsigned row, unsigned block) {
    const float* first =
        in.floats + std::size_t{row + lane() % 4 * 2} * in.width + block * block_inputs;
    const std::uint32_t left = in.width - block * block_inputs;
    return {{first, first + in.width}, left < block_inputs ? left : block_inputs};
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    const unsigned g = lane() / 4;
    for (unsigned k = 0; k < x.count; ++k)
      for (unsigned i = 0; i < 4; ++i)
        sums[i] = fused(x.at[i % 2][k], w.at[k * panel_rows + g + i / 2 * 8], sums[i]);
  }
  GPU_FUNCTION static float last(const PanelCursor&, unsigned, float sum) { return sum; }
};

// ---- whole numbers

// The levels of 8 rows' inputs, and what is known of the blocks of the two rows whose sums the lane
// has.
struct LevelInputs {
  Words2 levels;
  LevelBlock of[2];
};
GPU_FUNCTION LevelInputs level_inputs(const FormView& in, unsigned row, unsigned block) {
  LevelInputs made;
  made.levels =
      *reinterpret_cast<const Words2*>(in.levels + std::size_t{row + lane() / 4} * in.padded +
                                       block * block_inputs + lane() % 4 * 8);
  made.of[0] = level_block(in, row + lane() % 4 * 2, block);
  made.of[1] = level_block(in, row + lane() % 4 * 2 + 1, block);
  return made;
}

// What all formats of whole numbers have in common, as HalfInputs.
struct LevelFormat {
  static constexpr std::uint32_t super_bytes = 0;
  static constexpr std::uint32_t input_bytes = block_inputs + sizeof(LevelBlock);
  using Inputs = LevelInputs;
  GPU_FUNCTION static Inputs inputs(const FormView& in, unsigned row, unsigned block) {
    return level_inputs(in, row, block);
  }
  GPU_FUNCTION static FormView stage(std::byte* at, unsigned rows) {
    FormView made{};
    made.levels = reinterpret_cast<std::int8_t*>(at);
    made.blocks = reinterpret_cast<LevelBlock*>(at + rows * block_inputs);
    made.padded = block_inputs;
    return made;
  }
  GPU_FUNCTION static void bring(const FormView& in, unsigned row, unsigned rows, unsigned block,
                                 const FormView& to, unsigned to_row) {
    if (lane() / 2 < rows)
      copy16(to.levels + to_row * block_inputs + lane() * 16,
             in.levels + std::size_t{row + lane() / 2} * in.padded + block * block_inputs +
                 lane() % 2 * 16);
    if (lane() < rows) copy16(to.blocks + to_row + lane(), &level_block(in, row + lane(), block));
  }
  GPU_FUNCTION static float last(const PanelCursor&, unsigned, float sum) { return sum; }
};

struct LevelWeights {
  Words4 levels;    // as the product takes them
  float scales[2];  // of outputs g and g + 8
};

GPU_FUNCTION void add_levels(float (&sums)[4], const std::uint32_t (&a)[4],
                             const float (&scales)[2], const LevelInputs& x,
                             const std::int32_t (&start)[2]) {
  std::int32_t whole[4] = {start[0], start[1], start[0], start[1]};
  multiply_s8(whole, a, x.levels.x[0], x.levels.x[1]);
  GPU_UNROLL for (unsigned i = 0; i < 4; ++i) sums[i] =
      fused(static_cast<float>(whole[i]), scales[i / 2] * x.of[i % 2].scale, sums[i]);
}

struct Q8Format : LevelFormat {
  static constexpr std::uint32_t block_bytes = 544;  // 16 half floats, levels
  using Weights = LevelWeights;
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    const std::byte* at = of.own;
    const unsigned g = lane() / 4;
    return {From::words4(at + 32 + lane() * 16), {half_at(at, g), half_at(at, g + 8)}};
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    add_levels(sums, w.levels.x, w.scales, x, {0, 0});
  }
};

// Low halves of the bytes are the first 16 inputs, high halves the others.
GPU_FUNCTION Words4 from_nibbles(const Words2& words) {
  constexpr std::uint32_t low = 0x0F0F0F0FU;
  return {{words.x[0] & low, words.x[1] & low, words.x[0] >> 4U & low, words.x[1] >> 4U & low}};
}

struct Q4Format : LevelFormat {
  static constexpr std::uint32_t block_bytes = 288;  // 16 half floats, nibbles
  using Weights = LevelWeights;
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    const std::byte* at = of.own;
    const unsigned g = lane() / 4;
    return {from_nibbles(From::words2(at + 32 + lane() * 8)), {half_at(at, g), half_at(at, g + 8)}};
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    add_levels(
        sums, w.levels.x, w.scales, x,
        {-8 * (x.of[0].sums[0] + x.of[0].sums[1]), -8 * (x.of[1].sums[0] + x.of[1].sums[1])});
  }
};

// 8 blocks share the half floats d and m of the 16 outputs; a block has its own s and t.
template <bool five>
struct Q45KFormat : LevelFormat {
  static constexpr std::uint32_t block_bytes = five ? 352 : 288;
  static constexpr std::uint32_t super_bytes = 64;
  struct Weights {
    LevelWeights level;
    float offsets[2];
  };
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    const std::byte* at = of.own;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(at);
    const unsigned g = lane() / 4;
    const unsigned t = lane() % 4;
    Weights made;
    made.level.levels = from_nibbles(From::words2(at + 32 + lane() * 8));
    GPU_UNROLL for (unsigned i = 0; i < 2; ++i) {
      const unsigned output = g + 8 * i;
      made.level.scales[i] = half_at(of.super, output) * static_cast<float>(bytes[output]);
      made.offsets[i] = half_at(of.super + 32, output) * static_cast<float>(bytes[16 + output]);
      if constexpr (five) {  // bit G of an output's bytes is the fifth of its inputs 4G to 4G + 3
        const std::uint32_t plane = reinterpret_cast<const std::uint32_t*>(at + 288)[output];
        made.level.levels.x[i] |= (plane >> t & 0x01010101U) << 4U;
        made.level.levels.x[2 + i] |= (plane >> (t + 4) & 0x01010101U) << 4U;
      }
    }
    return made;
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    add_levels(sums, w.level.levels.x, w.level.scales, x, {0, 0});
    GPU_UNROLL for (unsigned i = 0; i < 4; ++i) sums[i] =
        fused(w.offsets[i / 2], x.of[i % 2].minus_sum, sums[i]);
  }
};

// Two scales a block, one for 16 inputs.
struct Q6KFormat : LevelFormat {
  static constexpr std::uint32_t block_bytes = 416;
  static constexpr std::uint32_t super_bytes = 32;
  struct Weights {
    Words4 levels;
    float scales[2][2];  // [half][output]
  };
  template <class From>
  GPU_FUNCTION static Weights weights(const BlockPlace& of) {
    const std::byte* at = of.own;
    const auto* scales = reinterpret_cast<const std::int8_t*>(at);
    const auto* planes = reinterpret_cast<const std::uint32_t*>(at + 288);
    const unsigned g = lane() / 4;
    const unsigned t = lane() % 4;
    Weights made;
    made.levels = from_nibbles(From::words2(at + 32 + lane() * 8));
    GPU_UNROLL for (unsigned i = 0; i < 2; ++i) {
      const unsigned output = g + 8 * i;
      const float d = half_at(of.super, output);
      made.scales[0][i] = d * static_cast<float>(scales[output]);
      made.scales[1][i] = d * static_cast<float>(scales[16 + output]);
      made.levels.x[i] |= (planes[output] >> (2 * t) & 0x03030303U) << 4U;
      made.levels.x[2 + i] |= (planes[16 + output] >> (2 * t) & 0x03030303U) << 4U;
    }
    return made;
  }
  GPU_FUNCTION static void add(float (&sums)[4], const Weights& w, const Inputs& x) {
    GPU_UNROLL for (unsigned half = 0; half < 2; ++half) {
      const std::int32_t start[2] = {-32 * x.of[0].sums[half], -32 * x.of[1].sums[half]};
      std::int32_t whole[4] = {start[0], start[1], start[0], start[1]};
      multiply_s8_half(whole, w.levels.x[2 * half], w.levels.x[2 * half + 1], x.levels.x[half]);
      GPU_UNROLL for (unsigned i = 0; i < 4; ++i) sums[i] =
          fused(static_cast<float>(whole[i]), w.scales[half][i / 2] * x.of[i % 2].scale, sums[i]);
    }
  }
};

}  // namespace ambit::inference::cuda
