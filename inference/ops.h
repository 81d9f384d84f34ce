#pragma once

// The operations of the forward pass. Each output has ONE order of summation, fixed by the weight's
// shape and the token's position: matmul adds along the inputs in file order, one lane an output;
// attention goes through the chunks of 256 absolute positions, each giving (maximum, sum, vector),
// folded from the left. How many rows, threads and lanes take part changes nothing in any bit: the
// schedule is free. Kernels is what one instruction set (AVX-512, AVX2, NEON, plain C++) offers;
// all give the same bits, because they do the same fused multiply-adds in the same order; the
// matrix unit alone adds products of bfloat16 in another.

#include "inference/model.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ambit::inference {

// 16 bits are half floats on the CPU and bfloat16 on a GPU. q8 is for the CPU alone: whole numbers
// from -127 to 127, with one scale for a token's key and one for its value in each head. fp8 is for
// GPUs alone.
enum class KvType : std::uint8_t { f32, f16, q8, fp8 };

inline constexpr std::size_t page_tokens = 32;    // of one KV page
inline constexpr std::size_t chunk_tokens = 256;  // of one step of the attention's fold

// 32 inputs of one row as whole numbers: x = scale * level, levels from -127 to 127. With them come
// the sums of the levels, ready for the formats whose zero is not level 0.
struct InputBlock {
  float scale;
  float minus_sum;               // -scale * the sum of the levels
  std::int32_t start_q8;         // -128 * the sum
  std::int32_t start_q4;         // -8 * the sum
  std::int32_t start_halves[2];  // -32 * the sum of the first 16 and of the last 16
};
inline constexpr std::size_t input_block = 32;
// Rows lie 16 by 16, so that a block of 16 rows is one stretch of memory:
//   levels[row / 16][block][row % 16][32], blocks[row / 16][block][row % 16]
// Kernels may read (never use) rows up to the next multiple of 16.
inline constexpr std::size_t row_padding = 16;
constexpr std::size_t levels_at(std::size_t row, std::size_t inputs) {
  return row / row_padding * row_padding * inputs + row % row_padding * input_block;
}
constexpr std::size_t block_at(std::size_t row, std::size_t inputs) {
  return row / row_padding * row_padding * (inputs / input_block) + row % row_padding;
}

// out[row][output] = sum over inputs of W[output][input] * in[row][input], outputs in whole panels.
// F32 and F16 weights take the inputs as floats, added input by input. BF16 weights take them
// rounded to bfloat16, pair by pair, the odd one of each first (the matrix unit: 32 at a time, the
// even ones in one chain, the odd ones in another). Quantised
// weights take them as levels: whole products are summed exactly within a group of the weight's
// scale, then scaled and added group by group. Plain pointers: kernel sources are compiled for
// other machines and must not use library code.
struct MatmulJob {
  DType type;
  const std::byte* panels;
  std::size_t panel_bytes;
  std::size_t inputs;
  const float* in;  // [rows][in_stride]
  std::size_t in_stride;
  const std::int8_t* levels;  // as above
  const InputBlock* blocks;
  const std::uint16_t* rounded;  // to bfloat16, laid out as the levels are, in whole blocks
  float* out;
  std::size_t out_stride;
  std::size_t rows;
};

// One row's attention over its own past. A page holds, for each layer and each key head:
//   K[head_width][page_tokens], then V[page_tokens][head_width],
// and as q8 then the floats scale of K[page_tokens], scale of V[page_tokens].
struct AttentionRow {
  const std::byte* const* pages;  // of the row's sequence, in order
  std::size_t position;           // it sees first..position
  std::size_t first;
  const float* query;  // [heads][head_width]
  float* out;          // [heads][head_width]
};

struct AttentionShape {
  std::size_t heads;
  std::size_t kv_heads;
  std::size_t head_width;
  std::size_t layer_offset;  // bytes from a page's start to this layer's part
  std::size_t head_bytes;    // of one key head there: kv_head_bytes()
  float scale;
  float cap;  // of the scores: cap * tanh(score / cap); 0: none
};

struct Kernels {
  std::string_view name;
  void (*matmul)(const MatmulJob& job, std::size_t first_panel, std::size_t last_panel);
  // `levels` and `blocks` are where the row begins: levels_at(), block_at().
  void (*quantize_row)(const float* in, std::size_t width, std::int8_t* levels, InputBlock* blocks);
  void (*round_row)(const float* in, std::size_t width, std::uint16_t* out);
  // Heads that share one key head, for one row. `scratch`: attention_scratch() floats.
  void (*attend)(const AttentionShape& shape, KvType type, const AttentionRow& row,
                 std::size_t kv_head, float* scratch);
  void (*rms_norm)(const float* in, const float* weight, float epsilon, std::size_t width,
                   float* out);
  void (*swiglu)(const float* gate, const float* up, std::size_t width, float* out);
  void (*geglu)(const float* gate, const float* up, std::size_t width, float* out);
  void (*soft_cap)(float* values, std::size_t count, float cap);
  void (*to_f16)(const float* in, std::size_t count, std::uint16_t* out);
};

inline std::size_t attention_scratch(const AttentionShape& shape) {
  const std::size_t group = shape.heads / shape.kv_heads;
  return group * (chunk_tokens + shape.head_width);
}

inline std::size_t kv_element_bytes(KvType type) {
  return type == KvType::q8 ? 1 : type == KvType::f16 ? 2 : 4;
}
// Of one layer and one key head in a page.
inline std::size_t kv_head_bytes(KvType type, std::size_t head_width) {
  const std::size_t scales = type == KvType::q8 ? 2 * page_tokens * sizeof(float) : 0;
  return 2 * head_width * page_tokens * kv_element_bytes(type) + scales;
}

// The instruction sets of this machine, the best first; "plain" is always there.
std::vector<const Kernels*> usable_kernels();

// Simple element-wise operations, the same on every machine.
void add(const float* in, std::size_t count, float* into);
// Turns the leading pairs of a head; cosines and sines of this position, [rope_width / 2].
void rotate(bool interleaved, const float* cosines, const float* sines, std::size_t rope_width,
            float* head);

}  // namespace ambit::inference
