// The matrix unit's way through a block of 32 inputs: 16 rows times 16 outputs at once, as whole
// numbers; the scaling and adding is that of every other kernel. Included by quants.inc.h.

namespace ambit::inference {
namespace {

// Fewer rows are faster without it.
constexpr std::size_t matrix_rows_least = 24;
constexpr std::size_t tile_rows = 16;
constexpr std::size_t strip_rows = 64;  // rows that share the weights once they are unpacked
static_assert(tile_rows == row_padding);

// 0, 1: sums of two panels. 2: 16 rows of 32 inputs; 3, 4: 32 inputs of a panel. 5, 6, 7: the same
// with 16 inputs.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 32, 64, 64, 16, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 8, 8, 16, 4, 4};
};

// The whole products of a strip with one group of inputs, and what they are scaled by. Two of these
// alternate: what the matrix unit stores is read one stage later, when it has arrived.
struct Stage {
  alignas(64) std::int32_t whole[2][strip_rows * lanes];
  Vector scale[2];
  Vector offset[2];
  std::size_t block;
};

template <class Panel, unsigned Half>
inline void multiply_tiles(const MatmulJob& job, std::size_t row, std::size_t rows,
                           std::size_t panels, std::byte (*unpacked)[8 * group_bytes],
                           Stage& stage) {
  constexpr bool full = Panel::halves == 1;
  constexpr std::size_t from = Half * 4 * group_bytes;
  const std::int8_t* in =
      job.levels + levels_at(row, job.inputs) + stage.block * row_padding * input_block + Half * 16;
  if constexpr (full) {
    _tile_loadd(3, unpacked[0], 64);
    _tile_loadd(4, unpacked[panels - 1], 64);
  } else {
    _tile_loadd(6, unpacked[0] + from, 64);
    _tile_loadd(7, unpacked[panels - 1] + from, 64);
  }
  for (std::size_t top = 0; top < rows; top += tile_rows, in += tile_rows * job.inputs) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (full) {
      _tile_loadd(2, in, input_block);
      _tile_dpbsud(0, 2, 3);
      _tile_dpbsud(1, 2, 4);
    } else {
      _tile_loadd(5, in, input_block);
      _tile_dpbsud(0, 5, 6);
      _tile_dpbsud(1, 5, 7);
    }
    _tile_stored(0, stage.whole[0] + top * lanes, 64);
    _tile_stored(1, stage.whole[1] + top * lanes, 64);
  }
}

template <class Panel>
inline void scale_and_add(const MatmulJob& job, std::size_t row, std::size_t rows,
                          std::size_t panels, unsigned half, const Stage& stage,
                          float (*sums)[strip_rows * lanes]) {
  const bool last_of_block = half + 1 == Panel::halves;
  for (std::size_t top = 0; top < rows; top += tile_rows) {
    const std::size_t here = rows - top < tile_rows ? rows - top : tile_rows;
    const InputBlock* in = job.blocks + block_at(row + top, job.inputs) + stage.block * row_padding;
    for (std::size_t p = 0; p < panels; ++p) {
      const std::int32_t* whole = stage.whole[p] + top * lanes;
      float* into = sums[p] + top * lanes;
      const Vector scale = stage.scale[p];
      const Vector offset = stage.offset[p];
      for (std::size_t r = 0; r < here; ++r, whole += lanes, into += lanes) {
        Ints sum = Ints::load(whole);
        if constexpr (!Panel::has_offset) sum = add(sum, Ints::all(Panel::start(in[r], half)));
        Vector total =
            fma(sum.to_floats(), mul(scale, Vector::all(in[r].scale)), Vector::load(into));
        if (Panel::has_offset && last_of_block)
          total = fma(offset, Vector::all(in[r].minus_sum), total);
        total.store(into);
      }
    }
  }
}

// `panels` (1 or 2) panels for `rows` rows, at most strip_rows.
template <class Panel>
void matrix_strip(const MatmulJob& job, std::size_t panel, std::size_t panels, std::size_t row,
                  std::size_t rows) {
  const std::size_t blocks = job.inputs / input_block;
  alignas(64) float sums[2][strip_rows * lanes];
  alignas(64) std::byte unpacked[2][2][8 * group_bytes];
  Stage stages[2];
  Panel weights[2][2];  // of this block and of the next
  for (std::size_t p = 0; p < panels; ++p) {
    for (std::size_t r = 0; r < rows; ++r) Vector::all(0.0F).store(sums[p] + r * lanes);
    weights[0][p].at = job.panels + (panel + p) * job.panel_bytes;
  }
  const auto unpack = [&](std::size_t b) {
    for (std::size_t p = 0; p < panels; ++p) {
      Panel& of = weights[b % 2][p];
      of.begin(b);
      unrolled<8>([&]<unsigned G>() {
        of.template group<G>().store(unpacked[b % 2][p] + G * group_bytes);
      });
      weights[(b + 1) % 2][p] = of;
      weights[(b + 1) % 2][p].end();
    }
  };
  unpack(0);
  std::size_t stage = 0;
  const auto settle = [&](std::size_t which) {
    scale_and_add<Panel>(job, row, rows, panels, which % Panel::halves, stages[which % 2], sums);
  };
  for (std::size_t b = 0; b < blocks; ++b) {
    const Panel now[2] = {weights[b % 2][0], weights[b % 2][1]};
    if (b + 1 < blocks) unpack(b + 1);
    unrolled<Panel::halves>([&]<unsigned Half>() {
      Stage& next = stages[stage % 2];
      next.block = b;
      for (std::size_t p = 0; p < panels; ++p) {
        next.scale[p] = now[p].scale[Half];
        if constexpr (Panel::has_offset) next.offset[p] = now[p].offset;
      }
      multiply_tiles<Panel, Half>(job, row, rows, panels, unpacked[b % 2], next);
      if (stage > 0) settle(stage - 1);
      ++stage;
    });
  }
  settle(stage - 1);
  for (std::size_t p = 0; p < panels; ++p)
    for (std::size_t r = 0; r < rows; ++r)
      Vector::load(sums[p] + r * lanes)
          .store(job.out + (row + r) * job.out_stride + (panel + p) * lanes);
}

template <class Panel>
void matrix_panels_of(const MatmulJob& job, std::size_t first, std::size_t last) {
  const TileConfig config;
  _tile_loadconfig(&config);
  for (std::size_t panel = first; panel < last; panel += 2) {
    const std::size_t panels = last - panel < 2 ? 1 : 2;
    for (std::size_t row = 0; row < job.rows; row += strip_rows) {
      const std::size_t rows = job.rows - row < strip_rows ? job.rows - row : strip_rows;
      matrix_strip<Panel>(job, panel, panels, row, rows);
    }
  }
  _tile_release();
}

}  // namespace
}  // namespace ambit::inference
