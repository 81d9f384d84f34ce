#include "cuda/shim_warpgroup.h"

#include "cuda/shim_block.h"
#include "inference/cuda/warpgroup.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ambit::inference::cuda {
namespace shim {

namespace {

// No number, and none that a product would make: what the sums are until they are waited for.
constexpr std::uint32_t not_there = 0xFFC0DEADU;

bool overlap(std::size_t a, std::size_t a_end, std::size_t b, std::size_t b_end) {
  return a < b_end && b < a_end;
}

}  // namespace

void Tiles::begin(std::byte* shared, std::size_t bytes) {
  shared_ = shared;
  bytes_ = bytes;
  barriers_.clear();
  copies_.clear();
  reading_.clear();
  fault_.clear();
}

std::size_t Tiles::offset(const void* at) const {
  return reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(shared_);
}

Tiles::Phases* Tiles::find(const void* at) {
  const auto found = barriers_.find(at);
  if (found != barriers_.end()) return &found->second;
  blame("a barrier is used that nobody has made");
  return nullptr;
}

void Tiles::end_phase(Phases& phases) {
  if (phases.left > 0 || phases.bytes != 0) return;
  ++phases.ended;
  phases.left = phases.arrivals;
}

void Tiles::make_barrier(const void* at, unsigned arrivals) {
  if (offset(at) + sizeof(Barrier) > bytes_ || offset(at) % sizeof(Barrier) != 0)
    return blame("a barrier is not in shared memory");
  if (!barriers_.emplace(at, Phases{arrivals, arrivals, 0, 0}).second)
    blame("a barrier is made twice");
}

void Tiles::arrive(const void* at, unsigned bytes) {
  Phases* phases = find(at);
  if (phases == nullptr) return;
  if (phases->left == 0) return blame("more arrive at a barrier than its phase is for");
  phases->bytes += bytes;
  --phases->left;
  end_phase(*phases);
}

bool Tiles::has_ended(const void* at, unsigned parity) {
  const Phases* phases = find(at);
  return phases == nullptr || phases->ended % 2 != parity;
}

void Tiles::copy(std::byte* to, const void* from, unsigned bytes, const void* barrier) {
  if (find(barrier) == nullptr) return;
  const std::size_t at = offset(to);
  if (at >= bytes_ || at + bytes > bytes_) return blame("a copy goes outside shared memory");
  if (at % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0 || bytes % 16 != 0)
    return blame("a copy is not on borders of 16 bytes");
  for (const auto& product : reading_)
    if (overlap(at, at + bytes, product->begin, product->end))
      return blame("a tile is filled while a product may still read it");
  for (const Copy& other : copies_)
    if (overlap(at, at + bytes, offset(other.to), offset(other.to) + other.bytes))
      return blame("two copies to the same place are under way");
  copies_.push_back({to, from, bytes, barrier});
}

bool Tiles::deliver(std::uint64_t chance) {
  if (copies_.empty()) return false;
  const std::size_t which = chance / 8 % copies_.size();
  const Copy copy = copies_[which];
  copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(which));
  std::memcpy(copy.to, copy.from, copy.bytes);
  if (Phases* phases = find(copy.barrier); phases != nullptr) {
    phases->bytes -= copy.bytes;
    end_phase(*phases);
  }
  return true;
}

void Tiles::start(TileLane* const (&group)[tile_lanes]) {
  const TileLane& first = *group[0];
  auto product = std::make_shared<Product>();
  product->bf16 = first.bf16;
  product->add = first.add;
  product->tiles = first.tiles;
  product->begin = offset(first.tile);
  product->end = product->begin + std::size_t{first.tiles - 1} * tile_bytes + 2 * core_bytes;
  if (product->begin >= bytes_ || product->end > bytes_)
    return blame("a product's tile is outside shared memory");
  if (product->begin % 16 != 0) return blame("a product's tile is not on a border of 16 bytes");
  for (const Copy& copy : copies_)
    if (overlap(product->begin, product->end, offset(copy.to), offset(copy.to) + copy.bytes))
      return blame("a product reads a tile whose copy is under way");
  for (unsigned i = 0; i < tile_lanes; ++i) {
    TileLane& lane = *group[i];
    if (lane.tile != first.tile || lane.tiles != first.tiles || lane.add != first.add ||
        lane.bf16 != first.bf16)
      blame("threads of a warpgroup ask for different products");
    if (!lane.is_fenced) blame("a product without a fence before it");
    const std::size_t values = std::size_t{lane.tiles} * 4;
    for (const TileLane::Begun& begun : lane.begun)
      if (begun.sums == lane.sums) product->before = begun.product;
    if (product->before == nullptr) product->sums[i].assign(lane.sums, lane.sums + values);
    for (std::size_t v = 0; v < values; ++v)
      std::memcpy(lane.sums + v, &not_there, sizeof not_there);
    std::copy_n(lane.a, 4, product->a[i]);
    lane.begun.push_back({product, lane.sums, lane.a});
    lane.is_committed = false;
  }
  reading_.push_back(std::move(product));
}

