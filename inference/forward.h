#pragma once

// One forward pass over rows of any mixture: single tokens of many sequences, stretches of prompts.
// Writes each row's keys and values into its page and gives logits for the rows that want them. A
// row's result depends on its own past alone (see ops.h). One source for every back end: this is
// the order of the operations, a Backend is what they are. One step at a time.

#include "inference/backend.h"
#include "inference/cpu/pool.h"

#include <cstddef>
#include <memory>
#include <span>

namespace ambit::inference {

class Forward {
 public:
  // On the CPU.
  Forward(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
          std::size_t rows_max);
  // `backend` was made for this model and for so many rows.
  Forward(const Model& model, std::unique_ptr<Backend> backend, std::size_t rows_max);

  // Rows of one sequence come in the order of their positions.
  void run(std::span<const StepRow> rows);
  // Of the i-th row that wanted them, valid until the next run.
  [[nodiscard]] std::span<const float> logits(std::size_t i) const { return backend_->logits(i); }
  // The same of the rows that wanted their state: [width].
  [[nodiscard]] std::span<const float> state(std::size_t i) const { return backend_->state(i); }
  [[nodiscard]] std::size_t page_bytes() const { return backend_->page_bytes(); }
  [[nodiscard]] std::size_t rows_max() const { return rows_max_; }
  [[nodiscard]] Backend& backend() const { return *backend_; }
  // Of the CPU's pages.
  static std::size_t page_bytes(const Config& config, KvType type);

 private:
  const Model& model_;
  std::unique_ptr<Backend> backend_;
  std::size_t rows_max_;
};

}  // namespace ambit::inference
