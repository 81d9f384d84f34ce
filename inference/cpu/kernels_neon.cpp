// The kernels for ARMv8 with NEON and its products of bytes (dotprod): a Vector is four registers.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

namespace ambit::inference {
namespace {

// All four quarters of what `of` makes of each.
template <class To, class F>
inline To quarters(const F& of) {
  return {of(0), of(1), of(2), of(3)};
}

struct Vector {
  static constexpr std::size_t registers = 16;  // room for as many Vectors as AVX2 has
  float32x4_t v0, v1, v2, v3;
  [[nodiscard]] float32x4_t quarter(int i) const {
    return i == 0 ? v0 : i == 1 ? v1 : i == 2 ? v2 : v3;
  }
  static Vector all(float x) {
    return quarters<Vector>([=](int) { return vdupq_n_f32(x); });
  }
  static Vector load(const float* at) {
    return quarters<Vector>([=](int i) { return vld1q_f32(at + 4 * i); });
  }
  static Vector load_f16(const std::uint16_t* at) {
    return quarters<Vector>(
        [=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at + 4 * i))); });
  }
  static Vector load_i8(const std::int8_t* at) {
    const int8x16_t bytes = vld1q_s8(at);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
    const int16x8_t high = vmovl_high_s8(bytes);
    return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))};
  }
  static Vector load_u8(const std::uint8_t* at) {
    const uint8x16_t bytes = vld1q_u8(at);
    const uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
    const uint16x8_t high = vmovl_high_u8(bytes);
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_high_u16(low)),
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_high_u16(high))};
  }
  // Whole numbers from -127 to 127.
  void store_i8(std::int8_t* at) const {
    const int16x8_t low =
        vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(v0)), vqmovn_s32(vcvtnq_s32_f32(v1)));
    const int16x8_t high =
        vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(v2)), vqmovn_s32(vcvtnq_s32_f32(v3)));
    vst1q_s8(at, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
  }
  void store(float* at) const {
    for (int i = 0; i < 4; ++i) vst1q_f32(at + 4 * i, quarter(i));
  }
  // Rounded to the nearest, ties to even.
  void store_bf16(std::uint16_t* at) const {
    for (int i = 0; i < 4; ++i) {
      const uint32x4_t bits = vreinterpretq_u32_f32(quarter(i));
      const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
      const uint32x4_t up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
      vst1_u16(at + 4 * i, vshrn_n_u32(up, 16));
    }
  }
  void store_f16(std::uint16_t* at) const {
    for (int i = 0; i < 4; ++i)
      vst1_u16(at + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(quarter(i))));
  }
};
inline Vector fma(const Vector& a, const Vector& b, const Vector& c) {
  return quarters<Vector>(
      [&](int i) { return vfmaq_f32(c.quarter(i), a.quarter(i), b.quarter(i)); });
}
inline Vector add(const Vector& a, const Vector& b) {
  return quarters<Vector>([&](int i) { return vaddq_f32(a.quarter(i), b.quarter(i)); });
}
inline Vector sub(const Vector& a, const Vector& b) {
  return quarters<Vector>([&](int i) { return vsubq_f32(a.quarter(i), b.quarter(i)); });
}
inline Vector mul(const Vector& a, const Vector& b) {
  return quarters<Vector>([&](int i) { return vmulq_f32(a.quarter(i), b.quarter(i)); });
}
inline Vector div(const Vector& a, const Vector& b) {
  return quarters<Vector>([&](int i) { return vdivq_f32(a.quarter(i), b.quarter(i)); });
}
inline Vector max(const Vector& a, const Vector& b) {
  return quarters<Vector>([&](int i) { return vmaxq_f32(a.quarter(i), b.quarter(i)); });
}
inline Vector min(const Vector& a, const Vector& b) {
  return quarters<Vector>([&](int i) { return vminq_f32(a.quarter(i), b.quarter(i)); });
}
inline float largest_of(const Vector& a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v0, a.v1), vmaxq_f32(a.v2, a.v3)));
}
inline std::int32_t sum_of(const std::int8_t* levels) {
  return vaddlvq_s8(vld1q_s8(levels));
}
inline Vector select_less(const Vector& a, const Vector& b, const Vector& yes, const Vector& no) {
  return quarters<Vector>([&](int i) {
    return vbslq_f32(vcltq_f32(a.quarter(i), b.quarter(i)), yes.quarter(i), no.quarter(i));
  });
}
// x * 2^n for whole n that keep it a normal number.
inline Vector scale_by_power(const Vector& x, const Vector& n) {
  return quarters<Vector>([&](int i) {
    const int32x4_t power = vshlq_n_s32(vcvtnq_s32_f32(n.quarter(i)), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x.quarter(i)), power));
  });
}

