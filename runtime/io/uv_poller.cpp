#include "io/uv_poller.h"

#include "async/check.h"

namespace ambit::io {
namespace {

constexpr std::size_t read_buffer_bytes = 64 << 10;

}  // namespace

class UvPoller::Wake final : public UvHandle {
 public:
  void open(uv_loop_t* loop) {
    INVARIANT(uv_async_init(loop, &async_, [](uv_async_t*) {}) == 0);
    opened();
  }
  void send() { uv_async_send(&async_); }

 private:
  uv_handle_t* handle() override { return reinterpret_cast<uv_handle_t*>(&async_); }
  uv_async_t async_{};
};

class UvPoller::Alarm final : public UvHandle {
 public:
  void open(uv_loop_t* loop) {
    INVARIANT(uv_timer_init(loop, &timer_) == 0);
    opened();
  }
  void set(Duration after) {
    uv_update_time(timer_.loop);
    // Rounded up, or the loop would spin through the last part of a millisecond.
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(after).count();
    // uv_run looks at its timers before it polls. One that is due by then would be gone from the
    // poll's deadline, and the poll would wait for ever: hence the stop.
    const auto ring = [](uv_timer_t* timer) { uv_stop(timer->loop); };
    INVARIANT(uv_timer_start(&timer_, ring, static_cast<std::uint64_t>(ms), 0) == 0);
  }
  void unset() { uv_timer_stop(&timer_); }

 private:
  uv_handle_t* handle() override { return reinterpret_cast<uv_handle_t*>(&timer_); }
  uv_timer_t timer_{};
};

UvPoller::UvPoller()
    : read_buffer_(read_buffer_bytes),
      wake_(std::make_shared<Wake>()),
      alarm_(std::make_shared<Alarm>()) {
  INVARIANT(uv_loop_init(&loop_) == 0);
  loop_.data = &read_buffer_;
  wake_->open(&loop_);
  alarm_->open(&loop_);
}

UvPoller::~UvPoller() {
  shut_down();
  INVARIANT(uv_loop_close(&loop_) == 0);
}

Instant UvPoller::now() {
  return Instant(static_cast<std::int64_t>(uv_hrtime()));
}

void UvPoller::poll() {
  uv_run(&loop_, UV_RUN_NOWAIT);
}

bool UvPoller::wait(std::optional<Duration> timeout) {
  if (timeout && *timeout <= Duration::zero()) {
    poll();
    return true;
  }
  if (timeout) alarm_->set(*timeout);
  uv_run(&loop_, UV_RUN_ONCE);
  if (timeout) alarm_->unset();
  return true;
}

void UvPoller::wake() {
  wake_->send();
}

void UvPoller::shut_down() {
  uv_walk(
      &loop_, [](uv_handle_t* handle, void*) { static_cast<UvHandle*>(handle->data)->shut_down(); },
      nullptr);
  // Ends when no handle and no request (work on a thread, a child that dies) is left.
  uv_run(&loop_, UV_RUN_DEFAULT);
}

}  // namespace ambit::io
