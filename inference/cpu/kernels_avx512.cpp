// The kernels for AVX-512: a Vector is one register.

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
  static Vector load_bf16(const std::uint16_t* at) {
    const __m512i wide =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
  }
  static Vector load_i8(const std::int8_t* at) {
    return {_mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))))};
  }
  void store(float* at) const { _mm512_storeu_ps(at, v); }
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
inline Vector select_less(Vector a, Vector b, Vector yes, Vector no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
// x * 2^n for whole n that keep it a normal number.
inline Vector scale_by_power(Vector x, Vector n) {
  const __m512i power = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), power))};
}

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& avx512_kernels() {
  static constexpr Kernels kernels = {"avx512", matmul, attend, rms_norm, swiglu, to_f16};
  return kernels;
}
}  // namespace ambit::inference
