// The integer kernels, once for all instruction sets; included by kernels.inc.h. A panel's weights
// are levels, 4 inputs of 16 outputs to a register (Bytes). Sums over a group of 32 (or 16) inputs
// are whole numbers and exact, so it does not matter which unit makes them; then each group is
// scaled and added in order, by the same two operations everywhere.

namespace ambit::inference {
namespace {

constexpr std::size_t group_bytes = 64;  // 4 inputs of 16 outputs

// Calls step.operator()<0>() ... step.operator()<N - 1>().
template <unsigned N, class Step>
inline void unrolled(const Step& step) {
  if constexpr (N > 0) {
    unrolled<N - 1>(step);
    step.template operator()<N - 1>();
  }
}

// Each Panel walks over one panel in blocks of 32 inputs: begin() reads the scales, group<G>()
// gives inputs 4 G to 4 G + 3 of the block, end() goes on. `halves` is how many scales a block has.
struct Q8Panel {
  static constexpr unsigned halves = 1;
  static constexpr bool has_offset = false;
  static constexpr bool full_byte = true;
  const std::byte* at = nullptr;
  Vector scale[1];
  void begin(std::size_t) {
    scale[0] = Vector::load_f16(reinterpret_cast<const std::uint16_t*>(at));
  }
  template <unsigned G>
  [[nodiscard]] Bytes group() const {
    return Bytes::load(at + 32 + G * group_bytes);
  }
  void end() { at += 32 + 8 * group_bytes; }
  // The sum that products begin with: the level that means 0 is 128, unless dot() takes it as 0.
  static std::int32_t start(const InputBlock& in, unsigned) {
    return Bytes::are_signed ? 0 : in.start_q8;
  }
};

template <unsigned G>
inline Bytes nibbles(const std::byte* at) {
  const Bytes both = Bytes::load(at + G % 4 * group_bytes);
  return G < 4 ? low_nibbles(both) : high_nibbles(both);
}

struct Q4Panel {
  static constexpr unsigned halves = 1;
  static constexpr bool has_offset = false;
  static constexpr bool full_byte = false;
  const std::byte* at = nullptr;
  Vector scale[1];
  void begin(std::size_t) {
    scale[0] = Vector::load_f16(reinterpret_cast<const std::uint16_t*>(at));
  }
  template <unsigned G>
  [[nodiscard]] Bytes group() const {
    return nibbles<G>(at + 32);
  }
  void end() { at += 32 + 4 * group_bytes; }
  static std::int32_t start(const InputBlock& in, unsigned) { return in.start_q4; }
};

template <bool Five>
struct Q45KPanel {
  static constexpr unsigned halves = 1;
  static constexpr bool has_offset = true;
  static constexpr bool full_byte = false;
  const std::byte* at = nullptr;
  Vector d, m;
  Vector scale[1];
  Vector offset;
  void begin(std::size_t block) {
    if (block % 8 == 0) {
      d = Vector::load_f16(reinterpret_cast<const std::uint16_t*>(at));
      m = Vector::load_f16(reinterpret_cast<const std::uint16_t*>(at + 32));
      at += 64;
    }
    scale[0] = mul(d, Vector::load_u8(reinterpret_cast<const std::uint8_t*>(at)));
    offset = mul(m, Vector::load_u8(reinterpret_cast<const std::uint8_t*>(at + 16)));
  }
  template <unsigned G>
  [[nodiscard]] Bytes group() const {
    const Bytes low = nibbles<G>(at + 32);
    if constexpr (Five)
      return with_bits<G, 1>(low, Bytes::load(at + 32 + 4 * group_bytes));
    else
      return low;
  }
  void end() { at += 32 + (Five ? 5 : 4) * group_bytes; }
  static std::int32_t start(const InputBlock&, unsigned) { return 0; }
};

struct Q6KPanel {
  static constexpr unsigned halves = 2;
  static constexpr bool has_offset = false;
  static constexpr bool full_byte = false;
  const std::byte* at = nullptr;
  Vector d;
  Vector scale[2];
  void begin(std::size_t block) {
    if (block % 8 == 0) {
      d = Vector::load_f16(reinterpret_cast<const std::uint16_t*>(at));
      at += 32;
    }
    scale[0] = mul(d, Vector::load_i8(reinterpret_cast<const std::int8_t*>(at)));
    scale[1] = mul(d, Vector::load_i8(reinterpret_cast<const std::int8_t*>(at + 16)));
  }
  template <unsigned G>
  [[nodiscard]] Bytes group() const {
    const Bytes plane = Bytes::load(at + 32 + (4 + G / 4) * group_bytes);
    return with_bits<G % 4 * 2, 2>(nibbles<G>(at + 32), plane);
  }
  void end() { at += 32 + 6 * group_bytes; }
  static std::int32_t start(const InputBlock& in, unsigned half) { return in.start_halves[half]; }
};

template <class Panel, std::size_t Rows, std::size_t Panels>
void quant_tile(const MatmulJob& job, std::size_t panel, std::size_t row) {
  const std::size_t blocks = job.inputs / input_block;
  const std::int8_t* levels = job.levels + levels_at(row, job.inputs);
  const InputBlock* in = job.blocks + block_at(row, job.inputs);
  Panel weights[Panels];
  for (std::size_t p = 0; p < Panels; ++p)
    weights[p].at = job.panels + (panel + p) * job.panel_bytes;
  Vector sums[Rows][Panels];
  for (auto& of_row : sums)
    for (Vector& sum : of_row) sum = Vector::all(0.0F);
  for (std::size_t b = 0; b < blocks; ++b) {
#pragma GCC unroll 8
    for (std::size_t p = 0; p < Panels; ++p) weights[p].begin(b);
    unrolled<Panel::halves>([&]<unsigned Half>() {
      Ints whole[Rows][Panels];
#pragma GCC unroll 8
      for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (std::size_t p = 0; p < Panels; ++p)
          whole[r][p] = Ints::all(Panel::start(in[b * row_padding + r], Half));
      constexpr unsigned groups = 8 / Panel::halves;
      unrolled<groups>([&]<unsigned G>() {
        constexpr unsigned group = Half * groups + G;
        Bytes w[Panels];
#pragma GCC unroll 8
        for (std::size_t p = 0; p < Panels; ++p) w[p] = weights[p].template group<group>();
#pragma GCC unroll 8
        for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
          for (std::size_t p = 0; p < Panels; ++p)
            whole[r][p] = dot<Panel::full_byte>(
                whole[r][p], w[p], levels + (b * row_padding + r) * input_block + group * 4);
      });
#pragma GCC unroll 8
      for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (std::size_t p = 0; p < Panels; ++p) {
          const Vector scale =
              mul(weights[p].scale[Half], Vector::all(in[b * row_padding + r].scale));
          sums[r][p] = fma(whole[r][p].to_floats(), scale, sums[r][p]);
        }
    });
    if constexpr (Panel::has_offset) {
#pragma GCC unroll 8
      for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (std::size_t p = 0; p < Panels; ++p)
          sums[r][p] =
              fma(weights[p].offset, Vector::all(in[b * row_padding + r].minus_sum), sums[r][p]);
    }
#pragma GCC unroll 8
    for (std::size_t p = 0; p < Panels; ++p) weights[p].end();
  }
  float* out = job.out + row * job.out_stride + panel * lanes;
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t p = 0; p < Panels; ++p) sums[r][p].store(out + r * job.out_stride + p * lanes);
}

// Tiles of 4, 2 and 1 rows: none crosses a border of 16.
template <class Panel, std::size_t Panels>
void quant_rows(const MatmulJob& job, std::size_t panel) {
  constexpr std::size_t most = Vector::registers >= 32 ? 4 : Vector::registers >= 16 ? 2 : 1;
  std::size_t row = 0;
  for (; row + most <= job.rows; row += most) quant_tile<Panel, most, Panels>(job, panel, row);
  if constexpr (most > 2) {
    if (row + 2 <= job.rows) {
      quant_tile<Panel, 2, Panels>(job, panel, row);
      row += 2;
    }
  }
  if (row < job.rows) quant_tile<Panel, 1, Panels>(job, panel, row);
}

}  // namespace
}  // namespace ambit::inference

