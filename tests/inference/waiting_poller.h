#pragma once

#include "async/loop.h"

#include <condition_variable>
#include <mutex>
#include <optional>

namespace ambit::inference {

// A poller that really waits for other threads; its clock stands still.
class WaitingPoller final : public Poller {
 public:
  Instant now() override { return {}; }
  void poll() override {}
  bool wait(std::optional<Duration>) override {
    std::unique_lock lock(mutex_);
    woken_.wait(lock, [this] { return wakes_ > 0; });
    wakes_ = 0;
    return true;
  }
  void wake() override {
    const std::lock_guard lock(mutex_);
    ++wakes_;
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  int wakes_ = 0;
};

}  // namespace ambit::inference
