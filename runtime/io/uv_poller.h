#pragma once

// UvPoller: the loop's seam to the operating system. Owns the uv_loop; everything else of io hangs
// on it. shut_down() ends every handle and waits until libuv holds nothing any more.

#include "async/loop.h"
#include "io/uv_handle.h"

#include <uv.h>

#include <memory>
#include <vector>

namespace ambit::io {

class UvPoller final : public Poller {
 public:
  UvPoller();
  ~UvPoller() override;
  UvPoller(const UvPoller&) = delete;
  UvPoller& operator=(const UvPoller&) = delete;

  Instant now() override;
  void poll() override;
  bool wait(std::optional<Duration> timeout) override;
  void wake() override;

  uv_loop_t* loop() { return &loop_; }
  void shut_down();

 private:
  class Wake;
  class Alarm;

  uv_loop_t loop_{};
  // libuv reads one descriptor at a time: one buffer serves all streams. loop_.data points to it.
  std::vector<char> read_buffer_;
  std::shared_ptr<Wake> wake_;
  std::shared_ptr<Alarm> alarm_;
};

}  // namespace ambit::io
