#pragma once

// Waiters: the tasks that wait for one thing to happen, the most urgent class first, in it first
// come, first served. `co_await
// w.wait()` joins the queue; wake_one() and wake_all() let tasks go on through the loop. A
// cancelled waiter leaves the queue. The Waiters must outlive the tasks that wait in it (let the
// frame hold what owns it).

#include "async/event.h"
#include "async/task.h"

#include <algorithm>
#include <array>
#include <coroutine>
#include <list>

namespace ambit {

class Waiters {
 public:
  class [[nodiscard]] Wait {
   public:
    explicit Wait(Waiters& waiters) : waiters_(waiters) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (waiting_) waiters_.queue_of(*event_).erase(at_);
    }
    [[nodiscard]] bool await_ready() const { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> parent) {
      event_ = &parent.promise();
      std::list<Wait*>& queue = waiters_.queue_of(*event_);
      at_ = queue.insert(queue.end(), this);
      waiting_ = true;
    }
    void await_resume() { resumed_ = true; }
    // It was woken and then cancelled before it could go on: what it was woken for is nobody's.
    [[nodiscard]] bool wasted() const { return event_ != nullptr && !waiting_ && !resumed_; }

   private:
    friend class Waiters;
    Waiters& waiters_;
    Event* event_ = nullptr;
    std::list<Wait*>::iterator at_;
    bool waiting_ = false;
    bool resumed_ = false;
  };

  Waiters() = default;
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;

  Wait wait() { return Wait(*this); }
  // False if nobody waits.
  bool wake_one() {
    const std::size_t at = turns_.next([this](std::size_t i) { return queues_[i].empty(); });
    if (at == latency_classes) return false;
    Wait* first = queues_[at].front();
    queues_[at].pop_front();
    first->waiting_ = false;
    first->event_->arm();
    return true;
  }
  void wake_all() {
    while (wake_one()) {
    }
  }
  [[nodiscard]] bool empty() const {
    return std::all_of(queues_.begin(), queues_.end(),
                       [](const std::list<Wait*>& queue) { return queue.empty(); });
  }

 private:
  std::list<Wait*>& queue_of(const Event& event) {
    return queues_[static_cast<std::size_t>(event.latency())];
  }

  std::array<std::list<Wait*>, latency_classes> queues_;
  Turns turns_;
};

// Waits in the queue for one turn. Whoever is woken and then cancelled passes the turn on.
inline Task<void> queue_in(Waiters& queue) {
  struct PassOn {
    explicit PassOn(Waiters& in) : turn(in), queue(in) {}
    PassOn(const PassOn&) = delete;
    PassOn& operator=(const PassOn&) = delete;
    ~PassOn() {
      if (turn.wasted()) queue.wake_one();
    }
    Waiters::Wait turn;
    Waiters& queue;
  };
  PassOn waiting(queue);
  co_await waiting.turn;
}

}  // namespace ambit
