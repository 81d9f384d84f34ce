#pragma once

// Task<T>: a coroutine that owns its frame. It is lazy (nothing runs before it is awaited or given
// to a Scope) and move-only. Destroying a Task cancels it, innermost frame first: RAII is the only
// cleanup that always runs; there is no cancelled error and no token. Tasks go on through the
// loop's queue, so the stack stays flat and there is one order of things.
//
// g++ 12 miscompiles `co_await` inside conditions and braced lists: write it only as a statement,
// as the initializer or assignment of a variable, or after co_return.

#include "async/check.h"
#include "async/event.h"
#include "async/frame_pool.h"
#include "async/loop.h"
#include "async/result.h"

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace ambit {

template <class T>
class Task;

namespace detail {

struct Finish {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> self) const noexcept {
    self.promise().finish();
  }
  void await_resume() const noexcept {}
};

// The part of a promise that does not depend on the value: running, finishing, who waits.
class PromiseBase : public Event {
 public:
  static void* operator new(std::size_t bytes) { return FramePool::take(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept {
    FramePool::give(frame, bytes);
  }
  std::suspend_always initial_suspend() noexcept { return {}; }
  Finish final_suspend() noexcept { return {}; }
  void unhandled_exception() { exception_ = std::current_exception(); }

  // Ends the coroutine where it stands (an error that returns from `co_await ok(...)`): the result
  // is already set, the frame is left suspended and dies with its Task.
  void finish() noexcept {
    finished_ = true;
    if (continuation_ != nullptr) continuation_->arm_next();
  }

  // The same with an exception that escaped what this coroutine waited for.
  void fail(std::exception_ptr exception) noexcept {
    exception_ = std::move(exception);
    finish();
  }

  void start(Event* continuation) {
    continue_with(continuation);
    arm();
  }
  void call(Event* continuation) {
    continue_with(continuation);
    arm_next();
  }
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] std::exception_ptr exception() const { return exception_; }

 protected:
  PromiseBase() = default;
  ~PromiseBase() override = default;

  void resume(std::coroutine_handle<> self) {
    running_ = true;
    self.resume();
    running_ = false;
  }

 private:
  // Both are as urgent as what runs now.
  void continue_with(Event* continuation) {
    set_urgency(Loop::current().urgency());
    if (continuation != nullptr) continuation->set_urgency(urgency());
    continuation_ = continuation;
  }

  bool finished_ = false;
  bool running_ = false;
  Event* continuation_ = nullptr;
  std::exception_ptr exception_;
};

template <class T>
class Promise final : public PromiseBase {
 public:
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    if (exception()) std::rethrow_exception(exception());
    INVARIANT(value_.has_value());
    return std::move(*value_);
  }
  [[nodiscard]] const std::optional<T>& peek() const { return value_; }

 private:
  void fire() override { resume(std::coroutine_handle<Promise>::from_promise(*this)); }

  std::optional<T> value_;
};

template <>
class Promise<void> final : public PromiseBase {
 public:
  Task<void> get_return_object();
  void return_void() {}
  void take() const {
    if (exception()) std::rethrow_exception(exception());
  }

 private:
  void fire() override { resume(std::coroutine_handle<Promise>::from_promise(*this)); }
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Value = T;

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() { reset(); }

  // Cancels: destroys the frame. A task must never do that to itself (ask its owner).
  void reset() {
    if (!handle_) return;
    INVARIANT(!handle_.promise().running());
    std::exchange(handle_, nullptr).destroy();
  }
  // Runs the task; `continuation` is armed when it has finished. For awaiters and scopes.
  void start(Event* continuation) { handle_.promise().start(continuation); }
  // The same, before everything else that is ready: for one that waits for this task alone.
  void call(Event* continuation) { handle_.promise().call(continuation); }
  [[nodiscard]] bool valid() const { return handle_ != nullptr; }
  [[nodiscard]] bool finished() const { return handle_ && handle_.promise().finished(); }
  // The value of a finished task; rethrows what escaped it.
  T take() { return handle_.promise().take(); }
  promise_type& promise() { return handle_.promise(); }

  auto operator co_await() &&;
  // Waits for a task that its caller keeps; the value stays in it, for take(). The caller's frame
  // has no second room for it then.
  auto operator co_await() &;

 private:
  friend promise_type;
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

// Owns the awaited task, so that destroying the awaiting frame destroys it too.
template <class T>
class TaskAwaiter {
 public:
  explicit TaskAwaiter(Task<T> task) : task_(std::move(task)) {}
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    task_.call(&parent.promise());
  }
  T await_resume() { return task_.take(); }

 private:
  Task<T> task_;
};

template <class T>
class KeptAwaiter {
 public:
  explicit KeptAwaiter(Task<T>& task) : task_(task) {}
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    task_.call(&parent.promise());
  }
  void await_resume() const {}

 private:
  Task<T>& task_;
};

