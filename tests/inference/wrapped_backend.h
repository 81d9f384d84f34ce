#pragma once

// A back end that is another one: for tests that look at single operations.

#include "inference/backend.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::inference {

class WrappedBackend : public Backend {
 public:
  explicit WrappedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  [[nodiscard]] std::string_view name() const override { return inner_->name(); }
  [[nodiscard]] std::size_t page_bytes() const override { return inner_->page_bytes(); }
  PageMemory& pages() override { return inner_->pages(); }
  void begin(std::span<const StepRow> rows) override { inner_->begin(rows); }
  void norm(const std::vector<float>& weight) override { inner_->norm(weight); }
  void multiply(const Matrix& matrix, Values in, Values out) override {
    inner_->multiply(matrix, in, out);
  }
  void prepare(std::size_t layer) override { inner_->prepare(layer); }
  void attend(std::size_t layer) override { inner_->attend(layer); }
  void gate(std::size_t layer) override { inner_->gate(layer); }
  void mix(std::size_t layer) override { inner_->mix(layer); }
  void add_block(const std::vector<float>& after, const std::vector<float>* next) override {
    inner_->add_block(after, next);
  }
  std::size_t select(const std::vector<float>& weight) override { return inner_->select(weight); }
  void finish() override { inner_->finish(); }
  [[nodiscard]] const TrafficCount& traffic() const override { return inner_->traffic(); }
  void wait() override { inner_->wait(); }
  bool is_done() override { return inner_->is_done(); }
  [[nodiscard]] std::string failure() const override { return inner_->failure(); }
  [[nodiscard]] bool chooses() const override { return inner_->chooses(); }
  TokenId chosen(std::size_t i) override { return inner_->chosen(i); }
  std::span<const float> logits(std::size_t i) override { return inner_->logits(i); }
  std::span<const float> state(std::size_t i) override { return inner_->state(i); }

 protected:
  [[nodiscard]] Backend& inner() const { return *inner_; }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace ambit::inference
