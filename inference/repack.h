#pragma once

// Turns the rows of a weight file into the panels that the kernels read: 16 outputs side by side,
// inputs running innermost. Done once, when a model is loaded.

#include "inference/model.h"

#include <cstddef>
#include <span>
#include <vector>

namespace ambit::inference {

// Some rows of a tensor of the file: outputs [first, first + count).
struct WeightRows {
  const TensorView* tensor = nullptr;
  std::size_t first = 0;
  std::size_t count = 0;
};
WeightRows all_rows(const TensorView& tensor);

// Stacks parts that share their inputs; each part starts on a panel border and keeps its type.
Matrix repack(std::span<const WeightRows> parts);

// Bytes of one panel: 16 outputs of so many inputs.
std::size_t panel_bytes(DType type, std::size_t inputs);

}  // namespace ambit::inference
