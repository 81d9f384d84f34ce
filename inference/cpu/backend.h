#pragma once

// The operations of the forward pass on this machine's processors. Work goes to a pool of threads,
// split over rows, outputs and heads, never over sums. Buffers are made once.

#include "inference/backend.h"
#include "inference/cpu/pool.h"
#include "inference/traffic.h"

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

namespace ambit::inference {

std::size_t cpu_page_bytes(const Config& config, KvType type);

// Pages on the heap.
class HeapPages final : public PageMemory {
 public:
  std::byte* make_page(std::size_t bytes) override;
  void copy_page(std::byte* to, const std::byte* from, std::size_t bytes) override;

 private:
  std::deque<AlignedBytes> storage_;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
             std::size_t rows_max);

  [[nodiscard]] std::string_view name() const override { return kernels_.name; }
  [[nodiscard]] std::size_t page_bytes() const override { return page_bytes_; }
  PageMemory& pages() override { return pages_; }
  void begin(std::span<const StepRow> rows) override;
  void norm(const std::vector<float>& weight) override;
  void multiply(const Matrix& matrix, Values in, Values out) override;
  void prepare(std::size_t layer) override;
  void attend(std::size_t layer) override;
  void gate(std::size_t layer) override;
  void mix(std::size_t layer) override;
  void add_block(const std::vector<float>& after, const std::vector<float>* next) override;
  std::size_t select(const std::vector<float>& weight) override;
  void finish() override;
  [[nodiscard]] const TrafficCount& traffic() const override { return traffic_; }
  std::span<const float> logits(std::size_t i) override {
    return {logits_.data() + i * model_.output.outputs, model_.config.vocabulary};
  }
  std::span<const float> state(std::size_t i) override {
    return {normed_.data() + (logits_rows_ + i) * model_.config.width, model_.config.width};
  }

 private:
  void prepare_row(std::size_t layer, std::size_t index);
  void store_row(std::size_t layer, std::size_t index);
  // out[rows][outputs] = the matrix times in[rows][inputs].
  void product(const Matrix& matrix, const float* in, std::size_t rows, float* out);
  void choose_experts(const Experts& experts);
  void ask_expert(const Experts& experts, std::size_t expert, std::size_t rows);
  std::vector<float>& values(Values which);
  template <class Work>
  void each_row(std::size_t rows, const Work& work);

  const Model& model_;
  const Kernels& kernels_;
  Pool& pool_;
  KvType kv_type_;
  HeapPages pages_;
  TrafficCount traffic_;
  std::span<const StepRow> rows_;                     // of this step
  std::size_t layer_bytes_;                           // of one layer in a page
  std::size_t page_bytes_;                            //
  std::size_t query_width_;                           // heads * head_width
  std::size_t logits_rows_ = 0;                       // of this step
  std::vector<float> x_;                              // [rows][width], the residual stream
  std::vector<float> normed_;                         // [rows][width]
  std::vector<float> qkv_;                            // [rows][qkv.outputs]
  std::vector<float> attended_;                       // [rows][query_width]
  std::vector<float> projected_;                      // [rows][width, in whole panels]
  std::vector<float> gate_up_;                        // [rows][gate_up.outputs]
  std::vector<float> hidden_;                         // [rows][hidden]
  std::vector<float> cosines_, sines_;                // [rows][rope_width / 2]
  std::vector<float> window_cosines_, window_sines_;  // of windowed layers, where they differ
  AlignedBytes levels_;                               // [rows, padded][widest inputs]
  AlignedBytes rounded_;  // inputs as bfloat16, [rows, padded][widest inputs, in whole blocks]
  std::vector<InputBlock> blocks_;  // [rows, padded][widest inputs / 32]
  std::vector<float> logits_;       // [rows that want them][vocabulary, in whole panels]
  std::vector<float> scratch_;      // [workers] for attention
  // Of layers with experts.
  struct Choice {
    std::size_t expert;
    float share;
  };
  std::vector<float> likes_;                // [rows][experts, in whole panels]
  std::vector<Choice> choices_;             // [rows][experts_used]
  std::vector<std::size_t> chosen_by_;      // rows of one expert
  std::vector<float> shares_;               // of those rows
  std::vector<float> gathered_, answered_;  // [rows][width], [rows][width, in whole panels]
  std::vector<std::uint16_t> halves_;       // [rows][head_width]
};

}  // namespace ambit::inference
