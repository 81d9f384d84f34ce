#include "inference/repack.h"

#include "inference/quants.h"

#include <cstring>

namespace ambit::inference {

namespace {

constexpr std::size_t group_bytes = 64;   // 4 inputs of 16 outputs
constexpr std::size_t groups = 8;         // in a block of 32 inputs
constexpr std::size_t bf16_bytes = 1024;  // 32 inputs of 16 outputs

// Bytes of 32 inputs of a panel, without what a block of 256 has on top.
std::size_t quant_bytes(DType type) {
  switch (type) {
    case DType::q8_0:
      return 32 + 8 * group_bytes;
    case DType::q4_0:
    case DType::q4_k:
      return 32 + 4 * group_bytes;
    case DType::q5_k:
      return 32 + 5 * group_bytes;
    default:
      return 32 + 6 * group_bytes;
  }
}

// Half floats of 16 outputs for each 256 inputs.
std::size_t super_bytes(DType type) {
  if (block_elements(type) < 256) return 0;
  return type == DType::q6_k ? 32 : 64;
}

void put_u16(std::byte* at, std::uint16_t value) {
  std::memcpy(at, &value, sizeof value);
}

// The four inputs of a lane within a group.
std::byte* place(std::byte* groups_at, std::size_t group, std::size_t lane, std::size_t input) {
  return groups_at + group * group_bytes + lane * 4 + input % 4;
}

// One lane of 32 inputs: levels and their scales.
void put_levels(DType type, const QuantBlock& block, std::size_t part, std::size_t lane,
                std::byte* at) {
  if (type == DType::q8_0 || type == DType::q4_0) {
    put_u16(at + 2 * lane, block.d);
  } else if (type == DType::q6_k) {
    at[lane] = static_cast<std::byte>(block.scales[2 * part]);
    at[16 + lane] = static_cast<std::byte>(block.scales[2 * part + 1]);
  } else {
    at[lane] = static_cast<std::byte>(block.scales[part]);
    at[16 + lane] = static_cast<std::byte>(block.offsets[part]);
  }
  std::byte* nibbles = at + 32;
  std::byte* planes = nibbles + 4 * group_bytes;
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t group = i / 4;
    const unsigned level = block.levels[part * 32 + i];
    if (type == DType::q8_0) {
      *place(nibbles, group, lane, i) = static_cast<std::byte>(level);
      continue;
    }
    *place(nibbles, group % 4, lane, i) |= static_cast<std::byte>((level & 15U) << (group / 4 * 4));
    if (type == DType::q5_k)
      *place(planes, 0, lane, i) |= static_cast<std::byte>(level >> 4U << group);
    if (type == DType::q6_k)
      *place(planes, group / 4, lane, i) |= static_cast<std::byte>(level >> 4U << (group % 4 * 2));
  }
}

// Copies one output's row into its lane of a zeroed panel.
void put_row(DType type, std::size_t inputs, const std::byte* row, std::byte* panel,
             std::size_t lane) {
  if (type == DType::bf16) {
    for (std::size_t i = 0; i < inputs; ++i)
      std::memcpy(panel + i / 32 * bf16_bytes + i % 32 / 2 * group_bytes + lane * 4 + i % 2 * 2,
                  row + i * 2, 2);
    return;
  }
  if (!is_quantized(type)) {
    const std::size_t each = block_bytes(type);
    for (std::size_t i = 0; i < inputs; ++i)
      std::memcpy(panel + (i * panel_outputs + lane) * each, row + i * each, each);
    return;
  }
  const std::size_t size = block_elements(type);
  QuantBlock block;
  for (std::size_t i = 0; i < inputs; i += size, row += block_bytes(type)) {
    read_block(type, row, block);
    if (super_bytes(type) > 0) {
      put_u16(panel + 2 * lane, block.d);
      if (type != DType::q6_k) put_u16(panel + 32 + 2 * lane, block.m);
      panel += super_bytes(type);
    }
    for (std::size_t part = 0; part < size / 32; ++part, panel += quant_bytes(type))
      put_levels(type, block, part, lane, panel);
  }
}

std::size_t whole_panels(std::size_t outputs) {
  return (outputs + panel_outputs - 1) / panel_outputs;
}

}  // namespace

std::size_t panel_bytes(DType type, std::size_t inputs) {
  if (type == DType::bf16) return (inputs + 31) / 32 * bf16_bytes;
  if (!is_quantized(type)) return inputs * block_bytes(type) * panel_outputs;
  return inputs / (groups * 4) * quant_bytes(type) + inputs / 256 * super_bytes(type);
}

WeightRows all_rows(const TensorView& tensor) {
  return {&tensor, 0, static_cast<std::size_t>(tensor.dimension(1))};
}

Matrix repack(std::span<const WeightRows> parts) {
  Matrix matrix;
  matrix.inputs = parts[0].tensor->dimension(0);
  for (const WeightRows& part : parts) {
    const DType type = part.tensor->type;
    matrix.parts.push_back(matrix.outputs);
    if (matrix.segments.empty() || matrix.segments.back().type != type)
      matrix.segments.push_back({type, matrix.outputs, 0, panel_bytes(type, matrix.inputs), {}});
    matrix.segments.back().panel_count += whole_panels(part.count);
    matrix.outputs += whole_panels(part.count) * panel_outputs;
  }
  std::size_t next = 0;
  for (Segment& segment : matrix.segments) {
    segment.panels = AlignedBytes(segment.panel_count * segment.panel_bytes);
    const std::size_t end = segment.first_output + segment.panel_count * panel_outputs;
    for (; next < parts.size() && matrix.parts[next] < end; ++next) {
      const WeightRows& part = parts[next];
      for (std::size_t row = 0; row < part.count; ++row) {
        const std::size_t output = matrix.parts[next] - segment.first_output + row;
        put_row(segment.type, matrix.inputs, part.tensor->row(part.first + row),
                segment.panels.data() + output / panel_outputs * segment.panel_bytes,
                output % panel_outputs);
      }
    }
  }
  return matrix;
}

}  // namespace ambit::inference
