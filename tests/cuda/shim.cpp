#include "cuda/shim.h"

#include "cuda/fibers.h"
#include "inference/cuda/launches.h"
#include "inference/tensor.h"

#include <algorithm>
#include <cstring>

namespace ambit::inference::cuda {

namespace {

// What a lane comes to, with what it brings.
enum class Meeting : std::uint8_t { none, block, warp, exchange, bf16, f16, s8, s8_half, columns };
const char* to_string(Meeting meeting) {
  constexpr const char* names[] = {
      "nothing",         "a barrier of the block", "a barrier of the warp",
      "an exchange",     "a product of bf16",      "a product of f16",
      "a product of s8", "half a product of s8",   "a load of columns"};
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
  std::vector<std::pair<void*, const void*>> copies;  // under way
};

std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

// One block of threads at a time; there is one thread of the host.
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
    for (unsigned i = 0; i < threads; ++i) {
      Lane& lane = *lanes_[i];
      lane.thread = i;
      lane.at = Meeting::none;
      lane.copies.clear();
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
      if (!meet() && !moved) break;
    }
    if (fault_.empty()) look_for_the_stuck();
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

  unsigned block_x = 0;
  unsigned block_y = 0;

 private:
  // Lets go whoever is complete; false: nobody is.
  bool meet() {
    bool any = false;
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

  bool meet_warp(unsigned first) {
    const Meeting meeting = lanes_[first]->at;
    if (meeting == Meeting::none || meeting == Meeting::block) return false;
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
  unsigned threads_ = 0;
  Lane* current_ = nullptr;
  std::string fault_;
};

Block& block() {
  static Block one;
  return one;
}

}  // namespace

ShimTally& shim_tally() {
  static ShimTally tally;
  return tally;
}

// ---- the thin layer, as simt.h declares it

unsigned thread() {
  return block().current().thread;
}
unsigned threads() {
  return block().threads();
}
unsigned block_x() {
  return block().block_x;
}
unsigned block_y() {
  return block().block_y;
}
std::byte* shared_bytes() {
  return reinterpret_cast<std::byte*>(block().shared());
}
void block_barrier() {
  block().meet_at(Meeting::block);
}
void warp_barrier() {
  block().meet_at(Meeting::warp);
}
std::uint32_t exchange_bits(std::uint32_t value, unsigned with) {
  Lane& lane = block().current();
  lane.a[0] = value;
  lane.with = with;
  block().meet_at(Meeting::exchange);
  return lane.result;
}
float half_to_float(std::uint16_t bits) {
  return f16_to_float(bits);
}
std::uint16_t float_to_half(float value) {
  return float_to_f16(value);
}
Words4 stream16(const std::byte* at) {
  return *reinterpret_cast<const Words4*>(at);
}
Words2 stream8(const std::byte* at) {
  return *reinterpret_cast<const Words2*>(at);
}
// The bytes arrive as late as they may: when the copies are waited for.
void copy16(void* shared, const void* global) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    block().blame("a copy to shared memory is not on a border of 16 bytes");
  block().current().copies.emplace_back(shared, global);
}
void begin_copies() {}
void finish_copies_but(int) {
  auto& copies = block().current().copies;
  for (const auto& [to, from] : copies) std::memcpy(to, from, 16);
  copies.clear();
}
void load_columns(const std::uint16_t* tile, unsigned stride, std::uint32_t& b0,
                  std::uint32_t& b1) {
  Lane& lane = block().current();
  lane.tile = tile;
  lane.stride = stride;
  block().meet_at(Meeting::columns);
  b0 = lane.b[0];
  b1 = lane.b[1];
}

namespace {

void bring(Lane& lane, const std::uint32_t* a, unsigned count, std::uint32_t b0, std::uint32_t b1) {
  std::copy(a, a + count, lane.a);
  lane.b[0] = b0;
  lane.b[1] = b1;
}

}  // namespace

void multiply_bf16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  Lane& lane = block().current();
  bring(lane, a, 4, b0, b1);
  lane.sums = c;
  block().meet_at(Meeting::bf16);
}
void multiply_f16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  Lane& lane = block().current();
  bring(lane, a, 4, b0, b1);
  lane.sums = c;
  block().meet_at(Meeting::f16);
}
void multiply_s8(std::int32_t (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                 std::uint32_t b1) {
  Lane& lane = block().current();
  bring(lane, a, 4, b0, b1);
  lane.whole = c;
  block().meet_at(Meeting::s8);
}
void multiply_s8_half(std::int32_t (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b) {
  const std::uint32_t a[2] = {a0, a1};
  Lane& lane = block().current();
  bring(lane, a, 2, b, 0);
  lane.whole = c;
  block().meet_at(Meeting::s8_half);
}

// ---- the device

ShimLauncher::ShimLauncher(ShimOptions options, const ShimLauncher* home)
    : options_(std::move(options)),
      used_(home == nullptr ? std::make_shared<std::size_t>(0) : home->used_) {
  if (options_.queues != nullptr) queue_ = options_.queues->add();
  info_.name = "the tests' shim";
  info_.architecture = options_.architecture;
  info_.processors = 1;
  info_.memory_bytes = info_.free_bytes = options_.memory_bytes;
  info_.shared_bytes = std::size_t{160} << 10U;
}

ShimLauncher::~ShimLauncher() {
  ShimLauncher::wait();
  for (const auto& [memory, bytes] : memory_) std::free(memory);
}

std::byte* ShimLauncher::allocate(std::size_t bytes) {
  if (*used_ + bytes > options_.memory_bytes) return nullptr;
  // Of exactly this size, so that the address sanitizer sees one byte beyond.
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, std::max<std::size_t>(bytes, 1)) != 0) return nullptr;
  std::memset(memory, 0, bytes);
  auto* made = static_cast<std::byte*>(memory);
  memory_.emplace(made, bytes);
  *used_ += bytes;
  return made;
}

