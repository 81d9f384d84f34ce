#pragma once

// safetensors: a header in JSON, then the tensors' bytes. All of it is checked before anything is
// used: sizes, types, shapes against ranges, and that the ranges fill the file without a gap or an
// overlap. The views point into the bytes that were given; they need not be aligned.

#include "async/result.h"
#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ambit::inference {

// What a file may ask for. More is refused.
struct SafetensorsLimits {
  std::uint64_t header_bytes_max = 16U << 20U;
  std::uint64_t tensors_max = 1U << 17U;
  std::size_t name_bytes_max = 1024;
};

// Shapes are turned around: shape[0] is the innermost dimension, as everywhere here.
Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> bytes,
                                                  const SafetensorsLimits& limits = {});

}  // namespace ambit::inference
