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
  static constexpr std::size_t registers = 0;  // tiles of one: nothing is gained by more
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
  static Vector load_i8(const std::int8_t* at) {
    return each([=](std::size_t i) { return static_cast<float>(at[i]); });
  }
  static Vector load_u8(const std::uint8_t* at) {
    return each([=](std::size_t i) { return static_cast<float>(at[i]); });
  }
  // Whole numbers from -127 to 127; what is none becomes 0.
  void store_i8(std::int8_t* at) const {
    for (std::size_t i = 0; i < 16; ++i)
      at[i] = x[i] >= -127.0F && x[i] <= 127.0F ? static_cast<std::int8_t>(x[i]) : std::int8_t{0};
  }
  void store(float* at) const { std::memcpy(at, x, sizeof x); }
  // Rounded to the nearest, ties to even.
  void store_bf16(std::uint16_t* at) const {
    for (std::size_t i = 0; i < 16; ++i) at[i] = float_to_bf16(x[i]);
  }
  void store_f16(std::uint16_t* at) const {
    for (std::size_t i = 0; i < 16; ++i) at[i] = float_to_f16(x[i]);
  }
};
// 16 outputs, 2 inputs each: what one step of a product of bfloat16 takes.
struct Pairs {
  Vector even, odd;
  static Pairs load(const std::uint16_t* at) {
    return {Vector::each([=](std::size_t i) { return bf16_to_float(at[2 * i]); }),
            Vector::each([=](std::size_t i) { return bf16_to_float(at[2 * i + 1]); })};
  }
  static Pairs all(const std::uint16_t* at) {
    return {Vector::all(bf16_to_float(at[0])), Vector::all(bf16_to_float(at[1]))};
  }
};
inline Vector fma(const Vector& a, const Vector& b, const Vector& c) {
  return Vector::each([&](std::size_t i) { return __builtin_fmaf(a.x[i], b.x[i], c.x[i]); });
}
inline Vector dot(const Pairs& a, const Pairs& b, const Vector& sum) {
  return fma(a.even, b.even, fma(a.odd, b.odd, sum));
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
inline float largest_of(const Vector& a) {
  float most = a.x[0];
  for (const float each : a.x) most = each > most ? each : most;
  return most;
}
inline std::int32_t sum_of(const std::int8_t* levels) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < 16; ++i) sum += levels[i];
  return sum;
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

// 16 outputs, 4 inputs each: what one step of an integer product takes.
struct Bytes {
  static constexpr bool are_signed = false;
  std::uint8_t x[64];
  template <class F>
  static Bytes each(const F& of) {
    Bytes b;
    for (std::size_t i = 0; i < 64; ++i) b.x[i] = static_cast<std::uint8_t>(of(i));
    return b;
  }
  static Bytes load(const std::byte* at) {
    Bytes b;
    std::memcpy(b.x, at, 64);
    return b;
  }
  void store(std::byte* at) const { std::memcpy(at, x, 64); }
};
inline Bytes low_nibbles(const Bytes& b) {
  return Bytes::each([&](std::size_t i) { return b.x[i] & 15; });
}
inline Bytes high_nibbles(const Bytes& b) {
  return Bytes::each([&](std::size_t i) { return b.x[i] >> 4; });
}
// Puts `Count` bits of each byte of `plane`, from bit `From` on, above the nibbles.
template <unsigned From, unsigned Count>
Bytes with_bits(const Bytes& nibbles, const Bytes& plane) {
  return Bytes::each([&](std::size_t i) {
    return nibbles.x[i] | ((static_cast<unsigned>(plane.x[i]) >> From) & ((1U << Count) - 1)) << 4U;
  });
}

struct Ints {
  std::int32_t x[16];
  static Ints all(std::int32_t value) {
    Ints v;
    for (std::int32_t& each : v.x) each = value;
    return v;
  }
  [[nodiscard]] Vector to_floats() const {
    return Vector::each([this](std::size_t i) { return static_cast<float>(x[i]); });
  }
};
// Adds each output's 4 levels times the 4 inputs.
template <bool FullByte>
Ints dot(Ints sum, const Bytes& levels, const std::int8_t* inputs) {
  for (std::size_t i = 0; i < 64; ++i) sum.x[i / 4] += levels.x[i] * inputs[i % 4];
  return sum;
}

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& plain_kernels() {
  static constexpr Kernels kernels = {"plain",  matmul, quantize_row, round_row, attend,
                                      rms_norm, swiglu, geglu,        soft_cap,  to_f16};
  return kernels;
}
}  // namespace ambit::inference
