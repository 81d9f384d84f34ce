#include "inference/ops.h"

#include "inference/cpu/kernel_sets.h"

#if defined(__x86_64__)
#include <sys/syscall.h>

#include <cpuid.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>

#include <asm/hwcap.h>
#endif

namespace ambit::inference {

#if defined(__x86_64__)
namespace {

// The matrix unit: there, with whole numbers and bfloat16, and granted by the kernel to this
// process.
bool has_matrix_unit() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned tiles = 1U << 24U;
  constexpr unsigned of_bytes = 1U << 25U;
  constexpr unsigned of_bf16 = 1U << 22U;
  if ((d & tiles) == 0 || (d & of_bytes) == 0 || (d & of_bf16) == 0) return false;
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace
#endif

std::vector<const Kernels*> usable_kernels() {
  std::vector<const Kernels*> usable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
                    __builtin_cpu_supports("f16c") != 0;
  const bool avx512 =
      avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
      __builtin_cpu_supports("avx512vnni") != 0;
  if (avx512 && has_matrix_unit()) usable.push_back(&amx_kernels());
  if (avx512 && __builtin_cpu_supports("avx512bf16") != 0) usable.push_back(&avx512_bf16_kernels());
  if (avx512) usable.push_back(&avx512_kernels());
  if (avx2) usable.push_back(&avx2_kernels());
#elif defined(__aarch64__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) usable.push_back(&neon_kernels());
#endif
  usable.push_back(&plain_kernels());
  return usable;
}

void add(const float* in, std::size_t count, float* into) {
  for (std::size_t i = 0; i < count; ++i) into[i] += in[i];
}

void rotate(bool interleaved, const float* cosines, const float* sines, std::size_t rope_width,
            float* head) {
  const std::size_t pairs = rope_width / 2;
  const std::size_t step = interleaved ? 2 : 1;
  const std::size_t apart = interleaved ? 1 : pairs;
  for (std::size_t i = 0; i < pairs; ++i) {
    float& a = head[i * step];
    float& b = head[i * step + apart];
    const float turned = a * cosines[i] - b * sines[i];
    b = a * sines[i] + b * cosines[i];
    a = turned;
  }
}

}  // namespace ambit::inference
