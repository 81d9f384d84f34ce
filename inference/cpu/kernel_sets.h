#pragma once

// One set of kernels per instruction set; which of them may be called is decided in ops.cpp.

#include "inference/ops.h"

namespace ambit::inference {

const Kernels& plain_kernels();
const Kernels& neon_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_bf16_kernels();
const Kernels& amx_kernels();

}  // namespace ambit::inference
