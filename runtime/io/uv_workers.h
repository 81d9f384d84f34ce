#pragma once

// Blocking work on libuv's threads as io::Workers. At most work_max pieces are accepted at once;
// further callers wait for a place (and may be cancelled there). What has a place runs to its end.

#include "async/channel.h"
#include "io/world.h"

#include <uv.h>

#include <functional>

namespace ambit::io {

class UvWorkers final : public Workers {
 public:
  static constexpr std::size_t work_max = 256;

  explicit UvWorkers(uv_loop_t* loop) : loop_(loop), places_(work_max) {}
  Task<void> run(std::function<void()> work) override;

 private:
  struct Request;

  uv_loop_t* loop_;
  Semaphore places_;
};

}  // namespace ambit::io
