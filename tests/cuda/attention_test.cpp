// Attention through pages against its definition in double precision, and the same bits however
// rows are put together: alone, as a stretch of a prompt, walking or in parts, sharing pages.

#include "inference/cuda/attention.h"

#include "inference/cuda/plan.h"
#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

namespace {

struct Shape {
  std::size_t heads, kv_heads, width;
  std::size_t window = 0;
  float cap = 0;
  PageType page_type = PageType::bf16;
};

// Sequences with keys and values of noise; `shared` leading positions are the same pages for all.
class World {
 public:
  World(Shape shape, std::vector<std::size_t> lengths, std::size_t shared, std::uint64_t seed)
      : shape_(shape), device_(test_device(schedule(seed))) {
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      std::vector<std::byte*> pages;
      for (std::size_t at = 0; at < lengths[s]; at += page_positions) {
        const bool common = at + page_positions <= shared;
        if (common && s > 0) {
          pages.push_back(pages_[0][at / page_positions]);
          continue;
        }
        pages.push_back(device_->allocate(page_bytes()));
        owned_.push_back(pages.back());
      }
      pages_.push_back(std::move(pages));
      lengths_.push_back(lengths[s]);
      for (std::size_t p = 0; p < lengths[s]; ++p)
        if (s == 0 || p >= shared / page_positions * page_positions) store(s, p);
    }
  }
  ~World() {
    for (std::byte* page : owned_) device_->release(page);
  }

  struct Row {
    std::size_t sequence, position;
  };
  std::vector<float> attend(const std::vector<Row>& rows, std::size_t walk_rows,
                            std::size_t partials_max = 4096, bool shares = true) {
    std::vector<StepRow> steps;
    std::vector<std::uint32_t> tables, positions;
    std::vector<std::byte*> table;
    std::vector<std::uint32_t> table_of;
    for (const auto& pages : pages_) {
      table_of.push_back(static_cast<std::uint32_t>(table.size()));
      table.insert(table.end(), pages.begin(), pages.end());
    }
    std::vector<std::uint16_t> queries;
    for (const Row& row : rows) {
      steps.push_back({0, row.position, pages_[row.sequence].data()});
      tables.push_back(table_of[row.sequence]);
      positions.push_back(static_cast<std::uint32_t>(row.position));
      for (const float q : query(row)) queries.push_back(inference::float_to_bf16(q));
    }
    PlanOptions how;
    how.tile_rows =
        tile_rows(static_cast<unsigned>(shape_.heads), static_cast<unsigned>(shape_.kv_heads));
    how.tiles_max = shape_.width <= 128 ? 4 : 1;
    how.walk_rows = walk_rows;
    how.partials_max = partials_max;
    how.window = shape_.window;
    how.shares = shares;
    Planner().plan(steps, tables, how, plan);
    const Array<std::uint32_t> of_positions(*device_, positions);
    const Array<std::byte*> of_pages(*device_, table);
    const Array<std::uint16_t> of_queries(*device_, queries);
    const Array<AttentionRow> of_rows(*device_, plan.rows);
    const Array<std::uint32_t> first_partial(*device_, plan.first_partial);
    const std::size_t partials = plan.first_partial.back();
    const std::size_t width = shape_.heads * shape_.width;
    const Array<float> outputs(*device_, partials * width);
    const Array<float> peaks(*device_, partials * shape_.heads * 2);
    const Array<float> out(*device_, rows.size() * width);
    AttendJob job{};
    job.item_rows = of_rows.at();
    job.positions = of_positions.at();
    job.pages = of_pages.at();
    job.queries = of_queries.at();
    job.outputs = outputs.at();
    job.peaks = peaks.at();
    job.scale = scale;
    job.cap = shape_.cap;
    job.page_type = shape_.page_type;
    job.window = static_cast<std::uint32_t>(shape_.window);
    job.heads = static_cast<std::uint32_t>(shape_.heads);
    job.kv_heads = static_cast<std::uint32_t>(shape_.kv_heads);
    job.head_width = static_cast<std::uint32_t>(shape_.width);
    job.layer_offset = layer_offset;
    for (const unsigned tiles : {1U, 4U}) {
      const auto& items = tiles == 1 ? plan.few : plan.many;
      const Array<AttentionItem> of_items(*device_, items);
      // One item more than there is: what a recorded step is padded with.
      const Array<std::uint32_t> count(
          *device_, std::vector<std::uint32_t>{static_cast<std::uint32_t>(items.size())});
      job.items = of_items.at();
      job.item_count = count.at();
      job.items_max = static_cast<std::uint32_t>(items.size() + 1);
      device_->run(job, tiles);
    }
    FormView form{};
    form.floats = out.at();
    form.width = static_cast<std::uint32_t>(width);
    form.padded = static_cast<std::uint32_t>((width + 31) / 32 * 32);
    device_->run(FoldJob{first_partial.at(), outputs.at(), peaks.at(), form,
                         static_cast<std::uint32_t>(shape_.heads),
                         static_cast<std::uint32_t>(shape_.width),
                         static_cast<std::uint32_t>(rows.size())});
    INFO(device_->failure());
    REQUIRE(device_->failure().empty());
    return out.read();
  }

