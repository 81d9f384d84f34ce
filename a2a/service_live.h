#pragma once

// What a Service keeps of a task that is at work. Internal to service.cpp and service_run.cpp.

#include "a2a/service.h"

#include <memory>
#include <vector>

namespace ambit::a2a {

// Events of one run that are not yet written; so many are written at once.
inline constexpr std::size_t run_events_max = 16;

// A task with a run: its events on their way to the store, and those who listen.
struct Service::Live {
  TaskStore::Ref task;
  Channel<RunEvent> events{run_events_max};
  bool is_cancelled = false;
  Waiters cancelled;
  bool is_settled = false;  // a blocking call need not wait any longer
  Waiters settled;
  std::vector<std::shared_ptr<Subscription>> subscribers;

  // Ends the run, by destroying its coroutine.
  void stop() {
    is_cancelled = true;
    cancelled.wake_all();
  }
  void settle() {
    is_settled = true;
    settled.wake_all();
  }
  void close_subscribers() {
    for (const auto& subscriber : subscribers) subscriber->queue().close();
    subscribers.clear();
  }
  static Task<void> wait_for_cancel(std::shared_ptr<Live> live) {
    while (!live->is_cancelled) co_await live->cancelled.wait();
  }
};

}  // namespace ambit::a2a
