#pragma once

// Weights of one type and rows of inputs in all forms, on the shim's device.

#include "forms.h"
#include "inference/cuda/multiply.h"
#include "inference/cuda/panels.h"
#include "inference/repack.h"
#include "support.h"

#include <memory>
#include <vector>

namespace ambit::inference::cuda {

// A weight of random values in a file's type, as the CPU and as the device has it.
struct Weight {
  std::vector<std::byte> file;
  TensorView view;
  Matrix matrix;

  Weight(DType type, std::size_t inputs, std::size_t outputs, std::uint64_t seed = 3) {
    const std::vector<float> values = noise(inputs * outputs, seed, 0.2F);
    file.resize(row_bytes(type, inputs) * outputs);
    for (std::size_t o = 0; o < outputs; ++o)
      from_floats(type, values.data() + o * inputs, inputs,
                  file.data() + o * row_bytes(type, inputs));
    view = {"w", type, {inputs, outputs}, file.data(), file.size()};
    const WeightRows rows[] = {all_rows(view)};
    matrix = repack(rows);
  }
};

inline std::size_t inputs_of(DType type) {
  return block_elements(type) == 256 ? 768 : is_quantized(type) ? 160 : 176;
}

struct OnDevice {
  std::unique_ptr<Array<std::byte>> panels;
  std::unique_ptr<Array<float>> scales;
  WeightView view{};

  OnDevice(Device& device, const Weight& weight, bool fp8 = false)
      : OnDevice(device, std::vector{&weight}, fp8) {}
  // One behind the other.
  OnDevice(Device& device, const std::vector<const Weight*>& alike, bool fp8) {
    const Segment& segment = alike[0]->matrix.segments[0];
    const std::size_t inputs = alike[0]->matrix.inputs;
    view.type = weight_type(segment.type, fp8);
    const std::size_t bytes = panel_bytes(view.type, inputs);
    const std::size_t count = segment.panel_count * alike.size();
    std::vector<std::byte> turned(bytes * count);
    std::vector<float> factors(view.type == WeightType::fp8 ? count * 16 : 0);
    for (std::size_t i = 0; i < count; ++i)
      device_panel(alike[i / segment.panel_count]->matrix.segments[0], i % segment.panel_count,
                   inputs, view.type, turned.data() + i * bytes,
                   factors.empty() ? nullptr : factors.data() + i * 16);
    panels = std::make_unique<Array<std::byte>>(device, turned);
    scales = std::make_unique<Array<float>>(device, factors);
    view.panels = panels->at();
    view.scales = factors.empty() ? nullptr : scales->at();
    view.panel_count = static_cast<std::uint32_t>(segment.panel_count);
    view.panel_bytes = static_cast<std::uint32_t>(bytes);
    view.blocks = static_cast<std::uint32_t>(whole_blocks(inputs));
    view.segment_blocks = static_cast<std::uint32_t>(segment_blocks(view.blocks));
    view.segments = (view.blocks + view.segment_blocks - 1) / view.segment_blocks;
  }
};

// Rows of inputs in all forms, made by the kernel that makes them for the engine.
struct Inputs : FormArrays {
  std::vector<float> values;
  Array<float> source, ones;

  Inputs(Device& device, std::size_t rows, std::size_t width, std::uint64_t seed = 5,
         std::size_t rows_capacity = 320)
      : FormArrays(device, rows_capacity, width, device.info().warpgroups),
        values(noise(rows * width, seed)),
        source(device, values),
        ones(device, std::vector<float>(width, 1.0F)) {
    NormJob job{};
    job.residual = source.at();
    job.next = ones.at();
    job.out = view;
    job.epsilon = 1e-5F;
    job.width = static_cast<std::uint32_t>(width);
    job.rows = static_cast<std::uint32_t>(rows);
    device.run(job);
  }
};

}  // namespace ambit::inference::cuda
