#pragma once

// Mixtures of experts: which experts each row takes, and where its slots lie so that the products
// (multiply.h) have the rows of an expert side by side. All of it is whole numbers and single rows:
// who else is in the step changes where a row's slots lie, never what comes of them. Nothing goes
// to the host, so a step with experts is recorded as any other.

#include "inference/cuda/rows.h"

namespace ambit::inference::cuda {

// ---- choice

struct Liked {
  float like;
  std::uint32_t expert;  // no_expert: none
};
// The one that is liked better, of equals the first: any order of comparing gives the same.
GPU_FUNCTION Liked likelier(const Liked& a, const Liked& b) {
  if (a.expert == no_expert) return b;
  if (b.expert == no_expert) return a;
  if (a.like != b.like) return a.like > b.like ? a : b;
  return a.expert < b.expert ? a : b;
}

inline std::size_t choose_experts_bytes(unsigned used) {
  return std::size_t{small_threads / warp_lanes} * used * sizeof(Liked);
}

// A warp a row; a lane looks at every 32nd expert. Their probabilities among themselves are added
// in the order in which they are liked.
GPU_KERNEL(small_threads)
choose_experts(GPU_JOB(ChooseExpertsJob) job) {
  await_inputs();
  const unsigned row = block_x() * (small_threads / warp_lanes) + warp();
  if (row >= job.rows) return;
  std::uint32_t* chosen = job.chosen + std::size_t{row} * job.used;
  float* shares = job.shares + std::size_t{row} * job.used;
  if (row >= *job.row_count) {
    for (unsigned k = lane(); k < job.used; k += warp_lanes) {
      chosen[k] = no_expert;
      shares[k] = 0.0F;
    }
    return;
  }
  const float* likes = job.likes + std::size_t{row} * job.stride;
  auto* picked = shared_at<Liked>(std::size_t{warp()} * job.used * sizeof(Liked));
  std::uint32_t taken = 0;  // of this lane's experts
  float most = 0.0F;
  float sum = 0.0F;
  for (unsigned k = 0; k < job.used; ++k) {
    Liked best = {0.0F, no_expert};
    for (unsigned j = 0; j * warp_lanes + lane() < job.experts; ++j) {
      const unsigned expert = j * warp_lanes + lane();
      const float like = likes[expert];
      // What is no number is liked least: all lanes must agree.
      if ((taken >> j & 1U) == 0)
        best = likelier(best, {like == like ? like : bits_float(0xFF800000U), expert});
    }
    for (unsigned with = warp_lanes / 2; with > 0; with /= 2) {
      const Liked other = {exchange(best.like, with), exchange_bits(best.expert, with)};
      best = likelier(best, other);
    }
    if (k == 0) most = best.like;
    const float share = exponential(best.like - most);
    sum = sum + share;
    if (best.expert % warp_lanes == lane()) taken |= 1U << best.expert / warp_lanes;
    if (lane() == 0) picked[k] = {share, best.expert};
  }
  warp_barrier();
  for (unsigned k = lane(); k < job.used; k += warp_lanes) {
    unsigned before = 0;
    for (unsigned other = 0; other < job.used; ++other)
      before += picked[other].expert < picked[k].expert ? 1U : 0U;
    chosen[before] = picked[k].expert;
    shares[before] = picked[k].like / sum;
  }
}

// ---- places

// Warps count the experts of a stretch of rows each; shared memory holds the counts.
inline constexpr unsigned grouping_threads_max = 512;
inline unsigned grouping_threads(unsigned experts) {
  return experts <= experts_max / 2 ? grouping_threads_max : grouping_threads_max / 2;
}
inline std::size_t grouping_bytes(unsigned experts) {
  const std::size_t counts = grouping_threads(experts) / warp_lanes + 1;
  return (counts * experts + 2 * warp_lanes) * sizeof(std::uint32_t);
}

// One block: rows of an expert come in their order, each expert's from a whole tile of 8 on.
GPU_KERNEL(grouping_threads_max)
group_slots(GPU_JOB(GroupJob) job) {
  const unsigned warps = threads() / warp_lanes;
  auto* counts = shared_at<std::uint32_t>(0);  // [warps][experts]
  auto* own = counts + warp() * job.experts;
  auto* totals = counts + warps * job.experts;
  auto* sums = totals + job.experts;  // [2][lanes]
  for (unsigned i = thread(); i < warps * job.experts; i += threads()) counts[i] = 0;
  await_inputs();
  block_barrier();
  // The experts of a row differ, so that no two lanes count the same one.
  const unsigned share = (job.rows + warps - 1) / warps;
  const unsigned begin = warp() * share;
  const unsigned end = begin + share < job.rows ? begin + share : job.rows;
  for (unsigned row = begin; row < end; ++row) {
    for (unsigned k = lane(); k < job.used; k += warp_lanes) {
      const std::uint32_t expert = job.chosen[std::size_t{row} * job.used + k];
      if (expert != no_expert) own[expert] += 1;
    }
    warp_barrier();
  }
  block_barrier();
  for (unsigned expert = thread(); expert < job.experts; expert += threads()) {
    std::uint32_t total = 0;
    for (unsigned w = 0; w < warps; ++w) {
      const std::uint32_t count = counts[w * job.experts + expert];
      counts[w * job.experts + expert] = total;
      total += count;
    }
    totals[expert] = total;
  }
  block_barrier();
  if (warp() == 0) {
    const unsigned each = (job.experts + warp_lanes - 1) / warp_lanes;
    const unsigned first = lane() * each < job.experts ? lane() * each : job.experts;
    const unsigned last = first + each < job.experts ? first + each : job.experts;
    std::uint32_t rows = 0;
    std::uint32_t items = 0;
    for (unsigned expert = first; expert < last; ++expert) {
      rows += (totals[expert] + token_tile - 1) / token_tile * token_tile;
      items += (totals[expert] + job.item_rows - 1) / job.item_rows;
    }
    sums[lane()] = rows;
    sums[warp_lanes + lane()] = items;
    warp_barrier();
    rows = 0;
    items = 0;
    for (unsigned before = 0; before < lane(); ++before) {
      rows += sums[before];
      items += sums[warp_lanes + before];
    }
    for (unsigned expert = first; expert < last; ++expert) {
      const std::uint32_t total = totals[expert];
      totals[expert] = rows;  // from here on: the first row
      for (std::uint32_t done = 0; done < total; done += job.item_rows) {
        const std::uint32_t until = total - done < job.item_rows ? total : done + job.item_rows;
        job.items[items++] = {expert, rows + done, rows + until};
      }
      rows += (total + token_tile - 1) / token_tile * token_tile;
    }
    if (lane() == warp_lanes - 1) *job.item_count = items;
  }
  block_barrier();
  for (unsigned row = begin; row < end; ++row) {
    for (unsigned k = lane(); k < job.used; k += warp_lanes) {
      const std::size_t slot = std::size_t{row} * job.used + k;
      const std::uint32_t expert = job.chosen[slot];
      job.places[slot] = expert == no_expert ? no_place : totals[expert] + own[expert]++;
    }
    warp_barrier();
  }
}

// ---- rows to their places, and back

// Where the index-th 8 values of a row begin, in `halves` and in `bf16`.
GPU_FUNCTION std::size_t piece_place(const FormView& of, unsigned row, unsigned piece) {
  if (of.row_tiles == 0) return std::size_t{row} * of.padded + std::size_t{piece} * 8;
  const std::size_t tile = std::size_t{piece / 4} * of.row_tiles + row / token_tile;
  return (tile * 4 + piece % 4) * 64 + row % token_tile * 8;
}
GPU_FUNCTION void copy_piece(void* to, const void* from) {
  *static_cast<Words4*>(to) = *static_cast<const Words4*>(from);
}

GPU_KERNEL(small_threads)
gather_rows(GPU_JOB(GatherJob) job) {
  await_inputs();
  const unsigned slot = block_x();
  const unsigned row = slot / job.used;
  const std::uint32_t place = job.places[slot];
  if (place == no_place) return;
  const FormView& from = job.from;
  const FormView& to = job.to;
  if (to.floats != nullptr)
    for (unsigned d = thread(); d < to.width; d += small_threads)
      to.floats[std::size_t{place} * to.width + d] = from.floats[std::size_t{row} * to.width + d];
  for (unsigned i = thread(); i < to.padded / 8; i += small_threads) {
    const std::size_t source = piece_place(from, row, i);
    const std::size_t target = piece_place(to, place, i);
    if (to.halves != nullptr) copy_piece(to.halves + target, from.halves + source);
    if (to.bf16 != nullptr) copy_piece(to.bf16 + target, from.bf16 + source);
  }
  if (to.levels == nullptr) return;
  const std::size_t source = std::size_t{row} * to.padded;
  const std::size_t target = std::size_t{place} * to.padded;
  for (unsigned i = thread(); i < to.padded / 16; i += small_threads)
    copy_piece(to.levels + target + std::size_t{i} * 16,
               from.levels + source + std::size_t{i} * 16);
  for (unsigned i = thread(); i < to.padded / block_inputs; i += small_threads)
    to.blocks[target / block_inputs + i] = from.blocks[source / block_inputs + i];
}

inline constexpr unsigned mix_parts = 8;  // of a row, a block of threads each

GPU_KERNEL(small_threads)
mix_answers(GPU_JOB(MixJob) job) {
  await_inputs();
  const unsigned row = block_x();
  const std::size_t slot = std::size_t{row} * job.used;
  for (unsigned d = block_y() * small_threads + thread(); d < job.width;
       d += small_threads * mix_parts) {
    float total = 0.0F;
    for (unsigned k = 0; k < job.used; ++k) {
      const std::uint32_t place = job.places[slot + k];
      if (place == no_place) continue;
      total = total + job.shares[slot + k] * job.answers[std::size_t{place} * job.stride + d];
    }
    job.out[std::size_t{row} * job.stride + d] = total;
  }
}

}  // namespace ambit::inference::cuda
