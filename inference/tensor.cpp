#include "inference/tensor.h"

#include "async/check.h"
#include "inference/quants.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

namespace ambit::inference {

std::string_view to_string(DType type) {
  switch (type) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::q4_0:
      return "Q4_0";
    case DType::q8_0:
      return "Q8_0";
    case DType::q4_k:
      return "Q4_K";
    case DType::q5_k:
      return "Q5_K";
    case DType::q6_k:
      return "Q6_K";
  }
  return "?";
}

std::optional<DType> type_named(std::string_view name) {
  std::string upper(name);
  for (char& letter : upper)
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  for (const DType type : all_types)
    if (to_string(type) == upper) return type;
  return std::nullopt;
}

std::optional<DType> type_numbered(std::uint32_t number) {
  for (const DType type : all_types)
    if (static_cast<std::uint32_t>(type) == number) return type;
  return std::nullopt;
}

std::uint64_t TensorView::elements() const {
  std::uint64_t count = 1;
  for (const std::uint64_t size : shape) count *= size;
  return count;
}

float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (bits >> 10U) & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in a float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23U) | (mantissa << 13U));
}

std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t result = 0;
  if (magnitude > 0x7F800000U) {
    result = 0x7E00U;  // not a number
  } else if (magnitude >= 0x47800000U) {
    result = 0x7C00U;  // 65536 and more: infinity
  } else if (magnitude < 0x38800000U) {
    // Below the smallest normal half: adding 0.5 aligns the mantissa, the FPU rounds to nearest
    // even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    result = std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U;
  } else {
    const std::uint32_t odd = (magnitude >> 13U) & 1U;
    result = (magnitude - 0x38000000U + 0xFFFU + odd) >> 13U;
  }
  return static_cast<std::uint16_t>(sign | result);
}

float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16U) | 64U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}

void to_floats(DType type, const std::byte* bytes, std::size_t count, float* out) {
  switch (type) {
    case DType::f32:
      std::memcpy(out, bytes, count * sizeof(float));
      return;
    case DType::f16:
      for (std::size_t i = 0; i < count; ++i) out[i] = f16_to_float(read_u16(bytes + 2 * i));
      return;
    case DType::bf16:
      for (std::size_t i = 0; i < count; ++i) out[i] = bf16_to_float(read_u16(bytes + 2 * i));
      return;
    default:
      dequantize(type, bytes, count, out);
  }
}

void from_floats(DType type, const float* values, std::size_t count, std::byte* out) {
  switch (type) {
    case DType::f32:
      std::memcpy(out, values, count * sizeof(float));
      return;
    case DType::f16:
      for (std::size_t i = 0; i < count; ++i) write_u16(out + 2 * i, float_to_f16(values[i]));
      return;
    case DType::bf16:
      for (std::size_t i = 0; i < count; ++i) write_u16(out + 2 * i, float_to_bf16(values[i]));
      return;
    default:
      quantize(type, values, count, out);
  }
}

AlignedBytes::AlignedBytes(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  constexpr std::size_t huge = std::size_t{2} << 20U;
  const std::size_t alignment = bytes >= huge ? huge : 64;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
  INVARIANT(memory_ != nullptr);
#ifdef MADV_HUGEPAGE
  if (alignment == huge) madvise(memory_.get(), rounded, MADV_HUGEPAGE);  // only advice
#endif
  std::memset(memory_.get(), 0, rounded);
}

void AlignedBytes::Free::operator()(std::byte* memory) const {
  std::free(memory);
}

}  // namespace ambit::inference
