#include "inference/ops.h"

#include "inference/cpu/kernel_sets.h"

namespace ambit::inference {

std::vector<const Kernels*> usable_kernels() {
  std::vector<const Kernels*> usable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
                    __builtin_cpu_supports("f16c") != 0;
  if (avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0)
    usable.push_back(&avx512_kernels());
  if (avx2) usable.push_back(&avx2_kernels());
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
