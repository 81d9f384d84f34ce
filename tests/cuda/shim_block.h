#pragma once

// One block of the shim's threads: fibers that come to meeting points, and what happens when all
// who belong to one have come. The barriers, copies and products that a warpgroup has are Tiles.

#include "cuda/fibers.h"
#include "cuda/shim_warpgroup.h"
#include "inference/cuda/simt.h"
#include "inference/tensor.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::inference::cuda::shim {

// What a lane comes to, with what it brings.
enum class Meeting : std::uint8_t {
  none,
  block,
  warp,
  exchange,
  bf16,
  f16,
  s8,
  s8_half,
  columns,
  phase,
  product,
  products
};
inline const char* to_string(Meeting meeting) {
  constexpr const char* names[] = {
      "nothing",           "a barrier of the block", "a barrier of the warp",
      "an exchange",       "a product of bf16",      "a product of f16",
      "a product of s8",   "half a product of s8",   "a load of columns",
      "a barrier's phase", "a warpgroup's product",  "the end of products"};
  return names[static_cast<int>(meeting)];
}

struct Lane {
  Fiber fiber;
  unsigned thread = 0;
  Meeting at = Meeting::none;
  std::uint32_t a[4] = {};
  std::uint32_t b[2] = {};
  std::uint32_t with = 0;  // of an exchange
  const std::uint16_t* tile = nullptr;
  unsigned stride = 0;
  float* sums = nullptr;
  std::int32_t* whole = nullptr;
  std::uint32_t result = 0;
  struct Copy {
    void* to;
    const void* from;
    std::uint64_t group;
  };
  std::vector<Copy> copies;  // under way
  std::uint64_t groups = 0;  // of copies, begun so far
  TileLane tiles;
};

inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

// One block of threads at a time, of one thread of the host.
class Block {
 public:
  std::string run(unsigned threads, std::size_t shared, std::uint64_t seed,
                  const std::function<void()>& work) {
    while (lanes_.size() < threads) lanes_.push_back(std::make_unique<Lane>());
    threads_ = threads;
    fault_.clear();
    // Exactly so many bytes, so that one beyond is seen; full of what is no number.
    shared_.reset(new Words4[(shared + sizeof(Words4) - 1) / sizeof(Words4)]);
    std::memset(shared_.get(), 0xFF,
                (shared + sizeof(Words4) - 1) / sizeof(Words4) * sizeof(Words4));
    tiles_.begin(reinterpret_cast<std::byte*>(shared_.get()), shared);
    for (unsigned i = 0; i < threads; ++i) {
      Lane& lane = *lanes_[i];
      lane.thread = i;
      lane.at = Meeting::none;
      lane.copies.clear();
      lane.groups = 0;
      lane.tiles = {};
      lane.fiber.start(work);
    }
    order_.resize(threads);
    for (unsigned i = 0; i < threads; ++i) order_[i] = i;
    for (std::uint64_t round = 0;; ++round) {
      if (seed != 0)
        for (unsigned i = threads; i > 1; --i)
          std::swap(order_[i - 1], order_[mix(seed ^ mix(round * threads + i)) % i]);
      bool moved = false;
      for (const unsigned i : order_) {
        Lane& lane = *lanes_[i];
        if (lane.fiber.is_done() || lane.at != Meeting::none) continue;
        current_ = &lane;
        lane.fiber.resume();
        moved = true;
      }
      current_ = nullptr;
      moved = meet() || moved;
      // Copies come when nobody can go on without them, or earlier by chance.
      const std::uint64_t chance = seed == 0 ? 0 : mix(seed + round);
      if (!moved || (seed != 0 && chance % 8 == 0)) moved = tiles_.deliver(chance) || moved;
      if (!moved) break;
    }
    if (fault_.empty()) fault_ = tiles_.fault();
    if (fault_.empty()) look_for_the_stuck();
    if (fault_.empty() && tiles_.is_busy()) blame("the block ended before its copies and products");
    drain();
    return fault_;
  }

