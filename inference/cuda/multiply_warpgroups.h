#pragma once

// The product on sm_90a, of weights whose inputs are 16-bit floats: wgmma for one row as for a
// thousand, so that mma.sync and wgmma never compute the same weight. (Of whole numbers both give
// the same bits, because they are exact: those stay in multiply.h.) What is summed in which order
// is what multiply.h says: segments, blocks along them, segments from the left.
//
// The copy engine brings the inputs into a ring of slots, which all warpgroups of a block read; the
// first warp asks for them. (A warp for that alone would cost each of the others a quarter of its
// registers.) Few rows (multiply_narrow): all segments at once, the weights of as few panels a
// block as keep all processors busy. The four warps of a warpgroup then have different segments;
// the columns of all are in one product, and each warp keeps its own. Many rows (multiply_wide): a
// warpgroup walks all segments of four panels.

#include "inference/cuda/multiply.h"
#include "inference/cuda/warpgroup.h"

namespace ambit::inference::cuda {

// Where the inputs of 8 rows and one block begin, in tiles (FormView).
template <class Format>
GPU_FUNCTION const std::byte* input_tiles(const FormView& in, unsigned row, unsigned block) {
  return reinterpret_cast<const std::byte*>(Format::values(in)) +
         (std::size_t{block} * in.row_tiles + row / token_tile) * tile_bytes;
}

// The slots of a block, each with a barrier for full and one for read. They are filled for `steps`
// steps; after a step the slot is filled again that was read `lag` steps ago, so that the warp that
// asks for it seldom waits for the others.
template <unsigned slots>
struct Ring {
  static constexpr unsigned lag = slots / 4;
  static constexpr unsigned head_bytes = 128;  // of the barriers
  static_assert(2 * slots * sizeof(Barrier) <= head_bytes && (slots & (slots - 1)) == 0);
  unsigned slot_bytes;
  unsigned steps;

