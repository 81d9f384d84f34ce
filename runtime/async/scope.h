#pragma once

// Scope: owns background tasks. Its destructor cancels those that still run; join() waits for them.
// Make it the last member of what the tasks serve, so that it dies first. A task must not destroy
// its Scope.

#include "async/task.h"

#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <utility>

namespace ambit {

class Scope {
 public:
  // `on_exception` hears what escapes a task (a bug of that task, not of the process); without one
  // the exception goes out of Loop::run.
  using OnException = std::function<void(std::exception_ptr)>;
  explicit Scope(OnException on_exception = nullptr) : on_exception_(std::move(on_exception)) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { cancel(); }

  void spawn(Task<void> task) {
    const auto at =
        children_.insert(children_.end(), std::make_unique<Child>(*this, std::move(task)));
    (*at)->at = at;
    (*at)->task.start(at->get());
  }
  // Destroys all tasks now, the youngest first.
  void cancel() {
    while (!children_.empty()) children_.pop_back();
    wake_joiner();
  }
  [[nodiscard]] std::size_t size() const { return children_.size(); }

  // Waits until no task is left. One waiter at a time.
  class Joining {
   public:
    explicit Joining(Scope& scope) : scope_(scope) {}
    Joining(const Joining&) = delete;
    Joining& operator=(const Joining&) = delete;
    ~Joining() {
      if (waiting_) scope_.joiner_ = nullptr;
    }
    [[nodiscard]] bool await_ready() const { return scope_.children_.empty(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> parent) {
      INVARIANT(scope_.joiner_ == nullptr);
      scope_.joiner_ = &parent.promise();
      waiting_ = true;
    }
    void await_resume() { waiting_ = false; }

   private:
    Scope& scope_;
    bool waiting_ = false;
  };
  Joining join() { return Joining(*this); }

 private:
  struct Child final : public Event {
    Child(Scope& owner, Task<void> body) : scope(owner), task(std::move(body)) {}
    Scope& scope;
    Task<void> task;
    std::list<std::unique_ptr<Child>>::iterator at;

   private:
    void fire() override { scope.finished(*this); }
  };

  void finished(Child& child) {
    const std::exception_ptr thrown = child.task.promise().exception();
    children_.erase(child.at);
    wake_joiner();
    if (!thrown) return;
    if (!on_exception_) std::rethrow_exception(thrown);
    on_exception_(thrown);
  }
  void wake_joiner() {
    if (children_.empty() && joiner_ != nullptr) std::exchange(joiner_, nullptr)->arm();
  }

  OnException on_exception_;
  std::list<std::unique_ptr<Child>> children_;
  Event* joiner_ = nullptr;
};

}  // namespace ambit
