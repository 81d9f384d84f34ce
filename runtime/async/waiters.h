#pragma once

// Waiters: the tasks that wait for one thing to happen: the most urgent class first, in it the one
// with the earliest deadline, and of those first come, first served. Nobody is overtaken by who
// came more than `patience` later: a later deadline, or none, counts as one at that time. `co_await
// w.wait()` joins the queue; wake_one() and wake_all() let tasks go on through the loop. A
// cancelled waiter leaves the queue. The Waiters must outlive the tasks that wait in it (let the
// frame hold what owns it).

#include "async/event.h"
#include "async/task.h"

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <map>
#include <utility>

namespace ambit {

class Waiters {
  // Class and second.
  using Key = std::pair<LatencyClass, std::int32_t>;

 public:
  static constexpr std::chrono::seconds patience{30};

  class [[nodiscard]] Wait {
   public:
    explicit Wait(Waiters& waiters) : waiters_(waiters) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (waiting_) waiters_.queue_.erase(at_);
    }
    [[nodiscard]] bool await_ready() const { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> parent) {
      event_ = &parent.promise();
      at_ = waiters_.queue_.emplace(key_of(event_->urgency()), this);
      waiting_ = true;
    }
    void await_resume() { resumed_ = true; }
    // It was woken and then cancelled before it could go on: what it was woken for is nobody's.
    [[nodiscard]] bool wasted() const { return event_ != nullptr && !waiting_ && !resumed_; }

   private:
    friend class Waiters;
    Waiters& waiters_;
    Event* event_ = nullptr;
    std::multimap<Key, Wait*>::iterator at_;
    bool waiting_ = false;
    bool resumed_ = false;
  };

  Waiters() = default;
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;

  Wait wait() { return Wait(*this); }
  // False if nobody waits.
  bool wake_one() {
    const std::size_t next =
        turns_.next([this](std::size_t i) { return first_of(i) == queue_.end(); });
    if (next == latency_classes) return false;
    const auto at = first_of(next);
    Wait* first = at->second;
    queue_.erase(at);
    first->waiting_ = false;
    first->event_->arm();
    return true;
  }
  void wake_all() {
    while (wake_one()) {
    }
  }
  [[nodiscard]] bool empty() const { return queue_.empty(); }
  // As what second a deadline counts in a queue that is joined now.
  static std::int32_t second_of(std::int32_t due_s) {
    const auto now = std::chrono::floor<std::chrono::seconds>(Loop::current().now());
    return static_cast<std::int32_t>(
        std::clamp<std::int64_t>(due_s, now.count(), (now + patience).count()));
  }

 private:
  static Key key_of(const Urgency& urgency) { return {urgency.latency, second_of(urgency.due_s)}; }
  // Of a class; the end: nobody of it waits.
  std::multimap<Key, Wait*>::iterator first_of(std::size_t latency) {
    const auto wanted = static_cast<LatencyClass>(latency);
    const auto at = queue_.lower_bound({wanted, INT32_MIN});
    return at != queue_.end() && at->first.first == wanted ? at : queue_.end();
  }

  std::multimap<Key, Wait*> queue_;
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