void ShimLauncher::release(std::byte* memory) {
  wait();
  const auto at = memory_.find(memory);
  *used_ -= at->second;
  std::free(memory);
  memory_.erase(at);
}

void ShimLauncher::upload(std::byte* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  const auto* const begin = static_cast<const std::byte*>(from);
  submit([to, kept = std::vector<std::byte>(begin, begin + bytes)] {
    std::memcpy(to, kept.data(), kept.size());
  });
}
void ShimLauncher::download(void* to, const std::byte* from, std::size_t bytes) {
  wait();
  if (bytes > 0) std::memcpy(to, from, bytes);
}
void ShimLauncher::copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  submit([=] { std::memcpy(to, from, bytes); });
}

bool ShimLauncher::replay(std::uint64_t key) {
  const auto at = recordings_.find(key);
  if (at == recordings_.end()) return false;
  for (const auto& work : at->second) submit(work);
  return true;
}
void ShimLauncher::begin_recording(std::uint64_t key) {
  recording_ = &recordings_[key];
}
void ShimLauncher::end_recording() {
  for (const auto& work : *recording_) submit(work);
  recording_ = nullptr;
}

void ShimLauncher::run_grid(const char* name, unsigned blocks_x, unsigned blocks_y,
                            unsigned threads, std::size_t shared_bytes,
                            const std::function<void()>& work) {
  if (!failure_.empty()) return;
  if (threads % warp_lanes != 0 || threads == 0 || threads > 1024) {
    failure_ = std::string(name) + ": a block of " + std::to_string(threads) + " threads";
    return;
  }
  if (shared_bytes > info_.shared_bytes) {
    failure_ = std::string(name) + ": " + std::to_string(shared_bytes) + " bytes of shared memory";
    return;
  }
  if (++launches_ > options_.launches_max && options_.launches_max > 0) {
    failure_ = "the device was told to fail";
    return;
  }
  const std::uint64_t seed = options_.seed == 0 ? 0 : mix(options_.seed ^ mix(launches_)) | 1U;
  std::vector<std::uint32_t> order(std::size_t{blocks_x} * blocks_y);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  if (seed != 0)
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[mix(seed + i) % i]);
  for (const std::uint32_t i : order) {
    block().block_x = i % blocks_x;
    block().block_y = i / blocks_x;
    const std::string fault =
        block().run(threads, shared_bytes, seed == 0 ? 0 : mix(seed ^ i) | 1U, work);
    if (fault.empty()) continue;
    failure_ = std::string(name) + ", block " + std::to_string(i) + ": " + fault;
    return;
  }
  ShimTally& tally = shim_tally();
  tally.kernels.insert(name);
  ++tally.launches;
  tally.blocks += order.size();
  if (seed != 0) ++tally.permuted_launches;
}

std::unique_ptr<Device> make_shim(ShimOptions options) {
  return std::make_unique<Operations<ShimLauncher>>(std::move(options));
}

std::string run_block(unsigned threads, std::size_t shared_bytes, std::uint64_t seed,
                      const std::function<void()>& work) {
  return block().run(threads, shared_bytes, seed, work);
}

}  // namespace ambit::inference::cuda
