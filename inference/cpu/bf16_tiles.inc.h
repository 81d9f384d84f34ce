// The matrix unit's way through bfloat16 weights: tiles of 16 rows and 16 outputs stay in it for
// all inputs. Included by bf16.inc.h.

namespace ambit::inference {
namespace {

// 0 to 3: sums of two times 16 rows and two panels; 4, 5: rows; 6, 7: panels.
struct alignas(64) Bf16TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// 16 or 32 rows from `row` on (rows beyond the job's are computed and thrown away), 1 or 2 panels.
template <std::size_t Tiles>
void matrix_bf16_strip(const MatmulJob& job, std::size_t panel, std::size_t panels,
                       std::size_t row) {
  const std::size_t blocks = (job.inputs + input_block - 1) / input_block;
  const std::byte* first = job.panels + panel * job.panel_bytes;
  const std::byte* second = first + (panels - 1) * job.panel_bytes;
  constexpr std::size_t step = row_padding * input_block;
  const std::uint16_t* top = job.rounded + levels_at(row, blocks * input_block);
  const std::uint16_t* bottom = top + blocks * step;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::size_t b = 0; b < blocks; ++b, first += 1024, second += 1024) {
    _tile_loadd(6, first, 64);
    _tile_loadd(7, second, 64);
    _tile_loadd(4, top + b * step, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Tiles > 1) {
      _tile_loadd(5, bottom + b * step, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  alignas(64) float sums[4][row_padding * lanes];
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  _tile_stored(2, sums[2], 64);
  _tile_stored(3, sums[3], 64);
  for (std::size_t r = 0; r < Tiles * row_padding && row + r < job.rows; ++r)
    for (std::size_t p = 0; p < panels; ++p)
      Vector::load(sums[r / row_padding * 2 + p] + r % row_padding * lanes)
          .store(job.out + (row + r) * job.out_stride + (panel + p) * lanes);
}

void matrix_bf16_panels_of(const MatmulJob& job, std::size_t first, std::size_t last) {
  const Bf16TileConfig config;
  _tile_loadconfig(&config);
  for (std::size_t panel = first; panel < last; panel += 2) {
    const std::size_t panels = last - panel < 2 ? 1 : 2;
    std::size_t row = 0;
    for (; row + row_padding < job.rows; row += 2 * row_padding)
      matrix_bf16_strip<2>(job, panel, panels, row);
    if (row < job.rows) matrix_bf16_strip<1>(job, panel, panels, row);
  }
  _tile_release();
}

}  // namespace
}  // namespace ambit::inference
