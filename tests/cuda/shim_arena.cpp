// The shim's memory that can be taken away: each part alone and exactly as large as asked for, so
// that the address sanitizer sees one byte beyond, and any byte of it while it is away. Here, too,
// what the shim counts, on each thread by itself.

#include "cuda/shim.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_POISONS 1
#endif
#endif
#ifdef SHIM_POISONS
#include <sanitizer/asan_interface.h>
#endif

namespace ambit::inference::cuda {

namespace {

struct Counted {
  std::mutex mutex;
  ShimTally ended;
};

Counted& counted() {
  static Counted all;
  return all;
}

void add_to(ShimTally& sum, const ShimTally& more) {
  sum.kernels.insert(more.kernels.begin(), more.kernels.end());
  sum.launches += more.launches;
  sum.blocks += more.blocks;
  sum.permuted_launches += more.permuted_launches;
  sum.equal_values += more.equal_values;
}

struct OfThread {
  OfThread() { counted(); }  // which outlives it
  ~OfThread() {
    const std::lock_guard lock(counted().mutex);
    add_to(counted().ended, tally);
  }
  OfThread(const OfThread&) = delete;
  OfThread& operator=(const OfThread&) = delete;
  ShimTally tally;
};

class ShimArena final : public Arena {
 public:
  ShimArena(std::shared_ptr<ShimMemory> memory, std::size_t memory_bytes, std::size_t host_bytes)
      : memory_(std::move(memory)), memory_bytes_(memory_bytes), host_bytes_(host_bytes) {}
  ~ShimArena() override {
    come_back();
    if (is_here_) memory_->used -= bytes_;
    if (has_copy_) memory_->host_used -= bytes_;
    for (const Part& part : parts_) std::free(part.at);
  }

  [[nodiscard]] std::size_t growth(std::size_t bytes) const override { return bytes; }
  std::byte* add(std::size_t bytes) override {
    void* at = nullptr;
    if (memory_->used + bytes > memory_bytes_ ||
        posix_memalign(&at, 256, std::max<std::size_t>(bytes, 1)) != 0)
      return nullptr;
    memory_->used += bytes;
    bytes_ += bytes;
    std::memset(at, 0xFF, bytes);
    parts_.push_back({static_cast<std::byte*>(at), bytes, {}});
    return parts_.back().at;
  }
  Result<void> keep_copy() override {
    if (has_copy_) return {};
    if (memory_->host_used + bytes_ > host_bytes_)
      return Err(Code::exhausted, "the shim's host gives no pinned memory for weights");
    memory_->host_used += bytes_;
    has_copy_ = true;
    for (Part& part : parts_) part.copy.assign(part.at, part.at + part.bytes);
    return {};
  }
  void leave() override {
    for (const Part& part : parts_) {
      std::memset(part.at, 0xFF, part.bytes);
#ifdef SHIM_POISONS
      __asan_poison_memory_region(part.at, part.bytes);
#endif
    }
    is_here_ = false;
    memory_->used -= bytes_;
  }
  Result<void> come() override {
    if (memory_->is_full || memory_->used + bytes_ > memory_bytes_)
      return Err(Code::exhausted, "the shim has no room for the weights");
    const std::uint64_t coming = ++memory_->comings;
    if (coming >= memory_->comings_fail_from && coming < memory_->comings_fail_to)
      return Err(Code::unavailable, "the shim did not copy the weights");
    memory_->used += bytes_;
    is_here_ = true;
    come_back();
    for (const Part& part : parts_)
      if (part.bytes > 0) std::memcpy(part.at, part.copy.data(), part.bytes);
    return {};
  }

 private:
  struct Part {
    std::byte* at;
    std::size_t bytes;
    std::vector<std::byte> copy;
  };
  void come_back() {
#ifdef SHIM_POISONS
    for (const Part& part : parts_) __asan_unpoison_memory_region(part.at, part.bytes);
#endif
  }

  std::shared_ptr<ShimMemory> memory_;
  std::size_t memory_bytes_;
  std::size_t host_bytes_;
  std::size_t bytes_ = 0;
  std::vector<Part> parts_;
  bool is_here_ = true;
  bool has_copy_ = false;
};

}  // namespace

std::unique_ptr<Arena> ShimLauncher::arena() {
  return std::make_unique<ShimArena>(options_.memory, options_.memory_bytes, options_.host_bytes);
}

ShimTally& shim_tally() {
  thread_local OfThread one;
  return one.tally;
}

ShimTally shim_tally_of_all() {
  ShimTally sum = shim_tally();
  const std::lock_guard lock(counted().mutex);
  add_to(sum, counted().ended);
  return sum;
}

}  // namespace ambit::inference::cuda