  // By the definition, in double precision, with the numbers that the pages can hold.
  [[nodiscard]] std::vector<float> expected(const std::vector<Row>& rows) const {
    std::vector<float> out;
    for (const Row& row : rows) {
      const auto q = query(row);
      for (std::size_t h = 0; h < shape_.heads; ++h) {
        const std::size_t kv = h / (shape_.heads / shape_.kv_heads);
        const std::size_t seen = row.position + 1;
        const std::size_t first =
            shape_.window > 0 && seen > shape_.window ? seen - shape_.window : 0;
        std::vector<double> sums(shape_.width);
        double total = 0;
        for (std::size_t p = first; p < seen; ++p) {
          const auto k = element(row.sequence, p, kv, false);
          const auto v = element(row.sequence, p, kv, true);
          double score = 0;
          for (std::size_t d = 0; d < shape_.width; ++d)
            score += double{bf16(q[h * shape_.width + d])} * double{bf16(k[d])};
          score *= double{scale};
          if (shape_.cap > 0) score = double{shape_.cap} * std::tanh(score / double{shape_.cap});
          const double weight = std::exp(score);
          total += weight;
          for (std::size_t d = 0; d < shape_.width; ++d) sums[d] += weight * double{bf16(v[d])};
        }
        for (const double sum : sums) out.push_back(static_cast<float>(sum / total));
      }
    }
    return out;
  }

  Plan plan;

 private:
  static constexpr float scale = 0.7F;
  static constexpr std::uint64_t layer_offset = 48;

  [[nodiscard]] std::size_t head_bytes() const {
    return page_head_bytes(shape_.page_type, static_cast<unsigned>(shape_.width));
  }
  [[nodiscard]] std::size_t page_bytes() const {
    return layer_offset + shape_.kv_heads * head_bytes();
  }
  static float bf16(float value) {
    return inference::bf16_to_float(inference::float_to_bf16(value));
  }
  [[nodiscard]] std::vector<float> query(const Row& row) const {
    return noise(shape_.heads * shape_.width, 900 + row.sequence * 7919 + row.position, 1.5F);
  }
  [[nodiscard]] std::vector<float> element(std::size_t sequence, std::size_t position,
                                           std::size_t kv, bool is_value) const {
    // Who shares a page has what the first sequence has.
    const std::size_t of =
        pages_[sequence][position / page_positions] == pages_[0][position / page_positions]
            ? 0
            : sequence;
    return noise(shape_.width, 1 + of * 100'003 + position * 64 + kv * 2 + (is_value ? 1 : 0));
  }
  void store(std::size_t sequence, std::size_t position) {
    // By the kernel that the engine stores with: one row of qkv, no norm, no turn.
    const std::size_t width = shape_.width;
    std::vector<float> qkv(shape_.heads * width);
    for (const bool is_value : {false, true})
      for (std::size_t kv = 0; kv < shape_.kv_heads; ++kv) {
        const auto values = element(sequence, position, kv, is_value);
        qkv.insert(qkv.end(), values.begin(), values.end());
      }
    const Array<float> of_qkv(*device_, qkv);
    const Array<std::uint32_t> at(*device_,
                                  std::vector<std::uint32_t>{static_cast<std::uint32_t>(position)});
    const Array<std::uint32_t> table(*device_, std::vector<std::uint32_t>{0});
    const Array<std::byte*> pages(*device_, pages_[sequence]);
    const Array<std::uint16_t> queries(*device_, shape_.heads * width);
    PrepareJob job{};
    job.qkv = of_qkv.at();
    job.positions = at.at();
    job.tables = table.at();
    job.pages = pages.at();
    job.queries = queries.at();
    job.page_type = shape_.page_type;
    job.heads = static_cast<std::uint32_t>(shape_.heads);
    job.kv_heads = static_cast<std::uint32_t>(shape_.kv_heads);
    job.head_width = static_cast<std::uint32_t>(width);
    job.key_at = static_cast<std::uint32_t>(shape_.heads * width);
    job.value_at = static_cast<std::uint32_t>((shape_.heads + shape_.kv_heads) * width);
    job.stride = static_cast<std::uint32_t>(qkv.size());
    job.rows = 1;
    job.layer_offset = layer_offset;
    device_->run(job);
  }

  Shape shape_;
  std::unique_ptr<Device> device_;
  std::vector<std::vector<std::byte*>> pages_;
  std::vector<std::byte*> owned_;
  std::vector<std::size_t> lengths_;
};

constexpr std::size_t never_walks = 1000;

}  // namespace

