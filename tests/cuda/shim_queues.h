#pragma once

// The queues of one or more devices that are not there, carried out late: what is asked for is kept
// and done in an order drawn from a seed, each queue's in its own order. Whoever reads too early,
// or lets go too early what a queue still needs, is found out by other bits or by the address
// sanitizer.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace ambit::inference::cuda {

class ShimQueues {
 public:
  explicit ShimQueues(std::uint64_t seed) : seed_(seed) {}

  std::size_t add();
  void put(std::size_t queue, std::function<void()> work);
  // What is put into `queue` from now on comes after what is in `other` now.
  void follow(std::size_t queue, std::size_t other);
  // To its end; others may go on meanwhile.
  void drain(std::size_t queue);
  // Time goes by: something is done, here or there.
  bool is_done(std::size_t queue);
  // How often the next piece of work was of another queue than the one before.
  [[nodiscard]] std::uint64_t switches() const { return switches_; }

 private:
  struct Job {
    std::function<void()> work;
    std::size_t after_queue = 0;
    std::uint64_t after_count = 0;  // jobs of that queue; 0: after nothing
  };
  struct Queue {
    std::deque<Job> jobs;
    std::uint64_t put = 0;
    std::uint64_t done = 0;
  };
  std::uint64_t draw(std::uint64_t below);
  void go_on(std::size_t queue);
  void something();

  std::uint64_t seed_;
  std::uint64_t drawn_ = 0;
  std::deque<Queue> queues_;
  std::size_t favourite_ = 0;
  std::uint64_t stretch_ = 0;  // how long it still is
  std::size_t last_ = 0;
  std::uint64_t switches_ = 0;
};

}  // namespace ambit::inference::cuda
