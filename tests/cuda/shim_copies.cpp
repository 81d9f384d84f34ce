// The shim's copies beside the kernels: carried out late, in the order in which they were asked
// for.

#include "cuda/shim.h"
#include "inference/sampler.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace ambit::inference::cuda {

std::size_t ShimLauncher::by_chance(std::size_t below) {
  const double drawn = uniform(options_.seed, ++copy_chances_, 0);
  return std::min(below - 1, static_cast<std::size_t>(drawn * static_cast<double>(below)));
}

std::byte* ShimLauncher::allocate_host(std::size_t bytes) {
  if (host_used_ + bytes > options_.host_bytes) return nullptr;
  auto* made = static_cast<std::byte*>(std::malloc(bytes));
  std::memset(made, 0xFF, bytes);
  host_memory_.emplace(made, bytes);
  host_used_ += bytes;
  return made;
}
void ShimLauncher::release_host(std::byte* memory) {
  const auto at = host_memory_.find(memory);
  host_used_ -= at->second;
  host_memory_.erase(at);
  std::free(memory);
}

std::uint64_t ShimLauncher::begin_copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  wait();  // for what was asked for before, where that is done late, too
  // The target may be read by a copy that is not carried out yet: that one comes first.
  for (std::size_t i = late_.size(); i > 0; --i)
    if (late_[i - 1].from == to) {
      carry_out(i);
      break;
    }
  std::memset(to, 0xFF, bytes);
  late_.push_back({++copies_, to, from, bytes});
  return copies_;
}

void ShimLauncher::carry_out(std::size_t count) {
  for (; count > 0 && !late_.empty(); --count) {
    const Copy copy = late_.front();
    late_.pop_front();
    const bool fails = copy.number == options_.copies_max + 1 && options_.copies_max > 0;
    if (!fails) std::memcpy(copy.to, copy.from, copy.bytes);
    ended_.push_back({copy.number, !fails, options_.copy_us});
  }
}

std::vector<Device::EndedCopy> ShimLauncher::ended_copies(bool waits) {
  carry_out(by_chance(3));
  if (waits && ended_.empty()) carry_out(1);
  return std::exchange(ended_, {});
}

}  // namespace ambit::inference::cuda