// In the order of the inputs, one fused multiply-add each, as the shim's small products are.
void Tiles::compute(Product& product) {
  if (product.computed) return;
  product.computed = true;
  if (product.before != nullptr) {
    compute(*product.before);
    for (unsigned i = 0; i < tile_lanes; ++i) product.sums[i] = product.before->sums[i];
  }
  const auto value = [&](std::uint16_t bits) {
    return product.bf16 ? inference::bf16_to_float(bits) : f16_to_float(bits);
  };
  std::vector<float> columns(std::size_t{product.tiles} * 8 * 16);
  for (std::size_t column = 0; column < std::size_t{product.tiles} * 8; ++column) {
    for (std::size_t k = 0; k < 16; ++k) {
      std::uint16_t bits = 0;
      std::memcpy(&bits,
                  shared_ + product.begin + column / 8 * tile_bytes + k / 8 * core_bytes +
                      column % 8 * 16 + k % 8 * 2,
                  sizeof bits);
      columns[column * 16 + k] = value(bits);
    }
  }
  for (unsigned first = 0; first < tile_lanes; first += warp_lanes) {
    float a[16][16];
    for (unsigned i = 0; i < warp_lanes; ++i)
      for (unsigned r = 0; r < 4; ++r)
        for (unsigned e = 0; e < 2; ++e)
          a[i / 4 + r % 2 * 8][i % 4 * 2 + r / 2 * 8 + e] =
              value(static_cast<std::uint16_t>(product.a[first + i][r] >> (16 * e)));
    for (unsigned i = 0; i < warp_lanes; ++i) {
      for (unsigned v = 0; v < product.tiles * 4; ++v) {
        float& sum = product.sums[first + i][v];
        if (!product.add) sum = 0;
        const float* row = a[i / 4 + v % 4 / 2 * 8];
        const float* column = &columns[(v / 4 * 8 + i % 4 * 2 + v % 2) * std::size_t{16}];
        for (unsigned k = 0; k < 16; ++k) sum = std::fma(row[k], column[k], sum);
      }
    }
  }
}

void Tiles::finish(TileLane& lane, unsigned thread) {
  if (!lane.is_committed) blame("products are waited for that nobody has committed");
  for (const TileLane::Begun& begun : lane.begun) {
    Product& product = *begun.product;
    if (!std::equal(begun.a, begun.a + 4, product.a[thread % tile_lanes]))
      blame("a product's weights are changed before it is waited for");
    for (std::size_t v = 0; v < std::size_t{product.tiles} * 4; ++v)
      if (std::memcmp(begun.sums + v, &not_there, sizeof not_there) != 0)
        blame("a product's sums are changed before it is waited for");
  }
  for (const TileLane::Begun& begun : lane.begun) compute(*begun.product);
  for (const TileLane::Begun& begun : lane.begun) {
    const std::vector<float>& sums = begun.product->sums[thread % tile_lanes];
    std::copy(sums.begin(), sums.end(), begun.sums);
    --begun.product->readers;
  }
  std::erase_if(reading_, [](const auto& product) { return product->readers == 0; });
  lane.begun.clear();
  lane.is_fenced = false;
}

}  // namespace shim

// ---- the thin layer, as warpgroup.h declares it

namespace {

shim::TileLane& tile_lane() {
  return shim::block().current().tiles;
}

}  // namespace

void barrier_init(Barrier* barrier, unsigned arrivals) {
  shim::block().tiles().make_barrier(barrier, arrivals);
}
void barriers_ready() {}
void barrier_arrive(Barrier* barrier) {
  shim::block().tiles().arrive(barrier, 0);
}
void barrier_expect(Barrier* barrier, unsigned bytes) {
  shim::block().tiles().arrive(barrier, bytes);
}
void barrier_wait(Barrier* barrier, unsigned parity) {
  if (shim::block().tiles().has_ended(barrier, parity)) return;
  tile_lane().barrier = barrier;
  tile_lane().parity = parity;
  shim::block().meet_at(shim::Meeting::phase);
}
void bulk_copy(void* shared, const void* global, unsigned bytes, Barrier* barrier) {
  shim::block().tiles().copy(static_cast<std::byte*>(shared), global, bytes, barrier);
}
void tile_fence() {
  tile_lane().is_fenced = true;
}
void tile_commit() {
  tile_lane().is_committed = true;
}
void finish_tiles() {
  shim::block().meet_at(shim::Meeting::products);
}
void begin_tile(bool bf16, float* sums, unsigned tiles, const std::uint32_t* a,
                const std::byte* tile, bool add) {
  shim::TileLane& lane = tile_lane();
  lane.bf16 = bf16;
  lane.add = add;
  lane.sums = sums;
  lane.tiles = tiles;
  lane.a = a;
  lane.tile = tile;
  shim::block().meet_at(shim::Meeting::product);
}

}  // namespace ambit::inference::cuda
