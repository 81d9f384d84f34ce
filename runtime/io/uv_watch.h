#pragma once

// Readiness of foreign descriptors by uv_poll, and signals by uv_signal.

#include "io/fd_watch.h"
#include "io/signals.h"

#include <uv.h>

#include <functional>
#include <memory>
#include <vector>

namespace ambit::io {

class UvFdWatcher final : public FdWatcher {
 public:
  explicit UvFdWatcher(uv_loop_t* loop) : loop_(loop) {}
  Result<std::unique_ptr<FdWatch>> watch(int descriptor,
                                         std::function<void(Readiness)> ready) override;

 private:
  uv_loop_t* loop_;
};

Result<std::unique_ptr<Signals>> make_signals(uv_loop_t* loop, const std::vector<int>& numbers);

}  // namespace ambit::io
