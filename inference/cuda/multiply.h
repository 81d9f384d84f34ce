#pragma once

// The product of a weight with the inputs of all rows. What each output's sum is does not depend on
// the schedule: the inputs are cut into the weight's segments, a segment is summed block by block,
// segments are added from the left. Few rows: a block of threads has one panel and a warp a
// segment, so that all of a weight's bytes are under way at once. Many rows: a warp walks all
// segments of four panels for 32 rows. The tile product is the same, so the bits are. Of a mixture
// of experts each block of threads has rows of one expert, which lie side by side (experts.h); how
// many go together is one more schedule.

#include "inference/cuda/weight_formats.h"

namespace ambit::inference::cuda {

// What a block of threads multiplies: rows of one weight.
struct Portion {
  std::size_t panels_before;  // those of other experts
  unsigned first_row;
  unsigned end_row;  // not above first_row: there is nothing to do
};
// The index-th stretch of `rows` rows of the one weight.
GPU_FUNCTION Portion stretch_of(const MultiplyJob& job, unsigned index, unsigned rows) {
  return {0, index * rows, job.rows};
}
// The same, by expert where there are some: who has how many rows is the result of an earlier
// kernel.
GPU_FUNCTION Portion portion_of(const MultiplyJob& job, unsigned index, unsigned rows) {
  const ExpertItems& by = job.by_expert;
  if (by.items == nullptr) return stretch_of(job, index, rows);
  await_inputs();
  const unsigned in_item = by.rows / rows;
  if (index / in_item >= *by.count) return {0, 0, 0};
  const ExpertItem item = by.items[index / in_item];
  return {std::size_t{item.expert} * job.weight.panel_count,
          item.first_row + index % in_item * rows, item.end_row};
}

GPU_FUNCTION PanelCursor panel_of(const WeightView& weight, std::size_t panel) {
  return {weight.panels + panel * weight.panel_bytes,
          weight.scales == nullptr ? nullptr : weight.scales + panel * panel_rows, weight.blocks};
}

GPU_FUNCTION void put_output(const MultiplyJob& job, unsigned panel, unsigned output, unsigned row,
                             unsigned end_row, float value) {
  if (row >= end_row) return;
  job.out[std::size_t{row} * job.out_stride + job.weight.first_output + panel * panel_rows +
          output] = value;
}

// Where a row's output lies in the sums of a warp, and the sums of all segments there, added from
// the left; segments are `apart`.
GPU_FUNCTION unsigned part_of(unsigned row, unsigned output) {
  const unsigned column = row % token_tile;
  const unsigned i = column % 2 + (output >= 8 ? 2 : 0);
  return (row / token_tile * 4 + i) * warp_lanes + output % 8 * 4 + column / 2;
}
GPU_FUNCTION float fold_segments(const float* parts, unsigned segments, unsigned apart,
                                 unsigned at) {
  float total = parts[at];
  for (unsigned s = 1; s < segments; ++s) total = total + parts[s * apart + at];
  return total;
}

// Bytes of shared memory that multiply_few takes.
inline std::size_t multiply_few_bytes(unsigned segments, unsigned tiles) {
  return std::size_t{segments} * tiles * 4 * warp_lanes * sizeof(float);
}

// tiles * 8 rows. Threads: one warp a segment.
template <class Format, unsigned tiles>
GPU_KERNEL(segments_max* warp_lanes)
multiply_few(GPU_JOB(MultiplyJob) job) {
  constexpr unsigned depth = tiles < 8 ? 4 : 2;  // blocks of weights under way
  constexpr unsigned in_segment = tiles * 4 * warp_lanes;
  const unsigned panel = block_x();
  const Portion portion = portion_of(job, block_y(), tiles * token_tile);
  const unsigned first_row = portion.first_row;
  if (first_row >= portion.end_row) return;
  const PanelCursor cursor = panel_of(job.weight, portion.panels_before + panel);
  const unsigned begin = warp() * job.weight.segment_blocks;
  const unsigned limit = begin + job.weight.segment_blocks;
  const unsigned end = limit < job.weight.blocks ? limit : job.weight.blocks;
  typename Format::Weights ring[depth];
  GPU_UNROLL for (unsigned i = 0; i < depth; ++i) if (begin + i < end) ring[i] =
      Format::weights(cursor, begin + i);
  await_inputs();
  float sums[tiles][4] = {};
  for (unsigned start = begin; start < end; start += depth) {
    GPU_UNROLL for (unsigned i = 0; i < depth; ++i) {
      const unsigned block = start + i;
      if (block < end) {
        const typename Format::Weights now = ring[i];
        if (block + depth < end) ring[i] = Format::weights(cursor, block + depth);
        GPU_UNROLL for (unsigned n = 0; n < tiles; ++n)
            Format::add(sums[n], now, Format::inputs(job.in, first_row + n * token_tile, block));
      }
    }
  }
  let_next_start();
  auto* parts = shared_at<float>(0);
  GPU_UNROLL for (unsigned n = 0; n < tiles; ++n) GPU_UNROLL for (unsigned i = 0; i < 4; ++i)
      parts[warp() * in_segment + (n * 4 + i) * warp_lanes + lane()] = sums[n][i];
  block_barrier();
  for (unsigned e = thread(); e < in_segment; e += threads()) {
    const unsigned row = e / panel_rows;
    const unsigned output = e % panel_rows;
    const float total = fold_segments(parts, job.weight.segments, in_segment, part_of(row, output));
    put_output(job, panel, output, first_row + row, portion.end_row,
               Format::last(cursor, output, total));
  }
}

// Of a warp; with as many registers as a thread has.
template <class Format>
inline constexpr unsigned many_panels = 4;
template <>
inline constexpr unsigned many_panels<Q6KFormat> = 2;
inline constexpr unsigned many_tiles = 4;  // of 8 rows, of a warp
inline constexpr unsigned many_warps = 8;  // two of panels, four of rows
inline constexpr unsigned many_block_rows = 4 * many_tiles * token_tile;

template <class Format>
GPU_KERNEL(many_warps* warp_lanes)
multiply_many(GPU_JOB(MultiplyJob) job) {
  constexpr unsigned panels = many_panels<Format>;
  const unsigned first_panel = (block_y() * 2 + warp() / 4) * panels;
  await_inputs();
  const Portion portion = portion_of(job, block_x(), many_block_rows);
  const unsigned first_row = portion.first_row + warp() % 4 * many_tiles * token_tile;
  if (first_panel >= job.weight.panel_count || first_row >= portion.end_row) return;
  PanelCursor cursor[panels];
  GPU_UNROLL for (unsigned p = 0; p < panels; ++p) {
    const unsigned panel = first_panel + p;  // one beyond the end is computed and thrown away
    cursor[p] = panel_of(
        job.weight, portion.panels_before + (panel < job.weight.panel_count ? panel : first_panel));
  }
  float totals[panels][many_tiles][4];
  for (unsigned segment = 0; segment < job.weight.segments; ++segment) {
    const unsigned begin = segment * job.weight.segment_blocks;
    const unsigned limit = begin + job.weight.segment_blocks;
    const unsigned end = limit < job.weight.blocks ? limit : job.weight.blocks;
    float sums[panels][many_tiles][4] = {};
    for (unsigned block = begin; block < end; ++block) {
      typename Format::Inputs in[many_tiles];
      GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n) in[n] =
          Format::inputs(job.in, first_row + n * token_tile, block);
      GPU_UNROLL for (unsigned p = 0; p < panels; ++p) {
        const typename Format::Weights weights = Format::weights(cursor[p], block);
        GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n)
            Format::add(sums[p][n], weights, in[n]);
      }
    }
    GPU_UNROLL for (unsigned p = 0; p < panels; ++p)
        GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n)
            GPU_UNROLL for (unsigned i = 0; i < 4; ++i) totals[p][n][i] =
                segment == 0 ? sums[p][n][i] : totals[p][n][i] + sums[p][n][i];
  }
  const unsigned g = lane() / 4;
  const unsigned t = lane() % 4;
  GPU_UNROLL for (unsigned p = 0; p < panels; ++p) {
    if (first_panel + p < job.weight.panel_count)
      GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n)
          GPU_UNROLL for (unsigned i = 0; i < 4; ++i) {
        const unsigned output = g + i / 2 * 8;
        put_output(job, first_panel + p, output, first_row + n * token_tile + 2 * t + i % 2,
                   portion.end_row, Format::last(cursor[p], output, totals[p][n][i]));
      }
  }
}

}  // namespace ambit::inference::cuda
