#pragma once

// What sm_90a has beyond a warp, for the shim: barriers with phases, the copy engine, and products
// of warpgroups, all of which go on while the threads do. Copies come and products are computed as
// late as they may. Reported: a product that reads a tile whose copy is under way, a tile that is
// written while a product may still read it, sums or weights that are touched before the wait,
// products without a fence or a commit, a tile outside shared memory or off its border.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::inference::cuda::shim {

inline constexpr unsigned tile_lanes = 128;  // of a warpgroup

struct Product {
  bool bf16 = false;
  bool add = false;
  bool computed = false;
  unsigned tiles = 0;
  std::size_t begin = 0;  // of its columns, bytes in shared memory
  std::size_t end = 0;
  unsigned readers = tile_lanes;  // that have not waited for it
  std::shared_ptr<Product> before;
  std::uint32_t a[tile_lanes][4] = {};
  std::vector<float> sums[tile_lanes];  // that it starts with, then its own
};

// Of a lane.
struct TileLane {
  // What it asks for where it waits for others.
  const void* barrier = nullptr;
  unsigned parity = 0;
  bool bf16 = false;
  bool add = false;
  float* sums = nullptr;
  unsigned tiles = 0;
  const std::uint32_t* a = nullptr;
  const std::byte* tile = nullptr;

  bool is_fenced = false;
  bool is_committed = true;
  struct Begun {
    std::shared_ptr<Product> product;
    float* sums;
    const std::uint32_t* a;
  };
  std::vector<Begun> begun;
};

class Tiles {
 public:
  void begin(std::byte* shared, std::size_t bytes);
  void make_barrier(const void* at, unsigned arrivals);
  void arrive(const void* at, unsigned bytes);
  // True when the barrier is none, too; that is a fault.
  bool has_ended(const void* at, unsigned parity);
  void copy(std::byte* to, const void* from, unsigned bytes, const void* barrier);
  // One copy arrives; false: none is under way.
  bool deliver(std::uint64_t chance);
  // By all lanes of a warpgroup.
  void start(TileLane* const (&group)[tile_lanes]);
  // The lane's products are waited for; `thread` is its number in the block.
  void finish(TileLane& lane, unsigned thread);
  [[nodiscard]] bool is_busy() const { return !copies_.empty() || !reading_.empty(); }
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  struct Phases {
    unsigned arrivals = 0;
    unsigned left = 0;
    std::int64_t bytes = 0;
    unsigned ended = 0;
  };
  struct Copy {
    std::byte* to;
    const void* from;
    unsigned bytes;
    const void* barrier;
  };

  void blame(const std::string& what) {
    if (fault_.empty()) fault_ = what;
  }
  Phases* find(const void* at);
  static void end_phase(Phases& phases);
  void compute(Product& product);
  [[nodiscard]] std::size_t offset(const void* at) const;

  std::byte* shared_ = nullptr;
  std::size_t bytes_ = 0;
  std::map<const void*, Phases> barriers_;
  std::vector<Copy> copies_;
  std::vector<std::shared_ptr<Product>> reading_;
  std::string fault_;
};

}  // namespace ambit::inference::cuda::shim
