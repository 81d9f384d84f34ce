#pragma once

// Turns the CPU's panels (model.h) into what the GPU's lanes take: the same blocks of 16 outputs by
// 32 inputs, the words of a block in the order of the lanes, so that a warp reads a stretch of
// memory with one load each. Done once, when a model goes to the device.

#include "inference/cuda/jobs.h"
#include "inference/model.h"

#include <cstddef>
#include <vector>

namespace ambit::inference::cuda {

// The type on the device; `fp8`: weights that are floats become 8-bit floats with a scale a
// channel.
WeightType weight_type(DType type, bool fp8);
std::size_t panel_bytes(WeightType type, std::size_t inputs);
constexpr std::size_t whole_blocks(std::size_t inputs) {
  return (inputs + block_inputs - 1) / block_inputs;
}
// How a sum over so many blocks is cut. Part of what a product is: a change changes its bits.
std::size_t segment_blocks(std::size_t blocks);

// One panel, zeros up to whole blocks. `scales`: of fp8, 16 of them.
void device_panel(const Segment& segment, std::size_t panel, std::size_t inputs, WeightType type,
                  std::byte* out, float* scales);

}  // namespace ambit::inference::cuda
