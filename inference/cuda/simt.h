#pragma once

// The thin layer under the GPU's kernels: who a thread is, where a block's threads meet, and the
// product of two small tiles. One body is for nvcc; the other is declared here for the shim
// (tests/cuda/shim.h), which runs the threads of a block as fibers on the CPU. A kernel that uses
// nothing but this header and its job is the same source on both. Macros, because nvcc's keywords
// stand before a function's type.

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define GPU_FUNCTION __device__ __forceinline__
#define GPU_BOTH __host__ __device__ inline  // for whoever launches, too
#define GPU_KERNEL(threads) static __global__ void __launch_bounds__(threads)
#define GPU_JOB(type) const __grid_constant__ type
#define GPU_UNROLL _Pragma("unroll")
#define GPU_ROLLED _Pragma("unroll 1")  // where copies of a body would spill registers
#else
#include <cmath>
#define GPU_FUNCTION inline
#define GPU_BOTH inline
#define GPU_KERNEL(threads) inline void
#define GPU_JOB(type) const type&
#define GPU_UNROLL
#define GPU_ROLLED
#endif

namespace ambit::inference::cuda {

inline constexpr unsigned warp_lanes = 32;

struct alignas(16) Words4 {
  std::uint32_t x[4];
};
struct alignas(16) Floats4 {
  float x[4];
};
struct alignas(8) Words2 {
  std::uint32_t x[2];
};

#if defined(__CUDACC__)

GPU_FUNCTION unsigned thread() {
  return threadIdx.x;
}
GPU_FUNCTION unsigned threads() {
  return blockDim.x;
}
GPU_FUNCTION unsigned block_x() {
  return blockIdx.x;
}
GPU_FUNCTION unsigned block_y() {
  return blockIdx.y;
}
GPU_FUNCTION std::byte* shared_bytes() {
  extern __shared__ Words4 shared_words[];
  return reinterpret_cast<std::byte*>(shared_words);
}
GPU_FUNCTION void block_barrier() {
  __syncthreads();
}
GPU_FUNCTION void warp_barrier() {
  __syncwarp();
}
GPU_FUNCTION std::uint32_t exchange_bits(std::uint32_t value, unsigned with) {
  return __shfl_xor_sync(0xFFFFFFFFU, value, static_cast<int>(with));
}
GPU_FUNCTION std::uint32_t float_bits(float value) {
  return __float_as_uint(value);
}
GPU_FUNCTION float bits_float(std::uint32_t bits) {
  return __uint_as_float(bits);
}
GPU_FUNCTION float fused(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
GPU_FUNCTION float square_root(float x) {
  return __fsqrt_rn(x);
}
GPU_FUNCTION double logarithm(double x) {
  return log(x);
}
GPU_FUNCTION float half_to_float(std::uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
GPU_FUNCTION std::uint16_t float_to_half(float value) {
  return __half_as_ushort(__float2half_rn(value));
}
// Read once, so that they push nothing else out of the caches.
GPU_FUNCTION Words4 stream16(const std::byte* at) {
  const uint4 v = __ldcs(reinterpret_cast<const uint4*>(at));
  return {{v.x, v.y, v.z, v.w}};
}
GPU_FUNCTION Words2 stream8(const std::byte* at) {
  const uint2 v = __ldcs(reinterpret_cast<const uint2*>(at));
  return {{v.x, v.y}};
}
// 16 bytes from global to shared memory, without a register; there after finish_copies().
GPU_FUNCTION void copy16(void* shared, const void* global) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(global) : "memory");
}
GPU_FUNCTION void begin_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// All but the latest `pending` groups of this thread's copies are there.
template <int pending>
GPU_FUNCTION void finish_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
// What an earlier kernel wrote may be read from here on; the launch may overlap that kernel's end.
GPU_FUNCTION void await_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
GPU_FUNCTION void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// sums[16][8] += a[16][k] * b[k][8], each lane with its part of the three tiles, as the instruction
// set defines them: g = lane / 4, t = lane % 4; sums are rows g and g + 8 of columns 2t and 2t + 1.
GPU_FUNCTION void multiply_bf16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
GPU_FUNCTION void multiply_f16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                               std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Whole numbers of 8 bits with signs, k = 32; exact.
GPU_FUNCTION void multiply_s8(std::int32_t (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                              std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same with k = 16.
GPU_FUNCTION void multiply_s8_half(std::int32_t (&c)[4], std::uint32_t a0, std::uint32_t a1,
                                   std::uint32_t b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b));
}

// The part of a 16 by 8 tile that multiply_bf16 takes as b; the tile's rows lie `stride` apart in
// shared memory.
GPU_FUNCTION void load_columns(const std::uint16_t* tile, unsigned stride, std::uint32_t& b0,
                               std::uint32_t& b1) {
  const auto at = static_cast<unsigned>(
      __cvta_generic_to_shared(tile + threadIdx.x % 16 * std::size_t{stride}));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(b0), "=r"(b1)
               : "r"(at)
               : "memory");
}

#else

