#pragma once

// Runs one task to its end on a loop and gives its value: the bridge from a test to coroutines.

#include "async/task.h"

#include <stdexcept>

namespace ambit {

template <class T>
T run_task(Loop& loop, Task<T> task) {
  struct Done final : Event {
    bool fired = false;
    void fire() override { fired = true; }
  } done;
  task.start(&done);
  if (!loop.run_until([&] { return done.fired; })) {
    throw std::logic_error("the task waits for something that can never happen");
  }
  return task.take();
}

}  // namespace ambit
