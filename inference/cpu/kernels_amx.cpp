// The kernels for AVX-512 and the matrix unit (AMX), which multiplies whole tiles of rows.

#define AMBIT_MATRIX_UNIT 1
#include "inference/cpu/avx512.inc.h"
#include "inference/cpu/kernel_sets.h"
#include "inference/cpu/kernels.inc.h"

namespace ambit::inference {
const Kernels& amx_kernels() {
  static constexpr Kernels kernels = {"amx",    matmul, quantize_row, round_row, attend,
                                      rms_norm, swiglu, geglu,        soft_cap,  to_f16};
  return kernels;
}
}  // namespace ambit::inference
