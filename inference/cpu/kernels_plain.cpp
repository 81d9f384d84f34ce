// The kernels in plain C++: the reference, and what runs where nothing better is known. Every
// multiply-add is fused here too (by a library call where the machine has no such instruction), so
// that the bits are those of the vector kernels.

#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ambit::inference {
namespace {

struct Vector {
  static constexpr std::size_t registers = 16;
  float x[16];
  template <class F>
  static Vector each(const F& of) {
    Vector v;
    for (std::size_t i = 0; i < 16; ++i) v.x[i] = of(i);
    return v;
  }
  static Vector all(float value) {
    return each([=](std::size_t) { return value; });
  }
  static Vector load(const float* at) {
    return each([=](std::size_t i) { return at[i]; });
  }
  static Vector load_f16(const std::uint16_t* at) {
    return each([=](std::size_t i) { return f16_to_float(at[i]); });
  }
  static Vector load_bf16(const std::uint16_t* at) {
    return each([=](std::size_t i) { return bf16_to_float(at[i]); });
  }
  static Vector load_i8(const std::int8_t* at) {
    return each([=](std::size_t i) { return static_cast<float>(at[i]); });
  }
  void store(float* at) const { std::memcpy(at, x, sizeof x); }
  void store_f16(std::uint16_t* at) const {
    for (std::size_t i = 0; i < 16; ++i) at[i] = float_to_f16(x[i]);
  }
};
inline Vector fma(const Vector& a, const Vector& b, const Vector& c) {
  return Vector::each([&](std::size_t i) { return __builtin_fmaf(a.x[i], b.x[i], c.x[i]); });
}
inline Vector add(const Vector& a, const Vector& b) {
  return Vector::each([&](std::size_t i) { return a.x[i] + b.x[i]; });
}
inline Vector sub(const Vector& a, const Vector& b) {
  return Vector::each([&](std::size_t i) { return a.x[i] - b.x[i]; });
}
inline Vector mul(const Vector& a, const Vector& b) {
  return Vector::each([&](std::size_t i) { return a.x[i] * b.x[i]; });
}
inline Vector div(const Vector& a, const Vector& b) {
  return Vector::each([&](std::size_t i) { return a.x[i] / b.x[i]; });
}
inline Vector max(const Vector& a, const Vector& b) {
  return Vector::each([&](std::size_t i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; });
}
inline Vector min(const Vector& a, const Vector& b) {
  return Vector::each([&](std::size_t i) { return a.x[i] < b.x[i] ? a.x[i] : b.x[i]; });
}
inline Vector select_less(const Vector& a, const Vector& b, const Vector& yes, const Vector& no) {
  return Vector::each([&](std::size_t i) { return a.x[i] < b.x[i] ? yes.x[i] : no.x[i]; });
}
// x * 2^n for whole n that keep it a normal number.
inline Vector scale_by_power(const Vector& value, const Vector& n) {
  return Vector::each([&](std::size_t i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value.x[i], sizeof bits);
    // A sum that is not a number makes n one too; its result is thrown away by exp or stays what it
    // is.
    const std::int32_t power =
        n.x[i] >= -127.0F && n.x[i] <= 128.0F ? static_cast<std::int32_t>(n.x[i]) : 0;
    bits += static_cast<std::uint32_t>(power) << 23U;
    float scaled = 0;
    std::memcpy(&scaled, &bits, sizeof scaled);
    return scaled;
  });
}

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& plain_kernels() {
  static constexpr Kernels kernels = {"plain", matmul, attend, rms_norm, swiglu, to_f16};
  return kernels;
}
}  // namespace ambit::inference
