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
  static Vector load_bf16(const std::uint16_t* at) {
    const auto half = [](const std::uint16_t* from) {
      const __m256i wide =
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
      return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    };
    return {half(at), half(at + 8)};
  }
  static Vector load_i8(const std::int8_t* at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  void store(float* at) const {
    _mm256_storeu_ps(at, a);
    _mm256_storeu_ps(at + 8, b);
  }
  void store_f16(std::uint16_t* at) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at + 8),
                     _mm256_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT));
  }
};
inline Vector fma(Vector x, Vector y, Vector z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
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

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& avx2_kernels() {
  static constexpr Kernels kernels = {"avx2", matmul, attend, rms_norm, swiglu, to_f16};
  return kernels;
}
}  // namespace ambit::inference
