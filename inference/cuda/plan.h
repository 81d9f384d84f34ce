#pragma once

// Which rows go through which chunks of attention together. The bits do not depend on it
// (attention.h); the bytes do: rows whose pages in a chunk are the same read them once. So what
// agents share, however deep the tree of their prompts, is read once for all of them. A long
// stretch of one prompt goes through all its chunks in one go and needs no place for partial
// results.

#include "inference/backend.h"
#include "inference/cuda/jobs.h"
#include "inference/traffic.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace ambit::inference::cuda {

struct PlanOptions {
  std::size_t tile_rows = 1;   // that one tile of slots takes
  std::size_t tiles_max = 4;   // of an item that is shared
  std::size_t walk_rows = 16;  // stretches of a prompt of at least so many rows walk
  std::size_t partials_max = 1024;
  std::size_t window = 0;  // positions that a row sees; 0: all
  bool shares = true;      // false: for measuring what sharing is worth
};

struct Plan {
  std::vector<AttentionItem> few;   // items of one tile
  std::vector<AttentionItem> many;  // of more
  std::vector<AttentionRow> rows;
  std::vector<std::uint32_t> first_partial;  // of each row, and the end
  std::size_t chunk_reads = 0;               // chunks that are read, of one key head
  std::size_t chunks_seen = 0;               // the same if nothing were shared
  Reads reads;                               // both by rows, in positions
};

class Planner {
 public:
  // `tables`: where each row's pages begin on the device. Rows of one sequence are neighbours.
  // There must be a partial for every row.
  void plan(std::span<const StepRow> rows, std::span<const std::uint32_t> tables,
            const PlanOptions& options, Plan& plan);

 private:
  struct Group {
    std::size_t chunk;
    std::vector<AttentionRow> rows;
  };
  void walk(std::size_t first, std::size_t count);
  void split(std::size_t first, std::size_t count);
  void join(std::size_t row, std::size_t chunk, std::uint32_t partial);
  void share(const std::vector<AttentionRow>& rows, std::size_t chunks);
  void add_items(const std::vector<AttentionRow>& rows, std::size_t chunk_first,
                 std::size_t chunk_end);
  [[nodiscard]] std::size_t first_chunk(std::size_t row) const;
  [[nodiscard]] bool same_pages(std::size_t a, std::size_t b, std::size_t chunk) const;

  std::span<const StepRow> rows_;
  std::span<const std::uint32_t> tables_;
  PlanOptions options_;
  Plan* plan_ = nullptr;
  std::vector<Group> groups_;
  std::size_t groups_used_ = 0;
  std::unordered_multimap<std::uint64_t, std::size_t> found_;  // groups by what their pages are
};

}  // namespace ambit::inference::cuda
