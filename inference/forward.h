#pragma once

// One forward pass over rows of any mixture: single tokens of many sequences, stretches of prompts.
// Writes each row's keys and values into its page and gives logits for the rows that want them. A
// row's result depends on its own past alone (see ops.h). One source for every back end: this is
// the order of the operations, a Backend is what they are. One step at a time. The lane of a back
// end: its passes come one after the other.

#include "inference/backend.h"
#include "inference/cpu/pool.h"
#include "inference/lane.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace ambit::inference {

class Forward final : public Lane {
 public:
  // On the CPU.
  Forward(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
          std::size_t rows_max);
  // `backend` was made for this model and for so many rows.
  Forward(const Model& model, std::unique_ptr<Backend> backend, std::size_t rows_max);

  // Rows of one sequence come in the order of their positions. A device may still be at it when
  // this returns, and take the next pass meanwhile; the rows are needed no longer.
  void start(std::span<const StepRow> rows) override;
  bool is_done() override { return backend_->is_done(); }
  void wait() override { backend_->wait(); }
  void run(std::span<const StepRow> rows) {
    start(rows);
    wait();
  }
  // Of the i-th row that wanted them, valid until the next pass.
  [[nodiscard]] std::span<const float> logits(std::size_t i) const override {
    return backend_->logits(i);
  }
  // The same of the rows that wanted their state: [width].
  [[nodiscard]] std::span<const float> state(std::size_t i) const override {
    return backend_->state(i);
  }
  TokenId chosen(std::size_t i) override { return backend_->chosen(i); }
  [[nodiscard]] const TrafficCount& traffic() const override { return backend_->traffic(); }
  [[nodiscard]] std::string failure() const override { return backend_->failure(); }
  [[nodiscard]] std::size_t page_bytes() const { return backend_->page_bytes(); }
  [[nodiscard]] std::size_t rows_max() const override { return rows_max_; }
  [[nodiscard]] Backend& backend() const { return *backend_; }
  // Of the CPU's pages.
  static std::size_t page_bytes(const Config& config, KvType type);

 private:
  const Model& model_;
  std::unique_ptr<Backend> backend_;
  std::size_t rows_max_;
};

}  // namespace ambit::inference
