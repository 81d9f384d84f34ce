// What one large product of BF16 matrices reaches on this GPU by cuBLAS, in TFLOP/s: the peak that
// prefill is compared with. Random values, because a product of zeros takes less power and runs
// faster; the median of five stretches of 20 products, timed by the device. Prints the number.

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cublas_v2.h>
#include <vector>

namespace {

constexpr int size = 8192;
constexpr int products = 20;

bool fill(void* matrix, std::uint64_t state) {
  std::vector<std::uint16_t> values(std::size_t{size} * size);
  for (std::uint16_t& value : values) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    // A sign and a mantissa by chance, and an exponent of 2^-4 to 2^-1.
    value = static_cast<std::uint16_t>((state >> 63U) << 15U | (123U + (state >> 40U & 3U)) << 7U |
                                       (state >> 50U & 127U));
  }
  return cudaMemcpy(matrix, values.data(), values.size() * 2, cudaMemcpyHostToDevice) ==
         cudaSuccess;
}

bool measure(double& tflops) {
  void* matrix[3] = {};
  for (void*& one : matrix)
    if (cudaMalloc(&one, std::size_t{size} * size * 2) != cudaSuccess) return false;
  cublasHandle_t handle = nullptr;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  if (!fill(matrix[0], 1) || !fill(matrix[1], 2) ||
      cublasCreate(&handle) != CUBLAS_STATUS_SUCCESS || cudaEventCreate(&begin) != cudaSuccess ||
      cudaEventCreate(&end) != cudaSuccess)
    return false;
  const float one = 1;
  const float zero = 0;
  std::array<double, 5> rates{};
  for (std::size_t round = 0; round <= rates.size(); ++round) {  // the first warms up
    cudaEventRecord(begin);
    for (int i = 0; i < products; ++i)
      if (cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, size, size, size, &one, matrix[0],
                       CUDA_R_16BF, size, matrix[1], CUDA_R_16BF, size, &zero, matrix[2],
                       CUDA_R_16BF, size, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) != CUBLAS_STATUS_SUCCESS)
        return false;
    cudaEventRecord(end);
    float ms = 0;
    if (cudaEventSynchronize(end) != cudaSuccess ||
        cudaEventElapsedTime(&ms, begin, end) != cudaSuccess || !(ms > 0))
      return false;
    const double flop = 2.0 * size * size * size * products;
    if (round > 0) rates[round - 1] = flop / (static_cast<double>(ms) * 1e9);
  }
  std::sort(rates.begin(), rates.end());
  tflops = rates[rates.size() / 2];
  return true;
}

}  // namespace

int main() {
  double tflops = 0;
  if (!measure(tflops)) {
    std::fprintf(stderr, "gemm_peak: the product cannot be run: %s\n",
                 cudaGetErrorString(cudaGetLastError()));
    return 1;
  }
  std::printf("%.1f\n", tflops);
  return 0;
}
