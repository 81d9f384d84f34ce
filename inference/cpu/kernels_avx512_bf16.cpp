// The kernels for AVX-512 with its products of whole numbers (VNNI) and of bfloat16.

#include "inference/cpu/avx512.inc.h"
#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& avx512_bf16_kernels() {
  static constexpr Kernels kernels = {"avx512_bf16", matmul, quantize_row, round_row, attend,
                                      rms_norm,      swiglu, geglu,        soft_cap,  to_f16};
  return kernels;
}
}  // namespace ambit::inference