unsigned thread();
unsigned threads();
unsigned block_x();
unsigned block_y();
std::byte* shared_bytes();
void block_barrier();
void warp_barrier();
std::uint32_t exchange_bits(std::uint32_t value, unsigned with);
float half_to_float(std::uint16_t bits);
std::uint16_t float_to_half(float value);
Words4 stream16(const std::byte* at);
Words2 stream8(const std::byte* at);
void copy16(void* shared, const void* global);
void begin_copies();
void load_columns(const std::uint16_t* tile, unsigned stride, std::uint32_t& b0, std::uint32_t& b1);
void finish_copies_but(int pending);
void multiply_bf16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
void multiply_f16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
void multiply_s8(std::int32_t (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                 std::uint32_t b1);
void multiply_s8_half(std::int32_t (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b);

template <int pending>
inline void finish_copies() {
  finish_copies_but(pending);
}
inline void await_inputs() {}
inline void let_next_start() {}
inline std::uint32_t float_bits(float value) {
  return __builtin_bit_cast(std::uint32_t, value);
}
inline float bits_float(std::uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
inline float fused(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float square_root(float x) {
  return std::sqrt(x);
}
inline double logarithm(double x) {
  return std::log(x);
}

#endif

// ---- what both have in common

GPU_FUNCTION unsigned lane() {
  return thread() % warp_lanes;
}
GPU_FUNCTION unsigned warp() {
  return thread() / warp_lanes;
}
template <class T>
GPU_FUNCTION T* shared_at(std::size_t bytes) {
  return reinterpret_cast<T*>(shared_bytes() + bytes);
}
GPU_FUNCTION float exchange(float value, unsigned with) {
  return bits_float(exchange_bits(float_bits(value), with));
}
GPU_FUNCTION std::int32_t exchange(std::int32_t value, unsigned with) {
  return static_cast<std::int32_t>(exchange_bits(static_cast<std::uint32_t>(value), with));
}
GPU_FUNCTION float larger(float a, float b) {
  return a > b ? a : b;
}
// The fold of a warp's 32 values, halves onto halves: always the same tree, the same in all lanes.
GPU_FUNCTION float warp_sum(float value) {
  for (unsigned with = warp_lanes / 2; with > 0; with /= 2) value = value + exchange(value, with);
  return value;
}
GPU_FUNCTION std::int32_t warp_sum(std::int32_t value) {
  for (unsigned with = warp_lanes / 2; with > 0; with /= 2) value = value + exchange(value, with);
  return value;
}
GPU_FUNCTION float warp_largest(float value) {
  for (unsigned with = warp_lanes / 2; with > 0; with /= 2)
    value = larger(value, exchange(value, with));
  return value;
}

GPU_FUNCTION float bf16_to_float(std::uint16_t bits) {
  return bits_float(static_cast<std::uint32_t>(bits) << 16U);
}
// To the nearest, ties to even; what is no number stays none.
GPU_FUNCTION std::uint16_t float_to_bf16(float value) {
  const std::uint32_t bits = float_bits(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16U) | 64U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}
GPU_FUNCTION std::uint32_t two(std::uint16_t low, std::uint16_t high) {
  return static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 16U;
}

// E4M3: a sign, 4 bits of exponent, 3 of mantissa, at most 448.
GPU_FUNCTION float fp8_to_float(std::uint8_t bits) {
  const std::uint32_t sign = (bits & 0x80U) << 24U;
  // The exponent's zero is 7 here and 127 there; the product is exact below 2^-6, too.
  return bits_float(sign | (bits & 0x7FU) << 20U) * 0x1p120F;
}
// To the nearest, ties to even; beyond 448 it stays there.
GPU_FUNCTION std::uint8_t float_to_fp8(float value) {
  const std::uint32_t bits = float_bits(value);
  const auto sign = static_cast<std::uint8_t>(bits >> 24U & 0x80U);
  const float size = bits_float(bits & 0x7FFFFFFFU);
  if (!(size < 464.0F)) return static_cast<std::uint8_t>(sign | 0x7EU);
  if (size < 0.015625F) {  // steps of 2^-9: adding 2^14 rounds to them
    const float rounded = size + 16384.0F;
    return static_cast<std::uint8_t>(sign | (float_bits(rounded) - float_bits(16384.0F)));
  }
  const std::uint32_t most = float_bits(size) + 0x7FFFFU + ((float_bits(size) >> 20U) & 1U);
  const std::uint32_t made = (most >> 20U) - (120U << 3U);
  return static_cast<std::uint8_t>(sign | (made > 0x7EU ? 0x7EU : made));
}

// exp(x) by 2^n * exp(r), the operations of the CPU's kernels. Below -87 it gives 0.
GPU_FUNCTION float exponential(float x) {
  if (!(x >= -87.0F)) return x == x ? 0.0F : x;
  const float clamped = x < 88.0F ? x : 88.0F;
  const float magic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = fused(clamped, 1.44269504F, magic) - magic;
  float r = fused(n, -0.693359375F, clamped);
  r = fused(n, 2.12194440e-4F, r);
  float p = 1.3981999507e-3F;
  p = fused(p, r, 8.3334519073e-3F);
  p = fused(p, r, 4.1665795894e-2F);
  p = fused(p, r, 1.6666665459e-1F);
  p = fused(p, r, 5.0000001201e-1F);
  p = fused(p, r * r, r + 1.0F);
  return p * bits_float(static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23U);
}
// cap * tanh(x / cap)
GPU_FUNCTION float capped(float x, float cap) {
  const float tanh = 1.0F - 2.0F / (exponential(x * (2.0F / cap)) + 1.0F);
  return tanh * cap;
}

}  // namespace ambit::inference::cuda
