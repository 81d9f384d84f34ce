#pragma once

// Loop: the one thread on which all agents live. It owns the ready queue and the timers; the Poller
// is its whole seam to the operating system (libuv in production, a seeded one in tests), which
// also *tells* it the time. Nothing here reads a clock or a file descriptor.

#include "async/event.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace ambit {

using Duration = std::chrono::nanoseconds;
// Monotonic time since an origin that the poller chooses.
using Instant = std::chrono::nanoseconds;

class Poller {
 public:
  virtual ~Poller() = default;
  virtual Instant now() = 0;
  // Delivers I/O that is ready, without waiting.
  virtual void poll() = 0;
  // Waits until I/O is ready, wake() was called, or `timeout` passed (nullopt: no deadline).
  // False: nothing can ever happen any more (the simulator says so; a real poller never does).
  virtual bool wait(std::optional<Duration> timeout) = 0;
  // Ends a wait() from another thread.
  virtual void wake() = 0;
};

class Timer;

class Loop {
 public:
  explicit Loop(Poller& poller);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The loop that runs on this thread; CHECKs that there is one.
  static Loop& current();

  // Runs until stop() is called, or until nothing is ready and nothing can ever happen.
  void run();
  // Runs until `done()` is true; false if nothing can happen any more before that.
  bool run_until(const std::function<bool()>& done);
  void stop() { stopped_ = true; }

  [[nodiscard]] Instant now() const { return now_; }
  // Of what runs now.
  [[nodiscard]] LatencyClass latency() const { return running_.latency; }
  [[nodiscard]] const Urgency& urgency() const { return running_; }
  void set_urgency(const Urgency& urgency) { running_ = urgency; }
  // Runs `work` on the loop's thread; the only member that other threads may call.
  void post_from_thread(std::function<void()> work);

 private:
  friend class Event;
  friend class Timer;
  bool look_outside();
  void run_ready();
  void run_timers();
  void run_posted();

  Poller& poller_;
  Loop* outer_;
  Instant now_{};
  bool stopped_ = false;
  struct Queue {
    Event* head = nullptr;
    Event* tail = nullptr;
  };
  [[nodiscard]] bool is_idle() const;
  Queue& queue_of(const Event& event) { return ready_[static_cast<std::size_t>(event.latency())]; }

  std::array<Queue, latency_classes> ready_;
  Turns turns_;
  Urgency running_;
  int steps_ = 0;  // events that were put in front since the last one that had to go to the end
  std::map<std::pair<Instant, std::uint64_t>, Timer*> timers_;
  std::uint64_t timer_sequence_ = 0;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;
};

// Arms an event at an instant. Timers of the same instant fire in the order in which they were set.
class Timer {
 public:
  Timer(Event& event, Duration delay);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  friend class Loop;
  Loop& loop_;
  Event& event_;
  std::pair<Instant, std::uint64_t> key_;
  bool pending_ = true;
};

}  // namespace ambit
