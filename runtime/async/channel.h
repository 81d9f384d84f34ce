#pragma once

// Channel<T>: a bounded queue between tasks of one loop; its capacity is the back-pressure. send() waits
// while it is full, receive() while it is empty; after close() senders fail and receivers drain what is
// left, then get Code::closed. First come, first served on both sides; a cancelled waiter loses nothing.
// Semaphore: a channel of permits, for "at most n at once".

#include <cstddef>
#include <deque>
#include <list>
#include <optional>
#include <utility>

#include "async/task.h"

namespace ambit {

template <class T>
class Channel {
 public:
  explicit Channel(std::size_t capacity) : capacity_(capacity) { CHECK(capacity > 0); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // False when full or closed; the value is then lost.
  bool try_send(T value) {
    if (closed_ || items_.size() >= capacity_) return false;
    push(std::move(value));
    return true;
  }
  Task<Result<void>> send(T value) {
    while (!closed_ && items_.size() >= capacity_) co_await wait(senders_);
    if (closed_) co_return Err(Code::closed, "the channel is closed");
    push(std::move(value));
    co_return Result<void>();
  }
  std::optional<T> try_receive() {
    if (items_.empty()) return std::nullopt;
    T value = std::move(items_.front());
    items_.pop_front();
    wake_one(senders_);
    return value;
  }
  Task<Result<T>> receive() {
    while (items_.empty() && !closed_) co_await wait(receivers_);
    if (items_.empty()) co_return Err(Code::closed, "the channel is closed");
    T value = std::move(items_.front());
    items_.pop_front();
    wake_one(senders_);
    co_return std::move(value);
  }
  void close() {
    closed_ = true;
    wake_all(senders_);
    wake_all(receivers_);
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  using Waiters = std::list<Event*>;

  // One place in a queue of waiters; leaves it when cancelled, and passes a wake-up on that came too late.
  class Wait {
   public:
    Wait(Channel& channel, Waiters& waiters) : channel_(channel), waiters_(waiters) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (resumed_ || event_ == nullptr) return;
      for (auto at = waiters_.begin(); at != waiters_.end(); ++at) {
        if (*at == event_) {
          waiters_.erase(at);
          return;
        }
      }
      channel_.pass_on(waiters_);
    }
    [[nodiscard]] bool await_ready() const { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> parent) {
      event_ = &parent.promise();
      waiters_.push_back(event_);
    }
    void await_resume() { resumed_ = true; }

   private:
    Channel& channel_;
    Waiters& waiters_;
    Event* event_ = nullptr;
    bool resumed_ = false;
  };

  Wait wait(Waiters& waiters) { return Wait(*this, waiters); }
  void push(T value) {
    items_.push_back(std::move(value));
    wake_one(receivers_);
  }
  void pass_on(Waiters& waiters) {
    const bool useful = &waiters == &receivers_ ? !items_.empty() : items_.size() < capacity_;
    if (useful || closed_) wake_one(waiters);
  }
  static void wake_one(Waiters& waiters) {
    if (waiters.empty()) return;
    Event* event = waiters.front();
    waiters.pop_front();
    event->arm();
  }
  static void wake_all(Waiters& waiters) {
    while (!waiters.empty()) wake_one(waiters);
  }

  std::size_t capacity_;
  std::deque<T> items_;
  Waiters senders_;
  Waiters receivers_;
  bool closed_ = false;
};

class Semaphore {
 public:
  explicit Semaphore(std::size_t permits) : used_(permits) {}

  // Holds one permit until destroyed. Must not outlive the Semaphore.
  class Permit {
   public:
    explicit Permit(Semaphore& semaphore) : semaphore_(&semaphore) {}
    Permit(Permit&& other) noexcept : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(semaphore_, other.semaphore_);
      return *this;
    }
    ~Permit() {
      if (semaphore_ != nullptr) semaphore_->used_.try_receive();
    }

   private:
    Semaphore* semaphore_;
  };

  Task<Permit> acquire() {
    auto sent = co_await used_.send(Taken{});
    CHECK(sent.has_value());
    co_return Permit(*this);
  }
  [[nodiscard]] std::size_t in_use() const { return used_.size(); }

 private:
  struct Taken {};
  Channel<Taken> used_;
};

}  // namespace ambit
