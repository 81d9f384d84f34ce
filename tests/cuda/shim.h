#pragma once

// A GPU that is not there: runs the kernels' own source on the CPU, the threads of a block as
// fibers, in an order drawn from a seed. Checks what a GPU would not say: threads that skip a
// barrier, lanes that skip an exchange or come to another one, shared memory beyond what was asked
// for or read before it was written (it is full of numbers that are none), memory on the device
// beyond its end (the address sanitizer sees it). It proves the order of sums, indices, masks,
// pages and reduction trees. It does not prove the hardware's own rounding within a tile product,
// its memory model, or speed.

#include "cuda/shim_queues.h"
#include "inference/cuda/device.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ambit::inference::cuda {

// Of one GPU, which several devices may be opened on.
struct ShimMemory {
  std::atomic<std::size_t> used = 0;
  std::atomic<std::size_t> host_used = 0;  // of arenas' copies
  std::atomic<std::uint64_t> comings = 0;
  std::atomic<std::uint64_t> comings_fail_from =
      0;  // 0: none fails; those of arenas, from this one
  std::atomic<std::uint64_t> comings_fail_to = 0;
  std::atomic<bool> is_full = false;  // somebody else has taken what is free
};

struct ShimOptions {
  std::uint64_t seed = 0;      // of the orders of blocks and threads; 0: as they are numbered
  unsigned few_rows_max = 64;  // beyond, the schedule for many rows
  std::size_t memory_bytes = std::size_t{1} << 30U;
  std::shared_ptr<ShimMemory> memory;  // null: its own
  std::uint64_t launches_max = 0;      // then the device fails; 0: never
  unsigned architecture = 80;          // 90: with the products of warpgroups
  unsigned processors = 1;             // of which no launch should leave one without work
  std::shared_ptr<ShimQueues> queues;  // work is done late, in an order by chance; null: at once
  std::size_t host_bytes = std::size_t{1} << 30U;  // that copies reach
  std::uint64_t copies_max = 0;                    // the one after these fails; 0: none
  std::int64_t copy_us = 0;                        // that each says it took
};

// What all launches of this process have shown.
struct ShimTally {
  std::set<std::string> kernels;
  std::uint64_t launches = 0;
  std::uint64_t blocks = 0;
  std::uint64_t permuted_launches = 0;
  std::uint64_t equal_values = 0;  // compared to the last bit
};
// Of this thread.
ShimTally& shim_tally();
// Of all threads that have ended, and of this one.
ShimTally shim_tally_of_all();

class ShimLauncher : public Device {
 public:
  // `home`: whose lane it is.
  explicit ShimLauncher(ShimOptions options, const ShimLauncher* home = nullptr);
  ~ShimLauncher() override;

  [[nodiscard]] const DeviceInfo& info() const override { return info_; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* memory) override;
  std::unique_ptr<Arena> arena() override;
  void upload(std::byte* to, const void* from, std::size_t bytes) override;
  void download(void* to, const std::byte* from, std::size_t bytes) override;
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) override;
  void wait() override;
  bool is_done() override;
  std::unique_ptr<Device> lane() override;
  void follow(Device& other) override;
  std::byte* allocate_host(std::size_t bytes) override;
  void release_host(std::byte* memory) override;
  std::uint64_t begin_copy(std::byte* to, const std::byte* from, std::size_t bytes) override;
  std::vector<EndedCopy> ended_copies(bool waits) override;
  bool replay(std::uint64_t key) override;
  void begin_recording(std::uint64_t key) override;
  void end_recording() override;
  void forget_recordings() override { recordings_.clear(); }
  [[nodiscard]] const std::string& failure() const override { return failure_; }
  double joules() override { return 0; }

 protected:
  [[nodiscard]] bool few_rows(unsigned rows) const { return rows <= options_.few_rows_max; }
  template <class Kernel, class Job>
  void launch(const char* name, Kernel kernel, unsigned blocks_x, unsigned blocks_y,
              unsigned threads, std::size_t shared_bytes, const Job& job) {
    auto work = [=, this] {
      run_grid(name, blocks_x, blocks_y, threads, shared_bytes, [&] { kernel(job); });
    };
    if (recording_ != nullptr)
      recording_->push_back(std::move(work));
    else
      submit(std::move(work));
  }

 private:
  // Now, or when its turn comes.
  void submit(std::function<void()> work);
  // Copies are carried out late, when chance has it or somebody waits; until then their target is
  // full of what is no number.
  struct Copy {
    std::uint64_t number;
    std::byte* to;
    const std::byte* from;
    std::size_t bytes;
  };
  void carry_out(std::size_t count);
  std::size_t by_chance(std::size_t below);
  void run_grid(const char* name, unsigned blocks_x, unsigned blocks_y, unsigned threads,
                std::size_t shared_bytes, const std::function<void()>& work);

  ShimOptions options_;
  DeviceInfo info_;
  std::string failure_;
  std::size_t queue_ = 0;  // of options_.queues
  std::uint64_t launches_ = 0;
  std::map<std::byte*, std::size_t> memory_;
  std::map<std::byte*, std::size_t> host_memory_;
  std::size_t host_used_ = 0;
  std::uint64_t copies_ = 0;
  std::uint64_t copy_chances_ = 0;
  std::deque<Copy> late_;
  std::vector<EndedCopy> ended_;
  std::map<std::uint64_t, std::vector<std::function<void()>>> recordings_;
  std::vector<std::function<void()>>* recording_ = nullptr;
};

std::unique_ptr<Device> make_shim(ShimOptions options = {});

// Runs `work` as every thread of one block and says what went wrong; empty: nothing. For the tests
// of the shim itself.
std::string run_block(unsigned threads, std::size_t shared_bytes, std::uint64_t seed,
                      const std::function<void()>& work);

}  // namespace ambit::inference::cuda
