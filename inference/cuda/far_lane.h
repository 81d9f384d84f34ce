#pragma once

// Prompts on another GPU of the same machine. It has the weights and pages of its own; of each
// sequence that it is at it takes over the pages that others have computed, and what it fills goes
// to the pages of the first before anybody may find them. The copies are part of the pass, in its
// order. Both GPUs must be of one architecture: else the same prompt would have two sets of bits.

#include "async/result.h"
#include "inference/cuda/backend.h"
#include "inference/forward.h"
#include "inference/lane.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ambit::inference::cuda {

class FarLane final : public Lane {
 public:
  // For `pages_max` pages, as many as the cache has, so that any sequence fits that fits there.
  // `home` outlives it. With a `residency` of that GPU: its weights stay there for good.
  // unsupported: another architecture. exhausted: no room for the model.
  static Result<std::unique_ptr<FarLane>> make(const Model& model, CudaBackend& home,
                                               std::unique_ptr<Device> device, std::size_t rows_max,
                                               std::size_t pages_max,
                                               std::shared_ptr<Residency> residency = nullptr);

  [[nodiscard]] std::size_t rows_max() const override { return forward_.rows_max(); }
  [[nodiscard]] std::size_t sequences_max() const override { return sequences_max_; }
  void start(std::span<const StepRow> rows) override;
  bool is_done() override { return forward_.is_done(); }
  void wait() override { forward_.wait(); }
  [[nodiscard]] std::string failure() const override {
    return failure_.empty() ? forward_.failure() : failure_;
  }
  [[nodiscard]] std::span<const float> logits(std::size_t i) const override {
    return forward_.logits(i);
  }
  [[nodiscard]] std::span<const float> state(std::size_t i) const override {
    return forward_.state(i);
  }
  TokenId chosen(std::size_t i) override { return forward_.chosen(i); }
  [[nodiscard]] const TrafficCount& traffic() const override { return forward_.traffic(); }

  struct Moved {
    std::uint64_t pages_here = 0;  // from the first GPU
    std::uint64_t pages_home = 0;
  };
  [[nodiscard]] const Moved& moved() const { return moved_; }

 private:
  // A sequence whose beginning is here.
  struct Guest {
    std::vector<std::byte*> pages;
    std::size_t length = 0;  // tokens whose keys and values are here
    std::uint64_t used = 0;  // the last pass that had rows of it
  };
  FarLane(const Model& model, CudaBackend& home, std::unique_ptr<CudaBackend> backend,
          std::size_t rows_max, std::size_t pages_max, std::size_t sequences_max);
  // Brings what stands before the rows of one sequence; false: there is no memory for it.
  bool welcome(std::span<const StepRow> rows);
  // The sequence that was here longest without a row goes when there is no other page.
  std::byte* take_page();

  CudaBackend& home_;
  CudaBackend& backend_;  // of forward_
  Forward forward_;
  std::size_t pages_max_;
  std::size_t sequences_max_;
  std::size_t made_ = 0;
  std::vector<std::byte*> free_;
  std::map<std::uint64_t, Guest> guests_;
  std::uint64_t passes_ = 0;
  std::vector<StepRow> rows_;  // of the pass, with the pages here
  std::string failure_;
  Moved moved_;
};

}  // namespace ambit::inference::cuda
