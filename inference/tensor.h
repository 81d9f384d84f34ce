#pragma once

// The element types that a weight file may hold, the view of one tensor in a mapped file, and
// memory that is aligned for vector loads. Shapes follow GGUF: shape[0] is the innermost,
// contiguous dimension.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

using TokenId = std::int32_t;

// Numbers as in the file format.
enum class DType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30
};

inline constexpr DType all_types[] = {DType::f32,  DType::f16,  DType::q4_0, DType::q8_0,
                                      DType::q4_k, DType::q5_k, DType::q6_k, DType::bf16};

// "Q4_K"; and back, in any case of letters. Nothing: it is not a type that this engine reads.
std::string_view to_string(DType type);
std::optional<DType> type_named(std::string_view name);
std::optional<DType> type_numbered(std::uint32_t number);

// Elements that share a block, and its bytes; what is in a block is said in quants.h.
constexpr std::size_t block_elements(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return 1;
    case DType::q4_0:
    case DType::q8_0:
      return 32;
    case DType::q4_k:
    case DType::q5_k:
    case DType::q6_k:
      return 256;
  }
  return 1;
}
constexpr std::size_t block_bytes(DType type) {
  switch (type) {
    case DType::f32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::q4_0:
      return 18;
    case DType::q8_0:
      return 34;
    case DType::q4_k:
      return 144;
    case DType::q5_k:
      return 176;
    case DType::q6_k:
      return 210;
  }
  return 0;
}
// Whether elements are levels of a scale; the kernels multiply these as whole numbers.
constexpr bool is_quantized(DType type) {
  return block_elements(type) > 1;
}
// Bytes of `elements` contiguous elements; `elements` is a multiple of the block.
constexpr std::size_t row_bytes(DType type, std::size_t elements) {
  return elements / block_elements(type) * block_bytes(type);
}

// A tensor inside a file; the file owns the bytes.
struct TensorView {
  std::string name;
  DType type = DType::f32;
  std::vector<std::uint64_t> shape;
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
  // Where its rows are not in one piece, or in another order in the file: each row's place; then
  // `data` is nullptr.
  std::vector<const std::byte*> scattered{};

  [[nodiscard]] std::uint64_t elements() const;
  [[nodiscard]] const std::byte* row(std::size_t index) const {
    if (!scattered.empty()) return scattered[index];
    return data + index * row_bytes(type, static_cast<std::size_t>(shape[0]));
  }
  [[nodiscard]] std::uint64_t dimension(std::size_t index) const {
    return index < shape.size() ? shape[index] : 1;
  }
};

inline std::uint16_t read_u16(const std::byte* at) {
  std::uint16_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline void write_u16(std::byte* at, std::uint16_t value) {
  std::memcpy(at, &value, sizeof value);
}
float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_f16(float value);
float bf16_to_float(std::uint16_t bits);
std::uint16_t float_to_bf16(float value);

// `count` elements from `bytes` (of `type`, starting on a block) as floats.
void to_floats(DType type, const std::byte* bytes, std::size_t count, float* out);
// The reverse, for tests and tools; rounds to nearest.
void from_floats(DType type, const float* values, std::size_t count, std::byte* out);

// Zeroed memory on a 64-byte border; large blocks ask the kernel for huge pages.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(std::size_t bytes);
  [[nodiscard]] std::byte* data() { return memory_.get(); }
  [[nodiscard]] const std::byte* data() const { return memory_.get(); }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(memory_.get());
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace ambit::inference