template <class T>
class OkResult {
 public:
  explicit OkResult(Result<T> result) : result_(std::move(result)) {}
  [[nodiscard]] bool await_ready() const { return result_.has_value(); }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    parent.promise().return_value(Err(std::move(result_).error()));
    parent.promise().finish();
  }
  T await_resume() { return take(result_); }

 private:
  Result<T> result_;
};

template <class T>
class OkTask final : public Event {
 public:
  explicit OkTask(Task<Result<T>> task) : task_(std::move(task)) {}
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    parent_ = &parent.promise();
    fail_ = [](PromiseBase* promise, Error error) {
      static_cast<P*>(promise)->return_value(Err(std::move(error)));
      promise->finish();
    };
    task_.call(this);
  }
  T await_resume() {
    Result<T> result = task_.take();
    return take(result);
  }

 private:
  void fire() override {
    if (std::exception_ptr thrown = task_.promise().exception()) {
      parent_->fail(std::move(thrown));
      return;
    }
    const auto& result = task_.promise().peek();
    if (result && result->has_value()) {
      parent_->arm_next();
    } else {
      fail_(parent_, task_.take().error());
    }
  }

  Task<Result<T>> task_;
  PromiseBase* parent_ = nullptr;
  void (*fail_)(PromiseBase*, Error) = nullptr;
};
}  // namespace detail

template <class T>
auto Task<T>::operator co_await() && {
  return detail::TaskAwaiter<T>(std::move(*this));
}
template <class T>
auto Task<T>::operator co_await() & {
  return detail::KeptAwaiter<T>(*this);
}

// `auto value = co_await ok(f());`: the value, or the error returns from this coroutine (whose own
// type must be Task<Result<...>>). Takes a Result or a Task of one.
template <class T>
[[nodiscard]] auto ok(Result<T> result) {
  return detail::OkResult<T>(std::move(result));
}
template <class T>
[[nodiscard]] auto ok(Task<Result<T>> task) {
  return detail::OkTask<T>(std::move(task));
}

// From here on this task is of another urgency; what it has called before is not.
class [[nodiscard]] BecomeOf {
 public:
  explicit BecomeOf(Urgency urgency) : urgency_(urgency) {}
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> self) {
    self.promise().set_urgency(urgency_);
    Loop::current().set_urgency(urgency_);
    return false;
  }
  void await_resume() const {}

 private:
  Urgency urgency_;
};
inline BecomeOf become(Urgency urgency) {
  return BecomeOf(urgency);
}
// Of another class, with the deadline that it has.
inline BecomeOf become(LatencyClass latency) {
  return BecomeOf(Urgency{latency, Loop::current().urgency().due_s});
}

// Waits for `duration`; 0 lets everything that is ready run first.
class [[nodiscard]] Delay {
 public:
  explicit Delay(Duration duration) : duration_(duration) {}
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    timer_.emplace(parent.promise(), duration_);
  }
  void await_resume() const {}

 private:
  Duration duration_;
  std::optional<Timer> timer_;
};
inline Delay delay(Duration duration) {
  return Delay(duration);
}

}  // namespace ambit
