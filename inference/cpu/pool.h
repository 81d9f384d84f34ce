#pragma once

// A fixed pool of threads that take the parts of one piece of work until none is left. Work is
// split over outputs only, so neither the number of threads nor who takes what shows in a result.
// The caller works too and waits only for those who have taken a part: a thread that the machine
// has no processor for costs nothing. Nothing is allocated per piece of work.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
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

  // Calls work(first, last, worker) for parts of `share` items that together are [0, total), each
  // once, and returns when all have returned. `worker` is in [0, size()): no two calls that run at
  // the same time have the same one, so it can name scratch memory.
  template <class Work>
  void each(std::size_t total, std::size_t share, const Work& work) {
    if (workers_.empty() || total <= share) {
      if (total != 0) work(std::size_t{0}, total, std::size_t{0});
      return;
    }
    struct Parts {
      const Work& work;
      std::size_t total;
      std::size_t share;
      std::atomic<std::size_t> next = 0;
    } parts{work, total, share};
    run(
        [](void* context, std::size_t worker) {
          auto& all = *static_cast<Parts*>(context);
          for (std::size_t first = 0;
               (first = all.next.fetch_add(all.share, std::memory_order_relaxed)) < all.total;)
            all.work(first, std::min(first + all.share, all.total), worker);
        },
        &parts);
  }

 private:
  using Call = void (*)(void*, std::size_t);
  void run(Call call, void* context);
  void serve(std::size_t worker);
  bool enter(std::uint32_t round);

  Call call_ = nullptr;
  void* context_ = nullptr;
  std::atomic<std::uint32_t> round_ = 0;
  // The round (upper half), whether it is open, and how many workers have entered it.
  std::atomic<std::uint64_t> door_ = 0;
  std::atomic<std::uint32_t> finished_ = 0;  // of those who have entered
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace ambit::inference
