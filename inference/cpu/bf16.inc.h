// Products of bfloat16 weights and inputs, once for all instruction sets; included by
// kernels.inc.h. 32 inputs at a time: the even ones are added in one chain, the odd ones in
// another, then both together to the sum. That is how the matrix unit adds them, so every set gives
// the same bits.

#ifdef AMBIT_MATRIX_UNIT
#include "inference/cpu/bf16_tiles.inc.h"
#endif

namespace ambit::inference {
namespace {

constexpr std::size_t pairs_in_block = 16;

template <std::size_t Rows, std::size_t Panels>
void bf16_tile(const MatmulJob& job, std::size_t panel, std::size_t row) {
  const std::size_t blocks = (job.inputs + input_block - 1) / input_block;
  const auto* weights =
      reinterpret_cast<const std::uint16_t*>(job.panels + panel * job.panel_bytes);
  const std::size_t apart = job.panel_bytes / sizeof(std::uint16_t);
  const std::uint16_t* in = job.rounded + levels_at(row, blocks * input_block);
  Vector sums[Rows][Panels];
  for (auto& of_row : sums)
    for (Vector& sum : of_row) sum = Vector::all(0.0F);
  for (std::size_t b = 0; b < blocks; ++b, in += row_padding * input_block) {
    Vector even[Rows][Panels];
    Vector odd[Rows][Panels];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p) even[r][p] = odd[r][p] = Vector::all(0.0F);
    for (std::size_t k = 0; k < pairs_in_block; ++k, weights += 2 * lanes) {
      Pairs w[Panels];
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p) w[p] = Pairs::load(weights + p * apart);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < Rows; ++r) {
        const Pairs x = Pairs::all(in + r * input_block + 2 * k);
#pragma GCC unroll 8
        for (std::size_t p = 0; p < Panels; ++p) {
          even[r][p] = fma(x.even, w[p].even, even[r][p]);
          odd[r][p] = fma(x.odd, w[p].odd, odd[r][p]);
        }
      }
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p)
        sums[r][p] = add(add(even[r][p], odd[r][p]), sums[r][p]);
  }
  float* out = job.out + row * job.out_stride + panel * lanes;
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t p = 0; p < Panels; ++p) sums[r][p].store(out + r * job.out_stride + p * lanes);
}

template <std::size_t Panels>
void bf16_rows(const MatmulJob& job, std::size_t panel) {
  constexpr std::size_t most = Vector::registers >= 32 ? 4 : 1;
  std::size_t row = 0;
  for (; row + most <= job.rows; row += most) bf16_tile<most, Panels>(job, panel, row);
  for (; row < job.rows; ++row) bf16_tile<1, Panels>(job, panel, row);
}

void bf16_panels_of(const MatmulJob& job, std::size_t first, std::size_t last) {
#ifdef AMBIT_MATRIX_UNIT
  if (job.rows >= 2) return matrix_bf16_panels_of(job, first, last);
#endif
  constexpr std::size_t wide = Vector::registers >= 32 ? 4 : 1;
  constexpr std::size_t narrow = Vector::registers >= 32 ? 2 : 1;
  std::size_t panel = first;
  if (job.rows == 1)
    for (; panel + wide <= last; panel += wide) bf16_tile<1, wide>(job, panel, 0);
  for (; panel + narrow <= last; panel += narrow) bf16_rows<narrow>(job, panel);
  for (; panel < last; ++panel) bf16_rows<1>(job, panel);
}

// One row's inputs as bfloat16, with zeros up to the next whole block.
void round_row(const float* in, std::size_t width, std::uint16_t* out) {
  const Vector zero = Vector::all(0.0F);
  for (std::size_t i = 0; i < width; i += input_block, out += row_padding * input_block) {
    Vector::load(in + i).store_bf16(out);
    (i + lanes < width ? Vector::load(in + i + lanes) : zero).store_bf16(out + lanes);
  }
}

}  // namespace
}  // namespace ambit::inference
