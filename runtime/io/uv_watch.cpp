#include "io/uv_watch.h"

#include "async/check.h"
#include "async/waiters.h"
#include "io/uv_handle.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace ambit::io {
namespace {

class UvPollState final : public UvHandle {
 public:
  explicit UvPollState(std::function<void(Readiness)> ready) : ready_(std::move(ready)) {}

  int open(uv_loop_t* loop, int descriptor) {
    const int status = uv_poll_init(loop, &poll_, descriptor);
    if (status == 0) opened();
    return status;
  }
  int want(Readiness wanted) {
    const int events = (wanted.readable ? UV_READABLE : 0) | (wanted.writable ? UV_WRITABLE : 0);
    if (events == 0) return uv_poll_stop(&poll_);
    return uv_poll_start(&poll_, events, [](uv_poll_t* from, int status, int happened) {
      // The callback may close us; the copy keeps it whole until it is over.
      const auto self =
          std::static_pointer_cast<UvPollState>(of<UvPollState>(from).shared_from_this());
      if (status != 0) happened = UV_READABLE | UV_WRITABLE;
      self->ready_(Readiness{(happened & UV_READABLE) != 0, (happened & UV_WRITABLE) != 0});
    });
  }

 private:
  uv_handle_t* handle() override { return reinterpret_cast<uv_handle_t*>(&poll_); }

  uv_poll_t poll_{};
  std::function<void(Readiness)> ready_;
};

class UvFdWatch final : public FdWatch {
 public:
  explicit UvFdWatch(std::shared_ptr<UvPollState> state) : state_(std::move(state)) {}
  ~UvFdWatch() override { state_->close(); }
  UvFdWatch(const UvFdWatch&) = delete;
  UvFdWatch& operator=(const UvFdWatch&) = delete;
  Result<void> want(Readiness wanted) override {
    if (state_->closing()) return Err(Code::closed, "watch a descriptor: the loop is gone");
    const int status = state_->want(wanted);
    if (status != 0) return Err(uv_error(status, "watch a descriptor"));
    return {};
  }

 private:
  std::shared_ptr<UvPollState> state_;
};

// What has been caught and not been asked for, shared by one handle a signal and by those who wait.
struct Caught {
  std::deque<int> numbers;
  Waiters waiters;
};

class UvSignalState final : public UvHandle {
 public:
  explicit UvSignalState(std::shared_ptr<Caught> caught) : caught_(std::move(caught)) {}
  int open(uv_loop_t* loop, int number) {
    INVARIANT(uv_signal_init(loop, &signal_) == 0);
    opened();
    return uv_signal_start(
        &signal_,
        [](uv_signal_t* from, int came) {
          Caught& caught = *of<UvSignalState>(from).caught_;
          const auto at = std::find(caught.numbers.begin(), caught.numbers.end(), came);
          if (at == caught.numbers.end()) caught.numbers.push_back(came);
          caught.waiters.wake_one();
        },
        number);
  }

 private:
  uv_handle_t* handle() override { return reinterpret_cast<uv_handle_t*>(&signal_); }

  uv_signal_t signal_{};
  std::shared_ptr<Caught> caught_;
};

class UvSignals final : public Signals {
 public:
  UvSignals() = default;
  ~UvSignals() override {
    for (const auto& handle : handles_) handle->close();
  }
  UvSignals(const UvSignals&) = delete;
  UvSignals& operator=(const UvSignals&) = delete;

  int add(uv_loop_t* loop, int number) {
    handles_.push_back(std::make_shared<UvSignalState>(caught_));
    return handles_.back()->open(loop, number);
  }
  Task<int> next() override { return next_of(caught_); }

 private:
  static Task<int> next_of(std::shared_ptr<Caught> caught) {
    while (caught->numbers.empty()) co_await caught->waiters.wait();
    const int number = caught->numbers.front();
    caught->numbers.pop_front();
    co_return number;
  }

  std::shared_ptr<Caught> caught_ = std::make_shared<Caught>();
  std::vector<std::shared_ptr<UvSignalState>> handles_;
};

}  // namespace

Result<std::unique_ptr<FdWatch>> UvFdWatcher::watch(int descriptor,
                                                    std::function<void(Readiness)> ready) {
  auto state = std::make_shared<UvPollState>(std::move(ready));
  const int status = state->open(loop_, descriptor);
  if (status != 0) return Err(uv_error(status, "watch a descriptor"));
  return std::make_unique<UvFdWatch>(std::move(state));
}

Result<std::unique_ptr<Signals>> make_signals(uv_loop_t* loop, const std::vector<int>& numbers) {
  auto signals = std::make_unique<UvSignals>();
  for (const int number : numbers) {
    const int status = signals->add(loop, number);
    if (status != 0) return Err(uv_error(status, "wait for signal " + std::to_string(number)));
  }
  return signals;
}

}  // namespace ambit::io