TEST_CASE("attention is what its definition says, for many shapes of heads", "[attention]") {
  const Shape shape = GENERATE(Shape{4, 2, 16}, Shape{7, 1, 48}, Shape{20, 1, 32},
                               Shape{2, 2, 80, 40}, Shape{2, 1, 144, 0, 20.0F});
  World world(shape, {300}, 0, 5);
  const std::vector<World::Row> rows = {{0, 0}, {0, 15}, {0, 31}, {0, 255}, {0, 256}, {0, 299}};
  // Weights are rounded to bfloat16 for the product.
  CHECK(worst_error(world.attend(rows, never_walks), world.expected(rows)) < 6e-3);
}

TEST_CASE("attention over 8-bit pages is close to its definition", "[attention]") {
  World world({4, 2, 32, 0, 0, PageType::fp8}, {270}, 0, 6);
  const std::vector<World::Row> rows = {{0, 3}, {0, 269}};
  CHECK(worst_error(world.attend(rows, never_walks), world.expected(rows)) < 0.06);
}

TEST_CASE("a row's attention has the same bits however it is put together", "[attention]") {
  const Shape shape =
      GENERATE(Shape{4, 2, 16}, Shape{6, 2, 48, 100}, Shape{4, 1, 32, 0, 0, PageType::fp8});
  std::vector<World::Row> rows;
  for (std::size_t p = 250; p < 275; ++p) rows.push_back({0, p});
  rows.push_back({1, 530});
  rows.push_back({2, 540});
  const std::vector<std::size_t> lengths = {600, 600, 600};
  World world(shape, lengths, 512, 0);
  const auto together = world.attend(rows, never_walks);
  const std::size_t width = shape.heads * shape.width;
  for (const std::size_t i : {0U, 5U, 6U, 24U, 25U, 26U}) {
    auto alone = world.attend({rows[i]}, never_walks);
    alone.resize(width);
    const auto at = together.begin() + static_cast<std::ptrdiff_t>(i * width);
    CHECK(same_bits(alone, {at, at + static_cast<std::ptrdiff_t>(width)}));
  }
  CHECK(same_bits(world.attend(rows, 1), together));                         // all walk
  CHECK(same_bits(world.attend(rows, never_walks, 28), together));           // no room for parts
  CHECK(same_bits(world.attend(rows, never_walks, 4096, false), together));  // nothing shared
  World permuted(shape, lengths, 512, 77);
  CHECK(same_bits(permuted.attend(rows, never_walks), together));
  CHECK(same_bits(permuted.attend(rows, 4), together));
}

TEST_CASE("pages that sequences share are read once", "[attention]") {
  World world({4, 2, 16}, std::vector<std::size_t>(9, 600), 512, 0);
  std::vector<World::Row> rows;
  for (std::size_t s = 0; s < 9; ++s) rows.push_back({s, 580 + s});
  world.attend(rows, never_walks);
  CHECK(world.plan.chunks_seen == 27);
  CHECK(world.plan.chunk_reads == 2 + 9);
  world.attend(rows, never_walks, 4096, false);
  CHECK(world.plan.chunk_reads == 27);
}

}  // namespace ambit::inference::cuda
