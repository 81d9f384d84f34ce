#pragma once

// From a job to its kernel: which instance, how many blocks of how many threads, how much shared
// memory. Included by whatever can launch: device.cu for a GPU, the tests' shim for the CPU.
// Launcher is a Device with launch(kernel, blocks_x, blocks_y, threads, shared_bytes, job).

#include "inference/cuda/attention.h"
#include "inference/cuda/choose.h"
#include "inference/cuda/device.h"
#include "inference/cuda/experts.h"
#include "inference/cuda/multiply_warpgroups.h"
#include "inference/cuda/rows.h"

namespace ambit::inference::cuda {

template <class Launcher>
class Operations final : public Launcher {
 public:
  using Launcher::Launcher;

  void run(const EmbedJob& job) override {
    this->launch("embed_rows", embed_rows, job.rows, 8, small_threads, 0, job);
  }
  void run(const NormJob& job) override {
    this->launch("norm_rows", norm_rows, job.rows, 1, row_threads,
                 row_threads / warp_lanes * sizeof(float), job);
  }
  void run(const MultiplyJob& job) override {
    switch (job.weight.type) {
      case WeightType::f32:
        return few<F32Format, 1>(job);
      case WeightType::f16:
        return multiply_halves<F16Format>(job);
      case WeightType::bf16:
        return multiply_halves<Bf16Format>(job);
      case WeightType::fp8:
        return multiply_halves<Fp8Format>(job);
      case WeightType::q8_0:
        return multiply<Q8Format>(job);
      case WeightType::q4_0:
        return multiply<Q4Format>(job);
      case WeightType::q4_k:
        return multiply<Q45KFormat<false>>(job);
      case WeightType::q5_k:
        return multiply<Q45KFormat<true>>(job);
      case WeightType::q6_k:
        return multiply<Q6KFormat>(job);
    }
  }
  void run(const PrepareJob& job) override {
    const unsigned warps = small_threads / warp_lanes;
    this->launch("prepare_rows", prepare_rows, job.rows,
                 (job.heads + 2 * job.kv_heads + warps - 1) / warps, small_threads,
                 prepare_bytes(job.head_width), job);
  }
  void run(const AttendJob& job, unsigned tiles) override {
    if (job.items_max == 0) return;
    if (job.head_width <= 64)
      tiles == 1 ? attend<1, 2>(job) : attend<4, 2>(job);
    else if (job.head_width <= 128)
      tiles == 1 ? attend<1, 4>(job) : attend<4, 4>(job);
    else
      attend<1, 8>(job);
  }
  void run(const FoldJob& job) override {
    this->launch("fold_rows", fold_rows, job.rows, gate_grid(job.out), small_threads, 0, job);
  }
  void run(const GateJob& job) override {
    this->launch("gate_rows", gate_rows, job.rows, gate_grid(job.out), small_threads, 0, job);
  }
  void run(const ChooseExpertsJob& job) override {
    const unsigned warps = small_threads / warp_lanes;
    this->launch("choose_experts", choose_experts, (job.rows + warps - 1) / warps, 1, small_threads,
                 choose_experts_bytes(job.used), job);
  }
  void run(const GroupJob& job) override {
    this->launch("group_slots", group_slots, 1, 1, grouping_threads(job.experts),
                 grouping_bytes(job.experts), job);
  }
  void run(const GatherJob& job) override {
    this->launch("gather_rows", gather_rows, job.slots, 1, small_threads, 0, job);
  }
  void run(const MixJob& job) override {
    this->launch("mix_answers", mix_answers, job.rows, mix_parts, small_threads, 0, job);
  }
  void run(const CapJob& job) override {
    this->launch("cap_rows", cap_rows, job.rows, 16, row_threads, 0, job);
  }
  void run(const ChooseJob& job) override {
    this->launch("choose_tokens", choose_tokens, job.rows, 1, choose_threads, choose_bytes, job);
  }

 private:
  static unsigned gate_grid(const FormView& out) {
    return (out.padded / block_inputs + gate_blocks - 1) / gate_blocks;
  }

