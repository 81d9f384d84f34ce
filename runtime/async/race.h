#pragma once

// race(a, b): runs two tasks side by side; the first to finish wins, the other is cancelled.
// with_timeout(d, task): the task's result, or Code::timeout once `d` has passed.
// within(d, task): the same for a task that its caller keeps; true: it has finished.
// join(tasks): runs all at once, gives the results in the order of the tasks.

#include "async/task.h"

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace ambit {
namespace detail {

struct Nothing {};
template <class T>
using Stored = std::conditional_t<std::is_void_v<T>, Nothing, T>;

template <class T>
Stored<T> take_stored(Task<T>& task) {
  if constexpr (std::is_void_v<T>) {
    task.take();
    return Nothing{};
  } else {
    return task.take();
  }
}

template <class A, class B>
class Race final : public Event {
 public:
  Race(Task<A> a, Task<B> b) : a_(std::move(a)), b_(std::move(b)) {}
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    parent_ = &parent.promise();
    a_.start(this);
    b_.start(this);
  }
  std::variant<Stored<A>, Stored<B>> await_resume() {
    if (first_ == 0)
      return std::variant<Stored<A>, Stored<B>>(std::in_place_index<0>, take_stored(a_));
    return std::variant<Stored<A>, Stored<B>>(std::in_place_index<1>, take_stored(b_));
  }

 private:
  void fire() override {
    first_ = a_.finished() ? 0 : 1;
    if (first_ == 0) {
      b_.reset();
    } else {
      a_.reset();
    }
    parent_->arm();
  }

  Task<A> a_;
  Task<B> b_;
  Event* parent_ = nullptr;
  int first_ = 0;
};

template <class T>
class Join final {
 public:
  explicit Join(std::vector<Task<T>> tasks) : tasks_(std::move(tasks)), left_(tasks_.size()) {}
  [[nodiscard]] bool await_ready() const { return tasks_.empty(); }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    parent_ = &parent.promise();
    branches_ = std::vector<Branch>(tasks_.size());
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      branches_[i].join = this;
      tasks_[i].start(&branches_[i]);
    }
  }
  std::vector<Stored<T>> await_resume() {
    std::vector<Stored<T>> results;
    results.reserve(tasks_.size());
    for (auto& task : tasks_) results.push_back(take_stored(task));
    return results;
  }

 private:
  struct Branch final : public Event {
    Join* join = nullptr;

   private:
    void fire() override {
      if (--join->left_ == 0) join->parent_->arm();
    }
  };

  std::vector<Task<T>> tasks_;
  std::size_t left_;
  std::vector<Branch> branches_;
  Event* parent_ = nullptr;
};

}  // namespace detail

// A void task is a detail::Nothing in the result.
template <class A, class B>
[[nodiscard]] auto race(Task<A> a, Task<B> b) {
  return detail::Race<A, B>(std::move(a), std::move(b));
}

template <class T>
[[nodiscard]] auto join(std::vector<Task<T>> tasks) {
  return detail::Join<T>(std::move(tasks));
}

inline Task<void> delay_task(Duration duration) {
  co_await delay(duration);
}

// Runs `task` for no longer than `limit` (absent: to its end). True: it has finished, and its value
// is in it. False: it is cancelled.
template <class T>
class [[nodiscard]] Within final : public Event {
 public:
  Within(Task<T>& task, std::optional<Duration> limit) : task_(task) {
    if (limit) timer_.emplace(*this, *limit);
  }
  [[nodiscard]] bool await_ready() const { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    parent_ = &parent.promise();
    task_.call(this);
  }
  bool await_resume() const { return task_.valid(); }

 private:
  // For the first of end and timer.
  void fire() override {
    timer_.reset();
    if (!task_.finished()) task_.reset();
    parent_->arm_next();
  }

  Task<T>& task_;
  std::optional<Timer> timer_;
  Event* parent_ = nullptr;
};

template <class T>
Within<T> within(std::optional<Duration> limit, Task<T>& task) {
  return Within<T>(task, limit);
}

template <class T>
Task<Result<T>> with_timeout(Duration limit, Task<Result<T>> task) {
  const bool in_time = co_await within(limit, task);
  if (in_time) co_return task.take();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
  co_return Err(Code::timeout, "no answer within " + std::to_string(ms) + " ms");
}

}  // namespace ambit
