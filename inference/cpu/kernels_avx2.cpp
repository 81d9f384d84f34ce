// The kernels for AVX2 with FMA and F16C: a Vector is two registers.

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace ambit::inference {
namespace {

struct Vector {
  static constexpr std::size_t registers = 16;
  __m256 a, b;
  static Vector all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Vector load(const float* at) { return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
  static Vector load_f16(const std::uint16_t* at) {
    const auto half = [](const std::uint16_t* from) {
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    };
    return {half(at), half(at + 8)};
  }
  static Vector load_i8(const std::int8_t* at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  static Vector load_u8(const std::uint8_t* at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  // Whole numbers from -127 to 127.
  void store_i8(std::int8_t* at) const {
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)), 0xD8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(at),
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  void store(float* at) const {
    _mm256_storeu_ps(at, a);
    _mm256_storeu_ps(at + 8, b);
  }
  // Rounded to the nearest, ties to even.
  void store_bf16(std::uint16_t* at) const {
    const auto rounded = [](__m256 half) {
      const __m256i bits = _mm256_castps_si256(half);
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
      const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
      return _mm256_srli_epi32(up, 16);
    };
    const __m256i words = _mm256_packus_epi32(rounded(a), rounded(b));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm256_permute4x64_epi64(words, 0xD8));
  }
  void store_f16(std::uint16_t* at) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at + 8),
                     _mm256_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT));
  }
};
// 16 outputs, 2 inputs each: what one step of a product of bfloat16 takes.
struct Pairs {
  Vector even, odd;
  static Pairs split(__m256i first, __m256i second) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    return {{_mm256_castsi256_ps(_mm256_slli_epi32(first, 16)),
             _mm256_castsi256_ps(_mm256_slli_epi32(second, 16))},
            {_mm256_castsi256_ps(_mm256_and_si256(first, high)),
             _mm256_castsi256_ps(_mm256_and_si256(second, high))}};
  }
  static Pairs load(const std::uint16_t* at) {
    return split(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)),
                 _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 16)));
  }
  static Pairs all(const std::uint16_t* at) {
    std::int32_t both = 0;
    __builtin_memcpy(&both, at, sizeof both);
    return split(_mm256_set1_epi32(both), _mm256_set1_epi32(both));
  }
};
inline Vector fma(Vector x, Vector y, Vector z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline Vector dot(Pairs a, Pairs b, Vector sum) {
  return fma(a.even, b.even, fma(a.odd, b.odd, sum));
}
inline Vector add(Vector x, Vector y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
inline Vector sub(Vector x, Vector y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
inline Vector mul(Vector x, Vector y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
inline Vector div(Vector x, Vector y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
inline Vector max(Vector x, Vector y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
inline Vector min(Vector x, Vector y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
inline float largest_of(Vector x) {
  const __m256 half = _mm256_max_ps(x.a, x.b);
  __m128 most = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}
// Of 16 levels: their distance from -128, less what that adds.
inline std::int32_t sum_of(const std::int8_t* levels) {
  const __m128i above =
      _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels)), _mm_set1_epi8(-128));
  const __m128i halves = _mm_sad_epu8(above, _mm_setzero_si128());
  return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}
inline Vector select_less(Vector x, Vector y, Vector yes, Vector no) {
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
// x * 2^n for whole n that keep it a normal number.
inline Vector scale_by_power(Vector x, Vector n) {
  const auto half = [](__m256 value, __m256 power) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_cvtps_epi32(power), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), shifted));
  };
  return {half(x.a, n.a), half(x.b, n.b)};
}

// 16 outputs, 4 inputs each: what one step of an integer product takes.
struct Bytes {
  static constexpr bool are_signed = false;
  __m256i a, b;
  static Bytes load(const std::byte* at) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32))};
  }
};
inline Bytes low_nibbles(Bytes x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
inline Bytes high_nibbles(Bytes x) {
  return low_nibbles({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)});
}
// Puts `Count` bits of each byte of `plane`, from bit `From` on, above the nibbles.
template <unsigned From, unsigned Count>
Bytes with_bits(Bytes nibbles, Bytes plane) {
  constexpr int up = From < 4 ? 4 - static_cast<int>(From) : 0;
  constexpr int down = From > 4 ? static_cast<int>(From) - 4 : 0;
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(((1U << Count) - 1) << 4U));
  const auto half = [&](__m256i low, __m256i bits) {
    bits = _mm256_srli_epi16(_mm256_slli_epi16(bits, up), down);
    return _mm256_or_si256(low, _mm256_and_si256(bits, mask));
  };
  return {half(nibbles.a, plane.a), half(nibbles.b, plane.b)};
}

struct Ints {
  __m256i a, b;
  static Ints all(std::int32_t value) {
    return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)};
  }
  [[nodiscard]] Vector to_floats() const { return {_mm256_cvtepi32_ps(a), _mm256_cvtepi32_ps(b)}; }
};
// Adds each output's 4 levels times the 4 inputs. Two products of a full byte would not fit 16
// bits: its highest bit goes apart.
template <bool FullByte>
Ints dot(Ints sum, Bytes levels, const std::int8_t* inputs) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, inputs, sizeof four);
  const __m256i x = _mm256_set1_epi32(four);
  const __m256i ones = _mm256_set1_epi16(1);
  const auto add_to = [&](__m256i into, __m256i bytes) {
    return _mm256_add_epi32(into, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, x), ones));
  };
  if constexpr (FullByte) {
    const __m256i low = _mm256_set1_epi8(127);
    sum.a =
        add_to(add_to(sum.a, _mm256_and_si256(levels.a, low)), _mm256_andnot_si256(low, levels.a));
    sum.b =
        add_to(add_to(sum.b, _mm256_and_si256(levels.b, low)), _mm256_andnot_si256(low, levels.b));
  } else {
    sum.a = add_to(sum.a, levels.a);
    sum.b = add_to(sum.b, levels.b);
  }
  return sum;
}

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& avx2_kernels() {
  static constexpr Kernels kernels = {"avx2",   matmul, quantize_row, round_row, attend,
                                      rms_norm, swiglu, geglu,        soft_cap,  to_f16};
  return kernels;
}
}  // namespace ambit::inference