  GPU_FUNCTION static Barrier* full(unsigned step) { return shared_at<Barrier>(0) + step % slots; }
  GPU_FUNCTION static Barrier* read(unsigned step) { return full(step) + slots; }
  GPU_FUNCTION std::byte* slot(unsigned step) const {
    return shared_bytes() + head_bytes + step % slots * slot_bytes;
  }
  GPU_FUNCTION std::byte* end() const { return shared_bytes() + head_bytes + slots * slot_bytes; }
  // By all threads. `bring` fills the slot of a step.
  template <class Bring>
  GPU_FUNCTION void begin(const Bring& bring) const {
    if (thread() == 0) {
      for (unsigned i = 0; i < slots; ++i) {
        barrier_init(full(i), 1);
        barrier_init(read(i), threads() / warp_lanes);
      }
      barriers_ready();
    }
    block_barrier();
    await_inputs();
    if (warp() > 0) return;
    inputs_for_copies();
    for (unsigned step = 0; step < slots && step < steps; ++step) bring(step);
  }
  GPU_FUNCTION void wait(unsigned step) const { barrier_wait(full(step), step / slots & 1U); }
  template <class Bring>
  GPU_FUNCTION void done(unsigned step, const Bring& bring) const {
    if (lane() == 0) barrier_arrive(read(step));
    const unsigned next = step + slots - lag;
    if (warp() > 0 || step < lag || next >= steps) return;
    barrier_wait(read(next), (next / slots & 1U) ^ 1U);
    bring(next);
  }
};

// sums += (or =) a block of weights times the columns that begin at `tile`.
template <class Format, unsigned tiles>
GPU_FUNCTION void add_block(float (&sums)[tiles][4], const typename Format::Weights& weights,
                            const std::byte* tile, bool add) {
  std::uint32_t a[2][4];
  Format::operands(weights, a);
  tile_fence();
  multiply_tile<Format::is_bf16>(sums, a[0], tile, add);
  multiply_tile<Format::is_bf16>(sums, a[1], tile + 2 * core_bytes, true);
  tile_commit();
  tile_wait(sums);
}

// ---- few rows

// Segments that the warps of a warpgroup have: of one panel all four, of two panels two each.
template <unsigned tiles>
inline constexpr unsigned narrow_spread = tiles <= 2 ? 4 : 2;
template <unsigned tiles>
inline constexpr unsigned narrow_panels = warpgroup_warps / narrow_spread<tiles>;
template <unsigned tiles>
inline constexpr unsigned narrow_slots = tiles <= 2 ? 8 : 4;
template <unsigned tiles>
inline constexpr unsigned narrow_threads_max =
    segments_max / narrow_spread<tiles> * warpgroup_warps * warp_lanes;

GPU_BOTH unsigned warpgroups_for(unsigned segments, unsigned spread) {
  return (segments + spread - 1) / spread;
}
template <unsigned tiles>
GPU_BOTH unsigned narrow_slot_bytes(unsigned segments) {
  return warpgroups_for(segments, narrow_spread<tiles>) * narrow_spread<tiles> * tiles * tile_bytes;
}
template <unsigned tiles>
inline std::size_t narrow_bytes(unsigned segments) {
  return Ring<narrow_slots<tiles>>::head_bytes +
         std::size_t{narrow_slots<tiles>} * narrow_slot_bytes<tiles>(segments) +
         narrow_panels<tiles> * multiply_few_bytes(segments, tiles);
}

// tiles * 8 rows of narrow_panels panels.
template <class Format, unsigned tiles>
GPU_KERNEL(narrow_threads_max<tiles>)
multiply_narrow(GPU_JOB(MultiplyJob) job) {
#if GPU_WARPGROUPS
  constexpr unsigned spread = narrow_spread<tiles>;
  constexpr unsigned depth = tiles <= 4 ? 4 : 2;  // blocks of weights under way
  constexpr unsigned in_segment = tiles * 4 * warp_lanes;
  const WeightView& weight = job.weight;
  const unsigned panel = block_x() * narrow_panels<tiles> + warp() % warpgroup_warps / spread;
  const unsigned segment = warp() / warpgroup_warps * spread + warp() % spread;
  const Portion portion = portion_of(job, block_y(), tiles * token_tile);
  const unsigned first_row = portion.first_row;
  if (first_row >= portion.end_row) return;
  const Ring<narrow_slots<tiles>> ring = {narrow_slot_bytes<tiles>(weight.segments),
                                          weight.segment_blocks};
  auto* parts = reinterpret_cast<float*>(ring.end());
  // One beyond the end is computed and thrown away.
  const PanelCursor cursor =
      panel_of(weight, portion.panels_before +
                           (panel < weight.panel_count ? panel : weight.panel_count - 1));
  const unsigned begin = segment * weight.segment_blocks;
  const unsigned left = begin < weight.blocks ? weight.blocks - begin : 0;
  const unsigned own = left < weight.segment_blocks ? left : weight.segment_blocks;
  typename Format::Weights weights[depth] = {};
  GPU_UNROLL for (unsigned i = 0; i < depth; ++i) if (i < own) weights[i] =
      weights_of<Format>(cursor, begin + i);
  // A lane a segment. One that is not there, or has ended, gets what another has; nobody keeps what
  // comes of it.
  const unsigned copied = (lane() < weight.segments ? lane() : 0) * weight.segment_blocks;
  const auto bring = [&](unsigned step) {
    if (lane() == 0) barrier_expect(ring.full(step), ring.slot_bytes);
    warp_barrier();
    const unsigned block = copied + step < weight.blocks ? copied + step : weight.blocks - 1;
    if (lane() < ring.slot_bytes / (tiles * tile_bytes))
      bulk_copy(ring.slot(step) + lane() * tiles * tile_bytes,
                input_tiles<Format>(job.in, first_row, block), tiles * tile_bytes, ring.full(step));
  };
  ring.begin(bring);
  float sums[spread * tiles][4];
  for (unsigned start = 0; start < ring.steps; start += depth) {
    GPU_UNROLL for (unsigned i = 0; i < depth; ++i) {
      const unsigned step = start + i;
      if (step < ring.steps) {
        ring.wait(step);
        add_block<Format>(sums, weights[i],
                          ring.slot(step) + warp() / warpgroup_warps * spread * tiles * tile_bytes,
                          step > 0);
        if (step + depth < own) weights[i] = weights_of<Format>(cursor, begin + step + depth);
        ring.done(step, bring);
        // A warp of a shorter segment goes on, because the others need it.
        if (step + 1 == own) {
          float* part =
              parts + (warp() % warpgroup_warps / spread * weight.segments + segment) * in_segment +
              lane();
          GPU_UNROLL for (unsigned s = 0; s < spread; ++s) if (s == warp() % spread)
              GPU_UNROLL for (unsigned n = 0; n < tiles; ++n)
                  GPU_UNROLL for (unsigned c = 0; c < 4; ++c) part[(n * 4 + c) * warp_lanes] =
                      sums[s * tiles + n][c];
        }
      }
    }
  }
  let_next_start();
  block_barrier();
  for (unsigned e = thread(); e < narrow_panels<tiles> * in_segment; e += threads()) {
    const unsigned in_block = e / in_segment;
    const unsigned at = block_x() * narrow_panels<tiles> + in_block;
    const unsigned row = e % in_segment / panel_rows;
    const unsigned output = e % panel_rows;
    if (at >= weight.panel_count) break;
    const float total = fold_segments(parts + in_block * weight.segments * in_segment,
                                      weight.segments, in_segment, part_of(row, output));
    put_output(job, at, output, first_row + row, portion.end_row,
               Format::last(panel_of(weight, portion.panels_before + at), output, total));
  }
#endif
}

// ---- many rows

// How many rows a block has, and how many warpgroups.
template <unsigned columns>
inline constexpr unsigned wide_groups = columns == 64 ? 1 : 2;
template <unsigned columns>
inline constexpr unsigned wide_threads = wide_groups<columns> * warpgroup_warps * warp_lanes;
inline constexpr unsigned wide_slots = 8;
// Totals of so many tiles of 8 rows stay in a thread's registers, those of the others in shared
// memory.
template <unsigned columns>
inline constexpr unsigned wide_kept = columns == 256 ? 16 : columns / token_tile;

template <unsigned columns>
inline constexpr std::size_t wide_bytes =
    Ring<wide_slots>::head_bytes + std::size_t{wide_slots} * columns / token_tile * tile_bytes +
    std::size_t{wide_threads<columns>} *
        (columns / token_tile - wide_kept<columns>)*sizeof(Floats4);

template <class Format, unsigned columns>
GPU_KERNEL(wide_threads<columns>)
multiply_wide(GPU_JOB(MultiplyJob) job) {
#if GPU_WARPGROUPS
  constexpr unsigned tiles = columns / token_tile;
  constexpr unsigned kept = wide_kept<columns>;
  constexpr unsigned depth = 3;  // blocks of weights under way
  const WeightView& weight = job.weight;
  const unsigned panel = block_y() * wide_groups<columns> * warpgroup_warps + warp();
  // An item has 128 rows at most; and at 256 no register is left.
  const Portion portion =
      columns > 128 ? stretch_of(job, block_x(), columns) : portion_of(job, block_x(), columns);
  const unsigned first_row = portion.first_row;
  if (first_row >= portion.end_row) return;
  const PanelCursor cursor =
      panel_of(weight, portion.panels_before +
                           (panel < weight.panel_count ? panel : weight.panel_count - 1));
  typename Format::Weights weights[depth] = {};
  GPU_UNROLL for (unsigned i = 0; i < depth; ++i) if (i < weight.blocks) weights[i] =
      weights_of<Format>(cursor, i);
  const Ring<wide_slots> ring = {tiles * tile_bytes, weight.blocks};
  const auto bring = [&](unsigned block) {
    if (lane() > 0) return;
    const unsigned left = job.in.row_tiles - first_row / token_tile;
    const unsigned bytes = (left < tiles ? left : tiles) * tile_bytes;
    barrier_expect(ring.full(block), bytes);
    bulk_copy(ring.slot(block), input_tiles<Format>(job.in, first_row, block), bytes,
              ring.full(block));
  };
  ring.begin(bring);
  float sums[tiles][4];
  float totals[kept][4];
  // A thread's own, four at a time, so that a warp takes them without conflicts of banks.
  auto* others = reinterpret_cast<Floats4*>(ring.end()) + thread();
  unsigned segment_begin = 0;
  for (unsigned start = 0; start < weight.blocks; start += depth) {
    GPU_UNROLL for (unsigned i = 0; i < depth; ++i) {
      const unsigned block = start + i;
      if (block < weight.blocks) {
        ring.wait(block);
        add_block<Format>(sums, weights[i], ring.slot(block), block != segment_begin);
        if (block + depth < weight.blocks) weights[i] = weights_of<Format>(cursor, block + depth);
        ring.done(block, bring);
        const bool ends = block + 1 == segment_begin + weight.segment_blocks;
        if (ends || block + 1 == weight.blocks) {
          const bool first = segment_begin == 0;
          GPU_UNROLL for (unsigned n = 0; n < kept; ++n) GPU_UNROLL for (unsigned c = 0; c < 4; ++c)
              totals[n][c] = first ? sums[n][c] : totals[n][c] + sums[n][c];
          GPU_UNROLL for (unsigned n = kept; n < tiles; ++n) {
            Floats4& total = others[(n - kept) * wide_threads<columns>];
            Floats4 made = {{sums[n][0], sums[n][1], sums[n][2], sums[n][3]}};
            if (!first) {
              made = total;
              GPU_UNROLL for (unsigned c = 0; c < 4; ++c) made.x[c] = made.x[c] + sums[n][c];
            }
            total = made;
          }
          segment_begin = block + 1;
        }
      }
    }
  }
  let_next_start();
  if (panel >= weight.panel_count) return;
  GPU_UNROLL for (unsigned n = 0; n < tiles; ++n) GPU_UNROLL for (unsigned c = 0; c < 4; ++c) {
    const unsigned output = lane() / 4 + c / 2 * 8;
    const float total = n < kept ? totals[n < kept ? n : 0][c]
                                 : others[(n < kept ? 0 : n - kept) * wide_threads<columns>].x[c];
    put_output(job, panel, output, first_row + n * token_tile + lane() % 4 * 2 + c % 2,
               portion.end_row, Format::last(cursor, output, total));
  }
#endif
}

}  // namespace ambit::inference::cuda
