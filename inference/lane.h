#pragma once

// A queue of forward passes on some device. The scheduler has one for the steps of those who decode
// and may have a second one for prompts, so that a long prompt never holds them up. What a pass
// needs are rows: tokens, positions, and the pages of keys and values before and at them, in the
// memory of the cache. What it gives are those pages, filled, and the logits or states that were
// asked for. Where it is computed is the lane's own business: beside the first (forward.h), or on
// another device (cuda/far_lane.h); the bits are the same.

#include "inference/backend.h"
#include "inference/traffic.h"

#include <cstddef>
#include <limits>
#include <span>
#include <string>

namespace ambit::inference {

class Lane {
 public:
  virtual ~Lane() = default;

  // What one pass takes at most: rows, and sequences that they are of.
  [[nodiscard]] virtual std::size_t rows_max() const = 0;
  [[nodiscard]] virtual std::size_t sequences_max() const {
    return std::numeric_limits<std::size_t>::max();
  }

  // Begins a pass; it comes after all that the memory of the pages was asked for before. One at a
  // time. Rows of one sequence come together, in the order of their positions; they, and what they
  // point to, stay until the pass is done. Until then nobody else may write to the pages of its
  // sequences, or read those that it fills.
  virtual void start(std::span<const StepRow> rows) = 0;
  // Whether the pass is done; does not wait.
  virtual bool is_done() = 0;
  virtual void wait() = 0;
  // What went wrong for good; empty: nothing. A pass that fails has no results.
  [[nodiscard]] virtual std::string failure() const = 0;

  // Of a pass that is done, until the next one: see Backend.
  [[nodiscard]] virtual std::span<const float> logits(std::size_t i) const = 0;
  [[nodiscard]] virtual std::span<const float> state(std::size_t i) const = 0;
  virtual TokenId chosen(std::size_t i) = 0;
  // What its passes have moved, and what each row of that one has of it.
  [[nodiscard]] virtual const TrafficCount& traffic() const = 0;
};

}  // namespace ambit::inference
