// Schedules that measure what equal bits cost: what they cut, and that the sums are the same sums
// within what their order makes of them.

#include "inference/cuda/schedule.h"

#include "inference/cuda/backend.h"
#include "inference/forward.h"
#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

namespace {

// The logits of all positions of one text, `together` rows in a step.
std::vector<float> logits_under(const ModelFile& file, const Schedule& schedule,
                                unsigned architecture, std::size_t together) {
  ShimOptions shim;
  shim.architecture = architecture;
  shim.processors = 2;
  BackendOptions options;
  options.rows_max = 128;
  options.schedule = schedule;
  auto backend = CudaBackend::make(file.model(), test_device(shim), options);
  REQUIRE(backend);
  Forward forward(file.model(), std::move(*backend), 128);
  constexpr std::size_t length = 80;
  std::vector<std::byte*> pages;
  for (std::size_t i = 0; i < length; i += page_tokens)
    pages.push_back(forward.backend().pages().make_page(forward.page_bytes()));
  std::vector<float> all;
  for (std::size_t start = 0; start < length; start += together) {
    std::vector<StepRow> rows;
    for (std::size_t i = start; i < std::min(start + together, length); ++i)
      rows.push_back({static_cast<TokenId>(i * 7 % 300), i, pages.data(), true});
    forward.run(rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto logits = forward.logits(i);
      all.insert(all.end(), logits.begin(), logits.end());
    }
  }
  REQUIRE(forward.backend().failure().empty());
  return all;
}

}  // namespace

TEST_CASE("a free schedule cuts sums by the rows of the step, the engine's own never",
          "[schedule]") {
  WeightView weight{};
  weight.type = WeightType::bf16;
  weight.blocks = 64;
  weight.segments = segments_max;
  weight.segment_blocks = 8;
  weight.panel_count = 200;
  const Schedule own;
  Schedule free;
  free.is_free = true;
  for (const unsigned rows : {1U, 64U, 65U, 512U})
    CHECK(cut(own, weight, rows, 132).segments == segments_max);
  CHECK(cut(free, weight, 1, 132).segments == segments_max);
  CHECK(cut(free, weight, 65, 132).segments == 1);
  weight.panel_count = 1000;
  CHECK(cut(free, weight, 64, 132).segments == 4);
  weight.panel_count = 8000;
  CHECK(cut(free, weight, 1, 132).segments == 1);
  free.segments = 4;
  for (const unsigned blocks : {1U, 2U, 3U, 5U, 64U, 71U}) {
    weight.blocks = blocks;
    const WeightView made = cut(free, weight, 1, 132);
    CHECK(made.segments <= 4);
    CHECK(made.segments * made.segment_blocks >= blocks);
    CHECK((made.segments - 1) * made.segment_blocks < blocks);
  }
  weight.type = WeightType::f32;
  CHECK(cut(free, weight, 512, 132).segments == segments_max);
}

TEST_CASE("schedules have names, and others are refused", "[schedule]") {
  const auto own = schedule_named("invariant");
  REQUIRE(own);
  CHECK_FALSE(own->is_free);
  CHECK(own->warpgroups);
  const auto sync = schedule_named("free-4-sync");
  REQUIRE(sync);
  CHECK(sync->is_free);
  CHECK(sync->segments == 4);
  CHECK_FALSE(sync->warpgroups);
  const auto free = schedule_named("free");
  REQUIRE(free);
  CHECK(free->segments == 0);
  for (const char* name : {"free-3", "fre", "free-", "free-44", "invariant-1", "free-sync-4"})
    CHECK_FALSE(schedule_named(name));
}

TEST_CASE("a free schedule's logits are the engine's own within rounding, but not their bits",
          "[schedule]") {
  const DType type = GENERATE(DType::bf16, DType::q8_0);
  const unsigned architecture = type == DType::bf16 ? GENERATE(80U, 90U) : 80U;
  SynthShape shape;
  shape.type = type;
  shape.layers = 1;
  shape.vocabulary = 300;
  shape.width = 256;
  shape.hidden = 256;
  shape.context = 512;
  const auto file = model_of(shape);
  const auto own = logits_under(*file, {}, architecture, 40);
  CHECK(same_bits(logits_under(*file, {}, architecture, 80), own));
  for (const char* name : {"free", "free-2"}) {
    const auto schedule = schedule_named(name);
    REQUIRE(schedule);
    for (const std::size_t together : {std::size_t{40}, std::size_t{80}}) {
      const auto other = logits_under(*file, *schedule, architecture, together);
      INFO(name << ", " << together << " rows, " << to_string(type) << " on " << architecture);
      CHECK(worst_error(other, own) < 0.03);
      CHECK_FALSE(other == own);
    }
  }
}

}  // namespace ambit::inference::cuda
