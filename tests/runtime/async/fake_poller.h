#pragma once

// A poller whose clock jumps to the next deadline: tests of waiting take no time.

#include "async/loop.h"

namespace ambit {

class FakePoller final : public Poller {
 public:
  Instant now() override { return now_; }
  void poll() override {}
  bool wait(std::optional<Duration> timeout) override {
    if (!timeout) return false;
    now_ += *timeout;
    return true;
  }
  void wake() override {}

 private:
  Instant now_{};
};

}  // namespace ambit
