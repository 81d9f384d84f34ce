#include "cuda/shim.h"

#include "cuda/shim_block.h"
#include "inference/cuda/launches.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace ambit::inference::cuda {

namespace shim {

Block& block() {
  thread_local Block one;
  return one;
}

}  // namespace shim

using shim::block;
using shim::Lane;
using shim::Meeting;
using shim::mix;

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
// The bytes arrive as late as they may: when their group is waited for. Until then their place is
// full of what is no number, so that whoever still reads what was there before is found out.
void copy16(void* shared, const void* global) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    block().blame("a copy to shared memory is not on a border of 16 bytes");
  std::memset(shared, 0xFF, 16);
  Lane& lane = block().current();
  lane.copies.push_back({shared, global, lane.groups});
}
void begin_copies() {
  ++block().current().groups;
}
void finish_copies_but(int pending) {
  Lane& lane = block().current();
  std::erase_if(lane.copies, [&](const Lane::Copy& copy) {
    if (copy.group + static_cast<std::uint64_t>(pending) >= lane.groups) return false;
    std::memcpy(copy.to, copy.from, 16);
    return true;
  });
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
    : options_(std::move(options)) {
  if (home != nullptr) options_.memory = home->options_.memory;
  if (options_.memory == nullptr) options_.memory = std::make_shared<ShimMemory>();
  if (options_.queues != nullptr) queue_ = options_.queues->add();
  info_.name = "the tests' shim";
  info_.architecture = options_.architecture;
  info_.warpgroups = options_.architecture == 90;
  info_.processors = options_.processors;
  info_.memory_bytes = options_.memory_bytes;
  info_.free_bytes = options_.memory_bytes - options_.memory->used;
  info_.shared_bytes = std::size_t{info_.warpgroups ? 227U : 160U} << 10U;
}

ShimLauncher::~ShimLauncher() {
  ShimLauncher::wait();
  for (const auto& [memory, bytes] : memory_) {
    options_.memory->used -= bytes;
    std::free(memory);
  }
  for (const auto& [memory, bytes] : host_memory_) std::free(memory);
}

std::byte* ShimLauncher::allocate(std::size_t bytes) {
  if (options_.memory->used + bytes > options_.memory_bytes) return nullptr;
  // Of exactly this size, so that the address sanitizer sees one byte beyond.
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, std::max<std::size_t>(bytes, 1)) != 0) return nullptr;
  std::memset(memory, 0, bytes);
  auto* made = static_cast<std::byte*>(memory);
  memory_.emplace(made, bytes);
  options_.memory->used += bytes;
  return made;
}

void ShimLauncher::release(std::byte* memory) {
  wait();
  const auto at = memory_.find(memory);
  options_.memory->used -= at->second;
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
  carry_out(by_chance(8) == 0 ? 1 : 0);
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
