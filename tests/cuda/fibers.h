#pragma once

// Stacks that take turns on one thread: the threads of a GPU's block. A fiber runs until it gives
// way or ends; whoever resumes it decides the order. Known to the address sanitizer.

#include <cstddef>
#include <functional>
#include <memory>

namespace ambit::inference::cuda {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The fiber must have ended, or be new. `work` throws nothing.
  void start(std::function<void()> work);
  // Goes on until it gives way or ends.
  void resume();
  [[nodiscard]] bool is_done() const;
  // Of the fiber that runs: back to whoever resumed it.
  static void give_way();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ambit::inference::cuda