#ifdef AMBIT_MATRIX_UNIT
#include "inference/cpu/tiles.inc.h"
#endif

namespace ambit::inference {
namespace {

template <class Panel>
void quant_panels_of(const MatmulJob& job, std::size_t first, std::size_t last) {
  std::size_t panel = first;
#ifdef AMBIT_MATRIX_UNIT
  if (job.rows >= matrix_rows_least) return matrix_panels_of<Panel>(job, first, last);
#endif
  constexpr std::size_t wide = Vector::registers >= 32 ? 4 : Vector::registers >= 16 ? 2 : 1;
  constexpr std::size_t narrow = Vector::registers >= 32 ? 2 : 1;
  if (job.rows == 1)
    for (; panel + wide <= last; panel += wide) quant_tile<Panel, 1, wide>(job, panel, 0);
  for (; panel + narrow <= last; panel += narrow) quant_rows<Panel, narrow>(job, panel);
  for (; panel < last; ++panel) quant_rows<Panel, 1>(job, panel);
}

// One row's inputs as levels, block by block: the largest becomes 127.
void quantize_row(const float* in, std::size_t width, std::int8_t* levels, InputBlock* blocks) {
  const Vector minus_zero = Vector::all(0.0F);
  for (std::size_t b = 0; b < width / input_block; ++b, in += input_block) {
    const Vector x = Vector::load(in);
    const Vector y = Vector::load(in + lanes);
    const Vector sizes = max(max(x, sub(minus_zero, x)), max(y, sub(minus_zero, y)));
    const float most = largest_of(sizes);
    const Vector inverse = Vector::all(most > 0 ? 127.0F / most : 0.0F);
    const Vector magic = Vector::all(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
    const auto rounded = [&](Vector v) { return sub(add(mul(v, inverse), magic), magic); };
    rounded(x).store_i8(levels);
    rounded(y).store_i8(levels + lanes);
    const std::int32_t sums[2] = {sum_of(levels), sum_of(levels + lanes)};
    levels += row_padding * input_block;
    const std::int32_t sum = sums[0] + sums[1];
    const float scale = most / 127.0F;
    blocks[b * row_padding] = {scale,
                               -(scale * static_cast<float>(sum)),
                               -128 * sum,
                               -8 * sum,
                               {-32 * sums[0], -32 * sums[1]}};
  }
}

}  // namespace
}  // namespace ambit::inference
