// Products of bfloat16 weights and inputs, once for all instruction sets; included by
// kernels.inc.h.

#ifdef AMBIT_MATRIX_UNIT
#include "inference/cpu/bf16_tiles.inc.h"
#endif

namespace ambit::inference {
namespace {

constexpr std::size_t pairs_in_block = 16;

// One output's sum, pair of inputs by pair of inputs.
#ifdef AMBIT_MATRIX_UNIT
// As the matrix unit adds: of 32 inputs the even ones in one chain, the odd ones in another, then
// both together to the sum.
struct PairSum {
  Vector sum, even, odd;
  void begin() { even = odd = Vector::all(0.0F); }
  void step(Pairs x, Pairs w) {
    even = fma(x.even, w.even, even);
    odd = fma(x.odd, w.odd, odd);
  }
  void end() { sum = add(add(even, odd), sum); }
};
#else
// One chain, of each pair the odd input first: as VDPBF16PS adds.
struct PairSum {
  Vector sum;
  void begin() {}
  void step(Pairs x, Pairs w) { sum = dot(x, w, sum); }
  void end() {}
};
#endif

template <std::size_t Rows, std::size_t Panels>
void bf16_tile(const MatmulJob& job, std::size_t panel, std::size_t row) {
  const std::size_t blocks = (job.inputs + input_block - 1) / input_block;
  const auto* weights =
      reinterpret_cast<const std::uint16_t*>(job.panels + panel * job.panel_bytes);
  const std::size_t apart = job.panel_bytes / sizeof(std::uint16_t);
  const std::uint16_t* in = job.rounded + levels_at(row, blocks * input_block);
  PairSum sums[Rows][Panels];
  for (auto& of_row : sums)
    for (PairSum& each : of_row) each.sum = Vector::all(0.0F);
  for (std::size_t b = 0; b < blocks; ++b, in += row_padding * input_block) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p) sums[r][p].begin();
    for (std::size_t k = 0; k < pairs_in_block; ++k, weights += 2 * lanes) {
      Pairs w[Panels];
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p) w[p] = Pairs::load(weights + p * apart);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < Rows; ++r) {
        const Pairs x = Pairs::all(in + r * input_block + 2 * k);
#pragma GCC unroll 8
        for (std::size_t p = 0; p < Panels; ++p) sums[r][p].step(x, w[p]);
      }
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p) sums[r][p].end();
  }
  float* out = job.out + row * job.out_stride + panel * lanes;
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t p = 0; p < Panels; ++p)
      sums[r][p].sum.store(out + r * job.out_stride + p * lanes);
}

// Tiles of 8, 4, 2 and 1 rows: none crosses a border of 16.
template <std::size_t Panels>
void bf16_rows(const MatmulJob& job, std::size_t panel) {
  std::size_t row = 0;
  if constexpr (Vector::registers >= 32) {
    for (; row + 8 <= job.rows; row += 8) bf16_tile<8, Panels>(job, panel, row);
    if (row + 4 <= job.rows) {
      bf16_tile<4, Panels>(job, panel, row);
      row += 4;
    }
    if (row + 2 <= job.rows) {
      bf16_tile<2, Panels>(job, panel, row);
      row += 2;
    }
  }
  for (; row < job.rows; ++row) bf16_tile<1, Panels>(job, panel, row);
}

void bf16_panels_of(const MatmulJob& job, std::size_t first, std::size_t last) {
#ifdef AMBIT_MATRIX_UNIT
  if (job.rows >= 2) return matrix_bf16_panels_of(job, first, last);
#endif
  // One row: many panels side by side keep the adders busy. More rows: fewer panels.
  constexpr std::size_t wide = Vector::registers >= 32 ? 8 : 1;
  constexpr std::size_t narrow = Vector::registers >= 32 ? 2 : 1;
  std::size_t panel = first;
  if (job.rows == 1)
    for (; panel + wide <= last; panel += wide) bf16_tile<1, wide>(job, panel, 0);
  if constexpr (narrow > 1)
    if (job.rows < 4)
      for (; panel + 4 <= last; panel += 4) bf16_rows<4>(job, panel);
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
