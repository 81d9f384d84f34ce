// The plan of attention: every row goes through every chunk that it sees, once, in order of its
// partials; what is shared is told apart from what only looks alike.

#include "inference/cuda/plan.h"

#include "support.h"

#include <catch2/catch.hpp>

#include <map>

namespace ambit::inference::cuda {

namespace {

// Page tables of made-up pages; the planner never looks into one.
std::vector<std::byte*> table(std::size_t pages, std::uintptr_t name) {
  std::vector<std::byte*> made;
  for (std::size_t i = 0; i < pages; ++i)
    made.push_back(reinterpret_cast<std::byte*>(name + i * 4096));
  return made;
}

// The chunks of each row, in the order of its partials.
std::map<std::uint32_t, std::vector<std::uint32_t>> chunks_of(const Plan& plan) {
  std::map<std::uint32_t, std::map<std::uint32_t, std::vector<std::uint32_t>>> seen;
  for (const auto* items : {&plan.few, &plan.many})
    for (const AttentionItem& item : *items)
      for (std::uint32_t i = 0; i < item.row_count; ++i) {
        const AttentionRow& row = plan.rows[item.rows_at + i];
        auto& chunks = seen[row.row][row.partial];
        CHECK(chunks.empty());  // nobody else writes this partial
        for (std::uint32_t c = item.chunk_first; c < item.chunk_end; ++c) chunks.push_back(c);
        CHECK(row.partial >= plan.first_partial[row.row]);
        CHECK(row.partial < plan.first_partial[row.row + 1]);
      }
  std::map<std::uint32_t, std::vector<std::uint32_t>> flat;
  for (const auto& [row, partials] : seen)
    for (const auto& [partial, chunks] : partials)
      flat[row].insert(flat[row].end(), chunks.begin(), chunks.end());
  return flat;
}

}  // namespace

TEST_CASE("random rows go through all their chunks, once and in order", "[plan]") {
  for (std::uint64_t seed = 1; seed < 40; ++seed) {
    const auto draw = [&](std::uint64_t what, std::size_t most) {
      return static_cast<std::size_t>(uniform(seed, what, 3) * static_cast<double>(most));
    };
    std::vector<std::vector<std::byte*>> tables;
    std::vector<StepRow> rows;
    const auto trunk = table(64, 1U << 20U);
    for (std::size_t s = 0; s < 8; ++s) {
      auto own = table(64, (s + 2) << 20U);
      const std::size_t shared = draw(s, 64);
      std::copy_n(trunk.begin(), shared, own.begin());
      tables.push_back(own);
    }
    for (std::size_t s = 0; s < 8; ++s) {
      const std::size_t first = draw(100 + s, 1900);
      const std::size_t count = 1 + draw(200 + s, s % 3 == 0 ? 60 : 3);
      for (std::size_t i = 0; i < count; ++i) rows.push_back({0, first + i, tables[s].data()});
    }
    const std::vector<std::uint32_t> at(rows.size(), 0);
    PlanOptions how;
    how.tile_rows = 1 + draw(1000, 8);
    how.window = seed % 3 == 0 ? 1 + draw(1001, 700) : 0;
    how.partials_max = rows.size() + draw(1002, 400);
    Plan plan;
    Planner().plan(rows, at, how, plan);
    CHECK(plan.first_partial.back() <= how.partials_max);
    const auto chunks = chunks_of(plan);
    INFO("seed " << seed);
    REQUIRE(chunks.size() == rows.size());
    for (const auto& [row, seen] : chunks) {
      const std::size_t end = rows[row].position + 1;
      const std::size_t first = how.window > 0 && end > how.window ? end - how.window : 0;
      for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i] == seen[i - 1] + 1);
      // One that walks with others may pass by chunks that it does not see.
      CHECK(seen.front() <= first / chunk_positions);
      CHECK(seen.back() >= rows[row].position / chunk_positions);
    }
    for (const auto& item : plan.few) CHECK(item.row_count <= how.tile_rows);
    for (const auto& item : plan.many) CHECK(item.row_count <= how.tile_rows * how.tiles_max);
  }
}

TEST_CASE("a chunk that only begins alike is not shared", "[plan]") {
  auto a = table(8, 1U << 20U);
  auto b = a;
  b[7] = reinterpret_cast<std::byte*>(std::uintptr_t{3} << 20U);
  const std::vector<StepRow> rows = {{0, 255, a.data()}, {0, 255, b.data()}};
  const std::vector<std::uint32_t> at = {1, 9};
  PlanOptions how;
  how.tile_rows = 4;
  Plan plan;
  Planner().plan(rows, at, how, plan);
  CHECK(plan.few.size() == 2);
  b[7] = a[7];
  Planner().plan(rows, at, how, plan);
  REQUIRE(plan.few.size() == 1);
  CHECK(plan.few[0].row_count == 2);
}

TEST_CASE("a tree of prompts is read once at every depth", "[plan]") {
  // A system prompt of 4 chunks, two roles of 2 chunks each, four tasks of 1 chunk, then their own.
  std::vector<std::vector<std::byte*>> tables;
  const auto system = table(32, 1U << 20U);
  std::vector<StepRow> rows;
  for (std::size_t agent = 0; agent < 16; ++agent) {
    auto pages = system;
    const auto role = table(16, (10 + agent / 8) << 20U);
    const auto task = table(8, (20 + agent / 4) << 20U);
    const auto own = table(8, (40 + agent) << 20U);
    pages.insert(pages.end(), role.begin(), role.end());
    pages.insert(pages.end(), task.begin(), task.end());
    pages.insert(pages.end(), own.begin(), own.end());
    tables.push_back(pages);
  }
  for (const auto& pages : tables) rows.push_back({0, 7 * 256 + 40, pages.data()});
  const std::vector<std::uint32_t> at(rows.size(), 0);
  PlanOptions how;
  how.tile_rows = 4;
  Plan plan;
  Planner().plan(rows, at, how, plan);
  CHECK(plan.chunk_reads == 4 + 2 * 2 + 4 * 1 + 16);
  CHECK(plan.chunks_seen == 16 * 8);
  // What is read together is divided among those who read it, down to each agent's own.
  REQUIRE(plan.reads.rows.size() == rows.size());
  for (const float read : plan.reads.rows)
    CHECK(read == Approx(256 * (4.0 / 16 + 2.0 / 8 + 1.0 / 4 + 1)));
  CHECK(plan.reads.unshared == 16 * 8 * 256);
}

}  // namespace ambit::inference::cuda
