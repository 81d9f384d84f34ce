#include "inference/cuda/plan.h"

#include "async/check.h"
#include "inference/cuda/device.h"

#include <algorithm>

namespace ambit::inference::cuda {

namespace {

constexpr std::size_t pages_of_chunk = chunk_positions / page_positions;

}  // namespace

std::size_t Planner::first_chunk(std::size_t row) const {
  const std::size_t seen = rows_[row].position + 1;
  const std::size_t first =
      options_.window > 0 && seen > options_.window ? seen - options_.window : 0;
  return first / chunk_positions;
}

void Planner::plan(std::span<const StepRow> rows, std::span<const std::uint32_t> tables,
                   const PlanOptions& options, Plan& plan) {
  INVARIANT(rows.size() <= options.partials_max);
  rows_ = rows;
  tables_ = tables;
  options_ = options;
  plan_ = &plan;
  plan.few.clear();
  plan.many.clear();
  plan.rows.clear();
  plan.first_partial.clear();
  plan.chunk_reads = plan.chunks_seen = 0;
  plan.reads.rows.assign(rows.size(), 0);
  groups_used_ = 0;
  found_.clear();
  std::size_t partials = 0;
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t end = first + 1;
    while (end < rows.size() && rows[end].pages == rows[first].pages) ++end;
    std::size_t chunks = 0;
    for (std::size_t i = first; i < end; ++i)
      chunks += rows[i].position / chunk_positions + 1 - first_chunk(i);
    plan.chunks_seen += chunks;
    // One partial for each row that still comes must stay.
    const std::size_t spare = options.partials_max - partials - (rows.size() - end);
    const bool walks = end - first >= options.walk_rows || chunks > spare;
    for (std::size_t i = first; i < end; ++i) {
      plan.first_partial.push_back(narrow(partials));
      partials += walks ? 1 : rows[i].position / chunk_positions + 1 - first_chunk(i);
    }
    if (walks)
      walk(first, end - first);
    else
      split(first, end - first);
    first = end;
  }
  plan.first_partial.push_back(narrow(partials));
  plan.reads.unshared = static_cast<double>(plan.chunks_seen * chunk_positions);
  for (std::size_t i = 0; i < groups_used_; ++i)
    add_items(groups_[i].rows, groups_[i].chunk, groups_[i].chunk + 1);
}

// Tiles of neighbouring rows through all chunks that one of them sees.
void Planner::walk(std::size_t first, std::size_t count) {
  const std::size_t together = options_.tile_rows * options_.tiles_max;
  std::vector<AttentionRow> rows;
  for (std::size_t start = first; start < first + count; start += together) {
    rows.clear();
    const std::size_t end = std::min(start + together, first + count);
    std::size_t begin = first_chunk(start);
    std::size_t last = 0;
    for (std::size_t i = start; i < end; ++i) {
      rows.push_back({narrow(i), plan_->first_partial[i]});
      begin = std::min(begin, first_chunk(i));
      last = std::max(last, rows_[i].position);
    }
    add_items(rows, begin, last / chunk_positions + 1);
  }
}

void Planner::split(std::size_t first, std::size_t count) {
  for (std::size_t i = first; i < first + count; ++i) {
    std::uint32_t partial = plan_->first_partial[i];
    for (std::size_t chunk = first_chunk(i); chunk <= rows_[i].position / chunk_positions; ++chunk)
      join(i, chunk, partial++);
  }
}

bool Planner::same_pages(std::size_t a, std::size_t b, std::size_t chunk) const {
  if (rows_[a].pages == rows_[b].pages) return true;
  const std::size_t whole = (chunk + 1) * chunk_positions;
  if (!options_.shares || rows_[a].position + 1 < whole || rows_[b].position + 1 < whole)
    return false;
  const std::size_t at = chunk * pages_of_chunk;
  return std::equal(rows_[a].pages + at, rows_[a].pages + at + pages_of_chunk, rows_[b].pages + at);
}

// Into the group whose pages of this chunk are the same; a new one if there is none. A chunk that
// a row sees only in part is shared by rows of its own sequence alone.
void Planner::join(std::size_t row, std::size_t chunk, std::uint32_t partial) {
  const StepRow& of = rows_[row];
  const bool whole = options_.shares && of.position + 1 >= (chunk + 1) * chunk_positions;
  std::uint64_t key = chunk * 0x9E3779B97F4A7C15U;
  const auto mix = [&key](const void* pointer) {
    key = (key ^ reinterpret_cast<std::uintptr_t>(pointer)) * 0xBF58476D1CE4E5B9U;
    key ^= key >> 29U;
  };
  if (whole)
    for (std::size_t p = 0; p < pages_of_chunk; ++p) mix(of.pages[chunk * pages_of_chunk + p]);
  else
    mix(static_cast<const void*>(of.pages));
  const auto [begin, end] = found_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    Group& group = groups_[at->second];
    if (group.chunk != chunk || !same_pages(group.rows[0].row, row, chunk)) continue;
    group.rows.push_back({narrow(row), partial});
    return;
  }
  if (groups_used_ == groups_.size()) groups_.emplace_back();
  Group& group = groups_[groups_used_];
  group.chunk = chunk;
  group.rows.assign(1, {narrow(row), partial});
  found_.emplace(key, groups_used_++);
}

// What rows read together belongs to them in equal parts.
void Planner::share(const std::vector<AttentionRow>& rows, std::size_t chunks) {
  plan_->chunk_reads += chunks;
  const float each = static_cast<float>(chunks * chunk_positions) / static_cast<float>(rows.size());
  for (const AttentionRow& row : rows) plan_->reads.rows[row.row] += each;
}

void Planner::add_items(const std::vector<AttentionRow>& rows, std::size_t chunk_first,
                        std::size_t chunk_end) {
  share(rows, chunk_end - chunk_first);
  const std::size_t together = options_.tile_rows * options_.tiles_max;
  for (std::size_t start = 0; start < rows.size(); start += together) {
    const std::size_t count = std::min(together, rows.size() - start);
    std::size_t last = 0;
    for (std::size_t i = start; i < start + count; ++i)
      last = std::max(last, rows_[rows[i].row].position);
    const AttentionItem item = {narrow(plan_->rows.size()), narrow(count),
                                narrow(chunk_first),        narrow(chunk_end),
                                tables_[rows[start].row],   narrow(last)};
    (count > options_.tile_rows ? plan_->many : plan_->few).push_back(item);
    plan_->rows.insert(plan_->rows.end(), rows.begin() + static_cast<std::ptrdiff_t>(start),
                       rows.begin() + static_cast<std::ptrdiff_t>(start + count));
  }
}

}  // namespace ambit::inference::cuda
