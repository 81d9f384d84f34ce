#pragma once

// Operations on single rows: embeddings, norms, turns, gates, caps. A row's result depends on the
// row alone: one block of a fixed number of threads has it, or each value is its own. Whoever makes
// a row that a product will read writes it in the forms which the weights want.

#include "inference/cuda/weight_formats.h"

namespace ambit::inference::cuda {

inline constexpr unsigned row_threads = 256;  // of a norm; part of what its sum is
inline constexpr unsigned small_threads = 128;

// ---- forms

// A row's value in tiles. A block's pairs of inputs are in the order in which the weights' words
// give them to the product: pair p is the (p / 4)th of the 8 values number p % 4.
GPU_FUNCTION std::size_t tile_place(const FormView& of, unsigned row, unsigned at) {
  const unsigned k = at % block_inputs;
  const std::size_t tile = std::size_t{at / block_inputs} * of.row_tiles + row / token_tile;
  return (tile * 4 + k / 2 % 4) * 64 + row % token_tile * 8 + k / 8 * 2 + k % 2;
}

// A warp writes a block of 32 values of one row; values beyond the width are 0.
GPU_FUNCTION void write_block(const FormView& out, unsigned row, unsigned block, float value) {
  const unsigned at = block * block_inputs + lane();
  const std::size_t place =
      out.row_tiles > 0 ? tile_place(out, row, at) : std::size_t{row} * out.padded + at;
  if (out.floats != nullptr && at < out.width)
    out.floats[std::size_t{row} * out.width + at] = value;
  if (out.bf16 != nullptr) out.bf16[place] = float_to_bf16(value);
  if (out.halves != nullptr) {
    const float most = 65504.0F;
    out.halves[place] = float_to_half(value > most ? most : value < -most ? -most : value);
  }
  if (out.levels == nullptr) return;
  const float most = warp_largest(value < 0.0F ? -value : value);
  const float magic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float rounded = (value * (most > 0.0F ? 127.0F / most : 0.0F) + magic) - magic;
  const std::int32_t level =
      rounded >= -127.0F && rounded <= 127.0F ? static_cast<std::int32_t>(rounded) : 0;
  std::int32_t half = level;
  for (unsigned with = 8; with > 0; with /= 2) half = half + exchange(half, with);
  const std::int32_t other = exchange(half, 16);
  const unsigned in_half = lane() % 16;
  out.levels[std::size_t{row} * out.padded + block * block_inputs + in_half / 4 * 8 +
             lane() / 16 * 4 + in_half % 4] = static_cast<std::int8_t>(level);
  if (lane() == 0) {
    const float scale = most / 127.0F;
    LevelBlock& made = out.blocks[std::size_t{row} * (out.padded / block_inputs) + block];
    made.scale = scale;
    made.minus_sum = -(scale * static_cast<float>(half + other));
    made.sums[0] = half;
    made.sums[1] = other;
  }
}

// ---- embeddings

// Weight of one output and input, from the panels.
GPU_FUNCTION float weight_at(const WeightView& of, unsigned output, unsigned input) {
  const std::byte* panel = of.panels + std::size_t{output / panel_rows} * of.panel_bytes;
  const unsigned row = output % panel_rows;
  const unsigned block = input / block_inputs;
  const unsigned k = input % block_inputs;
  const unsigned high = row / 8;
  if (of.type == WeightType::f32)
    return reinterpret_cast<const float*>(panel)[std::size_t{input} * panel_rows + row];
  if (of.type == WeightType::bf16 || of.type == WeightType::f16 || of.type == WeightType::fp8) {
    const unsigned step = k / 2 % 4 / 2;
    const unsigned lane_at = row % 8 * 4 + k / 8;
    const unsigned word = k / 2 % 2 * 2 + high;
    if (of.type == WeightType::fp8) {
      const std::byte* at = panel + std::size_t{block} * Fp8Format::block_bytes + lane_at * 16 +
                            (2 * step + word / 2) * 4 + word % 2 + k % 2 * 2;
      const auto bits = *reinterpret_cast<const std::uint8_t*>(at);
      return fp8_to_float(bits) * 0x1p-8F * of.scales[output];
    }
    const std::byte* at = panel + std::size_t{block} * Bf16Format::block_bytes + step * 512 +
                          lane_at * 16 + word * 4 + k % 2 * 2;
    const auto bits = *reinterpret_cast<const std::uint16_t*>(at);
    return of.type == WeightType::bf16 ? bf16_to_float(bits) : half_to_float(bits);
  }
  const unsigned group = k / 4;
  const unsigned lane_at = row % 8 * 4 + group % 4;
  if (of.type == WeightType::q8_0) {
    const std::byte* at = panel + std::size_t{block} * Q8Format::block_bytes;
    const auto level = *reinterpret_cast<const std::int8_t*>(at + 32 + lane_at * 16 +
                                                             (group / 4 * 2 + high) * 4 + k % 4);
    return half_at(at, row) * static_cast<float>(level);
  }
  const auto nibble = [&](const std::byte* at) {
    const auto both =
        *reinterpret_cast<const std::uint8_t*>(at + 32 + lane_at * 8 + high * 4 + k % 4);
    return static_cast<unsigned>(group < 4 ? both & 15U : both >> 4U);
  };
  if (of.type == WeightType::q4_0) {
    const std::byte* at = panel + std::size_t{block} * Q4Format::block_bytes;
    return half_at(at, row) * static_cast<float>(static_cast<int>(nibble(at)) - 8);
  }
  const bool six = of.type == WeightType::q6_k;
  const bool five = of.type == WeightType::q5_k;
  const unsigned each = six    ? Q6KFormat::block_bytes
                        : five ? Q45KFormat<true>::block_bytes
                               : Q45KFormat<false>::block_bytes;
  const unsigned head = six ? Q6KFormat::super_bytes : Q45KFormat<false>::super_bytes;
  const std::byte* super = panel + std::size_t{block / 8} * (head + 8 * each);
  const std::byte* at = super + head + block % 8 * each;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(at);
  unsigned level = nibble(at);
  if (six) {
    level |= (bytes[288 + group / 4 * 64 + row * 4 + k % 4] >> (group % 4 * 2) & 3U) << 4U;
    const auto scale = static_cast<std::int8_t>(bytes[k / 16 * 16 + row]);
    return half_at(super, row) * static_cast<float>(scale) *
           static_cast<float>(static_cast<int>(level) - 32);
  }
  if (five) level |= (bytes[288 + row * 4 + k % 4] >> group & 1U) << 4U;
  return half_at(super, row) * static_cast<float>(bytes[row]) * static_cast<float>(level) -
         half_at(super + 32, row) * static_cast<float>(bytes[16 + row]);
}

GPU_KERNEL(small_threads)
embed_rows(GPU_JOB(EmbedJob) job) {
  await_inputs();
  const unsigned row = block_x();
  const auto token = static_cast<unsigned>(job.tokens[row]);
  for (unsigned d = block_y() * small_threads + thread(); d < job.width; d += small_threads * 8)
    job.out[std::size_t{row} * job.width + d] = weight_at(job.table, token, d) * job.scale;
}

// ---- norms

// 1 / the root of the mean square: each thread's values in order, the lanes' fold, then the warps
// from the left. All threads get it.
GPU_FUNCTION float row_scale(const float* values, unsigned width, float epsilon) {
  auto* parts = shared_at<float>(0);
  float sum = 0.0F;
  for (unsigned d = thread(); d < width; d += row_threads) sum = fused(values[d], values[d], sum);
  sum = warp_sum(sum);
  block_barrier();  // whoever still reads an earlier row's parts
  if (lane() == 0) parts[warp()] = sum;
  block_barrier();
  float total = parts[0];
  for (unsigned w = 1; w < row_threads / warp_lanes; ++w) total = total + parts[w];
  return 1.0F / square_root(total / static_cast<float>(width) + epsilon);
}

GPU_KERNEL(row_threads)
norm_rows(GPU_JOB(NormJob) job) {
  await_inputs();
  const unsigned row = block_x();
  const unsigned from = job.select == nullptr ? row : job.select[row];
  float* x = job.residual + std::size_t{from} * job.width;
  if (job.made != nullptr) {
    const float* made = job.made + std::size_t{row} * job.made_stride;
    const float scale = job.after == nullptr ? 1.0F : row_scale(made, job.width, job.epsilon);
    for (unsigned d = thread(); d < job.width; d += row_threads)
      x[d] = x[d] + (job.after == nullptr ? made[d] : made[d] * scale * job.after[d]);
    block_barrier();
  }
  if (job.next == nullptr) return;
  const float scale = row_scale(x, job.width, job.epsilon);
  let_next_start();
  for (unsigned block = warp(); block < job.out.padded / block_inputs;
       block += row_threads / warp_lanes) {
    const unsigned d = block * block_inputs + lane();
    write_block(job.out, row, block, d < job.width ? x[d] * scale * job.next[d] : 0.0F);
  }
}

// ---- queries, keys and values

// Bytes of a key head's part of a page: keys [32][width], values [32][width]; of fp8 then a scale
// for each position's key and one for each value.
GPU_BOTH std::size_t page_head_bytes(PageType type, unsigned head_width) {
  const std::size_t elements = std::size_t{2} * page_positions * head_width;
  return type == PageType::bf16 ? elements * 2 : elements + 2 * page_positions * sizeof(float);
}

GPU_FUNCTION void store_head(const PrepareJob& job, unsigned row, unsigned head, bool is_value,
                             const float* values) {
  const unsigned width = job.head_width;
  const unsigned position = job.positions[row];
  const unsigned slot = position % page_positions;
  std::byte* base = job.pages[job.tables[row] + position / page_positions] + job.layer_offset +
                    head * page_head_bytes(job.page_type, width);
  const std::size_t at = std::size_t{is_value ? page_positions + slot : slot} * width;
  if (job.page_type == PageType::bf16) {
    auto* to = reinterpret_cast<std::uint16_t*>(base) + at;
    for (unsigned d = lane(); d < width; d += warp_lanes) to[d] = float_to_bf16(values[d]);
    return;
  }
  float most = 0.0F;
  for (unsigned d = lane(); d < width; d += warp_lanes)
    most = larger(most, values[d] < 0.0F ? -values[d] : values[d]);
  most = warp_largest(most);
  const float inverse = most > 0.0F ? 448.0F / most : 0.0F;
  auto* to = reinterpret_cast<std::uint8_t*>(base) + at;
  for (unsigned d = lane(); d < width; d += warp_lanes) to[d] = float_to_fp8(values[d] * inverse);
  auto* scales = reinterpret_cast<float*>(base + std::size_t{2} * page_positions * width);
  if (lane() == 0) scales[(is_value ? page_positions : 0) + slot] = most / 448.0F;
}

inline std::size_t prepare_bytes(unsigned head_width) {
  return std::size_t{small_threads / warp_lanes} * head_width * sizeof(float);
}

// One warp a head: queries first, then keys, then values.
GPU_KERNEL(small_threads)
prepare_rows(GPU_JOB(PrepareJob) job) {
  await_inputs();
  const unsigned row = block_x();
  const unsigned unit = block_y() * (small_threads / warp_lanes) + warp();
  if (unit >= job.heads + 2 * job.kv_heads) return;
  const bool is_query = unit < job.heads;
  const bool is_value = unit >= job.heads + job.kv_heads;
  const unsigned head = is_query ? unit : (unit - job.heads) % job.kv_heads;
  const unsigned width = job.head_width;
  const unsigned at = (is_query ? 0 : is_value ? job.value_at : job.key_at) + head * width;
  const float* from = job.qkv + std::size_t{row} * job.stride + at;
  auto* values = shared_at<float>(std::size_t{warp()} * width * sizeof(float));
  for (unsigned d = lane(); d < width; d += warp_lanes)
    values[d] = job.bias == nullptr ? from[d] : from[d] + job.bias[at + d];
  const float* norm = is_value ? nullptr : is_query ? job.query_norm : job.key_norm;
  if (norm != nullptr) {
    float sum = 0.0F;
    for (unsigned d = lane(); d < width; d += warp_lanes) sum = fused(values[d], values[d], sum);
    const float scale = 1.0F / square_root(warp_sum(sum) / static_cast<float>(width) + job.epsilon);
    for (unsigned d = lane(); d < width; d += warp_lanes) values[d] = values[d] * scale * norm[d];
  }
  warp_barrier();
  if (!is_value && job.turns != nullptr) {
    const unsigned pairs = job.rope_width / 2;
    const float* turns = job.turns + std::size_t{job.positions[row]} * pairs * 2;
    const unsigned step = job.interleaved ? 2 : 1;
    const unsigned apart = job.interleaved ? 1 : pairs;
    for (unsigned i = lane(); i < pairs; i += warp_lanes) {
      float& a = values[i * step];
      float& b = values[i * step + apart];
      const float turned = a * turns[2 * i] - b * turns[2 * i + 1];
      b = a * turns[2 * i + 1] + b * turns[2 * i];
      a = turned;
    }
    warp_barrier();
  }
  if (!is_query) {
    store_head(job, row, head, is_value, values);
    return;
  }
  std::uint16_t* to = job.queries + (std::size_t{row} * job.heads + head) * width;
  for (unsigned d = lane(); d < width; d += warp_lanes) to[d] = float_to_bf16(values[d]);
}

// ---- gates and caps

inline constexpr unsigned gate_blocks = small_threads / warp_lanes;  // of 32 values, of one block

GPU_KERNEL(small_threads)
gate_rows(GPU_JOB(GateJob) job) {
  await_inputs();
  const unsigned row = job.places == nullptr ? block_x() : job.places[block_x()];
  const unsigned block = block_y() * gate_blocks + warp();
  if (row == no_place || block >= job.out.padded / block_inputs) return;
  const unsigned d = block * block_inputs + lane();
  float value = 0.0F;
  if (d < job.out.width) {
    const float* from = job.gate_up + std::size_t{row} * job.stride;
    const float gate = from[d];
    float minus = 0.0F - gate;
    if (job.gelu)  // 0.5 * (1 + tanh(z)) is 1 / (1 + exp(-2 z)), z = sqrt(2 / pi) * inner
      minus = fused(gate * gate * gate, 0.044715F, gate) * -1.5957691216F;
    value = gate / (1.0F + exponential(minus)) * from[job.up_at + d];
  }
  write_block(job.out, row, block, value);
}

GPU_KERNEL(row_threads)
cap_rows(GPU_JOB(CapJob) job) {
  await_inputs();
  float* row = job.values + std::size_t{block_x()} * job.stride;
  for (unsigned d = block_y() * row_threads + thread(); d < job.width; d += row_threads * 16)
    row[d] = capped(row[d], job.cap);
}

}  // namespace ambit::inference::cuda
