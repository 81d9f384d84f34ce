#pragma once

// Attention over chunks of 256 absolute positions. A chunk gives (maximum, sum, vector) for each
// row and head; chunks are folded from the left. What is computed for a chunk never depends on who
// else is computed with it: scores go along the head, 16 dimensions a product; the maximum is over
// all visible positions; the sum has one tree; vectors go along the positions, 16 a product, always
// through the whole chunk. Four warps share the outputs, never a sum. So one block for a chunk, one
// for all chunks of a prompt's rows, or one for all the sequences that share a chunk's pages: the
// bits are the same.

#include "inference/cuda/rows.h"

namespace ambit::inference::cuda {

inline constexpr unsigned attend_threads = 128;
inline constexpr unsigned attend_warps = attend_threads / warp_lanes;
inline constexpr unsigned tile_slots = 16;                      // a slot is one head of one row
inline constexpr unsigned weight_stride = chunk_positions + 8;  // of a slot's weights

// Heads that share a key head go together as far as 16 of them do.
GPU_FUNCTION unsigned heads_together(unsigned heads, unsigned kv_heads) {
  const unsigned group = heads / kv_heads;
  return group < tile_slots ? group : tile_slots;
}
// Rows of one tile of 16 slots.
inline unsigned tile_rows(unsigned heads, unsigned kv_heads) {
  const unsigned group = heads / kv_heads;
  return group < tile_slots ? tile_slots / group : 1;
}
inline unsigned head_parts(unsigned heads, unsigned kv_heads) {
  return (heads / kv_heads + tile_slots - 1) / tile_slots;
}

// Where things are in a block's shared memory, in bytes.
struct AttendLayout {
  unsigned values;   // bf16 [256][width + 8]: keys, then values
  unsigned weights;  // bf16 [slots][264]
  unsigned queries;  // bf16 [slots][width + 8]
  unsigned peaks;    // [warps][slots]
  unsigned sums;     // [warps][slots]
  unsigned seen;     // [slots][2]: first and end of what the slot's row sees; end 0: no row
  unsigned scales;   // [256]: of fp8
  unsigned bytes;
};
GPU_BOTH AttendLayout attend_layout(unsigned tiles, unsigned width) {
  const unsigned slots = tiles * tile_slots;
  AttendLayout at{};
  at.weights = chunk_positions * (width + 8) * 2;
  at.queries = at.weights + slots * weight_stride * 2;
  at.peaks = at.queries + slots * (width + 8) * 2;
  at.sums = at.peaks + attend_warps * slots * 4;
  at.seen = at.sums + attend_warps * slots * 4;
  at.scales = at.seen + slots * 8;
  at.bytes = at.scales + chunk_positions * 4;
  return at;
}

// What a slot is: its row in the item's list and its head; `row` beyond the item: none.
struct Slot {
  unsigned row;
  unsigned head;
  bool is_there;
};
GPU_FUNCTION Slot slot_at(const AttendJob& job, const AttentionItem& item, unsigned slot,
                          unsigned kv_head, unsigned part) {
  const unsigned group = job.heads / job.kv_heads;
  const unsigned together = heads_together(job.heads, job.kv_heads);
  const unsigned rows = tile_slots / together;
  const unsigned row = slot / tile_slots * rows + slot % tile_slots / together;
  const unsigned head = part * tile_slots + slot % tile_slots % together;
  const bool is_there = slot % tile_slots / together < rows && row < item.row_count && head < group;
  return {row, kv_head * group + head, is_there};
}

// The keys or the values of a chunk into shared memory; positions beyond `last` are zero.
GPU_FUNCTION void load_chunk(const AttendJob& job, const AttentionItem& item, unsigned chunk,
                             unsigned kv_head, bool is_value, const AttendLayout& at) {
  const unsigned width = job.head_width;
  const unsigned stride = width + 8;
  auto* to = shared_at<std::uint16_t>(at.values);
  const std::size_t head_at = job.layer_offset + kv_head * page_head_bytes(job.page_type, width);
  const unsigned pieces = width / 8;  // of 8 elements
  for (unsigned i = thread(); i < chunk_positions * pieces; i += attend_threads) {
    const unsigned in_chunk = i / pieces;
    const unsigned piece = i % pieces;
    const unsigned position = chunk * chunk_positions + in_chunk;
    std::uint16_t* place = to + in_chunk * stride + piece * 8;
    if (position > item.last) {
      *reinterpret_cast<Words4*>(place) = Words4{{0, 0, 0, 0}};
      continue;
    }
    const std::byte* base = job.pages[item.table + position / page_positions] + head_at;
    const std::size_t element =
        (std::size_t{is_value ? page_positions : 0U} + position % page_positions) * width +
        piece * 8;
    if (job.page_type == PageType::bf16) {
      copy16(place, base + element * 2);
      continue;
    }
    const Words2 bytes = *reinterpret_cast<const Words2*>(base + element);
    Words4 made;
    GPU_UNROLL for (unsigned w = 0; w < 4; ++w) {
      const std::uint32_t pair = bytes.x[w / 2] >> (w % 2 * 16);
      made.x[w] = two(float_to_bf16(fp8_to_float(static_cast<std::uint8_t>(pair))),
                      float_to_bf16(fp8_to_float(static_cast<std::uint8_t>(pair >> 8U))));
    }
    *reinterpret_cast<Words4*>(place) = made;
  }
  begin_copies();
  if (job.page_type == PageType::fp8) {
    auto* scales = shared_at<float>(at.scales);
    for (unsigned i = thread(); i < chunk_positions; i += attend_threads) {
      const unsigned position = chunk * chunk_positions + i;
      scales[i] = 0.0F;
      if (position > item.last) continue;
      const std::byte* base = job.pages[item.table + position / page_positions] + head_at;
      const auto* of_page =
          reinterpret_cast<const float*>(base + std::size_t{2} * page_positions * width);
      scales[i] = of_page[(is_value ? page_positions : 0U) + position % page_positions];
    }
  }
  finish_copies<0>();
}

// Scores of 16 slots at the warp's 64 positions; what a slot does not see is minus infinity. Gives
// the largest of slots g and g + 8.
GPU_FUNCTION void score_tile(const AttendJob& job, unsigned tile, unsigned chunk,
                             const AttendLayout& at, float (&scores)[8][4], float (&most)[2]) {
  const unsigned stride = job.head_width + 8;
  const unsigned g = lane() / 4;
  const unsigned t = lane() % 4;
  const auto* query =
      shared_at<const std::uint16_t>(at.queries) + (tile * tile_slots + g) * stride + 2 * t;
  const auto* key = shared_at<const std::uint16_t>(at.values) + (warp() * 64 + g) * stride + 2 * t;
  const auto word = [](const std::uint16_t* from) {
    return *reinterpret_cast<const std::uint32_t*>(from);
  };
  for (unsigned d = 0; d < job.head_width; d += 16) {
    const std::uint32_t a[4] = {word(query + d), word(query + 8 * stride + d), word(query + d + 8),
                                word(query + 8 * stride + d + 8)};
    GPU_UNROLL for (unsigned n = 0; n < 8; ++n) multiply_bf16(
        scores[n], a, word(key + n * 8 * stride + d), word(key + n * 8 * stride + d + 8));
  }
  const auto* seen = shared_at<const std::uint32_t>(at.seen) + (tile * tile_slots + g) * 2;
  const auto* scales = shared_at<const float>(at.scales);
  GPU_UNROLL for (unsigned n = 0; n < 8; ++n) GPU_UNROLL for (unsigned i = 0; i < 4; ++i) {
    const unsigned in_chunk = warp() * 64 + n * 8 + 2 * t + i % 2;
    const unsigned position = chunk * chunk_positions + in_chunk;
    float score = scores[n][i];
    if (job.page_type == PageType::fp8) score = score * scales[in_chunk];
    score = score * job.scale;
    if (job.cap > 0.0F) score = capped(score, job.cap);
    const std::uint32_t* of = seen + i / 2 * 16;
    scores[n][i] = position >= of[0] && position < of[1] ? score : bits_float(0xFF800000U);
  }
  GPU_UNROLL for (unsigned h = 0; h < 2; ++h) {
    most[h] = larger(scores[0][2 * h], scores[0][2 * h + 1]);
    GPU_UNROLL for (unsigned n = 1; n < 8; ++n) most[h] =
        larger(most[h], larger(scores[n][2 * h], scores[n][2 * h + 1]));
    most[h] = larger(most[h], exchange(most[h], 1));
    most[h] = larger(most[h], exchange(most[h], 2));
  }
}

// exp(score - maximum) of a tile into shared memory, and the warp's part of their sums.
GPU_FUNCTION void soften_tile(const AttendJob& job, unsigned tile, unsigned tiles,
                              const AttendLayout& at, float (&scores)[8][4]) {
  const unsigned slots = tiles * tile_slots;
  const unsigned g = lane() / 4;
  const unsigned t = lane() % 4;
  const auto* peaks = shared_at<const float>(at.peaks) + tile * tile_slots + g;
  const float none = bits_float(0xFF800000U);
  GPU_UNROLL for (unsigned h = 0; h < 2; ++h) {
    float most = peaks[8 * h];
    GPU_UNROLL for (unsigned w = 1; w < attend_warps; ++w) most =
        larger(most, peaks[w * slots + 8 * h]);
    float sum = 0.0F;
    auto* weights =
        shared_at<std::uint16_t>(at.weights) + (tile * tile_slots + g + 8 * h) * weight_stride;
    GPU_UNROLL for (unsigned n = 0; n < 8; ++n) {
      const unsigned in_chunk = warp() * 64 + n * 8 + 2 * t;
      float pair[2];
      GPU_UNROLL for (unsigned i = 0; i < 2; ++i) {
        const float score = scores[n][2 * h + i];
        pair[i] = score == none ? 0.0F : exponential(score - most);
      }
      sum = sum + (pair[0] + pair[1]);
      if (job.page_type == PageType::fp8) {  // the values' scales go with their weights
        pair[0] = pair[0] * shared_at<const float>(at.scales)[in_chunk];
        pair[1] = pair[1] * shared_at<const float>(at.scales)[in_chunk + 1];
      }
      *reinterpret_cast<std::uint32_t*>(weights + in_chunk) =
          two(float_to_bf16(pair[0]), float_to_bf16(pair[1]));
    }
    sum = sum + exchange(sum, 1);
    sum = sum + exchange(sum, 2);
    if (t == 0) shared_at<float>(at.sums)[warp() * slots + tile * tile_slots + g + 8 * h] = sum;
  }
}

// One step of the fold of chunks from the left; a chunk of which nothing is seen changes nothing.
struct FoldStep {
  float before;  // what was is multiplied by this
  float now;     // and what comes by this
  bool is_first;
  bool is_empty;
};
GPU_FUNCTION FoldStep fold_step(float& peak, float& sum, float chunk_peak, float chunk_sum) {
  const float none = bits_float(0xFF800000U);
  if (chunk_peak == none) return {1.0F, 0.0F, false, true};
  if (peak == none) {
    peak = chunk_peak;
    sum = chunk_sum;
    return {0.0F, 1.0F, true, false};
  }
  const float most = larger(peak, chunk_peak);
  const float before = exponential(peak - most);
  const float now = exponential(chunk_peak - most);
  sum = sum * before + chunk_sum * now;
  peak = most;
  return {before, now, false, false};
}
GPU_FUNCTION float folded(const FoldStep& step, float was, float part) {
  if (step.is_empty) return was;
  return step.is_first ? part : fused(part, step.now, was * step.before);
}

template <unsigned tiles, unsigned dim_tiles>
GPU_KERNEL(attend_threads)
attend_chunks(GPU_JOB(AttendJob) job) {
  constexpr unsigned slots = tiles * tile_slots;
  await_inputs();
  if (block_x() >= *job.item_count) return;
  const AttentionItem item = job.items[block_x()];
  const unsigned kv_head = block_y() % job.kv_heads;
  const unsigned part = block_y() / job.kv_heads;
  const unsigned width = job.head_width;
  const unsigned stride = width + 8;
  const AttendLayout at = attend_layout(tiles, width);
  const unsigned g = lane() / 4;
  const unsigned t = lane() % 4;
  for (unsigned i = thread(); i < slots * (width / 8); i += attend_threads) {
    const unsigned slot = i / (width / 8);
    const Slot of = slot_at(job, item, slot, kv_head, part);
    Words4 piece{{0, 0, 0, 0}};
    if (of.is_there) {
      const unsigned row = job.item_rows[item.rows_at + of.row].row;
      piece = *reinterpret_cast<const Words4*>(
          job.queries + (std::size_t{row} * job.heads + of.head) * width + i % (width / 8) * 8);
    }
    *reinterpret_cast<Words4*>(shared_at<std::uint16_t>(at.queries) + slot * stride +
                               i % (width / 8) * 8) = piece;
  }
  for (unsigned slot = thread(); slot < slots; slot += attend_threads) {
    const Slot of = slot_at(job, item, slot, kv_head, part);
    auto* seen = shared_at<std::uint32_t>(at.seen) + slot * 2;
    seen[0] = seen[1] = 0;
    if (!of.is_there) continue;
    const unsigned end = job.positions[job.item_rows[item.rows_at + of.row].row] + 1;
    seen[0] = job.window > 0 && end > job.window ? end - job.window : 0;
    seen[1] = end;
  }
  const float none = bits_float(0xFF800000U);
  float peak[tiles][2];
  float sum[tiles][2];
  GPU_UNROLL for (unsigned tile = 0; tile < tiles; ++tile)
      GPU_UNROLL for (unsigned h = 0; h < 2; ++h) {
    peak[tile][h] = none;
    sum[tile][h] = 0.0F;
  }
  float state[tiles][dim_tiles][4] = {};
  for (unsigned chunk = item.chunk_first; chunk < item.chunk_end; ++chunk) {
    block_barrier();  // the last chunk's values are no longer read
    load_chunk(job, item, chunk, kv_head, false, at);
    block_barrier();
    float scores[tiles][8][4] = {};
    GPU_UNROLL for (unsigned tile = 0; tile < tiles; ++tile) {
      float most[2];
      score_tile(job, tile, chunk, at, scores[tile], most);
      if (t == 0)
        GPU_UNROLL for (unsigned h = 0; h < 2; ++h)
            shared_at<float>(at.peaks)[warp() * slots + tile * tile_slots + g + 8 * h] = most[h];
    }
    block_barrier();  // all maxima are there, no key is read any more
    load_chunk(job, item, chunk, kv_head, true, at);
    block_barrier();
    GPU_UNROLL for (unsigned tile = 0; tile < tiles; ++tile)
        soften_tile(job, tile, tiles, at, scores[tile]);
    block_barrier();
    GPU_UNROLL for (unsigned tile = 0; tile < tiles; ++tile) {
      float parts[dim_tiles][4] = {};
      const auto* weights = shared_at<const std::uint16_t>(at.weights) +
                            (tile * tile_slots + g) * weight_stride + 2 * t;
      const auto word = [](const std::uint16_t* from) {
        return *reinterpret_cast<const std::uint32_t*>(from);
      };
      GPU_ROLLED for (unsigned p = 0; p < chunk_positions; p += 16) {
        const std::uint32_t a[4] = {word(weights + p), word(weights + 8 * weight_stride + p),
                                    word(weights + p + 8),
                                    word(weights + 8 * weight_stride + p + 8)};
        GPU_UNROLL for (unsigned i = 0; i < dim_tiles; ++i) {
          const unsigned d = (i * attend_warps + warp()) * 8;
          if (d < width) {
            std::uint32_t b0 = 0;
            std::uint32_t b1 = 0;
            load_columns(shared_at<const std::uint16_t>(at.values) + p * stride + d, stride, b0,
                         b1);
            multiply_bf16(parts[i], a, b0, b1);
          }
        }
      }
      GPU_UNROLL for (unsigned h = 0; h < 2; ++h) {
        const unsigned slot = tile * tile_slots + g + 8 * h;
        const auto* peaks = shared_at<const float>(at.peaks) + slot;
        const auto* sums = shared_at<const float>(at.sums) + slot;
        float chunk_peak = peaks[0];
        float chunk_sum = sums[0];
        GPU_UNROLL for (unsigned w = 1; w < attend_warps; ++w) {
          chunk_peak = larger(chunk_peak, peaks[w * slots]);
          chunk_sum = chunk_sum + sums[w * slots];
        }
        const FoldStep step = fold_step(peak[tile][h], sum[tile][h], chunk_peak, chunk_sum);
        GPU_UNROLL for (unsigned i = 0; i < dim_tiles; ++i)
            GPU_UNROLL for (unsigned j = 2 * h; j < 2 * h + 2; ++j) state[tile][i][j] =
                folded(step, state[tile][i][j], parts[i][j]);
      }
    }
  }
  let_next_start();
  GPU_UNROLL for (unsigned tile = 0; tile < tiles; ++tile)
      GPU_UNROLL for (unsigned h = 0; h < 2; ++h) {
    const Slot of = slot_at(job, item, tile * tile_slots + g + 8 * h, kv_head, part);
    if (of.is_there) {
      const std::size_t place =
          std::size_t{job.item_rows[item.rows_at + of.row].partial} * job.heads + of.head;
      GPU_UNROLL for (unsigned i = 0; i < dim_tiles; ++i) {
        const unsigned d = (i * attend_warps + warp()) * 8 + 2 * t;
        if (d < width) {
          job.outputs[place * width + d] = state[tile][i][2 * h];
          job.outputs[place * width + d + 1] = state[tile][i][2 * h + 1];
        }
      }
      if (warp() == 0 && t == 0) {
        job.peaks[place * 2] = peak[tile][h];
        job.peaks[place * 2 + 1] = sum[tile][h];
      }
    }
  }
}

// The partials of each row, from the left; divided by the sum, in the forms of the next product.
GPU_KERNEL(small_threads)
fold_rows(GPU_JOB(FoldJob) job) {
  await_inputs();
  const unsigned row = block_x();
  const unsigned block = block_y() * gate_blocks + warp();
  if (block >= job.out.padded / block_inputs) return;
  const unsigned d = block * block_inputs + lane();
  float value = 0.0F;
  if (d < job.out.width) {
    const unsigned head = d / job.head_width;
    float peak = bits_float(0xFF800000U);
    float sum = 0.0F;
    for (unsigned p = job.first_partial[row]; p < job.first_partial[row + 1]; ++p) {
      const std::size_t place = std::size_t{p} * job.heads + head;
      const FoldStep step = fold_step(peak, sum, job.peaks[place * 2], job.peaks[place * 2 + 1]);
      value = folded(step, value, job.outputs[place * job.head_width + d % job.head_width]);
    }
    value = sum > 0.0F ? value * (1.0F / sum) : 0.0F;
  }
  write_block(job.out, row, block, value);
}

}  // namespace ambit::inference::cuda
