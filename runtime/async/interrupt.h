#pragma once

// Interrupt: ends a task from outside of it, once, from anywhere on the loop. `co_await
// interruptible(task, interrupt)`, of a task that its caller keeps, is true when it has come to its
// end, with its value in it; false when the interrupt came first: the task is destroyed then, with
// everything that it had under way.

#include "async/event.h"
#include "async/task.h"

#include <coroutine>

namespace ambit {

template <class T>
class Interruptible;

class Interrupt {
 public:
  void fire() {
    if (fired_) return;
    fired_ = true;
    if (waiter_ != nullptr) waiter_->arm();
  }
  [[nodiscard]] bool fired() const { return fired_; }

 private:
  template <class T>
  friend class Interruptible;
  bool fired_ = false;
  Event* waiter_ = nullptr;
};

template <class T>
class [[nodiscard]] Interruptible final : public Event {
 public:
  Interruptible(Task<T>& task, Interrupt& interrupt) : task_(task), interrupt_(interrupt) {}
  ~Interruptible() override {
    if (interrupt_.waiter_ == this) interrupt_.waiter_ = nullptr;
  }
  [[nodiscard]] bool await_ready() const { return interrupt_.fired(); }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    parent_ = &parent.promise();
    interrupt_.waiter_ = this;
    task_.call(this);
  }
  bool await_resume() {
    if (!task_.finished()) task_.reset();
    return task_.valid();
  }

 private:
  void fire() override {
    if (!task_.finished()) task_.reset();
    parent_->arm_next();
  }

  Task<T>& task_;
  Interrupt& interrupt_;
  Event* parent_ = nullptr;
};

// The interrupt outlives the wait, and has one waiter at a time.
template <class T>
Interruptible<T> interruptible(Task<T>& task, Interrupt& interrupt) {
  return Interruptible<T>(task, interrupt);
}

}  // namespace ambit
