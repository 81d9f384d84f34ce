#pragma once

// One forward pass over rows of any mixture: single tokens of many sequences, stretches of prompts.
// Writes each row's keys and values into its page and gives logits for the rows that want them. A
// row's result depends on its own past alone (see ops.h). One step at a time; buffers are made
// once.

#include "inference/cpu/pool.h"
#include "inference/model.h"
#include "inference/ops.h"

#include <cstddef>
#include <span>
#include <vector>

namespace ambit::inference {

struct StepRow {
  TokenId token = 0;
  std::size_t position = 0;
  std::byte* const* pages = nullptr;  // of its sequence; the page of `position` included
  bool wants_logits = false;
  bool wants_state = false;  // the normed residual after the last layer; not together with logits
};

class Forward {
 public:
  Forward(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
          std::size_t rows_max);

  // Rows of one sequence come in the order of their positions.
  void run(std::span<const StepRow> rows);
  // Of the i-th row that wanted them, valid until the next run.
  [[nodiscard]] std::span<const float> logits(std::size_t i) const {
    return {logits_.data() + i * model_.output.outputs, model_.config.vocabulary};
  }
  // The same of the rows that wanted their state: [width].
  [[nodiscard]] std::span<const float> state(std::size_t i) const {
    return {normed_.data() + (logits_rows_ + i) * model_.config.width, model_.config.width};
  }
  [[nodiscard]] std::size_t page_bytes() const { return page_bytes_; }
  [[nodiscard]] std::size_t rows_max() const { return rows_max_; }
  static std::size_t page_bytes(const Config& config, KvType type);

 private:
  void embed(std::span<const StepRow> rows);
  void layer(const Layer& layer, std::size_t index, std::span<const StepRow> rows);
  void prepare_row(std::size_t layer, const StepRow& row, std::size_t index);
  void store_row(std::size_t layer, const StepRow& row, std::size_t index);
  void matmul(const Matrix& matrix, const std::vector<float>& in, std::size_t in_stride,
              std::vector<float>& out, std::size_t rows);
  void attend(std::span<const StepRow> rows, std::size_t layer);
  // Adds what a block made to the residual, by way of its norm where it has one; then norms it for
  // the next block, if there is one.
  void add_block(const std::vector<float>& after, const std::vector<float>* next, std::size_t rows);
  template <class Work>
  void each_row(std::size_t rows, const Work& work);

  const Model& model_;
  const Kernels& kernels_;
  Pool& pool_;
  KvType kv_type_;
  std::size_t rows_max_;
  std::size_t layer_bytes_;  // of one layer in a page
  std::size_t page_bytes_;
  std::size_t query_width_;                           // heads * head_width
  std::size_t logits_rows_ = 0;                       // of the last run
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
  std::vector<InputBlock> blocks_;     // [rows, padded][widest inputs / 32]
  std::vector<float> logits_;          // [rows that want them][vocabulary, in whole panels]
  std::vector<float> scratch_;         // [workers] for attention
  std::vector<std::uint16_t> halves_;  // [rows][head_width]
};

}  // namespace ambit::inference
