#pragma once

// The product of a weight with the inputs of all rows. What each output's sum is does not depend on
// the schedule: the inputs are cut into the weight's segments, a segment is summed block by block,
// segments are added from the left. Few rows: a block of threads has one panel and a warp a
// segment, so that all of a weight's bytes are under way at once. Many rows: a warp walks all
// segments of four panels for 32 rows, from blocks that all warps together bring into shared
// memory. The tile product is the same, so the bits are. Of a mixture
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
      weights_of<Format>(cursor, begin + i);
  await_inputs();
  float sums[tiles][4] = {};
  for (unsigned start = begin; start < end; start += depth) {
    GPU_UNROLL for (unsigned i = 0; i < depth; ++i) {
      const unsigned block = start + i;
      if (block < end) {
        const typename Format::Weights now = ring[i];
        if (block + depth < end) ring[i] = weights_of<Format>(cursor, block + depth);
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
inline constexpr unsigned many_warp_rows = many_tiles * token_tile;
inline constexpr unsigned many_block_rows = 4 * many_warp_rows;
inline constexpr unsigned many_slots = 4;  // a power of two

// What a block of threads has of a block of inputs: its panels' weights, each with what its
// super-block shares, and the inputs of its rows. Each byte comes once, where the warps would ask
// for weights four times and for inputs twice: of Q8_0, for 128 outputs by 128 rows, 10.25 KiB
// instead of 29; of bf16 16 instead of 48. And it is asked for three blocks ahead: with so many
// sums a processor has no more than these eight warps, too few to hide the way to memory.
template <class Format>
struct ManySlot {
  static constexpr unsigned panels = 2 * many_panels<Format>;
  static constexpr unsigned panel_bytes = Format::super_bytes + Format::block_bytes;
  static constexpr unsigned inputs_at = panels * panel_bytes;
  static constexpr unsigned bytes = inputs_at + many_block_rows * Format::input_bytes;
  static_assert(Format::super_bytes % 16 == 0 && panel_bytes % 16 == 0 && panels <= many_warps);
  static_assert(many_block_rows == many_warps * bring_rows);
  std::byte* at;

  GPU_FUNCTION explicit ManySlot(unsigned block)
      : at(shared_bytes() + block % many_slots * bytes) {}
  GPU_FUNCTION typename Format::Weights weights(unsigned panel) const {
    const std::byte* super = at + panel * panel_bytes;
    return Format::template weights<FromShared>({super, super + Format::super_bytes});
  }
  GPU_FUNCTION FormView inputs() const { return Format::stage(at + inputs_at, many_block_rows); }
  // By each warp: a panel, and 16 rows.
  GPU_FUNCTION void bring(const PanelCursor& panel, const FormView& in, const Portion& of,
                          unsigned block) const {
    const BlockPlace from = place_of<Format>(panel, block);
    if (panels == many_warps || warp() < panels)
      GPU_UNROLL for (unsigned first = 0; first < panel_bytes; first += warp_lanes * 16) {
        const unsigned byte = first + lane() * 16;
        if (byte < panel_bytes)
          copy16(at + warp() * panel_bytes + byte, byte_of<Format>(from, byte));
      }
    const unsigned row = of.first_row + warp() * bring_rows;
    if (row >= of.end_row) return;
    const unsigned left = of.end_row - row;
    Format::bring(in, row, left < bring_rows ? left : bring_rows, block, inputs(),
                  warp() * bring_rows);
  }
};
template <class Format>
inline constexpr std::size_t multiply_many_bytes =
    std::size_t{many_slots} * ManySlot<Format>::bytes;

template <class Format>
GPU_KERNEL(many_warps* warp_lanes)
multiply_many(GPU_JOB(MultiplyJob) job) {
  constexpr unsigned panels = many_panels<Format>;
  const WeightView& weight = job.weight;
  await_inputs();
  const Portion portion = portion_of(job, block_x(), many_block_rows);
  if (portion.first_row >= portion.end_row) return;
  const unsigned block_panel = block_y() * 2 * panels;
  const unsigned first_panel = block_panel + warp() / 4 * panels;
  const unsigned warp_row = warp() % 4 * many_warp_rows;
  // Others only help to bring.
  const bool works =
      first_panel < weight.panel_count && portion.first_row + warp_row < portion.end_row;
  // One beyond the end is another one again, computed and thrown away.
  const unsigned brought = block_panel + warp() % (2 * panels);
  const PanelCursor own =
      panel_of(weight, portion.panels_before +
                           (brought < weight.panel_count ? brought : weight.panel_count - 1));
  const auto bring = [&](unsigned block) {
    if (block < weight.blocks) ManySlot<Format>(block).bring(own, job.in, portion, block);
    begin_copies();
  };
  for (unsigned block = 0; block + 1 < many_slots; ++block) bring(block);
  float totals[panels][many_tiles][4];
  for (unsigned segment = 0; segment < weight.segments; ++segment) {
    const unsigned begin = segment * weight.segment_blocks;
    const unsigned limit = begin + weight.segment_blocks;
    const unsigned end = limit < weight.blocks ? limit : weight.blocks;
    float sums[panels][many_tiles][4] = {};
    for (unsigned block = begin; block < end; ++block) {
      finish_copies<many_slots - 2>();
      block_barrier();  // all of the block is there, and nobody reads the one before it any more
      bring(block + many_slots - 1);
      if (works) {
        const ManySlot<Format> slot(block);
        const FormView staged = slot.inputs();
        typename Format::Inputs in[many_tiles];
        GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n) in[n] =
            Format::inputs(staged, warp_row + n * token_tile, 0);
        GPU_UNROLL for (unsigned p = 0; p < panels; ++p) {
          const typename Format::Weights of_panel = slot.weights(warp() / 4 * panels + p);
          GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n)
              Format::add(sums[p][n], of_panel, in[n]);
        }
      }
    }
    GPU_UNROLL for (unsigned p = 0; p < panels; ++p)
        GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n)
            GPU_UNROLL for (unsigned i = 0; i < 4; ++i) totals[p][n][i] =
                segment == 0 ? sums[p][n][i] : totals[p][n][i] + sums[p][n][i];
  }
  if (!works) return;
  const unsigned g = lane() / 4;
  const unsigned t = lane() % 4;
  GPU_UNROLL for (unsigned p = 0; p < panels; ++p) {
    if (first_panel + p >= weight.panel_count) break;
    const PanelCursor of = panel_of(weight, portion.panels_before + first_panel + p);
    GPU_UNROLL for (unsigned n = 0; n < many_tiles; ++n)
        GPU_UNROLL for (unsigned i = 0; i < 4; ++i) {
      const unsigned output = g + i / 2 * 8;
      put_output(job, first_panel + p, output,
                 portion.first_row + warp_row + n * token_tile + 2 * t + i % 2, portion.end_row,
                 Format::last(of, output, totals[p][n][i]));
    }
  }
}

}  // namespace ambit::inference::cuda
