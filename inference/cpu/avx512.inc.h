// The vectors of AVX-512: one register each. Included by the kernel sources that are compiled for
// it.

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace ambit::inference {
namespace {

struct Vector {
  static constexpr std::size_t registers = 32;
  __m512 v;
  static Vector all(float x) { return {_mm512_set1_ps(x)}; }
  static Vector load(const float* at) { return {_mm512_loadu_ps(at)}; }
  static Vector load_f16(const std::uint16_t* at) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)))};
  }
  static Vector load_i8(const std::int8_t* at) {
    return {_mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))))};
  }
  static Vector load_u8(const std::uint8_t* at) {
    return {_mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))))};
  }
  // Whole numbers from -127 to 127.
  void store_i8(std::int8_t* at) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
  }
  void store(float* at) const { _mm512_storeu_ps(at, v); }
  // Rounded to the nearest, ties to even.
  void store_bf16(std::uint16_t* at) const {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
  }
  void store_f16(std::uint16_t* at) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
};
inline Vector fma(Vector a, Vector b, Vector c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline Vector add(Vector a, Vector b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Vector sub(Vector a, Vector b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Vector mul(Vector a, Vector b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Vector div(Vector a, Vector b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline Vector max(Vector a, Vector b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Vector min(Vector a, Vector b) {
  return {_mm512_min_ps(a.v, b.v)};
}
inline float largest_of(Vector a) {
  return _mm512_reduce_max_ps(a.v);
}
// Of 16 levels: their distance from -128, less what that adds.
inline std::int32_t sum_of(const std::int8_t* levels) {
  const __m128i above =
      _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels)), _mm_set1_epi8(-128));
  const __m128i halves = _mm_sad_epu8(above, _mm_setzero_si128());
  return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}
inline Vector select_less(Vector a, Vector b, Vector yes, Vector no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
// x * 2^n for whole n that keep it a normal number.
inline Vector scale_by_power(Vector x, Vector n) {
  const __m512i power = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), power))};
}

// 16 outputs, 2 inputs each: what one step of a product of bfloat16 takes.
#ifdef __AVX512BF16__
struct Pairs {
  __m512i v;
  static Pairs load(const std::uint16_t* at) { return {_mm512_loadu_si512(at)}; }
  static Pairs all(const std::uint16_t* at) {
    std::int32_t both = 0;
    __builtin_memcpy(&both, at, sizeof both);
    return {_mm512_set1_epi32(both)};
  }
};
inline Vector dot(Pairs a, Pairs b, Vector sum) {
  return {
      _mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}
#else
struct Pairs {
  Vector even, odd;
  static Pairs split(__m512i both) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    return {{_mm512_castsi512_ps(_mm512_slli_epi32(both, 16))},
            {_mm512_castsi512_ps(_mm512_and_si512(both, high))}};
  }
  static Pairs load(const std::uint16_t* at) { return split(_mm512_loadu_si512(at)); }
  static Pairs all(const std::uint16_t* at) {
    std::int32_t both = 0;
    __builtin_memcpy(&both, at, sizeof both);
    return split(_mm512_set1_epi32(both));
  }
};
inline Vector dot(Pairs a, Pairs b, Vector sum) {
  return fma(a.even, b.even, fma(a.odd, b.odd, sum));
}
#endif

// 16 outputs, 4 inputs each: what one step of an integer product takes.
struct Bytes {
  static constexpr bool are_signed = false;
  __m512i v;
  static Bytes load(const std::byte* at) { return {_mm512_loadu_si512(at)}; }
  void store(std::byte* at) const { _mm512_storeu_si512(at, v); }
};
inline Bytes low_nibbles(Bytes x) {
  return {_mm512_and_si512(x.v, _mm512_set1_epi8(15))};
}
inline Bytes high_nibbles(Bytes x) {
  return {_mm512_and_si512(_mm512_srli_epi16(x.v, 4), _mm512_set1_epi8(15))};
}
// Puts `Count` bits of each byte of `plane`, from bit `From` on, above the nibbles.
template <unsigned From, unsigned Count>
Bytes with_bits(Bytes nibbles, Bytes plane) {
  constexpr unsigned up = From < 4 ? 4 - From : 0;
  constexpr unsigned down = From > 4 ? From - 4 : 0;
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1U << Count) - 1) << 4U));
  const __m512i bits = _mm512_srli_epi16(_mm512_slli_epi16(plane.v, up), down);
  constexpr int a_or_b_and_c = 0xF8;
  return {_mm512_ternarylogic_epi32(nibbles.v, bits, mask, a_or_b_and_c)};
}

struct Ints {
  __m512i v;
  static Ints all(std::int32_t value) { return {_mm512_set1_epi32(value)}; }
  static Ints load(const std::int32_t* at) { return {_mm512_loadu_si512(at)}; }
  [[nodiscard]] Vector to_floats() const { return {_mm512_cvtepi32_ps(v)}; }
};
inline Ints add(Ints a, Ints b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
// Adds each output's 4 levels times the 4 inputs.
template <bool FullByte>
Ints dot(Ints sum, Bytes levels, const std::int8_t* inputs) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, inputs, sizeof four);
  return {_mm512_dpbusd_epi32(sum.v, levels.v, _mm512_set1_epi32(four))};
}

}  // namespace
}  // namespace ambit::inference
