#pragma once

// Shared<T>: a value whose copies share one object until somebody edits his, so that an action, a
// decision or a whole conversation passes from hand to hand at the cost of a pointer. For large
// values that are read much and changed seldom.

#include <atomic>
#include <memory>
#include <utility>

namespace ambit::agents {

template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(T&& value) : value_(std::make_shared<T>(std::move(value))) {}
  Shared(const T& value) : value_(std::make_shared<T>(value)) {}

  const T& operator*() const {
    static const T nothing{};
    return value_ ? *value_ : nothing;
  }
  const T* operator->() const { return &**this; }
  // The object for this copy alone; valid until the copy is copied again.
  T& edit() {
    if (!value_ || value_.use_count() > 1) {
      value_ = std::make_shared<T>(**this);
    } else {
      // What another thread read through its copy came before it let go of it.
      std::atomic_thread_fence(std::memory_order_acquire);
    }
    return *value_;
  }
  friend bool operator==(const Shared& a, const Shared& b) { return *a == *b; }

 private:
  std::shared_ptr<T> value_;
};

}  // namespace ambit::agents
