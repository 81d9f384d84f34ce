#pragma once

// A value that will come once from outside the coroutines (a libuv callback, another thread by way
// of Loop::post_from_thread). The operation keeps the Resolver, the task awaits the Pending:
//   auto [pending, resolver] = make_pending<int>();   ...   int n = co_await std::move(pending);
// The operation may outlive the awaiter: a resolver whose pending is gone resolves into nothing.
// A resolver that dies unresolved leaves its awaiter waiting (give it a timeout or resolve an
// error). Both are used on the loop's thread; another thread may only carry a Resolver back to it.

#include "async/task.h"

#include <memory>
#include <optional>
#include <utility>

namespace ambit {

template <class T>
class Pending;

template <class T>
class Resolver {
 public:
  void resolve(T value) {
    if (Event* waiter = give(std::move(value))) waiter->arm();
  }
  // Its awaiter goes on before what is ready already.
  void resolve_next(T value) {
    if (Event* waiter = give(std::move(value))) waiter->arm_next();
  }
  // False once nobody waits any more: the operation may be stopped.
  [[nodiscard]] bool wanted() const { return state_ && !state_->abandoned; }

 private:
  struct State {
    std::optional<T> value;
    Event* waiter = nullptr;
    bool abandoned = false;
  };
  friend class Pending<T>;
  template <class U>
  friend std::pair<Pending<U>, Resolver<U>> make_pending();
  // Who waits for it; null: nobody does now.
  Event* give(T value) {
    if (!wanted() || state_->value) return nullptr;
    state_->value.emplace(std::move(value));
    return state_->waiter;
  }
  std::shared_ptr<State> state_;
};

template <class T>
class [[nodiscard]] Pending {
 public:
  Pending(Pending&&) noexcept = default;
  Pending& operator=(Pending&& other) noexcept {
    if (this != &other) {
      abandon();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~Pending() { abandon(); }
  [[nodiscard]] bool await_ready() const { return state_->value.has_value(); }
  template <class P>
  void await_suspend(std::coroutine_handle<P> parent) {
    state_->waiter = &parent.promise();
  }
  T await_resume() {
    INVARIANT(state_->value.has_value());
    return std::move(*state_->value);
  }

 private:
  template <class U>
  friend std::pair<Pending<U>, Resolver<U>> make_pending();
  explicit Pending(std::shared_ptr<typename Resolver<T>::State> state) : state_(std::move(state)) {}
  void abandon() {
    if (!state_) return;
    state_->waiter = nullptr;
    state_->abandoned = true;
  }
  std::shared_ptr<typename Resolver<T>::State> state_;
};

template <class T>
std::pair<Pending<T>, Resolver<T>> make_pending() {
  Resolver<T> resolver;
  resolver.state_ = std::make_shared<typename Resolver<T>::State>();
  return {Pending<T>(resolver.state_), std::move(resolver)};
}

}  // namespace ambit