  Lane& current() { return *current_; }
  Words4* shared() { return shared_.get(); }
  [[nodiscard]] unsigned threads() const { return threads_; }
  void meet_at(Meeting meeting) {
    current_->at = meeting;
    Fiber::give_way();
  }
  void blame(const std::string& what) {
    if (fault_.empty()) fault_ = what;
  }
  [[nodiscard]] const std::string& fault() const { return fault_; }
  Tiles& tiles() { return tiles_; }

  unsigned block_x = 0;
  unsigned block_y = 0;

 private:
  // Lets go whoever is complete; false: nobody is.
  bool meet() {
    bool any = false;
    for (unsigned i = 0; i < threads_; ++i) {
      Lane& lane = *lanes_[i];
      if (lane.at != Meeting::phase || !tiles_.has_ended(lane.tiles.barrier, lane.tiles.parity))
        continue;
      lane.at = Meeting::none;
      any = true;
    }
    for (unsigned first = 0; first < threads_; first += tile_lanes) any = meet_group(first) || any;
    for (unsigned first = 0; first < threads_; first += warp_lanes) any = meet_warp(first) || any;
    return meet_block() || any;
  }

  bool meet_block() {
    unsigned here = 0;
    unsigned done = 0;
    for (unsigned i = 0; i < threads_; ++i) {
      here += lanes_[i]->at == Meeting::block ? 1 : 0;
      done += lanes_[i]->fiber.is_done() ? 1 : 0;
    }
    if (here == 0 || here + done < threads_) return false;
    if (done > 0)
      blame(std::to_string(done) + " threads ended while " + std::to_string(here) +
            " wait at a barrier of the block");
    for (unsigned i = 0; i < threads_; ++i) lanes_[i]->at = Meeting::none;
    return true;
  }

  bool meet_group(unsigned first) {
    TileLane* group[tile_lanes];
    for (unsigned i = 0; i < tile_lanes; ++i) {
      if (first + i >= threads_ || lanes_[first + i]->at != Meeting::product) return false;
      group[i] = &lanes_[first + i]->tiles;
    }
    tiles_.start(group);
    for (unsigned i = 0; i < tile_lanes; ++i) lanes_[first + i]->at = Meeting::none;
    return true;
  }

  bool meet_warp(unsigned first) {
    const Meeting meeting = lanes_[first]->at;
    if (meeting == Meeting::none || meeting == Meeting::block || meeting == Meeting::phase ||
        meeting == Meeting::product)
      return false;
    for (unsigned i = first; i < first + warp_lanes; ++i)
      if (lanes_[i]->at != meeting) return false;
    switch (meeting) {
      case Meeting::exchange:
        exchange_all(first);
        break;
      case Meeting::bf16:
      case Meeting::f16:
        multiply_floats(first, meeting == Meeting::bf16);
        break;
      case Meeting::s8:
        multiply_levels(first, 32);
        break;
      case Meeting::s8_half:
        multiply_levels(first, 16);
        break;
      case Meeting::columns:
        load_columns_all(first);
        break;
      case Meeting::products:
        for (unsigned i = first; i < first + warp_lanes; ++i) tiles_.finish(lanes_[i]->tiles, i);
        break;
      default:
        break;
    }
    for (unsigned i = first; i < first + warp_lanes; ++i) lanes_[i]->at = Meeting::none;
    return true;
  }

  void exchange_all(unsigned first) {
    std::uint32_t brought[warp_lanes];
    for (unsigned i = 0; i < warp_lanes; ++i) brought[i] = lanes_[first + i]->a[0];
    for (unsigned i = 0; i < warp_lanes; ++i) {
      Lane& lane = *lanes_[first + i];
      if (lane.with != lanes_[first]->with || lane.with == 0 || lane.with >= warp_lanes)
        blame("lanes of a warp exchange with different partners");
      lane.result = brought[(i ^ lane.with) % warp_lanes];
    }
  }

