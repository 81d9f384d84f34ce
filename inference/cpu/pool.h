#pragma once

// A fixed pool of threads that do one thing together and wait for each other. It splits work over
// outputs only, so the number of threads never shows in a result. Nothing is allocated per run.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace ambit::inference {

class Pool {
 public:
  // `threads` counts the caller: 1 starts none. `pinned`: each of the others stays on a processor
  // of its own, if there are as many; the caller stays where it likes.
  explicit Pool(std::size_t threads, bool pinned = false);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] std::size_t size() const { return workers_.size() + 1; }

  // Calls work(worker) once for each worker in [0, size()), and returns when all have returned.
  template <class Work>
  void run(const Work& work) {
    run_all([](const void* context,
               std::size_t worker) { (*static_cast<const Work*>(context))(worker); },
            &work);
  }

  // The part of [0, total) that is `worker`'s.
  [[nodiscard]] std::pair<std::size_t, std::size_t> share(std::size_t total,
                                                          std::size_t worker) const {
    return {total * worker / size(), total * (worker + 1) / size()};
  }

 private:
  using Call = void (*)(const void*, std::size_t);
  void run_all(Call call, const void* context);
  void serve(std::size_t worker);

  Call call_ = nullptr;
  const void* context_ = nullptr;
  std::atomic<std::uint64_t> round_ = 0;
  std::atomic<std::size_t> left_ = 0;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace ambit::inference
