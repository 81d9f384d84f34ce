#include "inference/cpu/pool.h"

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace ambit::inference {

namespace {

// Steps follow each other within microseconds; looking a few times is cheaper than sleeping.
constexpr int looks_before_sleep = 2000;

constexpr std::uint64_t open = std::uint64_t{1} << 31U;

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

std::vector<std::size_t> usable_processors() {
  std::vector<std::size_t> usable;
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (std::size_t i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) usable.push_back(i);
#endif
  return usable;
}

// A wish: where it is not granted, the thread just moves about.
void pin(std::thread& thread, std::size_t processor) {
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
#endif
}

}  // namespace

Pool::Pool(std::size_t threads, bool pinned) {
  const std::vector<std::size_t> processors =
      pinned ? usable_processors() : std::vector<std::size_t>();
  for (std::size_t worker = 1; worker < threads; ++worker) {
    workers_.emplace_back([this, worker] { serve(worker); });
    if (processors.size() >= threads) pin(workers_.back(), processors[worker]);
  }
}

Pool::~Pool() {
  stopping_.store(true, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_acq_rel);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(Call call, void* context) {
  call_ = call;
  context_ = context;
  finished_.store(0, std::memory_order_relaxed);
  const std::uint32_t round = round_.load(std::memory_order_relaxed) + 1;
  door_.store(std::uint64_t{round} << 32U | open, std::memory_order_release);
  round_.store(round, std::memory_order_release);
  round_.notify_all();
  call(context, 0);
  const auto entered =
      static_cast<std::uint32_t>(door_.fetch_and(~open, std::memory_order_acq_rel) & (open - 1));
  for (std::uint32_t finished = 0;
       (finished = finished_.load(std::memory_order_acquire)) != entered;)
    wait_while(finished_, finished);
}

// False: the round is over, or another one has begun.
bool Pool::enter(std::uint32_t round) {
  std::uint64_t door = door_.load(std::memory_order_acquire);
  while (door >> 32U == round && (door & open) != 0) {
    if (door_.compare_exchange_weak(door, door + 1, std::memory_order_acq_rel,
                                    std::memory_order_acquire))
      return true;
  }
  return false;
}

void Pool::serve(std::size_t worker) {
  for (std::uint32_t seen = 0;;) {
    wait_while(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    if (!enter(seen)) continue;
    call_(context_, worker);
    finished_.fetch_add(1, std::memory_order_acq_rel);
    finished_.notify_one();
  }
}

}  // namespace ambit::inference
