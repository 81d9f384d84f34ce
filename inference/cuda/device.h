#pragma once

// One GPU as the back end sees it: memory, and one call for each kernel. All calls are for one
// thread and take effect in their order; only download() waits. A device may have further queues of
// calls (lane()), whose work goes on beside the first's. A stretch of calls can be recorded
// under a key and played again at the cost of one. After a failure nothing more is done, and
// failure() says what it was. Two things are behind it: CUDA (device.cu), and the shim of the
// tests.

#include "async/result.h"
#include "inference/cuda/arena.h"
#include "inference/cuda/jobs.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::inference::cuda {

// As the jobs count.
inline std::uint32_t narrow(std::size_t value) {
  return static_cast<std::uint32_t>(value);
}

struct DeviceInfo {
  std::string name;
  unsigned architecture = 0;  // 80, 90, ...
  bool warpgroups = false;    // products of 16-bit floats are warpgroups', their inputs in tiles
  unsigned processors = 0;
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;        // when it was opened
  std::size_t shared_bytes = 0;      // that one block of threads may have
  double bandwidth_bytes_per_s = 0;  // of its memory, as its clock and width give it
  double joules = 0;                 // since the driver was loaded; 0: it does not say
};

class Device {
 public:
  struct EndedCopy {
    std::uint64_t number = 0;
    bool ok = false;
    std::int64_t took_us = 0;  // 0: it was not timed
  };

  virtual ~Device() = default;

  [[nodiscard]] virtual const DeviceInfo& info() const = 0;
  // Zeroed. Null: there is no more.
  virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void release(std::byte* memory) = 0;
  // Memory that can be taken away for a while; may outlive this. Null: this device has none such.
  virtual std::unique_ptr<Arena> arena() = 0;
  // `from` may change as soon as it returns.
  virtual void upload(std::byte* to, const void* from, std::size_t bytes) = 0;
  // Waits for all that was asked for before.
  virtual void download(void* to, const std::byte* from, std::size_t bytes) = 0;
  // Either may be in the memory of another device that follow() was told of.
  virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes) = 0;
  virtual void wait() = 0;
  // Whether all that was asked for is done.
  virtual bool is_done() = 0;

  // Another queue of the same device, which gives way to this one; this one outlives it. Null: see
  // failure().
  virtual std::unique_ptr<Device> lane() = 0;
  // What is asked for from now on comes after all that `other`, of the same kind, was asked for so
  // far.
  virtual void follow(Device& other) = 0;

  // Copies beside the kernels, in the order in which they were asked for. Memory of the host that
  // they reach by themselves; null: there is no more.
  virtual std::byte* allocate_host(std::size_t bytes) = 0;
  virtual void release_host(std::byte* memory) = 0;
  // From the one memory to the other. Begins when all kernels and copies that were asked for before
  // have ended; holds up none that is asked for later. Gives its number, which is never 0.
  virtual std::uint64_t begin_copy(std::byte* to, const std::byte* from, std::size_t bytes) = 0;
  // Those that have ended since the last call; `waits`: for one, if any is under way.
  virtual std::vector<EndedCopy> ended_copies(bool waits) = 0;

  virtual void run(const EmbedJob& job) = 0;
  virtual void run(const NormJob& job) = 0;
  virtual void run(const MultiplyJob& job) = 0;
  virtual void run(const PrepareJob& job) = 0;
  // Tiles of 16 slots that an item's rows take: 1 or 4.
  virtual void run(const AttendJob& job, unsigned tiles) = 0;
  virtual void run(const FoldJob& job) = 0;
  virtual void run(const GateJob& job) = 0;
  virtual void run(const ChooseExpertsJob& job) = 0;
  virtual void run(const GroupJob& job) = 0;
  virtual void run(const GatherJob& job) = 0;
  virtual void run(const MixJob& job) = 0;
  virtual void run(const CapJob& job) = 0;
  virtual void run(const ChooseJob& job) = 0;

  // True: what was recorded under the key has been played.
  virtual bool replay(std::uint64_t key) = 0;
  // Until the end, calls of run() are kept under the key and not carried out; the end plays them.
  virtual void begin_recording(std::uint64_t key) = 0;
  virtual void end_recording() = 0;
  virtual void forget_recordings() = 0;

  // Empty: all is well.
  [[nodiscard]] virtual const std::string& failure() const = 0;
  // Joules since the driver was loaded, now; 0: it does not say.
  virtual double joules() = 0;
};

// unsupported: this build has no CUDA back end; unavailable: this machine has no such device, or
// its driver is too old. `warpgroups`: false: their products are not used, though the device has
// them.
Result<std::unique_ptr<Device>> open_device(unsigned index, bool warpgroups = true);

}  // namespace ambit::inference::cuda