  // In the order of k, one fused multiply-add each: the hardware's own order is not said.
  void multiply_floats(unsigned first, bool bf16) {
    const auto value = [&](std::uint32_t word, unsigned e) {
      const auto bits = static_cast<std::uint16_t>(word >> (16 * e));
      return bf16 ? inference::bf16_to_float(bits) : f16_to_float(bits);
    };
    float a[16][16];
    float b[16][8];
    for (unsigned i = 0; i < warp_lanes; ++i) {
      const Lane& lane = *lanes_[first + i];
      const unsigned g = i / 4;
      const unsigned t = i % 4;
      for (unsigned e = 0; e < 2; ++e) {
        for (unsigned r = 0; r < 4; ++r)
          a[g + r % 2 * 8][2 * t + r / 2 * 8 + e] = value(lane.a[r], e);
        for (unsigned r = 0; r < 2; ++r) b[2 * t + r * 8 + e][g] = value(lane.b[r], e);
      }
    }
    for (unsigned i = 0; i < warp_lanes; ++i) {
      const Lane& lane = *lanes_[first + i];
      for (unsigned c = 0; c < 4; ++c) {
        float sum = lane.sums[c];
        for (unsigned k = 0; k < 16; ++k)
          sum = fused(a[i / 4 + c / 2 * 8][k], b[k][i % 4 * 2 + c % 2], sum);
        lane.sums[c] = sum;
      }
    }
  }

  void multiply_levels(unsigned first, unsigned depth) {
    std::int32_t a[16][32];
    std::int32_t b[32][8];
    const auto level = [](std::uint32_t word, unsigned e) {
      return std::int32_t{static_cast<std::int8_t>(word >> (8 * e) & 0xFFU)};
    };
    for (unsigned i = 0; i < warp_lanes; ++i) {
      const Lane& lane = *lanes_[first + i];
      const unsigned g = i / 4;
      const unsigned t = i % 4;
      for (unsigned e = 0; e < 4; ++e) {
        for (unsigned r = 0; r < depth / 8; ++r)
          a[g + r % 2 * 8][4 * t + r / 2 * 16 + e] = level(lane.a[r], e);
        for (unsigned r = 0; r < depth / 16; ++r) b[4 * t + r * 16 + e][g] = level(lane.b[r], e);
      }
    }
    for (unsigned i = 0; i < warp_lanes; ++i) {
      const Lane& lane = *lanes_[first + i];
      for (unsigned c = 0; c < 4; ++c)
        for (unsigned k = 0; k < depth; ++k)
          lane.whole[c] += a[i / 4 + c / 2 * 8][k] * b[k][i % 4 * 2 + c % 2];
    }
  }

  void load_columns_all(unsigned first) {
    for (unsigned i = 0; i < warp_lanes; ++i) {
      Lane& lane = *lanes_[first + i];
      if (lane.tile != lanes_[first]->tile || lane.stride != lanes_[first]->stride)
        blame("lanes of a warp load different tiles");
      if (reinterpret_cast<std::uintptr_t>(lane.tile) % 16 != 0 || lane.stride % 8 != 0)
        blame("a tile's rows are not on borders of 16 bytes");
      for (unsigned r = 0; r < 2; ++r) {
        const std::uint16_t* at =
            lane.tile + (r * 8 + i % 4 * 2) * std::size_t{lane.stride} + i / 4;
        lane.b[r] = two(at[0], at[lane.stride]);
      }
    }
  }

  void look_for_the_stuck() {
    std::map<std::string, unsigned> waiting;
    for (unsigned i = 0; i < threads_; ++i)
      if (!lanes_[i]->fiber.is_done()) ++waiting[to_string(lanes_[i]->at)];
    if (waiting.empty()) return;
    std::string text = "threads wait for others that never come:";
    for (const auto& [what, count] : waiting) text += " " + std::to_string(count) + " at " + what;
    blame(text);
  }

  // After a fault: fibers that hang are started anew another time; their stacks are given up.
  void drain() {
    for (unsigned i = 0; i < threads_; ++i)
      if (!lanes_[i]->fiber.is_done()) lanes_[i] = std::make_unique<Lane>();
  }

  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<unsigned> order_;
  std::unique_ptr<Words4[]> shared_;
  Tiles tiles_;
  unsigned threads_ = 0;
  Lane* current_ = nullptr;
  std::string fault_;
};

// There is one thread of the host.
Block& block();

}  // namespace ambit::inference::cuda::shim