// 16 outputs, 2 inputs each: what one step of a product of bfloat16 takes.
struct Pairs {
  Vector even, odd;
  static Pairs load(const std::uint16_t* at) {
    const auto bits = [=](int i) { return vreinterpretq_u32_u16(vld1q_u16(at + 8 * i)); };
    return {
        quarters<Vector>([&](int i) { return vreinterpretq_f32_u32(vshlq_n_u32(bits(i), 16)); }),
        quarters<Vector>([&](int i) {
          return vreinterpretq_f32_u32(vandq_u32(bits(i), vdupq_n_u32(0xFFFF0000U)));
        })};
  }
  static Pairs all(const std::uint16_t* at) {
    const auto wide = [](std::uint16_t half) {
      const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16U;
      float value = 0;
      __builtin_memcpy(&value, &bits, sizeof value);
      return value;
    };
    return {Vector::all(wide(at[0])), Vector::all(wide(at[1]))};
  }
};
inline Vector dot(const Pairs& a, const Pairs& b, const Vector& sum) {
  return fma(a.even, b.even, fma(a.odd, b.odd, sum));
}

// 16 outputs, 4 inputs each: what one step of an integer product takes.
struct Bytes {
  static constexpr bool are_signed = true;
  uint8x16_t v0, v1, v2, v3;
  [[nodiscard]] uint8x16_t quarter(int i) const {
    return i == 0 ? v0 : i == 1 ? v1 : i == 2 ? v2 : v3;
  }
  static Bytes load(const std::byte* at) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(at);
    return quarters<Bytes>([=](int i) { return vld1q_u8(bytes + 16 * i); });
  }
};
inline Bytes low_nibbles(const Bytes& x) {
  return quarters<Bytes>([&](int i) { return vandq_u8(x.quarter(i), vdupq_n_u8(15)); });
}
inline Bytes high_nibbles(const Bytes& x) {
  return quarters<Bytes>([&](int i) { return vshrq_n_u8(x.quarter(i), 4); });
}
// Puts `Count` bits of each byte of `plane`, from bit `From` on, above the nibbles.
template <unsigned From, unsigned Count>
Bytes with_bits(const Bytes& nibbles, const Bytes& plane) {
  const int8x16_t left = vdupq_n_s8(4 - static_cast<int>(From));
  const uint8x16_t mask = vdupq_n_u8(((1U << Count) - 1) << 4U);
  return quarters<Bytes>([&](int i) {
    return vorrq_u8(nibbles.quarter(i), vandq_u8(vshlq_u8(plane.quarter(i), left), mask));
  });
}

struct Ints {
  int32x4_t v0, v1, v2, v3;
  [[nodiscard]] int32x4_t quarter(int i) const {
    return i == 0 ? v0 : i == 1 ? v1 : i == 2 ? v2 : v3;
  }
  static Ints all(std::int32_t value) {
    return quarters<Ints>([=](int) { return vdupq_n_s32(value); });
  }
  [[nodiscard]] Vector to_floats() const {
    return quarters<Vector>([this](int i) { return vcvtq_f32_s32(quarter(i)); });
  }
};
// Adds each output's 4 levels times the 4 inputs; a full byte's level is taken less 128, which is
// what its highest bit turned over says.
template <bool FullByte>
Ints dot(const Ints& sum, const Bytes& levels, const std::int8_t* inputs) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, inputs, sizeof four);
  const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
  return quarters<Ints>([&](int i) {
    const uint8x16_t bytes =
        FullByte ? veorq_u8(levels.quarter(i), vdupq_n_u8(128)) : levels.quarter(i);
    return vdotq_s32(sum.quarter(i), vreinterpretq_s8_u8(bytes), x);
  });
}

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& neon_kernels() {
  static constexpr Kernels kernels = {"neon",   matmul, quantize_row, round_row, attend,
                                      rms_norm, swiglu, geglu,        soft_cap,  to_f16};
  return kernels;
}
}  // namespace ambit::inference