  // The schedule is free (multiply.h): it follows from how many rows there are, in all or in an
  // item.
  static unsigned rows_together(const MultiplyJob& job) {
    return job.by_expert.items == nullptr ? job.rows : job.by_expert.rows;
  }
  bool few_together(const MultiplyJob& job, unsigned few_max) const {
    return job.by_expert.items == nullptr ? this->few_rows(job.rows)
                                          : job.by_expert.rows <= few_max;
  }
  // Blocks of threads for all rows, so many rows each.
  static unsigned stretches(const MultiplyJob& job, unsigned rows) {
    if (job.by_expert.items == nullptr) return (job.rows + rows - 1) / rows;
    return job.by_expert.items_max * (job.by_expert.rows / rows);
  }
  template <class Format>
  void multiply(const MultiplyJob& job) {
    if (few_together(job, 64)) {
      const unsigned tiles = (rows_together(job) + token_tile - 1) / token_tile;
      return tiles == 1   ? few<Format, 1>(job)
             : tiles == 2 ? few<Format, 2>(job)
             : tiles <= 4 ? few<Format, 4>(job)
                          : few<Format, 8>(job);
    }
    this->launch("multiply_many", multiply_many<Format>, stretches(job, many_block_rows),
                 (job.weight.panel_count + 2 * many_panels<Format> - 1) / (2 * many_panels<Format>),
                 many_warps * warp_lanes, multiply_many_bytes<Format>, job);
  }
  // Inputs are 16-bit floats: one kind of product for all rows, which the device decides.
  template <class Format>
  void multiply_halves(const MultiplyJob& job) {
    if (!this->info().warpgroups) return multiply<Format>(job);
    if (few_together(job, 32)) {
      const unsigned tiles = (rows_together(job) + token_tile - 1) / token_tile;
      return tiles == 1   ? narrow<Format, 1>(job)
             : tiles == 2 ? narrow<Format, 2>(job)
             : tiles <= 4 ? narrow<Format, 4>(job)
                          : narrow<Format, 8>(job);
    }
    if (job.by_expert.items != nullptr)  // there are experts enough for all processors
      return job.by_expert.rows <= 64 ? wide<Format, 64>(job) : wide<Format, 128>(job);
    // The largest tile that leaves no processor without work.
    if (wide_blocks<256>(job) >= this->info().processors) return wide<Format, 256>(job);
    if (wide_blocks<128>(job) >= this->info().processors) return wide<Format, 128>(job);
    wide<Format, 64>(job);
  }
  template <class Format, unsigned tiles>
  void narrow(const MultiplyJob& job) {
    const unsigned rows = tiles * token_tile;
    const unsigned groups = warpgroups_for(job.weight.segments, narrow_spread<tiles>);
    this->launch("multiply_narrow", multiply_narrow<Format, tiles>,
                 (job.weight.panel_count + narrow_panels<tiles> - 1) / narrow_panels<tiles>,
                 stretches(job, rows), groups * warpgroup_warps * warp_lanes,
                 narrow_bytes<tiles>(job.weight.segments), job);
  }
  template <unsigned columns>
  static unsigned wide_panels(const MultiplyJob& job) {
    constexpr unsigned panels = wide_groups<columns> * warpgroup_warps;
    return (job.weight.panel_count + panels - 1) / panels;
  }
  template <unsigned columns>
  static unsigned wide_blocks(const MultiplyJob& job) {
    return stretches(job, columns) * wide_panels<columns>(job);
  }
  template <class Format, unsigned columns>
  void wide(const MultiplyJob& job) {
    this->launch("multiply_wide", multiply_wide<Format, columns>, stretches(job, columns),
                 wide_panels<columns>(job), wide_threads<columns>, wide_bytes<columns>, job);
  }
  template <class Format, unsigned tiles>
  void few(const MultiplyJob& job) {
    const unsigned rows = tiles * token_tile;
    this->launch("multiply_few", multiply_few<Format, tiles>, job.weight.panel_count,
                 stretches(job, rows), job.weight.segments * warp_lanes,
                 multiply_few_bytes(job.weight.segments, tiles), job);
  }
  template <unsigned tiles, unsigned dim_tiles>
  void attend(const AttendJob& job) {
    this->launch("attend_chunks", attend_chunks<tiles, dim_tiles>, job.items_max,
                 job.kv_heads * head_parts(job.heads, job.kv_heads), attend_threads,
                 attend_layout(tiles, job.head_width).bytes, job);
  }
};

}  // namespace ambit::inference::cuda
