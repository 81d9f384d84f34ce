#pragma once

// Rows of values in every form that some weight wants, on the shim's device.

#include "inference/cuda/jobs.h"
#include "support.h"

#include <cstddef>
#include <cstdint>

namespace ambit::inference::cuda {

struct FormArrays {
  Array<float> floats;
  Array<std::uint16_t> halves, bf16;
  Array<std::int8_t> levels;
  Array<LevelBlock> blocks;
  FormView view;

  // `tiles`: 16-bit floats lie in tiles of 8 rows.
  FormArrays(Device& device, std::size_t rows, std::size_t width, bool tiles = false)
      : floats(device, rows * width),
        halves(device, rows * padded(width)),
        bf16(device, rows * padded(width)),
        levels(device, rows * padded(width)),
        blocks(device, rows * padded(width) / block_inputs),
        view{floats.at(),
             halves.at(),
             bf16.at(),
             levels.at(),
             blocks.at(),
             static_cast<std::uint32_t>(width),
             static_cast<std::uint32_t>(padded(width)),
             tiles ? static_cast<std::uint32_t>(rows / token_tile) : 0} {}
  static std::size_t padded(std::size_t width) {
    return (width + block_inputs - 1) / block_inputs * block_inputs;
  }
};

}  // namespace ambit::inference::cuda
