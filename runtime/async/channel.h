#pragma once

// Channel<T>: a bounded queue between tasks of one loop; its capacity is the back-pressure. send()
// waits while it is full, receive() while it is empty; after close() senders fail and receivers
// drain what is left, then get Code::closed. First come, first served on both sides; a cancelled
// waiter loses nothing. Semaphore: a channel of permits, for "at most n at once".

#include "async/task.h"
#include "async/waiters.h"

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

namespace ambit {

template <class T>
class Channel {
 public:
  explicit Channel(std::size_t capacity) : capacity_(capacity) { INVARIANT(capacity > 0); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // False when full (or others wait before us) or closed; the value is then lost.
  bool try_send(T value) {
    if (closed_ || !has_room()) return false;
    push(std::move(value));
    return true;
  }
  Task<Result<void>> send(T value) {
    if (!closed_ && !has_room()) co_await Turn(*this, senders_);
    if (closed_) co_return Err(Code::closed, "the channel is closed");
    push(std::move(value));
    co_return Result<void>();
  }
  std::optional<T> try_receive() {
    if (!has_item()) return std::nullopt;
    return pop();
  }
  Task<Result<T>> receive() {
    if (!closed_ && !has_item()) co_await Turn(*this, receivers_);
    if (items_.empty()) co_return Err(Code::closed, "the channel is closed");
    T value = pop();
    co_return std::move(value);
  }
  void close() {
    closed_ = true;
    senders_.waiters.wake_all();
    receivers_.waiters.wake_all();
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  // One side of the channel. What a woken task was woken for (a place, an item) is promised to it
  // until it goes on, so that nobody who comes later takes it away.
  struct Side {
    Waiters waiters;
    std::size_t promised = 0;
  };

  class Turn {
   public:
    Turn(Channel& channel, Side& side) : channel_(channel), side_(side), wait_(side.waiters) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      if (!wait_.wasted()) return;
      settle();
      channel_.serve();
    }
    [[nodiscard]] bool await_ready() const { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> parent) {
      wait_.await_suspend(parent);
    }
    void await_resume() {
      wait_.await_resume();
      settle();
    }

   private:
    // Those woken by close() were promised nothing.
    void settle() {
      if (side_.promised > 0) --side_.promised;
    }

    Channel& channel_;
    Side& side_;
    Waiters::Wait wait_;
  };

  [[nodiscard]] bool has_room() const { return items_.size() + senders_.promised < capacity_; }
  [[nodiscard]] bool has_item() const { return items_.size() > receivers_.promised; }
  void push(T value) {
    items_.push_back(std::move(value));
    serve();
  }
  T pop() {
    T value = std::move(items_.front());
    items_.pop_front();
    serve();
    return value;
  }
  // Promises what is free to those who wait for it.
  void serve() {
    while (has_room() && senders_.waiters.wake_one()) ++senders_.promised;
    while (has_item() && receivers_.waiters.wake_one()) ++receivers_.promised;
  }

  std::size_t capacity_;
  std::deque<T> items_;
  Side senders_;
  Side receivers_;
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
    const Taken taken;
    auto sent = co_await used_.send(taken);
    INVARIANT(sent.has_value());
    co_return Permit(*this);
  }
  [[nodiscard]] std::size_t in_use() const { return used_.size(); }

 private:
  struct Taken {};
  Channel<Taken> used_;
};

}  // namespace ambit
