#include "inference/cpu/pool.h"

namespace ambit::inference {

namespace {

// Steps follow each other within microseconds; looking a few times is cheaper than sleeping.
constexpr int looks_before_sleep = 2000;

template <class T>
void wait_while(const std::atomic<T>& value, T old) {
  for (int look = 0; look < looks_before_sleep; ++look) {
    if (value.load(std::memory_order_acquire) != old) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(std::size_t threads) {
  for (std::size_t worker = 1; worker < threads; ++worker)
    workers_.emplace_back([this, worker] { serve(worker); });
}

Pool::~Pool() {
  stopping_.store(true, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_acq_rel);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run_all(Call call, const void* context) {
  if (!workers_.empty()) {
    call_ = call;
    context_ = context;
    left_.store(workers_.size(), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_acq_rel);
    round_.notify_all();
  }
  call(context, 0);
  for (std::size_t left = 0;
       !workers_.empty() && (left = left_.load(std::memory_order_acquire)) != 0;)
    wait_while(left_, left);
}

void Pool::serve(std::size_t worker) {
  for (std::uint64_t seen = 0;;) {
    wait_while(round_, seen);
    const std::uint64_t round = round_.load(std::memory_order_acquire);
    if (round == seen) continue;
    seen = round;
    if (stopping_.load(std::memory_order_acquire)) return;
    call_(context_, worker);
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }
}

}  // namespace ambit::inference
